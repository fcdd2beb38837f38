"""Known-bad dispatchers that are wrong about what a payload says and which rows a plugin is handed."""

import dataclasses
from collections.abc import Iterable

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, plugins, ports, rows
from hydra_notify_sim.known_bad.registry import known_bad


@known_bad("takes-spaces-for-tabs", "P-malformed")
class TakesSpacesForTabs(core.Dispatcher):
    """Splits payloads at any white space: what a person mistyped in psql is announced as if it were meant.

    The `split` without an argument, in Python, Perl and shell alike.
    """

    def handle(self, item: ports.Received | core.Recovered) -> None:
        """Put tabs for spaces."""
        if isinstance(item, ports.Received):
            item = dataclasses.replace(item, payload=item.payload.replace(" ", "\t"))
        super().handle(item)


@known_bad("leaves-out-missing-dependents", "P-missing-row")
class LeavesOutMissingDependents(core.Dispatcher):
    """Announces a build without those of its dependents that do not exist, as if they had not been named.

    What hydra-notify does for every plugin but the first (quirk hn-truncated-dependents).
    """

    def deliver(self, event: channels.Event, payload: str) -> None:
        """Shorten the list to what exists."""
        if isinstance(event, channels.BuildFinished):
            there = tuple(build for build in event.dependents if self._exists(build))
            event = channels.BuildFinished(event.build, there)
        super().deliver(event, payload)

    def _exists(self, build: int) -> bool:
        try:
            self.store.load(channels.BuildQueued(build))
        except ports.MissingRowError:
            return False
        return True


@known_bad("takes-a-dash-for-a-path", "P-arguments")
class TakesADashForAPath(core.Dispatcher):
    """Hands over the log path `-` of a step without a log as it stands: plugins try to open a file of that name.

    Whoever reads the payload's third field without the manual's footnote to it.
    """

    def call_all(
        self, interested: Iterable[plugins.Plugin], channel: str, payload: str, loaded: ports.Loaded
    ) -> None:
        """Put the dash back."""
        if channel == "step_finished" and loaded.arguments["log_path"] is None:
            loaded = ports.Loaded({**loaded.arguments, "log_path": "-"})
        super().call_all(interested, channel, payload, loaded)


@known_bad("hands-over-stale-rows", "B-fresh")
class HandsOverStaleRows(core.Dispatcher):
    """Keeps each build's row from the first time that it saw it: the right event with the status of before.

    The identity map of an object-relational mapper whose session lives as long as the process (relative of the
    quirk hn-stale-rows).
    """

    def call_all(
        self, interested: Iterable[plugins.Plugin], channel: str, payload: str, loaded: ports.Loaded
    ) -> None:
        """Take the main build's row from memory."""
        build = loaded.arguments.get("build")
        if isinstance(build, rows.Build):
            seen: dict[int, rows.Build] = self.__dict__.setdefault("seen", {})
            arguments = {**loaded.arguments, "build": seen.setdefault(build.id, build)}
            loaded = ports.Loaded(arguments, loaded.builds)
        super().call_all(interested, channel, payload, loaded)


@known_bad("hands-over-unfinished-builds", "B-unfinished")
class HandsOverUnfinishedBuilds(core.Dispatcher):
    """Announces a build as finished though it was restarted meanwhile and is not.

    What hydra-notify does from stale marks, late notifications and retries (quirk hn-recovery-unfinished).
    """

    def deliver(self, event: channels.Event, payload: str) -> None:
        """Call the plugins without a look at the row."""
        if isinstance(event, channels.BuildFinished):
            try:
                loaded = self.store.load(event)
            except ports.MissingRowError:
                pass
            else:
                if core.is_unfinished(loaded):
                    self.call_all(self.interested(event.channel), event.channel, payload, loaded)
                    return
        super().deliver(event, payload)


@known_bad("merges-split-announcements", "L-split")
class MergesSplitAnnouncements(core.Dispatcher):
    """Takes the parts of a split build_finished for repetitions of the first one, and skips them.

    The debouncing of "equal" events by build id in chat bots; a thousand statuses stay pending (qr-split).
    """

    def handle(self, item: ports.Received | core.Recovered) -> None:
        """Skip those that wait behind this one and name the same main build."""
        if isinstance(item, ports.Received) and item.channel == "build_finished":
            main = item.payload.split("\t")[0]
            while self.waiting and _is_of(self.waiting[0], main):
                self.waiting.popleft()
        super().handle(item)


def _is_of(item: ports.Received | core.Recovered, main: str) -> bool:
    return (
        isinstance(item, ports.Received)
        and item.channel == "build_finished"
        and "\t" in item.payload
        and item.payload.split("\t")[0] == main
    )
