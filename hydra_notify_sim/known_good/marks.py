"""Known-good dispatchers that clear marks at another moment, or in another way, than the reference."""

from collections.abc import Iterable
from typing import Any

from hydra_notify_sim.dispatcher import core, plugins, ports
from hydra_notify_sim.known_good.registry import known_good


@known_good("clears-marks-one-by-one", "B-clear")
class ClearsMarksOneByOne(core.Dispatcher):
    """Clears each mark in a transaction of its own, the dependents' first: a crash in between leaves some."""

    def acknowledge(self, loaded: ports.Loaded) -> None:
        """Acknowledge the builds of the event from the last to the first."""
        for build in reversed(loaded.builds):
            super().acknowledge(ports.Loaded(loaded.arguments, (build,)))


@known_good("clears-marks-when-idle", "B-clear", quiet_ms=200)
class ClearsMarksWhenIdle(core.Dispatcher):
    """Remembers what it has shown, and clears the marks when nothing is waiting any more, or it is asked to stop."""

    def __init__(self, **ports_and_plugins: Any) -> None:
        super().__init__(**ports_and_plugins)
        self._shown: list[ports.Loaded] = []

    def acknowledge(self, loaded: ports.Loaded) -> None:
        """Remember what to clear."""
        self._shown.append(loaded)

    def forget(self) -> None:
        """Forget that too: what is marked is found again by the scan."""
        super().forget()
        self._shown.clear()

    def _work(self, patience: float) -> bool:
        if not self.waiting:
            self.waiting.extend(self.inbox.receive(0.0))
        if not (self.waiting or self.backlog) and self._shown:
            self._clear_all()
        busy = super()._work(patience)
        if self.stopping:
            self._clear_all()
        return busy

    def _clear_all(self) -> None:
        while self._shown:
            super().acknowledge(self._shown[0])
            del self._shown[0]


@known_good("keeps-marks-of-failures", "B-clear")
class KeepsMarksOfFailures(core.Dispatcher):
    """Keeps the mark of an event that failed for a plugin: the next start announces it to all of them again."""

    def __init__(self, **ports_and_plugins: Any) -> None:
        super().__init__(**ports_and_plugins)
        self.failing: set[str] = set()
        """The plugins that failed on the event in hand."""

    def call_all(
        self, interested: Iterable[plugins.Plugin], channel: str, payload: str, loaded: ports.Loaded
    ) -> None:
        """Begin with nobody who failed."""
        self.failing = set()
        super().call_all(interested, channel, payload, loaded)

    def keep_for_retry(self, plugin: plugins.Plugin, channel: str, payload: str) -> None:
        """Note who has failed."""
        self.failing.add(plugin.name)
        super().keep_for_retry(plugin, channel, payload)

    def acknowledge(self, loaded: ports.Loaded) -> None:
        """Acknowledge what nobody failed on."""
        if not self.failing:
            super().acknowledge(loaded)


@known_good("clears-marks-with-the-last-retry", "B-clear")
class ClearsMarksWithTheLastRetry(KeepsMarksOfFailures):
    """Keeps the mark of an event that failed until the last of the plugins that failed on it has succeeded."""

    def __init__(self, **ports_and_plugins: Any) -> None:
        super().__init__(**ports_and_plugins)
        self._unsettled: dict[str, tuple[ports.Loaded, set[str]]] = {}
        """Payload of a build_finished to what was shown, and the plugins that have yet to succeed with it."""

    def acknowledge(self, loaded: ports.Loaded) -> None:
        """Acknowledge now, or when the last retry has succeeded."""
        super().acknowledge(loaded)
        payload = "\t".join(str(build.id) for build in loaded.builds)
        if self.failing:
            self._unsettled[payload] = loaded, self.failing

    def succeeded(self, task: ports.Task) -> None:
        """Clear what was shown back then, and nothing newer, when nobody is left who failed on it."""
        super().succeeded(task)
        loaded, failing = self._unsettled.get(task.payload, (None, set()))
        failing.discard(task.plugin)
        if loaded is not None and not failing:
            del self._unsettled[task.payload]
            self.failing = failing
            super().acknowledge(loaded)

    def forget(self) -> None:
        """Forget that too: what is marked is found again by the scan."""
        super().forget()
        self._unsettled.clear()
