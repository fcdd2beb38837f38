"""What a test asked for and did not happen: then it tested something else, or nothing, and must not pass."""

from collections.abc import Iterable

from hydra_notify_sim import history
from hydra_notify_sim.testing.dispatcher import At
from hydra_notify_sim.testing.plugins import RecorderPlugin


class NotExercisedError(AssertionError):
    """Something that the test asked for did not happen; the message says what, and what to write."""


class Asked:
    """The points and the recorders that a test made."""

    def __init__(self) -> None:
        self.points: list[At] = []
        self.recorders: list[RecorderPlugin] = []
        self.installed: list[RecorderPlugin] = []

    def points_in_vain(self) -> list[str]:
        """Return what is wrong with each point that no ``with`` block was entered for."""
        return [f"{point.unused}." for point in self.points if point.unused]

    def in_vain(self, records: Iterable[history.AnyRecord]) -> list[str]:
        """Return a sentence for each thing that was asked for and did not happen."""
        called: dict[int, str] = {}
        raised: set[str] = set()
        for record in records:
            match record:
                case history.Called():
                    called[record.call] = record.plugin
                case history.Raised():
                    raised.add(called[record.call])
                case _:
                    pass
        return [
            *self.points_in_vain(),
            *(why for plugin in self.recorders if (why := self._why(plugin, set(called.values()), raised))),
        ]

    def _why(self, plugin: RecorderPlugin, called: set[str], raised: set[str]) -> str:
        if not any(plugin is one for one in self.installed):
            return f"the plugin {plugin.name} was made and never installed: write hydra.install(hydra.plugin(…))."
        if plugin.given.raises is not None and plugin.name not in raised:
            how = "none of its calls did" if plugin.name in called else "it was never called"
            return (
                f"the plugin {plugin.name} was to fail (raises=…), and {how}, so no failure was tested. Let happen what "
                "it should fail at, or leave `raises` out."
            )
        if plugin.given.holds and plugin.name not in called:
            return (
                f"the plugin {plugin.name} was to hold its call (holds=True), and it was never called. Let happen what it "
                "should be called for, or leave `holds` out."
            )
        return ""
