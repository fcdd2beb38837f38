"""Known-bad dispatchers that deliver too often, what nobody announced, or in the wrong order."""

from collections.abc import Iterable

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, plugins, ports
from hydra_notify_sim.known_bad.arguments import query
from hydra_notify_sim.known_bad.registry import known_bad


@known_bad("delivers-cached-builds-twice", "C-at-most-once")
class DeliversCachedBuildsTwice(core.Dispatcher):
    """Calls the plugins twice for a cached build, to be on the safe side.

    "At least once is good enough": what a consumer does that treats all its channels like the one with a mark.
    """

    def call_all(
        self, interested: Iterable[plugins.Plugin], channel: str, payload: str, loaded: ports.Loaded
    ) -> None:
        """Call all a second time."""
        called = list(interested)
        super().call_all(called, channel, payload, loaded)
        if channel == "cached_build_finished":
            super().call_all(called, channel, payload, loaded)


@known_bad("delivers-started-builds-twice", "E-once")
class DeliversStartedBuildsTwice(core.Dispatcher):
    """Calls the plugins again for the start of a build: whoever counts or sends mail does so twice.

    A hook that is registered under its old and its new name, as after many a renaming.
    """

    def call_all(
        self, interested: Iterable[plugins.Plugin], channel: str, payload: str, loaded: ports.Loaded
    ) -> None:
        """Call all a second time."""
        called = list(interested)
        super().call_all(called, channel, payload, loaded)
        if channel == "build_started":
            super().call_all(called, channel, payload, loaded)


@known_bad("announces-dependents-by-themselves", "E-no-phantom")
class AnnouncesDependentsByThemselves(core.Dispatcher):
    """Announces each dependent as a build of its own, too, which nobody had done.

    A well-meant help for plugins that do not look at the dependents; the chat room gets its four hundred messages.
    """

    def call_all(
        self, interested: Iterable[plugins.Plugin], channel: str, payload: str, loaded: ports.Loaded
    ) -> None:
        """Call all for each dependent."""
        called = list(interested)
        super().call_all(called, channel, payload, loaded)
        for build in loaded.arguments.get("dependents", ()):
            alone = ports.Loaded({"build": build, "dependents": []}, (build,))
            super().call_all(called, channel, str(build.id), alone)


@known_bad("replays-cached-builds", "C-gone")
class ReplaysCachedBuilds(core.Dispatcher):
    """Makes up at its start for the cached builds that it missed, by walking through the evaluations.

    The counterpart of a catch-up for queued builds; on nixpkgs it announces tens of thousands at every deploy.
    """

    def listen_and_scan(self) -> None:
        """Announce every finished build as cached, for every evaluation of its jobset."""
        super().listen_and_scan()
        for evaluation, build in query(
            self,
            "SELECT jobsetevals.id, builds.id FROM jobsetevals JOIN builds USING (jobset_id) WHERE finished = 1 ORDER BY 1, 2",
        ):
            self.waiting.append(ports.Received("cached_build_finished", f"{evaluation}\t{build}"))


@known_bad("drops-cached-builds", "C-live")
class DropsCachedBuilds(core.Dispatcher):
    """Takes a cached build for nothing new and tells nobody: the status of the pull request stays pending for ever.

    Plugins and bots that know build_finished only, which no cached build ever sends.
    """

    def interested(self, channel: str) -> list[plugins.Plugin]:
        """Nobody is, in what is cached."""
        return [] if channel in channels.CACHED_CHANNELS else super().interested(channel)


@known_bad("takes-the-newest-first", "E-order")
class TakesTheNewestFirst(core.Dispatcher):
    """Handles what came last first: a finished build is shown as running for ever.

    A stack where a queue belongs; worker pools and priority lanes give the same picture.
    """

    def handle(self, item: ports.Received | core.Recovered) -> None:
        """Let the last one that waits change places with the first."""
        if self.waiting:
            newest = self.waiting.pop()
            self.waiting.appendleft(item)
            item = newest
        super().handle(item)
