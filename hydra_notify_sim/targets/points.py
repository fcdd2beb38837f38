"""Points at which the dispatcher can be held, and what is to happen there."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hydra_notify_sim import history
from hydra_notify_sim.recorders.journal import Journal


@dataclass(eq=False)
class Armed:
    """A point that is waited for."""

    name: str
    which: str | int | None
    """A plugin's name, or the how-manieth (from 1: of the calls of one event, of the scan); None for the first."""
    action: Callable[[], None]
    hook: str = ""
    """Only calls of this hook, if given."""
    reached: bool = False
    seen: int = field(default=0)

    def __str__(self) -> str:
        which = f" {self.which}" if self.which is not None else ""
        return f"{self.name}{which}" + (f" of {self.hook}" if self.hook else "")

    def matches(self, name: str, plugin: str, hook: str, number: int | None) -> bool:
        """Tell whether this arrival is the one waited for; ``number`` None: count the arrivals here."""
        if name != self.name or (self.hook and hook != self.hook):
            return False
        if isinstance(self.which, str):
            return plugin == self.which
        self.seen += 1
        return self.which is None or self.which == (self.seen if number is None else number)


class Points:
    """All points of one run: numbered as they are reached, with the actions armed at them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._armed: list[Armed] = []
        self.count = 0
        """Points reached so far."""
        self.watch: Callable[[str, tuple[Any, ...]], None] = lambda _kind, _args: None
        """Told of each numbered point before anything is played there: its kind, such as ``before load``, and the
        arguments of the port call that it belongs to. Sweeps look on here."""
        self.cannot: dict[str, str] = {}
        """Points at which this kind of dispatcher cannot be held, with the reason."""

    def waits_for(self, name: str) -> bool:
        """Tell whether something is armed at points of this name."""
        return any(armed.name == name for armed in self._armed)

    def arm(self, armed: Armed) -> Armed:
        """Wait for a point."""
        self._armed.append(armed)
        return armed

    def disarm(self, armed: Armed) -> None:
        """Wait no longer."""
        if armed in self._armed:
            self._armed.remove(armed)

    def reach(self, name: str, *, plugin: str = "", hook: str = "", number: int | None = None) -> None:
        """Say that the dispatcher is at a point, and play what is armed there.

        ``number`` is the how-manieth of its kind this one is: of a call, among those of its event (from 1); of
        ``during_scan``, among the builds found.
        """
        for armed in list(self._armed):
            if armed.matches(name, plugin, hook, number) and armed in self._armed:
                self._play(armed)

    def step(self, kind: str, args: tuple[Any, ...] = ()) -> None:
        """Count one more numbered point (``point: k``): the dispatcher is before or after a port or plugin call."""
        self.count += 1
        self.watch(kind, args)
        self.reach("point")

    def _play(self, armed: Armed) -> None:
        self._armed.remove(armed)
        armed.reached = True
        self._journal.record(history.PointReached(t=self._journal.now, point=str(armed)))
        armed.action()
