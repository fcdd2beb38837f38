"""Marks of builds, cleared or left: the promises B-clear-after, B-clear-own, B-clear, and B-dependents' part in them."""

from collections.abc import Collection

from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.checks.tracked import EventSeen, Tracked
from hydra_notify_sim.checks.world import World, builds_of
from hydra_notify_sim.contract import channels


class Marks:
    """Judges each mark that was cleared, and each that was left."""

    def __init__(self, world: World, findings: Findings) -> None:
        self.world = world
        self.findings = findings

    def cleared(self, number: int, tracked: Tracked) -> bool:
        """Judge a mark that somebody cleared since rows were last observed; tell whether it was put to the test."""
        if tracked.last_finished < 0 or not self.world.life:
            return False
        tracked.refresh(self.world.epoch)
        version = tracked.last_finished
        interested = self.world.interested("build_finished")
        tracked.owed_to = frozenset(interested)
        unseen = [plugin for plugin in interested if not self._has_seen(tracked, plugin, version)]
        if not unseen:
            for event, seen in tracked.events.items():
                if self._should_clear(tracked, seen, interested):
                    self._exercise(tracked, event, seen)
            if self.world.reconnecting and not tracked.recovered.issuperset(interested):
                # Cleared by the event in hand before the dispatcher noticed that its connections were gone.
                tracked.recover = -1
        elif tracked.present.shown is None:
            self._cleared_unfinished(number, tracked)
        else:
            self._cleared_unseen(number, tracked, unseen)
        return bool(interested)

    def _cleared_unseen(self, number: int, tracked: Tracked, unseen: list[str]) -> None:
        name = self.world.build(tracked.id)
        outcome = tracked.versions[tracked.last_finished]
        proof = [outcome.record, number]
        self.findings.violate(
            "B-clear-after",
            f"the mark of {name} ({outcome}) should be cleared only when every interested plugin has been shown that outcome and has "
            f"succeeded, or its failure was stored; it was cleared, and {', '.join(unseen)} had not.",
            proof,
        )
        older = [
            plugin
            for plugin in unseen
            if 0 <= tracked.shown.get(plugin, -1) < tracked.last_finished
            and tracked.last_shown.get(plugin, (-1, -1))[1] > tracked.settled_at
        ]
        # Once the later outcome is announced the older one's event is over, and so it is once all had settled.
        if older and max(tracked.shown.values()) < tracked.last_finished:
            self.findings.exercise("B-clear-own", number)
            self.findings.violate(
                "B-clear-own",
                f"processing an older outcome of {name} should clear that outcome's mark only; it cleared the mark of a later one "
                f"({outcome}), which {', '.join(older)} had not been shown.",
                [*proof, *(tracked.last_shown[p][1] for p in older if p in tracked.last_shown)],
            )

    def _cleared_unfinished(self, number: int, tracked: Tracked) -> None:
        as_dependent = any(tracked.id != builds_of(event)[0] for event in tracked.events)
        promise = "B-dependents" if as_dependent else "B-unfinished"
        self.findings.exercise(promise, number)
        self.findings.violate(
            promise,
            f"{self.world.build(tracked.id)} is unfinished: an event that names it should clear nothing of it; its mark was cleared.",
            [tracked.present.record, number],
        )

    def _has_seen(self, tracked: Tracked, plugin: str, version: int) -> bool:
        if plugin in tracked.given_up:
            return True
        stored = self.world.has_task(plugin, tracked.id)
        if tracked.shown.get(plugin, -1) >= version:
            return stored or tracked.covered.get(plugin, -1) >= version
        # Stored without having been shown it: a row was missing, and no call failed since (P-missing-row).
        outcome = tracked.versions[version].record
        return tracked.last_ended.get(plugin, -1) < outcome and any(
            self.world.moved_at.get(task, -1) > outcome
            for task in self.world.tasks_naming(plugin, tracked.id)
        )

    def left(self, number: int, tracked: Tracked) -> None:
        """Judge, at a settled moment, a mark that should have been cleared by now."""
        interested = self.world.interested("build_finished")
        marked = tracked.id in self.world.marks
        for event, seen in tracked.events.items():
            if not self._should_clear(tracked, seen, interested):
                continue
            for promise in self._exercise(tracked, event, seen):
                if marked:
                    self.findings.violate(
                        promise,
                        f"every interested plugin was shown the outcome of {self.world.build(tracked.id)} "
                        f"({tracked.present}) and returned: its mark should be cleared; it is still there.",
                        [tracked.present.record, seen.first, self.world.last_observed, number],
                    )
        if tracked.unheard >= 0 and not interested:
            self.findings.exercise("B-clear", tracked.unheard)
            if marked:
                self.findings.violate(
                    "B-clear",
                    f"no plugin is interested in build_finished, and {self.world.build(tracked.id)} was announced: its mark should be "
                    "cleared; it is still there, and the build is announced again at every start.",
                    [tracked.present.record, tracked.unheard, number],
                )

    def should_be_cleared(self, tracked: Tracked, event: channels.Event) -> bool:
        """Tell whether a mark is there that an event from which all plugins returned should have cleared."""
        tracked.refresh(self.world.epoch)
        seen = tracked.events.get(event)
        interested = self.world.interested("build_finished")
        return (
            seen is not None
            and tracked.present.shown is not None
            and tracked.id in self.world.marks
            and self._should_clear(tracked, seen, interested)
        )

    def _exercise(self, tracked: Tracked, event: channels.Event, seen: EventSeen) -> list[str]:
        dependent = tracked.id != builds_of(event)[0]
        promises = ["B-clear", "B-dependents"] if dependent else ["B-clear"]
        for promise in promises:
            self.findings.exercise(promise, seen.first)
        return promises

    def _should_clear(self, tracked: Tracked, seen: EventSeen, interested: Collection[str]) -> bool:
        # While a failure is stored the mark may be kept or cleared.
        stored = self.world.named_by_task(tracked.id)
        return bool(interested) and seen.returned.issuperset(interested) and not seen.raised and not stored
