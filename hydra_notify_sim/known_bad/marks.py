"""Known-bad dispatchers that are wrong about marks and start-up."""

from collections.abc import Iterable

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, plugins, ports
from hydra_notify_sim.known_bad.registry import known_bad


@known_bad("scans-before-it-listens", "B-listen-first", "B-at-least-once")
class ScansBeforeItListens(core.Dispatcher):
    """Scans for marks first and subscribes afterwards: what finishes in between is neither found nor heard.

    The classic start-up race of every LISTEN/NOTIFY consumer that "catches up, then listens".
    """

    def listen_and_scan(self) -> None:
        """Scan, then listen."""
        self.backlog.extend(core.Recovered(build) for build in self.store.marked_builds())
        self.inbox.listen((*channels.CHANNELS, channels.DUMP_METRICS))


@known_bad("clears-after-the-first-plugin", "B-clear-after", "B-at-least-once")
class ClearsAfterTheFirstPlugin(core.Dispatcher):
    """Clears the mark as soon as one plugin has succeeded: a crash before the next one loses the event for it.

    What hydra-notify does (quirk hn-first-success-clears).
    """

    def call_all(
        self, interested: Iterable[plugins.Plugin], channel: str, payload: str, loaded: ports.Loaded
    ) -> None:
        """Acknowledge after each success."""
        for plugin in interested:
            if self.call(plugin, channel, loaded):
                self.acknowledge(loaded)
            else:
                self.keep_for_retry(plugin, channel, payload)


@known_bad("clears-without-comparing", "B-clear-own", "B-clear-after")
class ClearsWithoutComparing(core.Dispatcher):
    """Clears whatever mark the build has by then, also that of a later outcome which nobody has seen.

    What hydra-notify does (quirk hn-stale-clear).
    """

    def acknowledge(self, loaded: ports.Loaded) -> None:
        """Look at the rows once more, and clear what they show now."""
        if loaded.builds:
            ids = [build.id for build in loaded.builds]
            super().acknowledge(self.store.load(channels.BuildFinished(ids[0], tuple(ids[1:]))))


@known_bad("never-clears", "B-clear")
class NeverClears(core.Dispatcher):
    """Leaves every mark: all builds that ever finished are announced again at every start.

    What hydra-notify does where no plugin has the hook (quirk hn-never-cleared).
    """

    def acknowledge(self, loaded: ports.Loaded) -> None:
        """Do nothing."""


@known_bad("remembers-build-ids", "B-each-outcome", "B-live", "B-at-least-once")
class RemembersBuildIds(core.Dispatcher):
    """Announces each build once and takes the rest for duplicates: a restarted build's success is never told.

    The usual "make it idempotent by remembering the id" of chat and status bots.
    """

    def deliver(self, event: channels.Event, payload: str) -> None:
        """Skip a build that was announced before."""
        if isinstance(event, channels.BuildFinished):
            seen: set[int] = self.__dict__.setdefault("seen", set())
            if event.build in seen:
                return
            seen.add(event.build)
        super().deliver(event, payload)


@known_bad("never-scans", "B-recover", "B-at-least-once")
class NeverScans(core.Dispatcher):
    """Listens and never looks for marks: what finished while it was down is announced to nobody.

    The first version of every LISTEN/NOTIFY consumer, until its first deploy.
    """

    def listen_and_scan(self) -> None:
        """Listen."""
        super().listen_and_scan()
        self.backlog.clear()


@known_bad("clears-before-calling", "B-clear-after", "B-at-least-once")
class ClearsBeforeCalling(core.Dispatcher):
    """Clears the mark when it takes an event up: a crash inside a plugin loses the event.

    The automatic acknowledgement that message brokers offer as their default.
    """

    def call_all(
        self, interested: Iterable[plugins.Plugin], channel: str, payload: str, loaded: ports.Loaded
    ) -> None:
        """Acknowledge first."""
        self.acknowledge(loaded)
        super().call_all(interested, channel, payload, loaded)


@known_bad("clears-only-the-main-build", "B-dependents", "B-clear")
class ClearsOnlyTheMainBuild(core.Dispatcher):
    """Leaves the marks of the dependents that it handed over: all are announced again, one by one, at the next start.

    The obvious `WHERE id = ?` of whoever takes an event for one build.
    """

    def acknowledge(self, loaded: ports.Loaded) -> None:
        """Acknowledge the first build of the event."""
        super().acknowledge(ports.Loaded(loaded.arguments, loaded.builds[:1]))
