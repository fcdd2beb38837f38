"""Known-good dispatchers that do what the reference does in another order: plugins, marks found at the start, rows."""

from collections.abc import Iterable

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, plugins, ports
from hydra_notify_sim.known_good.registry import known_good


@known_good("sorts-plugins-backwards", "P-arguments")
class SortsPluginsBackwards(core.Dispatcher):
    """Calls the plugins in the reverse of their names' order: no order is promised."""

    def interested(self, channel: str) -> list[plugins.Plugin]:
        """Return them sorted."""
        return sorted(super().interested(channel), key=lambda plugin: plugin.name, reverse=True)


@known_good("reverses-plugins-at-each-event", "P-arguments")
class ReversesPluginsAtEachEvent(core.Dispatcher):
    """Calls the plugins from the first to the last, at the next event from the last to the first, and so on."""

    def call_all(
        self, interested: Iterable[plugins.Plugin], channel: str, payload: str, loaded: ports.Loaded
    ) -> None:
        """Call them, and turn the order for the next event."""
        super().call_all(interested, channel, payload, loaded)
        self.plugins = tuple(reversed(self.plugins))


@known_good("scans-newest-first", "B-recover")
class ScansNewestFirst(core.Dispatcher):
    """Announces the marks that it found at its start from the newest to the oldest: what somebody waits for first."""

    def listen_and_scan(self) -> None:
        """Turn what the scan has found."""
        super().listen_and_scan()
        self.backlog.reverse()


@known_good("reads-rows-one-by-one", "B-fresh")
class ReadsRowsOneByOne(core.Dispatcher):
    """Reads each build of an event in a transaction of its own: between two of them the world may go on."""

    def load(self, event: channels.Event) -> ports.Loaded:
        """Read the builds, the dependents first."""
        if not isinstance(event, channels.BuildFinished):
            return super().load(event)
        found = {
            build: super(ReadsRowsOneByOne, self).load(channels.BuildFinished(build)).builds[0]
            for build in (*reversed(event.dependents), event.build)
        }
        builds = tuple(found[build] for build in (event.build, *event.dependents))
        return ports.Loaded({"build": builds[0], "dependents": list(builds[1:])}, builds)
