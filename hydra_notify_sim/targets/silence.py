"""Which calls are owed for what has committed: they are waited for in silence, before any sentinel (L-no-stall)."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hydra_notify_sim import history
from hydra_notify_sim.checks.events import called_event, rows_named
from hydra_notify_sim.contract import channels
from hydra_notify_sim.recorders.journal import Journal


class Silence:
    """Counts the calls that commits ask for against those that came."""

    def __init__(self, journal: Journal, payloads: channels.PayloadVersion) -> None:
        self._journal = journal
        self._payloads = payloads
        self._owed: Counter[tuple[str, channels.Event]] = Counter()
        self.wanted = False
        """Whether something was committed while the dispatcher was busy: it must go on with that by itself."""

    def committed(self, commit: history.Commit, hooks: Mapping[str, tuple[str, ...]]) -> None:
        """Take in what a transaction asks for."""
        self.wanted = self.wanted or commit.busy
        # Whoever has not loaded a row by now finds it gone, and calls nobody (P-missing-row).
        gone = {(row.table, row.id) for row in commit.rows if row.change == "deleted"}
        for key in list(self._owed) if gone else ():
            if not gone.isdisjoint(rows_named(key[1])):
                del self._owed[key]
        for notification in commit.notifications:
            try:
                event = channels.parse(notification.channel, notification.payload, self._payloads)
            except channels.MalformedPayloadError:
                continue
            if not notification.missing:
                self._owed.update(
                    (plugin, event) for plugin, theirs in hooks.items() if event.channel in theirs
                )

    def called(self, plugin: str, hook: str, arguments: Mapping[str, Any]) -> None:
        """Take in a call."""
        event = called_event(hook, arguments)
        if event is not None and self._owed[plugin, event] > 0:
            self._owed[plugin, event] -= 1

    def open(self) -> int:
        """Return how many calls are still owed; nobody is told of a build that is unfinished again."""
        owed = +self._owed
        finished = [event.build for _, event in owed if isinstance(event, channels.BuildFinished)]
        if finished:
            found = self._journal.connection.execute(
                "SELECT id FROM builds WHERE id = ANY(%s) AND finished = 0", [finished]
            )
            unfinished = {build for (build,) in found}
            for key in list(owed):
                if isinstance(key[1], channels.BuildFinished) and key[1].build in unfinished:
                    del owed[key]
        return owed.total()

    def clear(self) -> None:
        """Begin anew: it has settled, or is lost."""
        self._owed.clear()
        self.wanted = False
