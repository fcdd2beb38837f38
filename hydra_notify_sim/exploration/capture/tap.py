"""The tap: listens to a live Hydra's channels and looks at its rows, and never writes.

One connection does both, so that what was heard before a look had committed before it. It survives losing it, and
records the gap. It rests nine times as long as a look took, so that it is never more than a tenth of a burden.
"""

import select
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.pq import PGnotify

from hydra_notify_sim import errors, history
from hydra_notify_sim.checks import events
from hydra_notify_sim.contract import channels
from hydra_notify_sim.database import connections
from hydra_notify_sim.dispatcher import connecting, sqlstates, start_checks
from hydra_notify_sim.exploration.capture.rows import WATCHED, Rows

APPLICATION = "hydra-notify-sim capture (read-only)"

OF_ROWS = ("builds_restarted", "builds_cancelled", "builds_deleted")
"""Channels that say, without saying which, that rows of builds have changed (docs/reference/hydra.md, section 4)."""

LISTENED = (*channels.CHANNELS, channels.DUMP_METRICS, *OF_ROWS)

AWAKE = 0.25
"""Seconds after which it looks, at the latest, whether it was asked to end."""
REST = 9.0
"""How many times longer than a look the rest after it is."""
LONG = 1.0
"""Seconds after which it is asked, while a statement runs, whether to end."""
HINDERED = 2.0
"""Seconds until the rows are looked at again when a lock or a time limit of the server was in the way."""
DELAYS = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each attempt to connect again; the last one repeats."""
Write = Callable[[Sequence[history.AnyRecord]], None]
Say = Callable[[str], None]


class _Patience(connecting.Patience):
    """A statement under way is given up soon after the recording was asked to end."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: Callable[[], bool] = lambda: False
        self._stopped = False

    def left(self, begun: float) -> float:
        """Return the seconds that are left to a statement."""
        takes_long = time.monotonic() - begun > LONG
        if takes_long and not self._stopped and self.ended():
            self._stopped = True
            self.stop()
        return super().left(begun)


class Tap:
    """Records a live Hydra."""

    def __init__(
        self,
        dsn: str,
        write: Write,
        say: Say,
        *,
        interval: float = 1.0,
        payloads: channels.PayloadVersion = channels.DEFAULT_PAYLOADS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``write`` is given the records as they come, ``interval`` is the most seconds between two looks at the rows.

        Raises:
            UsageError: the DSN is none.

        """
        self.database = connections.database_name(dsn)
        self._shown = connections.without_passwords(dsn)
        self._patience = _Patience()
        self._connect = connecting.connector(dsn, self._patience, read_only=True)
        self._write = write
        self._say = say
        self._interval = interval
        self._payloads = payloads
        self._clock = clock
        self._rows = Rows()
        self._connection: psycopg.Connection[Any] | None = None
        self._early: list[PGnotify] = []
        """Notifications that arrived while a statement ran."""
        self._hindered = ""
        """Why the rows could not be looked at the last time."""
        self._drained = 0.0
        """When nothing was left to be heard."""
        self._looked = 0.0
        """When the last look at the rows began."""
        self._rested = 0.0
        """When the next look may begin."""
        self._named: set[int] = set()
        """Builds that were heard of since the last look."""
        self._all = False
        """All the builds that are remembered are to be looked at."""
        self.server = ""
        """Version of the server."""

    def open(self) -> None:
        """Connect, listen, and record how things are.

        Raises:
            EnvironmentFailedError: the database cannot be reached, is none of Hydra's, or cannot be read.

        """
        try:
            self._begin_recording()
        except BaseException:
            self.close()
            raise

    def _begin_recording(self) -> None:
        try:
            self._open_session()
        except psycopg.Error as error:
            raise connections.unreachable(self.database, error) from None
        connection = self._open_connection()
        number = connection.info.server_version
        self.server = f"{number // 10000}.{number % 10000}"
        try:
            start_checks.check_schema(self._shown, connection)
            with self._connect(APPLICATION) as notifying:
                start_checks.check_listening(self._shown, connection, notifying)
            self._write(self._begin())
        except psycopg.Error as error:
            raise connections.unreadable(self.database, error) from None

    def run(self, ended: Callable[[], bool]) -> None:
        """Record until ``ended``; a lost connection is made again, and the gap recorded.

        Raises:
            EnvironmentFailedError: a right was taken away or a table is gone, which only a person can mend.

        """
        self._patience.ended = ended
        while not ended():
            try:
                self._turn()
            except psycopg.Error as error:
                if not self._go_on_after(error, ended):
                    return
        try:
            self._hear(0.0)
            self._look()
        except psycopg.Error as error:
            self._write(
                [history.Gap(t=self._clock(), since=self._drained, reason=connections.first_line(error))]
            )

    def _go_on_after(self, error: psycopg.Error, ended: Callable[[], bool]) -> bool:
        """Do what an error asks for (`sqlstates`); return False if it was asked to end meanwhile."""
        said = connections.first_line(error)
        remedy = sqlstates.remedy(error)
        if self._open_connection().closed or remedy == "connect again":
            return self._lost(said, ended)
        if remedy != "try again":
            raise connections.unreadable(self.database, error) from None
        # It still hears: the rows are looked at again after a rest, and what changed meanwhile is seen then.
        if said != self._hindered:
            self._say(f"The rows of {self.database!r} cannot be looked at now ({said}); trying again.")
        self._hindered = said
        self._all = True
        self._rested = self._clock() + HINDERED
        return True

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()

    # Hearing and looking

    def _turn(self) -> None:
        due = self._looked + self._interval
        next_ = self._rested if self._named or self._all else max(due, self._rested)
        wait = max(0.0, min(AWAKE, next_ - self._clock()))
        self._hear(wait)
        now = self._clock()
        if now >= self._rested and (self._named or self._all or now >= due):
            self._look()

    def _hear(self, wait: float) -> None:
        pgconn = self._open_connection().pgconn
        if not self._early and wait > 0:
            select.select([pgconn.socket], [], [], wait)
        pgconn.consume_input()
        while notify := pgconn.notifies():
            self._early.append(notify)
        arrived, self._early[:] = self._early[:], []
        heard: list[history.AnyRecord] = []
        for notify in arrived:
            channel, payload = self._text(notify.relname), self._text(notify.extra)
            heard.append(
                history.Heard(
                    t=self._clock(),
                    since=self._drained,
                    channel=channel,
                    payload=payload,
                    backend=notify.be_pid,
                )
            )
            self._note(channel, payload)
        self._drained = self._clock()
        if heard:
            self._write(heard)

    def _note(self, channel: str, payload: str) -> None:
        if channel in OF_ROWS:
            self._all = True
            return
        event = events.read(channel, payload, self._payloads)[0]
        if isinstance(event, channels.BuildFinished):
            self._named.update((event.build, *event.dependents))
        elif event is not None and (build := getattr(event, "build", None)) is not None:
            self._named.add(build)

    def _look(self) -> None:
        connection = self._open_connection()
        begun, since = self._clock(), self._looked
        marked_before = self._rows.marks
        changed = self._rows.look(connection)
        found: list[history.AnyRecord] = []
        wanted = set(self._named)
        if changed is not None:
            found.append(msgspec.structs.replace(changed, t=self._clock(), since=since))
            wanted |= changed.marked.keys() | marked_before.keys() & set(changed.cleared)
        wanted |= set(self._rows.builds) if self._all else set()
        for build, row in self._rows.look_at(connection, wanted):
            found.append(history.Seen(t=self._clock(), since=since, build=build, row=row))
        self._named.clear()
        self._all = False
        self._hindered = ""
        self._looked = begun
        self._rested = self._clock() + REST * (self._clock() - begun)
        if found:
            self._write(found)

    # The connection

    def _open_session(self) -> None:
        self._early.clear()
        self._connection = self._connect(APPLICATION)
        # The library's own handler decodes strictly, and not every payload is text in the connection's encoding.
        self._connection.pgconn.notify_handler = self._early.append
        # Plans are made anew each time: a migration makes kept ones fail.
        self._connection.prepare_threshold = None

    def _text(self, data: bytes) -> str:
        """Decode; a byte that is no text is written as an escape, for a file of JSON cannot hold it."""
        return data.decode(connecting.codec(self._open_connection()), "backslashreplace")

    def _begin(self) -> list[history.AnyRecord]:
        """Listen, and return how things are."""
        connection = self._open_connection()
        connection.execute(
            sql.SQL("; ").join(sql.SQL("LISTEN {}").format(sql.Identifier(name)) for name in LISTENED)
        )
        begun = self._drained = self._clock()
        self._rows.look(connection)
        marks, tasks = self._rows.marks, self._rows.tasks
        written: list[history.AnyRecord] = [
            history.Observed(t=self._clock(), marks=marks, tasks=tuple(tasks.values()))
        ]
        known = {*self._rows.builds, *sorted(marks)[-WATCHED:], *self._named}
        since = self._looked or begun
        for build, row in self._rows.look_at(connection, known):
            written.append(history.Seen(t=self._clock(), since=since, build=build, row=row))
        self._named.clear()
        self._looked = begun
        return written

    def _lost(self, reason: str, ended: Callable[[], bool]) -> bool:
        """Connect again, however long it takes; return False if it was asked to end before that."""
        self._say(f"The connection to {self.database!r} was lost ({reason}); connecting again.")
        since = self._drained
        attempt = 0
        while not ended():
            attempt += 1
            if not self._rest(DELAYS[min(attempt - 1, len(DELAYS) - 1)], ended):
                break
            try:
                self.close()
                self._open_session()
                found = self._begin()
            except (psycopg.Error, errors.EnvironmentFailedError) as error:
                said = connections.first_line(error)
                if said != reason:
                    self._say(f"Not yet: {said}")
                reason = said
                continue
            self._write([history.Gap(t=self._clock(), since=since, reason=reason), *found])
            self._say(f"Connected again; {self._clock() - since:.1f} s were not recorded.")
            return True
        self._write([history.Gap(t=self._clock(), since=since, reason=reason)])
        return False

    def _rest(self, seconds: float, ended: Callable[[], bool]) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if ended():
                return False
            time.sleep(min(left, AWAKE))
        return not ended()

    def _open_connection(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            raise psycopg.OperationalError("not connected")
        return self._connection
