"""Connections that wait for no lock for ever, and tell who kept them waiting."""

import contextlib
import time
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import psycopg
from psycopg.errors import LockNotAvailable

from hydra_notify_sim.errors import EnvironmentFailedError

LOCK_SECONDS = 5.0
"""Seconds for which a lock is waited for."""
ANSWER_SECONDS = 300.0
"""Seconds in which the server has to answer anything."""
_LOOK_EVERY = 0.5
"""Seconds of waiting after which it is looked who is waited for, again and again."""
_BLOCKERS = """
SELECT coalesce(nullif(application_name, ''), 'a program without a name'), pid, coalesce(state, 'active'), query
FROM pg_stat_activity
WHERE pid IN (SELECT unnest(pg_blocking_pids(waiting)) FROM unnest(%s::int[]) AS waiting) ORDER BY pid
"""
_QUERY_SHOWN = 200
"""Characters of a query that are shown."""

ADVICE = (
    "A transaction that is kept open during a plugin's call, or after it, keeps everybody else from the rows that it "
    "has locked."
)

_T = TypeVar("_T")
_Gen = Generator[Any, Any, _T]


class LockHeldError(EnvironmentFailedError):
    """Somebody keeps a lock that a statement of ours, or of a dispatcher in this process, has to wait for."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """A session that is waited for."""

    application: str
    pid: int
    state: str
    """As in pg_stat_activity: ``idle in transaction``, ``active``."""
    query: str
    """What it ran last."""

    def __str__(self) -> str:
        query = " ".join(self.query.split())
        shown = query if len(query) <= _QUERY_SHOWN else f"{query[:_QUERY_SHOWN]}…"
        return f"{self.application} (pid {self.pid}, {self.state}; its last statement: {shown})"


class WatchfulConnection(psycopg.Connection[Any]):
    """A connection whose ``lock_timeout`` ends its waits, with an error that says who holds the lock."""

    seconds: float = LOCK_SECONDS
    """Seconds for which it waits for a lock."""
    whose: str = "the harness"
    """Who waits, for the message."""
    _blockers: tuple[Blocker, ...] = ()
    _sent: float = 0.0
    _looked: float = 0.0
    _password: str = ""

    def watch(self, dsn: str, whose: str = whose) -> Self:
        """Limit its waits from now on; ``dsn`` is what a second connection is opened with to look who holds a lock."""
        self._dsn = dsn
        self.whose = whose
        return self.be_patient(LOCK_SECONDS)

    def be_patient(self, seconds: float) -> Self:
        """Wait so many seconds for a lock."""
        self.seconds = seconds
        self.execute(f"SET lock_timeout = {max(1, round(seconds * 1000))}")
        return self

    def wait(self, gen: _Gen[_T], *args: Any, **kwargs: Any) -> _T:
        """Run a statement.

        Raises:
            LockHeldError: it waited too long for a lock.

        """
        self.begin_wait()
        try:
            return super().wait(self._watching(gen), *args, **kwargs)
        except LockNotAvailable as error:
            raise self.held(str(error).split("\n")[-1].removeprefix("CONTEXT:").strip()) from error

    def _watching(self, gen: _Gen[_T]) -> _Gen[_T]:
        """Pass on what psycopg waits for; nothing that is ready after an interval means that the server takes its time."""
        try:
            state = next(gen)
            while True:
                ready = yield state
                if not ready:
                    self.still_waiting()
                state = gen.send(ready)
        except StopIteration as done:
            result: _T = done.value
            return result

    def begin_wait(self) -> None:
        """Say that a statement was sent."""
        self._sent = self._looked = time.monotonic()
        self._blockers = ()

    def still_waiting(self) -> None:
        """Look who is waited for, if that has taken long and was not looked at a moment ago.

        Raises:
            EnvironmentFailedError: the server does not answer at all.

        """
        now = time.monotonic()
        if now - self._sent > ANSWER_SECONDS:
            self.pgconn.finish()
            raise EnvironmentFailedError(
                f"the PostgreSQL server has not answered {self.whose} for {ANSWER_SECONDS:.0f} s. Is it stopped, or overloaded?"
            )
        if now - self._looked < _LOOK_EVERY:
            return
        with (
            contextlib.suppress(psycopg.Error),  # the answer, or its deadline, will tell
            psycopg.connect(self._dsn, autocommit=True, connect_timeout=10) as looking,
        ):
            self._blockers = tuple(blockers(looking, [self.info.backend_pid])) or self._blockers
        self._looked = time.monotonic()

    def held(self, where: str = "") -> LockHeldError:
        """Return the error for a lock that was not given up in time."""
        at = f" ({where})" if where else ""
        return LockHeldError(
            f"{self.whose} waited {self.seconds:g} s for a lock{at} that is held by {_named(self._blockers)}. {ADVICE}"
        )


def blockers(looking: psycopg.Connection[Any], waiting: Collection[int]) -> list[Blocker]:
    """Return the sessions that any of the backends ``waiting`` waits for; none if none of them waits for a lock."""
    return [Blocker(*row) for row in looking.execute(_BLOCKERS, [list(waiting)])]


def waits(who: str, found: Sequence[Blocker]) -> str:
    """Return the sentence that somebody waits for a lock right now."""
    return f"{who} waits for a lock that is held by {_named(found)}. {ADVICE}"


def _named(found: Sequence[Blocker]) -> str:
    return " and ".join(map(str, found)) or "somebody who has gone meanwhile"
