"""What has to have happened for a quirk of hydra-notify to be at work: without it the quirk explains nothing.

Profile ``upstream`` takes a violation for *known* only where the quirk breaks that promise and its circumstances
stand in the history, so that a dispatcher which loses a build without any crash is not excused by one that
loses builds in crashes. What each quirk does is told in `hydra_notify_sim.contract.quirks`.
"""

from collections.abc import Callable
from typing import Any

from hydra_notify_sim import history
from hydra_notify_sim.checks.events import called_event, read
from hydra_notify_sim.checks.world import World, builds_of, row_id
from hydra_notify_sim.contract import channels

FIRST_SUCCESS = "hn-first-success-clears"
STALE_CLEAR = "hn-stale-clear"
TRUNCATED = "hn-truncated-dependents"
DEAF = "hn-deaf-after-reconnect"
LOST_WAKEUP = "hn-lost-wakeup"
LIVELOCK = "hn-retry-livelock"
POISON = "hn-poison-retry"
NEVER_CLEARED = "hn-never-cleared"
UNFINISHED = "hn-recovery-unfinished"
NO_SIGTERM = "hn-no-sigterm"
EMPTY_TRACE = "hn-empty-trace"
LOOSE_PARSE = "hn-loose-parse"
UNICODE_DIGITS = "hn-unicode-digits"
OLD_PAYLOADS = "hn-old-payloads"

_OF_TRUNCATION = ("P-missing-row", "P-arguments", "B-clear-after", "B-dependents", "R-stored", "R-backoff")
_OF_A_STALE_CLEAR = ("B-clear-own", "B-at-least-once", "B-each-outcome", "B-clear-after")
_WITH_ERROR_CHANGED = frozenset({"eval_added", "eval_failed"})
_EVALUATIONS = frozenset({"eval_started", "eval_added", "eval_cached", "eval_failed"})


class Circumstances:
    """Folds the records, each after the world has taken it in; it judges nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._met: set[tuple[str, str]] = set()
        self._announced: set[int] = set()
        """Builds of which a build_finished was sent or delivered since it last settled."""
        self._unsettled = False
        """Something was sent, or it has started, since it last settled."""
        self._finishes = False
        """A build_finished may be in hand: one was sent or delivered, or marks were there at its start."""
        self._may_stall = False
        """Something was sent while it was busy, since it last settled."""
        self._readers: dict[type, Callable[[Any], None]] = {
            history.Commit: self._commit,
            history.Called: self._called,
            history.Observed: self._observed,
            history.Settled: self._settled,
            history.NotSettled: self._stalled,
            history.Kicked: self._stalled,
            history.Starting: self._starting,
            history.ServerOpened: self._starting,
            history.Crashed: self._lost,
            history.Stopping: self._lost,
            history.Ended: self._lost,
            history.Disconnected: self._lost,
        }

    def take(self, record: history.AnyRecord) -> None:
        """Take one record in."""
        reader = self._readers.get(type(record))
        if reader is not None:
            reader(record)

    def met(self, quirk: str, promise: str) -> bool:
        """Tell whether the history holds what it takes for this quirk to break this promise."""
        return (quirk, promise) in self._met

    def _commit(self, record: history.Commit) -> None:
        world = self._world
        for outcome in record.outcomes:
            if outcome.build in self._announced:
                self._meet(STALE_CLEAR, *_OF_A_STALE_CLEAR)
        if record.restarted:
            self._meet(UNFINISHED, "B-unfinished")
        if record.notifications and (record.busy or self._unsettled):
            self._may_stall = True
            self._meet(LOST_WAKEUP, "L-no-stall")
        for row in record.rows:
            self._row(row)
        for sent in record.notifications:
            self._unsettled = True
            self._payload(sent)
            event = read(sent.channel, sent.payload, world.header.payloads)[0]
            if isinstance(event, channels.BuildFinished):
                self._build_finished(event, sent.missing)

    def _payload(self, sent: history.Notification) -> None:
        if sent.channel in _EVALUATIONS and sent.payload.startswith("\t"):
            self._meet(EMPTY_TRACE, "P-malformed")
        if sent.channel in _WITH_ERROR_CHANGED and self._world.header.payloads == "2026-09":
            self._meet(OLD_PAYLOADS, "E-live")
        if "\n\t" in sent.payload:
            self._meet(LOOSE_PARSE, "P-malformed")
        if any(character.isdigit() and not character.isascii() for character in sent.payload):
            self._meet(UNICODE_DIGITS, "P-malformed")

    def _row(self, row: history.RowChange) -> None:
        build = row_id(row) if row.table == "builds" else None
        if build is None:
            return
        named = self._world.named_by_task(build)
        if row.change == "deleted" and (named or build in self._announced):
            self._meet(TRUNCATED, *_OF_TRUNCATION)
        if row.change == "inserted" and named:
            self._meet(UNFINISHED, "B-unfinished")

    def _build_finished(self, event: channels.BuildFinished, missing: tuple[str, ...]) -> None:
        self._finishes = True
        self._announced.update((event.build, *event.dependents))
        if event.build in self._world.unfinished:
            self._meet(UNFINISHED, "B-unfinished")
        if set(missing) & {
            f"builds:{dependent}" for dependent in event.dependents if dependent != event.build
        }:
            self._meet(TRUNCATED, *_OF_TRUNCATION)

    def _called(self, record: history.Called) -> None:
        if record.hook != "build_finished":
            return
        self._finishes = True
        self._meet(FIRST_SUCCESS, "B-clear-after")
        event = called_event(record.hook, record.args)
        self._announced.update(builds_of(event) if event is not None else ())

    def _observed(self, _record: history.Observed) -> None:
        world = self._world
        for _, task in world.moved:
            if task is not None:
                self._task(task)
        if not world.unfinished.isdisjoint(world.marks):
            self._meet(UNFINISHED, "B-unfinished")

    def _task(self, task: history.Task) -> None:
        world = self._world
        event = world.task_event(task)
        if event is None:
            self._meet(POISON, "R-poison", "L-lives")
            return
        if world.life and not world.has_hook(task.plugin, task.channel):
            self._meet(LIVELOCK, "R-gone-plugin", "R-backoff")
        if not world.unfinished.isdisjoint(builds_of(event)[:1]):
            self._meet(UNFINISHED, "B-unfinished")

    def _settled(self, _record: history.Settled) -> None:
        self._announced.clear()
        self._unsettled = self._finishes = self._may_stall = False

    def _stalled(self, _record: history.NotSettled | history.Kicked) -> None:
        if self._may_stall:
            self._meet(LOST_WAKEUP, "E-live", "B-live", "C-live")

    def _starting(self, _record: history.Starting | history.ServerOpened) -> None:
        world = self._world
        self._unsettled = True
        self._finishes = self._finishes or bool(world.marks)
        if not world.interested("build_finished"):
            self._meet(NEVER_CLEARED, "B-clear")
        for task in world.tasks.values():
            self._task(task)

    def _lost(
        self, record: history.Crashed | history.Stopping | history.Ended | history.Disconnected
    ) -> None:
        if self._finishes:
            self._meet(FIRST_SUCCESS, "B-at-least-once")
        if isinstance(record, history.Stopping):
            self._meet(NO_SIGTERM, "L-stop")
        if isinstance(record, history.Disconnected):
            self._meet(DEAF, "L-reconnect", "L-lives")

    def _meet(self, quirk: str, *promises: str) -> None:
        self._met.update((quirk, promise) for promise in promises)
