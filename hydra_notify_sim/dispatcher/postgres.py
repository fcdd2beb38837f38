"""The dispatcher's ports on a real PostgreSQL: one connection that listens, one for Hydra's tables."""

import functools
import select
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import ports, rows

Connect = Callable[[str], psycopg.Connection[Any]]
"""Opens an autocommit connection under an application name."""

Release = Callable[[psycopg.Connection[Any]], None]
"""Takes back a connection that is needed no more."""

_R = TypeVar("_R", bound=rows.Row)
_T = TypeVar("_T")

_BUILD = (
    "SELECT builds.*, jobsets.project AS project, jobsets.name AS jobset"
    " FROM builds JOIN jobsets ON jobsets.id = builds.jobset_id WHERE builds.id"
)


def connector(dsn: str) -> Connect:
    """Return a `Connect` for a libpq connection string."""

    def connect(application_name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(dsn, autocommit=True, application_name=application_name, connect_timeout=10)

    return connect


LISTENING = "hydra-notify-sim dispatcher: listen"
"""Application name of the connection that only listens."""
QUERYING = "hydra-notify-sim dispatcher"
"""Application name of the other one."""


def close(connection: psycopg.Connection[Any]) -> None:
    """Close a connection: what a program of its own does with it."""
    connection.close()


def _loses_connection(method: Callable[..., _T]) -> Callable[..., _T]:
    """Turn psycopg's way of saying that the connection is gone into the port's."""

    @functools.wraps(method)
    def guarded(*args: Any, **kwargs: Any) -> _T:
        try:
            return method(*args, **kwargs)
        except psycopg.OperationalError as error:
            raise ports.ConnectionLostError(str(error).strip() or type(error).__name__) from error

    return guarded


class Session:
    """The two connections of one dispatcher; both are opened and lost together."""

    def __init__(self, connect: Connect, release: Release = close) -> None:
        self._connect = connect
        self._release = release
        self._listening: psycopg.Connection[Any] | None = None
        self._querying: psycopg.Connection[Any] | None = None
        self._on_notify: Callable[[psycopg.Notify], None] | None = None

    @_loses_connection
    def open(self, on_notify: Callable[[psycopg.Notify], None], connections: int = 2) -> None:
        """Open both anew, or 1 for both purposes; ``on_notify`` is told of what arrives while a statement runs."""
        self.close()
        self._on_notify = on_notify
        self._listening = self._connect(LISTENING)
        self._listening.add_notify_handler(on_notify)
        self._querying = self._connect(QUERYING) if connections > 1 else self._listening

    def close(self) -> None:
        """Give both back."""
        if self._listening is not None and self._on_notify is not None:
            self._listening.remove_notify_handler(self._on_notify)
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
        """The connection for Hydra's tables."""
        if self._querying is None:
            raise ports.ConnectionLostError("not connected")
        return self._querying


class PostgresInbox:
    """Notifications as PostgreSQL delivers them."""

    def __init__(self, session: Session, wake: int | None = None) -> None:
        """``wake`` is a file descriptor that ends a wait when it becomes readable (a signal's pipe)."""
        self.session = session
        self._wake = wake
        self._early: list[ports.Received] = []

    def connect(self, connections: int = 2) -> None:
        """Open the session anew."""
        self._early.clear()
        self.session.open(self._arrived_early, connections)

    def _arrived_early(self, notify: psycopg.Notify) -> None:
        self._early.append(ports.Received(notify.channel, notify.payload))

    @_loses_connection
    def listen(self, names: Sequence[str]) -> None:
        """Subscribe to all in one transaction."""
        self.session.listening.execute(_listen(tuple(names)))

    @_loses_connection
    def receive(self, timeout: float) -> list[ports.Received]:
        """Return what has arrived, waiting up to ``timeout`` seconds for the first.

        What the library already holds is looked at before the wait, or a notification could lie there unseen
        until the next one comes (L-no-stall). After a whole wait in silence the server is asked for a sign
        of life.
        """
        connection = self.session.listening
        received = self._held(connection)
        if received:
            return received
        sockets = [connection.fileno()] + ([self._wake] if self._wake is not None else [])
        readable, _, _ = select.select(sockets, [], [], timeout)
        if not readable and timeout > 0:
            connection.execute("SELECT 1")
        return self._held(connection)

    def _held(self, connection: psycopg.Connection[Any]) -> list[ports.Received]:
        received, self._early = self._early, []
        pgconn = connection.pgconn
        pgconn.consume_input()
        while notify := pgconn.notifies():
            received.append(ports.Received(notify.relname.decode(), notify.extra.decode()))
        return received


class PostgresStore:
    """Hydra's tables, one transaction a call."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @_loses_connection
    def marked_builds(self) -> list[int]:
        """Return the finished builds with a mark (B-recover); unfinished ones wait for their outcome (B-unfinished)."""
        found = self._session.querying.execute(
            "SELECT id FROM builds WHERE notificationpendingsince IS NOT NULL AND finished = 1"
            " ORDER BY notificationpendingsince, id"
        )
        return [build for (build,) in found]

    @_loses_connection
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
                with self._session.querying.transaction():
                    return ports.Loaded(
                        {"evaluation": self._evaluation(evaluation), "build": self._build(build)}
                    )
            case channels.EvalStarted(trace, jobset):
                return ports.Loaded({"trace_id": trace, "jobset": self._jobset(jobset)})
            case channels.EvalFailed(trace, jobset, error_changed):
                arguments = {"trace_id": trace, "jobset": self._jobset(jobset)}
                return ports.Loaded(_with(arguments, error_changed))
            case channels.EvalCached(trace, jobset, evaluation):
                with self._session.querying.transaction():
                    return ports.Loaded(self._of_evaluation(trace, jobset, evaluation))
            case channels.EvalAdded(trace, jobset, evaluation, error_changed):
                with self._session.querying.transaction():
                    return ports.Loaded(_with(self._of_evaluation(trace, jobset, evaluation), error_changed))

    @_loses_connection
    def clear_marks(self, builds: Sequence[rows.Build]) -> None:
        """Clear marks, comparing the outcome: a later one keeps its own (B-clear-own)."""
        columns = zip(
            *((build.id, build.buildstatus, build.starttime, build.stoptime) for build in builds), strict=True
        )
        self._session.querying.execute(
            "UPDATE builds SET notificationpendingsince = NULL FROM"
            " unnest(%s::int[], %s::int[], %s::int[], %s::int[]) AS shown (id, status, start, stop)"
            " WHERE builds.id = shown.id AND builds.finished = 1 AND builds.notificationpendingsince IS NOT NULL"
            " AND builds.buildstatus IS NOT DISTINCT FROM shown.status"
            " AND builds.starttime = shown.start AND builds.stoptime = shown.stop",
            [_array(column) for column in columns],
        )

    @_loses_connection
    def store_retry(self, channel: str, plugin: str, payload: str, due: int) -> None:
        """Insert a task."""
        self._session.querying.execute(
            "INSERT INTO taskretries (channel, pluginname, payload, attempts, retry_at) VALUES (%s, %s, %s, 1, %s)",
            [channel, plugin, payload, due],
        )

    @_loses_connection
    def requeue(self, task: ports.Task, attempts: int, due: int) -> None:
        """Update a task; one that a person deleted meanwhile stays deleted."""
        self._session.querying.execute(
            "UPDATE taskretries SET attempts = %s, retry_at = %s WHERE id = %s", [attempts, due, task.id]
        )

    @_loses_connection
    def delete_task(self, task: ports.Task) -> None:
        """Delete a task."""
        self._session.querying.execute("DELETE FROM taskretries WHERE id = %s", [task.id])

    @_loses_connection
    def due_task(self, now: int) -> ports.Task | None:
        """Return the task that has been due longest."""
        row = self._session.querying.execute(
            "SELECT id, channel, pluginname, payload, attempts FROM taskretries WHERE retry_at <= %s"
            " ORDER BY retry_at, id LIMIT 1",
            [now],
        ).fetchone()
        return ports.Task(*row) if row else None

    @_loses_connection
    def next_due(self) -> int | None:
        """Return when the next task is due."""
        row = self._session.querying.execute("SELECT min(retry_at) FROM taskretries").fetchone()
        return row[0] if row else None

    def _builds(self, ids: Sequence[int]) -> dict[int, rows.Build]:
        known = [id_ for id_ in ids if id_ <= channels.INT4_MAX]
        cursor = self._session.querying.execute(f"{_BUILD} = ANY(%s::int[])", [_array(known)])
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
            for row in _as_rows(self._session.querying.execute(query, list(ids)), row_type):
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
    names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
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
        if seconds > 0:
            select.select([self._wake] if self._wake is not None else [], [], [], seconds)
