"""What the dispatcher's core asks of the world: inbox, store, clock, plugins. Each call is one transaction.

Because the core does nothing between two port calls that a crash could tear, "before and after every port
call" names every place where a crash makes a difference (docs/decisions/0002-the-core-does-no-io.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import rows


class ConnectionLostError(Exception):
    """The listening session is gone, or cannot be had: what it would have heard is lost with it."""


class NotNowError(Exception):
    """The store could not do it now, and the listening session lives: the same call may succeed later.

    Whether it was done is unknown if the answer was lost, so every port call may be repeated.
    """


class PersonNeededError(Exception):
    """Only a person can mend it: a missing right, table or column. The message says how."""


class MissingRowError(Exception):
    """The event names a row that does not exist (P-missing-row)."""


class ProcessGone(BaseException):
    """Raised by a harness through the core where a real process would be killed; nothing may catch it."""


@dataclass(frozen=True, slots=True)
class Received:
    """A notification as it came from the server."""

    channel: str
    payload: str


@dataclass(frozen=True, slots=True)
class Task:
    """A failed call that waits for its next attempt: a row of ``taskretries``."""

    id: int
    channel: str
    plugin: str
    payload: str
    attempts: int
    """Failed attempts so far."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An event with the rows it names: what a hook is called with."""

    arguments: dict[str, Any]
    """The hook's arguments by name, in the hook's order."""
    builds: tuple[rows.Build, ...] = ()
    """For build_finished: the main build, then the dependents as listed."""

    def arguments_of_its_own(self) -> dict[str, Any]:
        """Return the arguments for one plugin, which may write to its rows: nobody else sees them."""
        return {name: _copied(value) for name, value in self.arguments.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, rows.Row):
        return value.copy()
    return [_copied(row) for row in value] if isinstance(value, list) else value


class Inbox(Protocol):
    """Where notifications come from. Every method raises ConnectionLostError."""

    def connect(self, connections: int = 2) -> None:
        """Open the connections anew: one that listens and one for tables, or 1 for both."""

    def listen(self, names: Sequence[str]) -> None:
        """Subscribe to channels."""

    def receive(self, timeout: float) -> list[Received]:
        """Return what has arrived; wait up to ``timeout`` seconds if nothing has."""


class Store(Protocol):
    """Hydra's tables. Every method raises ConnectionLostError, NotNowError and PersonNeededError."""

    def marked_builds(self) -> list[int]:
        """Return the finished builds that carry a mark, oldest mark first."""

    def load(self, event: channels.Event) -> Loaded:
        """Return the rows that the event names; raises MissingRowError."""

    def clear_marks(self, builds: Sequence[rows.Build], wait: bool = True) -> None:
        """Clear the mark of each build whose row still shows the outcome that the given row shows.

        Without ``wait`` a row that somebody holds a lock on is NotNowError at once.
        """

    def new_task_id(self) -> int:
        """Return an id for a task, so that storing it may be repeated."""

    def store_retry(self, task: Task, due: int) -> None:
        """Keep a call that failed for the first time; ``due`` in Unix seconds. A task that is stored stays as it is."""

    def requeue(self, task: Task, attempts: int, due: int) -> None:
        """Put a task off."""

    def delete_task(self, task: Task) -> None:
        """Forget a task."""

    def due_task(self, now: int) -> Task | None:
        """Return the task that has been due longest, if one is."""

    def next_due(self) -> int | None:
        """Return when the next task is due, in Unix seconds."""


class Clock(Protocol):
    """Time, as the dispatcher sees it."""

    def now(self) -> float:
        """Return Unix seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait, or less if asked to stop."""
