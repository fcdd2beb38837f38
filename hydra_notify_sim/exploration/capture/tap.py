"""The tap: listens to a live Hydra's channels and looks at its rows, and never writes.

One connection does both, so that what was heard before a look had committed before it. It survives losing it, and
records the gap. It rests nine times as long as a look took, so that it is never more than a tenth of a burden.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from hydra_notify_sim import errors, history
from hydra_notify_sim.checks import events
from hydra_notify_sim.contract import channels
from hydra_notify_sim.database import connections
from hydra_notify_sim.exploration.capture.rows import WATCHED, Rows

APPLICATION = "hydra-notify-sim capture (read-only)"

OF_ROWS = ("builds_restarted", "builds_cancelled", "builds_deleted")
"""Channels that say, without saying which, that rows of builds have changed (docs/reference/hydra.md, section 4)."""

LISTENED = (*channels.CHANNELS, channels.DUMP_METRICS, *OF_ROWS)

AWAKE = 0.25
"""Seconds after which it looks, at the latest, whether it was asked to end."""
REST = 9.0
"""How many times longer than a look the rest after it is."""
DELAYS = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each attempt to connect again; the last one repeats."""
Write = Callable[[Sequence[history.AnyRecord]], None]
Say = Callable[[str], None]


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
        self._dsn, self.database = connections.read_only(dsn)
        self._write = write
        self._say = say
        self._interval = interval
        self._payloads = payloads
        self._clock = clock
        self._rows = Rows()
        self._connection: psycopg.Connection[Any] | None = None
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
        self._connection = connections.connect(self._dsn, self.database, APPLICATION)
        number = self._connection.info.server_version
        self.server = f"{number // 10000}.{number % 10000}"
        try:
            self._write(self._begin())
        except psycopg.Error as error:
            raise connections.unreadable(self.database, error) from None

    def run(self, ended: Callable[[], bool]) -> None:
        """Record until ``ended``; a lost connection is made again, and the gap recorded."""
        while not ended():
            try:
                self._turn()
            except psycopg.Error as error:
                if not self._lost(connections.first_line(error), ended):
                    return
        try:
            self._hear(0.0)
            self._look()
        except psycopg.Error as error:
            self._write(
                [history.Gap(t=self._clock(), since=self._drained, reason=connections.first_line(error))]
            )

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
        connection = self._open_connection()
        heard: list[history.AnyRecord] = []
        for notify in connection.notifies(timeout=wait, stop_after=1):
            heard.append(
                history.Heard(
                    t=self._clock(),
                    since=self._drained,
                    channel=notify.channel,
                    payload=notify.payload,
                    backend=notify.pid,
                )
            )
            self._note(notify.channel, notify.payload)
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
        self._looked = begun
        self._rested = self._clock() + REST * (self._clock() - begun)
        if found:
            self._write(found)

    # The connection

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
                self._connection = connections.connect(self._dsn, self.database, APPLICATION)
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
