"""Outcomes of builds against their marks and the calls that show them: the promises B-* (B-live is in `deliveries`)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra_notify_sim import history
from hydra_notify_sim.checks.deliveries import OpenCall
from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.checks.verdicts import Allowed
from hydra_notify_sim.checks.world import World
from hydra_notify_sim.contract import channels, statuses

Shown = tuple[int | None, int | None, int | None]
"""Status, start and stop of a finished row; transitions equal in all three are one outcome."""


@dataclass(slots=True)
class Version:
    """A build's row after one transition."""

    record: int
    shown: Shown | None
    """None: unfinished."""
    pending: bool = False


@dataclass(slots=True)
class EventSeen:
    """The calls of one event that named a build, since the build's last transition, in one life."""

    first: int
    returned: set[str] = field(default_factory=set)
    raised: set[str] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class Tracked:
    """A build about which something is open."""

    id: int
    versions: list[Version]
    marked: bool = False
    notified: int = -1
    """Record of a NOTIFY of the present outcome, committed while up or starting."""
    notified_while: str = ""
    main_while_up: bool = False
    """That NOTIFY was committed while up, named it as the main build, and nothing was lost since."""
    start_since: int = -1
    recover: int = -1
    """Record of the start at which it carried a mark and was finished."""
    recovered: set[str] = field(default_factory=set)
    recover_unfinished: bool = False
    shown: dict[str, int] = field(default_factory=dict)
    """Plugin to the newest version that a call showed it."""
    covered: dict[str, int] = field(default_factory=dict)
    last_shown: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Plugin to the version that its last call showed, and that call's record."""
    first_shown: dict[int, int] = field(default_factory=dict)
    events: dict[channels.Event, EventSeen] = field(default_factory=dict)
    unheard: int = -1
    """Record of an event that named the present outcome and found no interested plugin."""
    owed_to: frozenset[str] | None = None
    """Who was interested when the mark was cleared."""
    given_up: set[str] = field(default_factory=set)
    restarted: bool = False
    overtaken: int = -1
    """Record of an outcome that committed while a call showed an older one."""

    @property
    def present(self) -> Version:
        """The row as it is now."""
        return self.versions[-1]

    @property
    def newest(self) -> int:
        """The present version's number."""
        return len(self.versions) - 1


class Outcomes:
    """Judges what becomes of each outcome and its mark."""

    def __init__(self, world: World, findings: Findings) -> None:
        self.world = world
        self.findings = findings
        self.builds: dict[int, Tracked] = {}
        self._open: dict[int, list[tuple[Tracked, int]]] = {}
        self._main_of: dict[int, tuple[Tracked | None, channels.Event]] = {}
        self._tested: dict[str, int] = {}

    # Transactions

    def commit(self, number: int, record: history.Commit) -> None:
        """Take outcomes, restarts and notifications in."""
        for build in record.restarted:
            tracked = self._track(build)
            tracked.restarted = True
            self._transition(tracked, Version(number, None))
        for outcome in record.outcomes:
            self._finished(number, outcome)
        for row in record.rows:
            if row.table == "builds" and row.change == "deleted":
                self.builds.pop(int(row.id), None)
        for notification in record.notifications:
            if notification.channel == "build_finished":
                self._notified(number, notification)

    def _finished(self, number: int, outcome: history.Outcome) -> None:
        tracked = self._track(outcome.build)
        shown = (outcome.status, outcome.start, outcome.stop)
        previous = next((v for v in reversed(tracked.versions) if v.shown is not None), None)
        overtaken = bool(tracked.first_shown)
        self._transition(tracked, Version(number, shown, outcome.pending))
        tracked.marked = outcome.pending
        if outcome.pending and overtaken and previous is not None and previous.shown != shown:
            tracked.overtaken = number

    def _transition(self, tracked: Tracked, version: Version) -> None:
        tracked.versions.append(version)
        tracked.notified = tracked.start_since = tracked.recover = tracked.unheard = -1
        tracked.notified_while = ""
        tracked.main_while_up = False
        tracked.recover_unfinished = False
        tracked.recovered.clear()
        tracked.events.clear()
        tracked.owed_to = None
        tracked.given_up.clear()

    def _notified(self, number: int, notification: history.Notification) -> None:
        try:
            event = channels.parse("build_finished", notification.payload, self.world.header.payloads)
        except channels.MalformedPayloadError:
            return
        assert isinstance(event, channels.BuildFinished)
        heard = self.world.phase in {"up", "starting"}
        main_unfinished = event.build in self.world.unfinished
        if main_unfinished and heard:
            self._tested.setdefault("B-unfinished", number)
        for build in {event.build, *event.dependents}:
            tracked = self.builds.get(build)
            if tracked is None or tracked.present.shown is None or main_unfinished or not heard:
                continue
            if tracked.notified < 0:
                tracked.notified, tracked.notified_while = number, self.world.phase
                tracked.main_while_up = build == event.build and self.world.phase == "up"
            if not self.world.interested("build_finished") and not notification.missing:
                tracked.unheard = number

    # Calls

    def called(self, number: int, record: history.Called, call: OpenCall) -> None:
        """Take in which versions a call shows, and judge the rows."""
        if record.hook != "build_finished" or call.event is None:
            return
        main, dependents = record.args["build"], record.args["dependents"]
        if not main.get("finished"):
            self.findings.violate(
                "B-unfinished",
                f"no row handed over as main build should be unfinished; {record.plugin} was told that {self.world.build(main['id'])} had "
                "finished, and its row is unfinished.",
                [number],
            )
        showing: list[tuple[Tracked, int]] = []
        since = call.booking.emission.record if call.booking.emission is not None else -1
        for row in (main, *dependents):
            tracked = self.builds.get(row["id"])
            if tracked is None:
                continue
            version = self._version(number, record, tracked, row, since)
            if version is not None:
                self._shows(number, record, tracked, version, call.event)
                showing.append((tracked, version))
        self._open[record.call] = showing
        tracked_main = self.builds.get(main["id"])
        if tracked_main is not None and not dependents:
            tracked_main.recovered.add(record.plugin)

    def _version(
        self, number: int, record: history.Called, tracked: Tracked, row: Mapping[str, Any], since: int
    ) -> int | None:
        shown: Shown | None = (
            (row["buildstatus"], row["starttime"], row["stoptime"]) if row["finished"] else None
        )
        found = next((i for i in range(tracked.newest, -1, -1) if tracked.versions[i].shown == shown), None)
        needed = max((i for i, v in enumerate(tracked.versions) if v.record <= since), default=0)
        if since >= 0:
            self._tested.setdefault("B-fresh", number)
        if needed > (found if found is not None else -1):
            had = self._describe(Version(-1, shown))
            self.findings.violate(
                "B-fresh",
                f"{record.plugin} should be handed a row of {self.world.build(tracked.id)} at least as new as the notification "
                f"({self._describe(tracked.versions[needed])}); it was handed an older one ({had}).",
                [since, tracked.versions[needed].record, number],
            )
        return found

    def _shows(
        self, number: int, record: history.Called, tracked: Tracked, version: int, event: channels.Event
    ) -> None:
        tracked.shown[record.plugin] = max(version, tracked.shown.get(record.plugin, -1))
        tracked.last_shown[record.plugin] = (version, number)
        if tracked.overtaken >= 0 and version == tracked.newest:
            # The event of the older outcome is over, and its clearing with it.
            self.findings.exercise("B-clear-own", tracked.overtaken)
            tracked.overtaken = -1
        tracked.first_shown.setdefault(version, number)
        if version == tracked.newest:
            tracked.events.setdefault(event, EventSeen(number))
        if version <= tracked.covered.get(record.plugin, -1) and tracked.versions[version].shown is not None:
            what = f"build_finished {self.world.build(tracked.id)} for {record.plugin}: at least once; B-at-least-once allows it"
            self.findings.allow(
                Allowed(
                    "repeated",
                    what,
                    "B-at-least-once",
                    (number,),
                    "build_finished",
                    tracked.id,
                    record.plugin,
                )
            )

    def returned(self, number: int, record: history.Returned, call: OpenCall) -> None:
        """Take in who is covered."""
        for tracked, version in self._open.pop(record.call, ()):
            if tracked.versions[version].shown is not None:
                tracked.covered[call.plugin] = max(version, tracked.covered.get(call.plugin, -1))
            seen = tracked.events.get(call.event) if call.event is not None else None
            if seen is not None and call.booking.cause != "retry":
                seen.returned.add(call.plugin)
        del number

    def raised(self, record: history.Raised, call: OpenCall) -> None:
        """Take in who failed."""
        for tracked, _ in self._open.pop(record.call, ()):
            seen = tracked.events.get(call.event) if call.event is not None else None
            if seen is not None:
                seen.raised.add(call.plugin)

    def cut_off(self, record: history.CutOff) -> None:
        """Forget a call that was cut off."""
        self._open.pop(record.call, None)

    def given_up(self, plugin: str, event: channels.Event) -> None:
        """Take in that a task was dropped as the contract allows: that plugin is owed nothing more."""
        if isinstance(event, channels.BuildFinished):
            for build in (event.build, *event.dependents):
                if build in self.builds:
                    self.builds[build].given_up.add(plugin)

    # Marks

    def observed(self, number: int) -> None:
        """Judge each mark that somebody cleared since rows were last observed."""
        for tracked in self.builds.values():
            if tracked.marked and tracked.id not in self.world.marks:
                self._cleared(number, tracked)
            elif not tracked.marked and tracked.id in self.world.marks:
                tracked.marked = True
        for build in self.world.marks:
            if build not in self.builds:
                # A mark on a build that nothing was known of: from rows written before the history began.
                self._track(build).marked = True

    def _cleared(self, number: int, tracked: Tracked) -> None:
        tracked.marked = False
        if self.world.phase in {"down", "closed"} and not self.world.life:
            return
        version = self._marked_version(tracked)
        interested = self.world.interested("build_finished")
        tracked.owed_to = frozenset(interested)
        unseen = [p for p in interested if not self._has_seen(tracked, p, version)]
        if interested:
            self._tested.setdefault("B-clear-after", number)
        if tracked.present.shown is None and unseen:
            self._cleared_unfinished(number, tracked)
            return
        if not unseen:
            return
        name = self.world.build(tracked.id)
        outcome = self._describe(tracked.versions[version])
        proof = [tracked.versions[version].record, number]
        self.findings.violate(
            "B-clear-after",
            f"the mark of {name} ({outcome}) should be cleared only when every interested plugin has been shown that outcome and has "
            f"succeeded, or its failure was stored; it was cleared, and {', '.join(unseen)} had not.",
            proof,
        )
        older = [p for p in interested if 0 <= tracked.shown.get(p, -1) < version]
        if older:
            self.findings.violate(
                "B-clear-own",
                f"processing an older outcome of {name} should clear that outcome's mark only; it cleared the mark of a later one ({outcome}), "
                f"which {', '.join(older)} had not been shown.",
                [*proof, *(tracked.last_shown[p][1] for p in older)],
            )

    def _cleared_unfinished(self, number: int, tracked: Tracked) -> None:
        named_as_dependent = any(
            isinstance(event, channels.BuildFinished) and event.build != tracked.id
            for event in tracked.events
        )
        promise = "B-dependents" if named_as_dependent else "B-unfinished"
        self.findings.violate(
            promise,
            f"{self.world.build(tracked.id)} is unfinished: an event that names it should clear nothing; its mark was cleared.",
            [tracked.present.record, number],
        )

    def _marked_version(self, tracked: Tracked) -> int:
        return max((i for i, v in enumerate(tracked.versions) if v.shown is not None), default=tracked.newest)

    def _has_seen(self, tracked: Tracked, plugin: str, version: int) -> bool:
        stored = self._stored(plugin, tracked.id) or plugin in tracked.given_up
        shown = tracked.shown.get(plugin, -1)
        if shown < version:
            # Stored without ever having been shown: a row was missing (P-missing-row).
            return stored and shown < 0
        return stored or tracked.covered.get(plugin, -1) >= version

    def _stored(self, plugin: str, build: int) -> bool:
        return any(
            owner == plugin
            and isinstance(event, channels.BuildFinished)
            and (build == event.build or build in event.dependents)
            for owner, event in self.world.tasks_of
        )

    # Life

    def begins(self, number: int) -> None:
        """At a start or a reconnection every finished build with a mark is owed a call (B-recover)."""
        for tracked in self.builds.values():
            tracked.main_while_up = False
            tracked.events.clear()
            tracked.recovered.clear()
            finished = tracked.id not in self.world.unfinished
            tracked.recover = number if tracked.marked and finished else -1
            tracked.recover_unfinished = tracked.marked and not finished
            if tracked.recover_unfinished:
                self._tested.setdefault("B-unfinished", number)
            if finished and tracked.present.pending:
                tracked.start_since = number
            if tracked.marked and finished and not self.world.interested("build_finished"):
                tracked.unheard = number

    def lost(self) -> None:
        """Nothing that was emitted before counts as settled any more."""
        self._tested.clear()
        for tracked in self.builds.values():
            tracked.main_while_up = False
            tracked.recover = -1
            tracked.overtaken = -1
            tracked.first_shown.clear()

    # Settled

    def settled(self, number: int) -> None:
        """Judge every build about which something is open, and forget those about which nothing is any more."""
        for promise, first in self._tested.items():
            self.findings.exercise(promise, first)
        self._tested.clear()
        for tracked in list(self.builds.values()):
            self._judge_recovery(number, tracked)
            if tracked.present.shown is not None:
                interested = (
                    tracked.owed_to
                    if tracked.owed_to is not None
                    else frozenset(self.world.interested("build_finished"))
                )
                missing = self._judge_coverage(number, tracked, interested)
                self._judge_each_outcome(number, tracked, interested)
                self._judge_mark(number, tracked)
                if not tracked.marked and not missing and not self._named_by_task(tracked.id):
                    del self.builds[tracked.id]
                    continue
            tracked.recover = -1
            tracked.recover_unfinished = False
            tracked.first_shown.clear()
            if tracked.overtaken >= 0:
                self.findings.exercise("B-clear-own", tracked.overtaken)
                tracked.overtaken = -1
            self._forget_old_versions(tracked)

    def _judge_coverage(self, number: int, tracked: Tracked, interested: Iterable[str]) -> list[str]:
        version = tracked.newest
        missing = [
            p
            for p in sorted(interested)
            if tracked.covered.get(p, -1) < version and p not in tracked.given_up
        ]
        owed = tracked.notified >= 0 or tracked.start_since >= 0
        if not tracked.present.pending or not owed:
            return [] if not tracked.present.pending else missing
        uncovered = [p for p in missing if not self._stored(p, tracked.id)]
        promises = ["B-at-least-once"]
        if tracked.notified_while == "starting" and tracked.start_since < 0:
            promises.append("B-listen-first")
        for promise in promises if interested else ():
            self.findings.exercise(promise, tracked.present.record)
            if uncovered:
                self.findings.violate(
                    promise,
                    f"{self.world.build(tracked.id)} finished ({self._describe(tracked.present)}): {', '.join(uncovered)} should have "
                    "been shown that outcome or have a stored task for it by now; neither is so, and the event is lost.",
                    [tracked.present.record, tracked.notified, tracked.start_since, number],
                )
        return missing

    def _judge_each_outcome(self, number: int, tracked: Tracked, interested: Iterable[str]) -> None:
        if not tracked.restarted:
            return
        owed = tracked.present.pending and (tracked.notified >= 0 or tracked.start_since >= 0)
        for plugin in sorted(interested):
            if tracked.main_while_up:
                self.findings.exercise("B-each-outcome", tracked.present.record)
                if tracked.shown.get(plugin, -1) < tracked.newest and plugin not in tracked.given_up:
                    self.findings.violate(
                        "B-each-outcome",
                        f"{self.world.build(tracked.id)} finished again ({self._describe(tracked.present)}) while the dispatcher was up: "
                        f"{plugin} should have been called once more; it was not.",
                        [tracked.present.record, tracked.notified, number],
                    )
            last = tracked.last_shown.get(plugin)
            if (
                owed
                and last is not None
                and last[0] < tracked.newest
                and not self._stored(plugin, tracked.id)
            ):
                self.findings.violate(
                    "B-each-outcome",
                    f"the last delivery of {self.world.build(tracked.id)} to {plugin} should show the last outcome "
                    f"({self._describe(tracked.present)}); it showed {self._describe(tracked.versions[last[0]])}.",
                    [tracked.present.record, last[1], number],
                )

    def _judge_mark(self, number: int, tracked: Tracked) -> None:
        interested = set(self.world.interested("build_finished"))
        for event, seen in tracked.events.items():
            if interested and seen.returned >= interested and not seen.raised:
                dependent = isinstance(event, channels.BuildFinished) and event.build != tracked.id
                promises = ["B-clear", "B-dependents"] if dependent else ["B-clear"]
                for promise in promises:
                    self.findings.exercise(promise, seen.first)
                    if tracked.marked:
                        self.findings.violate(
                            promise,
                            f"every interested plugin was shown the outcome of {self.world.build(tracked.id)} "
                            f"({self._describe(tracked.present)}) and returned: its mark should be cleared; it is still there.",
                            [tracked.present.record, seen.first, self.world.last_observed, number],
                        )
        if tracked.unheard >= 0 and not interested:
            self.findings.exercise("B-clear", tracked.unheard)
            if tracked.marked:
                self.findings.violate(
                    "B-clear",
                    f"no plugin is interested in build_finished, and {self.world.build(tracked.id)} was announced: its mark should be "
                    "cleared; it is still there, and the build is announced again at every start.",
                    [tracked.present.record, tracked.unheard, number],
                )
        tracked.unheard = -1 if not tracked.marked else tracked.unheard

    def _judge_recovery(self, number: int, tracked: Tracked) -> None:
        manual = self.world.header.profile == "manual"
        if tracked.recover < 0 and not (manual and tracked.recover_unfinished):
            return
        interested = self.world.interested("build_finished")
        if not interested:
            return
        promises = ["B-recover"]
        if self.world.reconnected:
            promises.append("L-reconnect")
        missed = [p for p in interested if p not in tracked.recovered]
        for promise in promises:
            self.findings.exercise(promise, max(tracked.recover, 0))
            if missed:
                self.findings.violate(
                    promise,
                    f"{self.world.build(tracked.id)} carried a mark as the dispatcher started or connected again: build_finished without "
                    f"dependents should have been delivered to {', '.join(missed)}; it was not.",
                    [tracked.present.record, tracked.recover, number],
                )

    def marks_left(self, event: channels.Event) -> list[int]:
        """Return the builds whose mark an event that all interested plugins returned from should have cleared."""
        interested = set(self.world.interested("build_finished"))
        return [
            tracked.id
            for tracked in self.builds.values()
            if tracked.marked
            and (seen := tracked.events.get(event)) is not None
            and seen.returned >= interested
            and not seen.raised
        ]

    # Bookkeeping

    def _named_by_task(self, build: int) -> bool:
        return any(
            isinstance(event, channels.BuildFinished) and (build == event.build or build in event.dependents)
            for _, event in self.world.tasks_of
        )

    def _track(self, build: int) -> Tracked:
        tracked = self.builds.get(build)
        if tracked is None:
            tracked = self.builds[build] = Tracked(build, [Version(-1, None)])
        return tracked

    def _forget_old_versions(self, tracked: Tracked) -> None:
        # A call that is still open keeps what it showed.
        if len(tracked.versions) < 4 or any(t is tracked for calls in self._open.values() for t, _ in calls):
            return
        cut = tracked.newest - 1
        tracked.versions = tracked.versions[cut:]
        for seen in (tracked.shown, tracked.covered):
            for plugin in seen:
                seen[plugin] = max(-1, seen[plugin] - cut)
        tracked.last_shown = {p: (max(0, v - cut), n) for p, (v, n) in tracked.last_shown.items()}
        tracked.first_shown.clear()

    def _describe(self, version: Version) -> str:
        if version.shown is None:
            return "unfinished"
        status, _, stop = version.shown
        return f"{statuses.status_name(status)}, stopped at {stop}"
