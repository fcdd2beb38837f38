"""A recorder plugin: every call of its hooks stands in the history, and it does what the scenario says."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from hydra_notify_sim import history
from hydra_notify_sim.dispatcher import ports
from hydra_notify_sim.recorders.journal import Journal
from hydra_notify_sim.recorders.own_writes import OwnWrites

COMPARED: dict[str, tuple[str, ...]] = {
    "build": ("id", "finished", "buildstatus", "starttime", "stoptime", "notificationpendingsince"),
    "step": ("build", "stepnr", "status"),
    "evaluation": ("id", "jobset_id"),
    "jobset": ("id", "project", "name"),
}
"""Argument to the columns of its row that the history keeps (docs/reference/hydra.md, section 6)."""


class RecordedFailure(Exception):  # noqa: N818  # it is the plugin's failure that the scenario asked for, not ours
    """Raised in a plugin's call because the scenario says so."""


@dataclass
class Behaviour:
    """What a plugin of a scenario does when it is called."""

    hooks: tuple[str, ...]
    raises: Callable[[str, Mapping[str, Any], int], str | None] = lambda _hook, _args, _count: None
    """From hook, arguments and the number of this call (from 1): the message it fails with, or None."""
    takes: float = 0.0
    """Seconds that each call takes."""
    holds: bool = False
    """Whether a call does not return before it is released."""
    code: Callable[[str, Mapping[str, Any]], None] | None = None
    """A plugin of somebody's own, called with hook and arguments."""
    calls: int = field(default=0, init=False)


class Stage(Protocol):
    """What surrounds a call: the harness's points, held calls, time that passes."""

    def reach(self, point: str, *, plugin: str = "", hook: str = "") -> None:
        """Say that the dispatcher is at a point of a call."""

    def hold(self, plugin: str) -> None:
        """Return when the plugin is released."""

    def spend(self, seconds: float) -> None:
        """Let time pass inside the call."""

    def ours(self) -> AbstractContextManager[None]:
        """Mark what is the harness's own work: what goes wrong in it unwinds the dispatcher, which never sees it."""


class Calls:
    """Numbers the calls of a run and writes their records; knows which are open."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._count = 0
        self.own_writes = OwnWrites(journal)
        """What plugins write to Hydra's rows by themselves."""
        self.open: dict[int, tuple[str, str]] = {}
        """Number of each open call to its plugin and hook."""

    def begin(self, life: int, plugin: str, hook: str, arguments: Mapping[str, Any]) -> int:
        """Record a call and return its number."""
        self._count += 1
        self.open[self._count] = (plugin, hook)
        self._journal.record(
            history.Called(
                t=self._journal.now,
                call=self._count,
                life=life,
                plugin=plugin,
                hook=hook,
                args={name: compared(name, value) for name, value in arguments.items()},
            )
        )
        return self._count

    def returned(self, call: int) -> None:
        """Record that a call returned."""
        del self.open[call]
        self._journal.record(history.Returned(t=self._journal.now, call=call))

    def raised(self, call: int, message: str) -> None:
        """Record that a call failed."""
        del self.open[call]
        self._journal.record(history.Raised(t=self._journal.now, call=call, message=message))

    def cut_off(self) -> None:
        """Record of every open call that the dispatcher was lost in it."""
        for call in sorted(self.open):
            self._journal.record(history.CutOff(t=self._journal.now, call=call))
        self.open.clear()


def compared(name: str, value: Any) -> Any:
    """Return an argument as the history keeps it: a row as an object of its compared columns."""
    if name == "dependents":
        return [compared("build", build) for build in value]
    columns = COMPARED.get(name)
    if columns is None:
        return value
    row = value if isinstance(value, Mapping) else vars(value)
    return {column: row[column] for column in columns if column in row}


class RecorderPlugin:
    """A recorder as a plugin of the reference dispatcher, in this process."""

    def __init__(self, name: str, behaviour: Behaviour, calls: Calls, stage: Stage, life: int) -> None:
        self.name = name
        self.hooks = frozenset(behaviour.hooks)
        self._behaviour = behaviour
        self._calls = calls
        self._stage = stage
        self._life = life

    def call(self, hook: str, arguments: dict[str, Any]) -> None:
        """Record the call, do what the scenario says, record how it ended."""
        # Only what the plugin itself does may fail the call: a fault of ours in between is nobody's failure.
        with self._stage.ours():
            self._stage.reach("before_call", plugin=self.name, hook=hook)
            number = self._calls.begin(self._life, self.name, hook, arguments)
            self._behaviour.calls += 1
            count = self._behaviour.calls
            self._stage.reach("inside_call", plugin=self.name, hook=hook)
            if self._behaviour.holds:
                self._stage.hold(self.name)
            if self._behaviour.takes:
                self._stage.spend(self._behaviour.takes)
            message = self._behaviour.raises(hook, arguments, count)
        try:
            self._act(hook, arguments, message)
        except (KeyboardInterrupt, ports.ProcessGone):
            raise
        except BaseException as error:
            with self._stage.ours():
                self._calls.raised(number, failure_message(error))
                self._stage.reach("after_call", plugin=self.name, hook=hook)
            raise
        with self._stage.ours():
            self._calls.returned(number)
            self._stage.reach("after_call", plugin=self.name, hook=hook)

    def _act(self, hook: str, arguments: dict[str, Any], message: str | None) -> None:
        if message is not None:
            raise RecordedFailure(message)
        if self._behaviour.code is not None:
            with self._calls.own_writes.watched(self.name):
                self._behaviour.code(hook, arguments)


def failure_message(error: BaseException) -> str:
    """Return what the history says of a call that raised; a plugin that exits is one whose call failed."""
    if isinstance(error, SystemExit):
        return f"exited: sys.exit({error.code!r})"
    return str(error) or type(error).__name__


def interested(behaviours: Mapping[str, Behaviour], names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return plugin to hooks, as `hydra_notify_sim.history.Starting` holds them."""
    return {name: behaviours[name].hooks for name in names}
