"""Known-bad dispatchers that are wrong about events, their payloads and their failures."""

from collections.abc import Iterable

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, plugins, ports
from hydra_notify_sim.known_bad.arguments import query
from hydra_notify_sim.known_bad.registry import known_bad


@known_bad("does-not-store-failures", "R-stored", "B-at-least-once", "E-live")
class DoesNotStoreFailures(core.Dispatcher):
    """Logs a plugin's failure and goes on: an outage of the chat server silently loses every message.

    What hydra-notify did before it had retries.
    """

    def keep_for_retry(self, plugin: plugins.Plugin, channel: str, payload: str) -> None:
        """Keep nothing."""


@known_bad("retries-every-plugin", "R-backoff")
class RetriesEveryPlugin(core.Dispatcher):
    """Tries the whole event again when one plugin failed: those that had succeeded are told twice.

    What a queue does that knows jobs, but not consumers.
    """

    def retry(self, task: ports.Task) -> None:
        """Call the others first, then the one that failed."""
        event = channels.parse(task.channel, task.payload, self.payloads)
        loaded = self.store.load(event)
        for plugin in self.interested(event.channel):
            if plugin.name != task.plugin:
                self.call(plugin, event.channel, loaded)
        super().retry(task)


@known_bad("replays-ephemeral-events", "E-gone")
class ReplaysEphemeralEvents(core.Dispatcher):
    """Makes up at its start for the build_queued that it missed, by walking through the builds.

    A well-meant catch-up: a hundred thousand old builds are announced as new after an upgrade.
    """

    def listen_and_scan(self) -> None:
        """Announce every unfinished build as queued."""
        super().listen_and_scan()
        for (build,) in query(self, "SELECT id FROM builds WHERE finished = 0 ORDER BY id"):
            self.waiting.append(ports.Received("build_queued", str(build)))


@known_bad("stops-at-a-malformed-payload", "P-malformed", "L-lives")
class StopsAtAMalformedPayload(core.Dispatcher):
    """Dies of a payload that it cannot read: one NOTIFY typed by hand ends all announcements.

    What hydra-notify does with a stored one (quirk hn-poison-retry).
    """

    def handle(self, item: ports.Received | core.Recovered) -> None:
        """Read before anything else, and let the error out."""
        if isinstance(item, ports.Received) and item.channel in channels.CHANNELS:
            channels.parse(item.channel, item.payload, self.payloads)
        super().handle(item)


@known_bad("shortens-the-dependents", "P-arguments", "B-dependents")
class ShortensTheDependents(core.Dispatcher):
    """Hands over all dependents but the last one.

    What hydra-notify does when one is missing (quirk hn-truncated-dependents).
    """

    def call_all(
        self, interested: Iterable[plugins.Plugin], channel: str, payload: str, loaded: ports.Loaded
    ) -> None:
        """Drop the last dependent."""
        arguments = dict(loaded.arguments)
        if arguments.get("dependents"):
            arguments["dependents"] = arguments["dependents"][:-1]
        super().call_all(interested, channel, payload, ports.Loaded(arguments, loaded.builds))
