"""The dispatcher of a test: its life, and the points of its work at which something is to happen."""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hydra_notify_sim import errors, history
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.points import Point
from hydra_notify_sim.testing.handles import Build, plugin_name
from hydra_notify_sim.testing.told import NotedPoint
from hydra_notify_sim.testing.words import made

if TYPE_CHECKING:
    from hydra_notify_sim.testing.hydra import Hydra


__tracebackhide__ = True
"""Pytest shows a failure where the test is, not in here."""


class PointNotReachedError(AssertionError):
    """The dispatcher never came to a point at which something was to happen, so the test tested nothing."""


class Dispatcher:
    """The dispatcher under test. It starts by itself with the first action, unless it was stopped before."""

    def __init__(self, hydra: "Hydra") -> None:
        self._hydra = hydra
        self.begun = False
        """Whether it was started or told to stay down."""

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self._hydra.target.alive

    def start(self, plugins: Iterable[object] | None = None) -> None:
        """Start it; returns when it is up and has done what was waiting. ``plugins``: only these, not all."""
        self.begun = True
        names = None if plugins is None else [plugin_name(plugin) for plugin in plugins]
        self._hydra.play(made(verbs.Dispatcher, dispatcher="start", plugins=names))

    def stop(self) -> None:
        """Ask it to stop, as SIGTERM does: what it has in hand is finished. Before the first action: it stays down."""
        if not self.begun:
            self.begun = True
            return
        self._hydra.play(verbs.Dispatcher(dispatcher="stop"))

    def crash(self) -> None:
        """Kill it: no goodbye, its memory is gone."""
        self._ensure_begun()
        self._hydra.play(verbs.Dispatcher(dispatcher="crash"))

    def restart(self) -> None:
        """Stop and start it."""
        self._ensure_begun()
        self._hydra.play(verbs.Dispatcher(dispatcher="restart"))

    def lose_connection(self, *, reply_lost: bool = False) -> None:
        """Cut its connections to the database; the server stays up.

        ``reply_lost``, at a point: the commit that it is about to make is applied, and the answer is not seen.
        """
        self._ensure_begun()
        self._hydra.play(verbs.Connection(connection="lost", reply_lost=reply_lost))

    def _ensure_begun(self) -> None:
        if not self.begun:
            self.start()

    def __repr__(self) -> str:
        return f"<dispatcher, {'running' if self.running else 'not running'}>"


class At:
    """Something that happens once, when the dispatcher gets to a point, while a ``with`` block runs."""

    def __init__(self, hydra: "Hydra", point: Point) -> None:
        self._hydra = hydra
        self._point = point
        self._action: Callable[[], object] | None = None
        self._armed: NotedPoint | None = None
        self._entered = False

    @property
    def unused(self) -> str:
        """What is wrong with it if no ``with`` block ever ran under it; empty if one did."""
        if self._entered:
            return ""
        written = f"hydra.at({self._point.name!r}, …)"
        return (
            f"the point {self._point}: {written} does nothing by itself, so nothing happened there. Write "
            f"`with {written}.crash():` (or what else is to happen) around the actions during which the dispatcher gets there"
        )

    def do(self, action: Callable[[], object]) -> Self:
        """Let a function be called there; it may use ``hydra``. The dispatcher stands still meanwhile."""
        self._action = action
        return self

    def crash(self) -> Self:
        """Let the dispatcher crash there."""
        return self.do(self._hydra.dispatcher.crash)

    def stop(self) -> Self:
        """Ask the dispatcher to stop there."""
        return self.do(self._hydra.dispatcher.stop)

    def lose_connection(self, *, reply_lost: bool = False) -> Self:
        """Cut the dispatcher's connections there."""
        return self.do(lambda: self._hydra.dispatcher.lose_connection(reply_lost=reply_lost))

    def restart(self, *builds: Build) -> Self:
        """Let a person restart builds there."""
        return self.do(lambda: self._hydra.restart(*builds))

    def cancel(self, *builds: Build) -> Self:
        """Let a person cancel builds there."""
        return self.do(lambda: self._hydra.cancel(*builds))

    def __enter__(self) -> Self:
        self._entered = True
        action, hydra = self._action, self._hydra
        if action is None:
            raise errors.UsageError(
                f"nothing is to happen at {self._point}; say what: hydra.at(…).crash(), .stop(), "
                ".lose_connection(), .restart(build), .cancel(build) or .do(function)"
            )

        def reached() -> None:
            assert armed is not None
            hydra.story.at_point(armed)
            try:
                action()
            finally:
                hydra.story.point_over(armed)

        armed = NotedPoint(self._point.name, self._point.which, reached, hook=self._point.hook or "")
        hydra.story.waits(armed)
        hydra.target.points.arm(armed)
        self._armed = armed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        armed, self._armed = self._armed, None
        if armed is None or armed.reached:
            return
        target = self._hydra.target
        target.points.disarm(armed)
        why = target.points.cannot.get(armed.name, "the dispatcher never got there while the block ran")
        reason = f"the point {armed}: {why}, so nothing happened there"
        if error is None:
            raise PointNotReachedError(reason)
        target.journal.record(history.PointMissed(t=target.journal.now, point=str(armed), reason=reason))
