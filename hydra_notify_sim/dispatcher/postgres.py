"""The dispatcher's ports on a real PostgreSQL: one connection that listens, one for Hydra's tables."""

import functools
import select
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg import sql
from psycopg.pq import PGnotify

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import connecting, ports, rights, rows, sqlstates
from hydra_notify_sim.dispatcher.connecting import connector

__all__ = ["Connect", "PostgresInbox", "PostgresStore", "Release", "Session", "SystemClock", "connector"]

Connect = Callable[[str], psycopg.Connection[Any]]
"""Opens an autocommit connection under an application name."""

Release = Callable[[psycopg.Connection[Any]], None]
"""Takes back a connection that is needed no more."""

_R = TypeVar("_R", bound=rows.Row)
_T = TypeVar("_T")

LISTENING = "hydra-notify-sim dispatcher: listen"
"""Application name of the connection that only listens."""
QUERYING = "hydra-notify-sim dispatcher"
"""Application name of the other one."""

SIGN_OF_LIFE_SECONDS = 5.0
"""Seconds in which a connection must answer when it is asked whether it lives."""
SCAN_SECONDS = 120.0
"""Seconds that the scan for marks may take: on a table of millions whose statistics are old it is no matter of milliseconds."""

_BUILD = (
    "SELECT builds.*, jobsets.project AS project, jobsets.name AS jobset"
    " FROM builds JOIN jobsets ON jobsets.id = builds.jobset_id WHERE builds.id"
)
_UNLOCKED = " AND builds.id IN (SELECT id FROM builds WHERE id = ANY(%s::int[]) FOR UPDATE NOWAIT)"
_STALE = ("0A000", "26000", "42P05")
"""SQLSTATEs after which the session's prepared statements are of no use any more."""


def close(connection: psycopg.Connection[Any]) -> None:
    """Close a connection: what a program of its own does with it."""
    connection.close()


class NotWritableError(psycopg.OperationalError):
    """The server answers, and lets nobody write."""


class Session:
    """The two connections of one dispatcher. The second is opened anew when it is lost; the first hears no more then."""

    def __init__(
        self, connect: Connect, release: Release = close, patience: connecting.Patience | None = None
    ) -> None:
        self._connect = connect
        self._release = release
        self.patience = patience or connecting.Patience()
        self._listening: psycopg.Connection[Any] | None = None
        self._querying: psycopg.Connection[Any] | None = None
        self._handler_before: Callable[[PGnotify], None] | None = None

    def open(self, on_notify: Callable[[PGnotify], None], connections: int = 2) -> None:
        """Open both anew, or 1 for both purposes; ``on_notify`` is told of what arrives while a statement runs."""
        self.close()
        self._listening = self._connect_to_write(LISTENING)
        self._querying = self._connect(QUERYING) if connections > 1 else self._listening
        # The library's own handler decodes first, and not every payload is text in the connection's encoding.
        self._handler_before = self._listening.pgconn.notify_handler
        self._listening.pgconn.notify_handler = on_notify

    def close(self) -> None:
        """Give both back."""
        if self._listening is not None:
            self._listening.pgconn.notify_handler = self._handler_before
        for connection in self.connections():
            self._release(connection)
        self._listening = self._querying = None

    def connections(self) -> list[psycopg.Connection[Any]]:
        """Return those that are open."""
        both = dict.fromkeys((self._listening, self._querying))  # they may be one
        return [connection for connection in both if connection is not None]

    @property
    def listening(self) -> psycopg.Connection[Any]:
        """The connection that only listens: nothing else runs on it, so no wake-up is lost (L-no-stall)."""
        if self._listening is None:
            raise ports.ConnectionLostError("not connected")
        return self._listening

    @property
    def querying(self) -> psycopg.Connection[Any]:
        """The connection for Hydra's tables; a new one if the last was lost alone."""
        if self._listening is None:
            raise ports.ConnectionLostError("not connected")
        if self._querying is None:
            self._querying = self._connect_to_write(QUERYING)
        return self._querying

    def _connect_to_write(self, application_name: str) -> psycopg.Connection[Any]:
        connection = self._connect(application_name)
        (refused,) = connection.execute(
            "SELECT CASE WHEN pg_is_in_recovery() THEN 'in recovery: a standby'"
            " WHEN current_setting('transaction_read_only')::bool THEN 'read-only' END"
        ).fetchone() or (None,)
        if refused is not None:
            self._release(connection)
            raise NotWritableError(f"the server is {refused}, where no mark can be cleared")
        return connection

    def in_words(self, error: psycopg.Error) -> Exception:
        """Return the port's error for one of the database's."""
        said = first_line(error)
        match sqlstates.remedy(error):
            case "ask a person":
                return ports.PersonNeededError(rights.sentence(error, self._querying))
            case "try again" if error.sqlstate not in _STALE:
                return ports.NotNowError(said)
            case "our fault":
                return error
            case _:
                self._drop_querying()
                return ports.NotNowError(said) if self._still_listens() else ports.ConnectionLostError(said)

    def _drop_querying(self) -> None:
        if self._querying is not None:
            self._querying.close()
            self._querying = None

    def _still_listens(self) -> bool:
        if self._listening is None or self._listening.closed:
            return False
        try:
            with self.patience.within(SIGN_OF_LIFE_SECONDS):
                self._listening.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def ask_for_signs_of_life(self) -> None:
        """Ask both whether they live; a black hole gives no error by itself. Raises psycopg.Error."""
        with self.patience.within(SIGN_OF_LIFE_SECONDS):
            self.listening.execute("SELECT 1")
            try:
                self.querying.execute("SELECT 1")
            except psycopg.Error:
                self._drop_querying()


def first_line(error: psycopg.Error) -> str:
    """Return what the server or the library said, without its details."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()


class _OfSession(Protocol):
    session: Session


def _hears(method: Callable[..., _T]) -> Callable[..., _T]:
    """Turn every error of the listening connection that passes into the one that says it is gone."""

    @functools.wraps(method)
    def guarded(self: _OfSession, *args: Any) -> _T:
        try:
            return method(self, *args)
        except psycopg.Error as error:
            in_words = self.session.in_words(error)
            if isinstance(in_words, ports.NotNowError):
                in_words = ports.ConnectionLostError(str(in_words))
            raise in_words from error

    return guarded


def _queries(method: Callable[..., _T]) -> Callable[..., _T]:
    """Turn the database's errors into the store's."""

    @functools.wraps(method)
    def guarded(self: _OfSession, *args: Any) -> _T:
        try:
            return method(self, *args)
        except psycopg.Error as error:
            raise self.session.in_words(error) from error

    return guarded


class PostgresInbox:
    """Notifications as PostgreSQL delivers them."""

    def __init__(self, session: Session, wake: int | None = None) -> None:
        """``wake`` is a file descriptor that ends a wait when it becomes readable (a signal's pipe)."""
        self.session = session
        self._wake = wake
        self._early: list[PGnotify] = []

    @_hears
    def connect(self, connections: int = 2) -> None:
        """Open the session anew."""
        self._early.clear()
        self.session.open(self._early.append, connections)

    @_hears
    def listen(self, names: Sequence[str]) -> None:
        """Subscribe to all in one transaction."""
        self.session.listening.execute(_listen(tuple(names)))

    @_hears
    def receive(self, timeout: float) -> list[ports.Received]:
        """Return what has arrived, waiting up to ``timeout`` seconds for the first.

        What the library already holds is looked at before the wait, or a notification could lie there unseen
        until the next one comes (L-no-stall). After a whole wait in silence the server is asked for a sign
        of life.
        """
        connection = self.session.listening
        received = self._held(connection)
        if received or not timeout:
            return received
        sockets = [connection.fileno()] + ([self._wake] if self._wake is not None else [])
        readable, _, _ = select.select(sockets, [], [], timeout)
        if not readable:
            self.session.ask_for_signs_of_life()
        return self._held(connection)

    def _held(self, connection: psycopg.Connection[Any]) -> list[ports.Received]:
        pgconn = connection.pgconn
        pgconn.consume_input()
        found = list(self._early)
        self._early.clear()
        while notify := pgconn.notifies():
            found.append(notify)
        encoding = connecting.codec(connection) if found else ""
        return [
            ports.Received(_text(notify.relname, encoding), _text(notify.extra, encoding)) for notify in found
        ]


def _text(data: bytes, encoding: str) -> str:
    return data.decode(encoding, "surrogateescape")


class PostgresStore:
    """Hydra's tables, one transaction a call."""

    def __init__(self, session: Session, owners: Sequence[str] | None = None) -> None:
        """``owners``: the plugins whose tasks are this dispatcher's; those of others do not exist for it. None: all."""
        self.session = session
        self._owners = list(owners) if owners is not None else None

    @_queries
    def marked_builds(self) -> list[int]:
        """Return the finished builds with a mark (B-recover); unfinished ones wait for their outcome (B-unfinished)."""
        with self.session.patience.within(SCAN_SECONDS):
            found = self.session.querying.execute(
                "SELECT id FROM builds WHERE notificationpendingsince IS NOT NULL AND finished = 1"
                " ORDER BY notificationpendingsince, id"
            )
        return [build for (build,) in found]

    @_queries
    def load(self, event: channels.Event) -> ports.Loaded:
        """Load what the event names, in one transaction where several tables are read."""
        match event:
            case channels.BuildFinished(build, dependents):
                named = (build, *dependents)
                found = self._builds(named)
                builds = tuple(_existing(found, id_, "build") for id_ in named)
                return ports.Loaded({"build": builds[0], "dependents": list(builds[1:])}, builds)
            case channels.BuildQueued(build) | channels.BuildStarted(build):
                return ports.Loaded({"build": self._build(build)})
            case channels.StepFinished(build, step, log_path):
                return ports.Loaded({"step": self._step(build, step), "log_path": log_path})
            case channels.CachedBuildFinished(evaluation, build) | channels.CachedBuildQueued(
                evaluation, build
            ):
                with self.session.querying.transaction():
                    return ports.Loaded(
                        {"evaluation": self._evaluation(evaluation), "build": self._build(build)}
                    )
            case channels.EvalStarted(trace, jobset):
                return ports.Loaded({"trace_id": trace, "jobset": self._jobset(jobset)})
            case channels.EvalFailed(trace, jobset, error_changed):
                arguments = {"trace_id": trace, "jobset": self._jobset(jobset)}
                return ports.Loaded(_with(arguments, error_changed))
            case channels.EvalCached(trace, jobset, evaluation):
                with self.session.querying.transaction():
                    return ports.Loaded(self._of_evaluation(trace, jobset, evaluation))
            case channels.EvalAdded(trace, jobset, evaluation, error_changed):
                with self.session.querying.transaction():
                    return ports.Loaded(_with(self._of_evaluation(trace, jobset, evaluation), error_changed))

    @_queries
    def clear_marks(self, builds: Sequence[rows.Build], wait: bool = True) -> None:
        """Clear marks, comparing the outcome: a later one keeps its own (B-clear-own)."""
        columns = zip(
            *((build.id, build.buildstatus, build.starttime, build.stoptime) for build in builds), strict=True
        )
        self.session.querying.execute(
            "UPDATE builds SET notificationpendingsince = NULL FROM"
            " unnest(%s::int[], %s::int[], %s::int[], %s::int[]) AS shown (id, status, start, stop)"
            " WHERE builds.id = shown.id AND builds.finished = 1 AND builds.notificationpendingsince IS NOT NULL"
            " AND builds.buildstatus IS NOT DISTINCT FROM shown.status"
            " AND builds.starttime = shown.start AND builds.stoptime = shown.stop"
            + ("" if wait else _UNLOCKED),
            [*(_array(column) for column in columns), *(() if wait else (_array(b.id for b in builds),))],
        )

    @_queries
    def new_task_id(self) -> int:
        """Take the next number of the sequence."""
        row = self.session.querying.execute(f"SELECT nextval({rights.SEQUENCE}::regclass)").fetchone()
        assert row is not None
        return int(row[0])

    @_queries
    def store_retry(self, task: ports.Task, due: int) -> None:
        """Insert a task, unless an attempt whose answer was lost has inserted it."""
        self.session.querying.execute(
            "INSERT INTO taskretries (id, channel, pluginname, payload, attempts, retry_at)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING",
            [task.id, task.channel, task.plugin, task.payload, task.attempts, due],
        )

    @_queries
    def requeue(self, task: ports.Task, attempts: int, due: int) -> None:
        """Update a task; one that a person deleted meanwhile stays deleted."""
        self.session.querying.execute(
            "UPDATE taskretries SET attempts = %s, retry_at = %s WHERE id = %s", [attempts, due, task.id]
        )

    @_queries
    def delete_task(self, task: ports.Task) -> None:
        """Delete a task."""
        self.session.querying.execute("DELETE FROM taskretries WHERE id = %s", [task.id])

    @_queries
    def due_task(self, now: int) -> ports.Task | None:
        """Return the task that has been due longest."""
        row = self.session.querying.execute(
            "SELECT id, channel, pluginname, payload, attempts FROM taskretries WHERE retry_at <= %s"
            f"{self._and_owned()} ORDER BY retry_at, id LIMIT 1",
            [now, *self._owned()],
        ).fetchone()
        return ports.Task(*row) if row else None

    @_queries
    def next_due(self) -> int | None:
        """Return when the next task is due."""
        row = self.session.querying.execute(
            f"SELECT min(retry_at) FROM taskretries WHERE true{self._and_owned()}", self._owned()
        ).fetchone()
        return row[0] if row else None

    def _and_owned(self) -> str:
        return "" if self._owners is None else f" AND pluginname IN ({', '.join(['%s'] * len(self._owners))})"

    def _owned(self) -> list[str]:
        return self._owners or []

    def _builds(self, ids: Sequence[int]) -> dict[int, rows.Build]:
        known = [id_ for id_ in ids if id_ <= channels.INT4_MAX]
        cursor = self.session.querying.execute(f"{_BUILD} = ANY(%s::int[])", [_array(known)])
        return {build.id: build for build in _as_rows(cursor, rows.Build)}

    def _build(self, id_: int) -> rows.Build:
        return _existing(self._builds([id_]), id_, "build")

    def _step(self, build: int, step: int) -> rows.Step:
        return self._one(
            rows.Step,
            "SELECT * FROM buildsteps WHERE build = %s AND stepnr = %s",
            f"{build}/{step}",
            build,
            step,
        )

    def _evaluation(self, id_: int) -> rows.Evaluation:
        return self._one(rows.Evaluation, "SELECT * FROM jobsetevals WHERE id = %s", str(id_), id_)

    def _jobset(self, id_: int) -> rows.Jobset:
        return self._one(rows.Jobset, "SELECT * FROM jobsets WHERE id = %s", str(id_), id_)

    def _of_evaluation(self, trace: str, jobset: int, evaluation: int) -> dict[str, Any]:
        return {
            "trace_id": trace,
            "jobset": self._jobset(jobset),
            "evaluation": self._evaluation(evaluation),
        }

    def _one(self, row_type: type[_R], query: str, name: str, *ids: int) -> _R:
        if all(id_ <= channels.INT4_MAX for id_ in ids):
            for row in _as_rows(self.session.querying.execute(query, list(ids)), row_type):
                return row
        raise ports.MissingRowError(f"{row_type.table} has no row {name}")


@functools.cache
def _listen(names: tuple[str, ...]) -> bytes:
    return (
        sql.SQL("; ").join(sql.SQL("LISTEN {}").format(sql.Identifier(name)) for name in names).as_bytes(None)
    )


def _as_rows(cursor: psycopg.Cursor[Any], row_type: type[_R]) -> list[_R]:
    result = cursor.pgresult
    assert result is not None
    # Not `cursor.description`: it makes an object of every column, which costs more than the query.
    encoding = connecting.codec(cursor.connection)
    names = [_text(result.fname(column) or b"", encoding) for column in range(result.nfields)]
    return [row_type(dict(zip(names, values, strict=True))) for values in cursor]


def _array(numbers: Iterable[int | None]) -> str:
    """Write an array as PostgreSQL reads it: cheaper than handing over a list."""
    return f"{{{','.join('NULL' if number is None else str(number) for number in numbers)}}}"


def _existing(found: dict[int, rows.Build], id_: int, kind: str) -> rows.Build:
    try:
        return found[id_]
    except KeyError:
        raise ports.MissingRowError(f"there is no {kind} {id_}") from None


def _with(arguments: dict[str, Any], error_changed: int | None) -> dict[str, Any]:
    return arguments if error_changed is None else {**arguments, "error_changed": error_changed}


_AFTER_WAKING = 0.1
"""Seconds that a sleep still lasts once the dispatcher was asked to stop."""


class SystemClock:
    """Real time."""

    def __init__(self, wake: int | None = None) -> None:
        """``wake`` is a file descriptor that ends a sleep when it becomes readable."""
        self._wake = wake

    def now(self) -> float:
        """Return Unix seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait, or less when woken."""
        if seconds <= 0:
            return
        woken, _, _ = select.select([self._wake] if self._wake is not None else [], [], [], seconds)
        if woken:
            # It stays readable. Who still sleeps wants to try something again before the end, and not to spin.
            time.sleep(min(seconds, _AFTER_WAKING))
