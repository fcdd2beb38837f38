"""Outcomes of builds against the calls that show them: B-at-least-once, B-recover, B-listen-first, B-fresh.

Also B-unfinished and B-each-outcome; marks are judged in `marks`, B-live in `deliveries`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from hydra_notify_sim import history
from hydra_notify_sim.checks.deliveries import OpenCall
from hydra_notify_sim.checks.events import read
from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.checks.marks import Marks
from hydra_notify_sim.checks.tracked import EventSeen, Shown, Tracked, Version
from hydra_notify_sim.checks.verdicts import Allowed
from hydra_notify_sim.checks.world import LISTENING, World, builds_of, row_id
from hydra_notify_sim.contract import channels, profiles


class Outcomes:
    """Judges what becomes of each outcome."""

    def __init__(self, world: World, findings: Findings, profile: profiles.Profile) -> None:
        self.world = world
        self.findings = findings
        self.builds: dict[int, Tracked] = {}
        self.marked: set[int] = set()
        """Builds that carry a mark as far as is known: as observed, or as an outcome has committed since."""
        self.marks = Marks(world, findings)
        self._manual = profile == "manual"
        self._showing: dict[int, list[tuple[Tracked, int]]] = {}
        self._announced: dict[int, list[channels.BuildFinished]] = {}
        """Build to the events since the last settled moment that name it."""
        self._touched: dict[int, None] = {}
        self._begun = False
        self._tested: dict[str, int] = {}

    # Transactions

    def commit(self, number: int, record: history.Commit) -> None:
        """Take outcomes, restarts and notifications in."""
        for build in record.restarted:
            tracked = self._track(build)
            tracked.restarted = True
            tracked.becomes(Version(number, None))
            self._main_is_unfinished(build)
        for outcome in record.outcomes:
            self._finished(number, outcome)
        finished = {outcome.build for outcome in record.outcomes}
        for row in record.rows:
            build_id = row_id(row) if row.table == "builds" else None
            if build_id is None:
                continue
            if row.change == "deleted":
                self._deleted(build_id)
            elif record.actor == "plugin" and "notificationpendingsince" in row.columns:
                # Whether its mark stands or not is no longer the dispatcher's doing: nothing about it can be judged.
                self._deleted(build_id)
            elif row.change == "inserted" and build_id not in finished:
                self._main_is_unfinished(build_id)
        for notification in record.notifications:
            if notification.channel == "build_finished":
                self._notified(number, notification)

    def committed(self, number: int, commit: history.Commit, commit_number: int) -> None:
        """Take in that a COMMIT returned."""
        for build in (*(outcome.build for outcome in commit.outcomes), *commit.restarted):
            tracked = self.builds.get(build)
            for version in reversed(tracked.versions) if tracked is not None else ():
                if version.record <= commit_number:
                    if version.record == commit_number:
                        version.done = number
                    break

    def _finished(self, number: int, outcome: history.Outcome) -> None:
        tracked = self._track(outcome.build)
        shown = (outcome.status, outcome.start, outcome.stop)
        before = tracked.versions[tracked.last_finished].shown if tracked.last_finished >= 0 else None
        overtaken = tracked.seen_since_settled and outcome.pending and before not in {None, shown}
        tracked.becomes(Version(number, shown, outcome.pending))
        if outcome.pending:
            self.marked.add(outcome.build)
        else:
            self.marked.discard(outcome.build)
        if overtaken:
            tracked.overtaken = number

    def _main_is_unfinished(self, build: int) -> None:
        """Owe the dependents from the next start on: an event of this main build may find it unfinished."""
        for event in self._announced.get(build, ()):
            for other in event.dependents if event.build == build else ():
                if other != build and (tracked := self.builds.get(other)) is not None:
                    tracked.notified = tracked.notified_as_main
                    tracked.unheard = -1

    def _deleted(self, build: int) -> None:
        self.builds.pop(build, None)
        self.marked.discard(build)
        for event in self._announced.get(build, ()):
            for other in builds_of(event):
                if (tracked := self.builds.get(other)) is not None:
                    tracked.unheard = -1

    def _notified(self, number: int, notification: history.Notification) -> None:
        world = self.world
        if world.phase not in LISTENING:
            return
        event = read("build_finished", notification.payload, world.header.payloads)[0]
        if not isinstance(event, channels.BuildFinished):
            return
        if event.build in world.unfinished:
            self._tested.setdefault("B-unfinished", number)
            return
        unheard = not world.interested("build_finished") and not notification.missing
        for build in dict.fromkeys(builds_of(event)):
            self._announced.setdefault(build, []).append(event)
            tracked = self.builds.get(build)
            if tracked is None or tracked.present.shown is None:
                continue
            self._touch(tracked)
            if tracked.notified < 0:
                tracked.notified, tracked.notified_while = number, world.phase
            if build == event.build and tracked.notified_as_main < 0:
                tracked.notified_as_main = number
                tracked.main_while_up = world.phase == "up"
            if unheard:
                tracked.unheard = number

    # Calls

    def called(self, number: int, record: history.Called, call: OpenCall) -> None:
        """Take in which versions a call shows, and judge the rows."""
        if record.hook != "build_finished" or call.event is None:
            return
        main, dependents = record.args["build"], record.args["dependents"]
        if not main.get("finished"):
            self.findings.exercise("B-unfinished", number)
            self.findings.violate(
                "B-unfinished",
                f"no row handed over as main build should be unfinished; {record.plugin} was told that {self.world.build(main['id'])} "
                "had finished, and its row is unfinished.",
                [number],
            )
        showing: list[tuple[Tracked, int]] = []
        for row in (main, *dependents):
            tracked = self.builds.get(row["id"])
            if tracked is None:
                continue
            self._touch(tracked)
            version = self._version(number, record.plugin, tracked, row, call.booking.since)
            if version is not None:
                self._shows(number, record.plugin, tracked, version, call.event)
                showing.append((tracked, version))
                tracked.open_calls += 1
        self._showing[record.call] = showing
        tracked_main = self.builds.get(main["id"])
        if tracked_main is not None and not dependents:
            tracked_main.recovered.add(record.plugin)

    def _version(
        self, number: int, plugin: str, tracked: Tracked, row: Mapping[str, Any], since: int
    ) -> int | None:
        found = tracked.version_of(_shown(row))
        if since < 0:
            return found
        self._tested.setdefault("B-fresh", number)
        needed = tracked.version_at(since)
        if needed > (found if found is not None else -1):
            self.findings.exercise("B-fresh", number)
            self.findings.violate(
                "B-fresh",
                f"{plugin} should be handed a row of {self.world.build(tracked.id)} at least as new as the notification "
                f"({tracked.versions[needed]}); it was handed an older one ({Version(-1, _shown(row))}).",
                [since, tracked.versions[needed].record, number],
            )
        return found

    def _shows(self, number: int, plugin: str, tracked: Tracked, version: int, event: channels.Event) -> None:
        finished = tracked.versions[version].shown is not None
        repeated = finished and version <= tracked.covered.get(plugin, -1)
        tracked.shown[plugin] = max(version, tracked.shown.get(plugin, -1))
        tracked.last_shown[plugin] = (version, number)
        tracked.seen_since_settled = True
        if version == tracked.newest:
            tracked.events.setdefault(event, EventSeen(number))
            if tracked.overtaken >= 0:
                # The event of the older outcome is over, and its clearing with it.
                self.findings.exercise("B-clear-own", tracked.overtaken)
                tracked.overtaken = -1
        if repeated:
            what = f"build_finished {self.world.build(tracked.id)} for {plugin}: at least once; B-at-least-once allows it"
            self.findings.allow(
                Allowed("repeated", what, "B-at-least-once", (number,), "build_finished", tracked.id, plugin)
            )

    def returned(self, number: int, record: history.Returned, call: OpenCall) -> None:
        """Take in who is covered."""
        for tracked, shown in self._showing.pop(record.call, ()):
            version = tracked.latest(shown)
            self._ended(number, tracked, call.plugin)
            if tracked.versions[version].shown is not None:
                tracked.covered[call.plugin] = max(version, tracked.covered.get(call.plugin, -1))
            tracked.shown[call.plugin] = max(version, tracked.shown.get(call.plugin, -1))
            seen = tracked.events.get(call.event) if call.event is not None else None
            if seen is not None and not call.booking.maybe_retry:
                seen.returned.add(call.plugin)

    def raised(self, number: int, record: history.Raised, call: OpenCall) -> None:
        """Take in who failed."""
        for tracked, _ in self._showing.pop(record.call, ()):
            self._ended(number, tracked, call.plugin)
            seen = tracked.events.get(call.event) if call.event is not None else None
            if seen is not None:
                seen.raised.add(call.plugin)

    def cut_off(self, number: int, record: history.CutOff, call: OpenCall | None) -> None:
        """Forget a call that was cut off."""
        for tracked, _ in self._showing.pop(record.call, ()):
            if call is not None:
                self._ended(number, tracked, call.plugin)

    def _ended(self, number: int, tracked: Tracked, plugin: str) -> None:
        tracked.refresh(self.world.epoch)
        tracked.last_ended[plugin] = number
        tracked.open_calls -= 1
        self._touched[tracked.id] = None

    # Marks and tasks

    def observed(self, number: int) -> None:
        """Judge each mark that somebody cleared since rows were last observed."""
        marks = self.world.marks
        cleared = self.marked - marks.keys()
        flying = self._in_flight() & cleared
        for build in sorted(cleared - flying):
            tracked = self.builds.get(build)
            if tracked is not None:
                self._touched[build] = None
                if self.marks.cleared(number, tracked):
                    self._tested.setdefault("B-clear-after", number)
        self.marked = set(marks) | flying
        for before, _ in self.world.moved:
            if before is not None:
                event = self.world.task_event(before)
                self._touched.update(dict.fromkeys(builds_of(event) if event is not None else ()))

    def given_up(self, plugin: str, event: channels.Event) -> None:
        """Take in that a task was dropped as the contract allows: that plugin is owed nothing more."""
        for build in builds_of(event):
            if build in self.builds:
                self.builds[build].given_up.add(plugin)

    # Life

    def begins(self, number: int) -> None:
        """At a start or a reconnection every finished build with a mark is owed a call (B-recover)."""
        self._begun = True
        unheard = not self.world.interested("build_finished")
        for build in self.world.marks:
            if build in self.world.unfinished:
                self._tested.setdefault("B-unfinished", number)
            tracked = self.builds.get(build)
            if tracked is None or not tracked.present.known:
                continue
            if tracked.present.shown is None:
                tracked.recover_unfinished = number
            else:
                tracked.recover = number
                if unheard:
                    tracked.unheard = number

    def lost(self) -> None:
        """Nothing that was emitted before counts as settled any more."""
        self._tested.clear()

    # Settled

    def settled(self, number: int) -> None:
        """Judge every build about which something is open, and forget those about which nothing is any more."""
        for promise, first in self._tested.items():
            self.findings.exercise(promise, first)
        self._tested.clear()
        self._announced.clear()
        flying = self._in_flight()
        ids = list(self.builds) if self._begun else list(self._touched)
        self._begun = False
        self._touched = dict.fromkeys(flying)
        for id_ in ids:
            tracked = self.builds.get(id_)
            if tracked is not None and id_ not in flying:
                tracked.refresh(self.world.epoch)
                self._judge(number, tracked)

    def _judge(self, number: int, tracked: Tracked) -> None:
        self._judge_recovery(number, tracked)
        tracked.seen_since_settled = False
        tracked.settled_at = number
        if tracked.overtaken >= 0:
            self.findings.exercise("B-clear-own", tracked.overtaken)
            tracked.overtaken = -1
        if tracked.present.shown is not None:
            interested = tracked.owed_to
            if interested is None:
                interested = frozenset(self.world.interested("build_finished"))
            uncovered = self._judge_coverage(number, tracked, interested)
            self._judge_each_outcome(number, tracked, interested)
            self.marks.left(number, tracked)
            if not uncovered and tracked.id not in self.marked and not self.world.named_by_task(tracked.id):
                del self.builds[tracked.id]
                return
        tracked.forget_old_versions()

    def _owed(self, tracked: Tracked) -> bool:
        done = tracked.present.done
        started = done is not None and self.world.start_record > done
        return tracked.present.pending and (tracked.notified >= 0 or started)

    def _judge_coverage(self, number: int, tracked: Tracked, interested: Iterable[str]) -> list[str]:
        """Judge B-at-least-once, and return who has not been covered."""
        if not tracked.present.pending:
            return []
        missing = [
            p
            for p in sorted(interested)
            if tracked.covered.get(p, -1) < tracked.newest and p not in tracked.given_up
        ]
        if not self._owed(tracked) or not interested:
            return missing
        uncovered = [p for p in missing if not self.world.has_task(p, tracked.id)]
        promises = ["B-at-least-once"]
        if tracked.notified_while == "starting" and self.world.start_record < tracked.notified:
            promises.append("B-listen-first")
        for promise in promises:
            self.findings.exercise(promise, tracked.present.record)
            if uncovered:
                start = self.world.start_record
                self.findings.violate(
                    promise,
                    f"{self.world.build(tracked.id)} finished ({tracked.present}): {', '.join(uncovered)} should have "
                    "been shown that outcome or have a stored task for it by now; neither is so, and the event is lost.",
                    [
                        tracked.present.record,
                        tracked.notified,
                        start if start > tracked.present.record else -1,
                        number,
                    ],
                )
        return missing

    def _judge_each_outcome(self, number: int, tracked: Tracked, interested: Iterable[str]) -> None:
        if not tracked.restarted:
            return
        owed = self._owed(tracked)
        for plugin in sorted(interested):
            if plugin in tracked.given_up or self.world.has_task(plugin, tracked.id):
                continue
            if tracked.main_while_up:
                self.findings.exercise("B-each-outcome", tracked.present.record)
                if tracked.shown.get(plugin, -1) < tracked.newest:
                    self.findings.violate(
                        "B-each-outcome",
                        f"{self.world.build(tracked.id)} finished again ({tracked.present}) while the dispatcher was up: "
                        f"{plugin} should have been called once more; it was not.",
                        [tracked.present.record, tracked.notified, number],
                    )
            last = tracked.last_shown.get(plugin)
            if owed and last is not None:
                self.findings.exercise("B-each-outcome", tracked.present.record)
                if last[0] < tracked.newest:
                    self.findings.violate(
                        "B-each-outcome",
                        f"the last delivery of {self.world.build(tracked.id)} to {plugin} should show the last outcome "
                        f"({tracked.present}); it showed {tracked.versions[last[0]]}.",
                        [tracked.present.record, last[1], number],
                    )

    def _judge_recovery(self, number: int, tracked: Tracked) -> None:
        start = self.world.start_record
        unfinished = self._manual and start >= 0 and tracked.recover_unfinished == start
        interested = self.world.interested("build_finished")
        if not interested or not (unfinished or (start >= 0 and tracked.recover == start)):
            return
        tracked.recover = tracked.recover_unfinished = -1
        missed = [p for p in interested if not self._was_recovered(tracked, p)]
        for promise in ["B-recover", "L-reconnect"] if self.world.reconnected else ["B-recover"]:
            self.findings.exercise(promise, start)
            if missed:
                self.findings.violate(
                    promise,
                    f"{self.world.build(tracked.id)} carried a mark as the dispatcher started or connected again: build_finished "
                    f"without dependents should have been delivered to {', '.join(missed)}; it was not.",
                    [tracked.present.record, start, number],
                )

    def _was_recovered(self, tracked: Tracked, plugin: str) -> bool:
        if plugin in tracked.recovered:
            return True
        if tracked.id in self.world.marks:
            return False
        # What this life had shown before its connections were lost need only be acknowledged (L-reconnect).
        version, record = tracked.last_shown.get(plugin, (-1, -1))
        if self.world.reconnected and version == tracked.newest and record > self.world.life_record:
            return True
        # An event that came before the scan may have shown it as a dependent and cleared its mark.
        return any(plugin in seen.returned | seen.raised for seen in tracked.events.values())

    def marks_left(self, event: channels.Event) -> list[int]:
        """Return the builds whose mark an event that all interested plugins returned from should have cleared."""
        return [
            build
            for build in dict.fromkeys(builds_of(event))
            if build in self.builds and self.marks.should_be_cleared(self.builds[build], event)
        ]

    # Bookkeeping

    def _track(self, build: int) -> Tracked:
        tracked = self.builds.get(build)
        if tracked is None:
            tracked = self.builds[build] = Tracked(build)
        self._touch(tracked)
        return tracked

    def _touch(self, tracked: Tracked) -> None:
        tracked.refresh(self.world.epoch)
        self._touched[tracked.id] = None

    def _in_flight(self) -> set[int]:
        """Return the builds of which a transition was sent and may not have committed yet."""
        return {
            build
            for flying in self.world.in_flight.values()
            for build in (*(outcome.build for outcome in flying.outcomes), *flying.restarted)
        }


def _shown(row: Mapping[str, Any]) -> Shown | None:
    if not row.get("finished"):
        return None
    shown = row.get("buildstatus"), row.get("starttime"), row.get("stoptime")
    return shown if all(value is None or type(value) is int for value in shown) else (None, None, None)
