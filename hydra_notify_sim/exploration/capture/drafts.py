"""From what a recording says of a build to the steps of a story, in the order in which they happened.

What was emitted says that something happened, the rows say how it ended. Where they do not fit together the bare
notification is told, as if a person had sent it: that much is certain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hydra_notify_sim import history
from hydra_notify_sim.contract import channels
from hydra_notify_sim.contract.statuses import STEP_ONLY, Status
from hydra_notify_sim.exploration.capture import facts as known
from hydra_notify_sim.scenario.parts import FINISH_STATUSES


@dataclass(slots=True, eq=False)
class Draft:
    """A step in the making."""

    t: float
    verb: str
    what: Any
    options: dict[str, Any] = field(default_factory=dict)
    builds: tuple[int, ...] = ()
    event: channels.Event | None = None
    """What was emitted, if this step is told because of it."""
    run: tuple[int, int] = (0, 0)
    quiet: bool = False
    """The dispatcher has nothing to do with it."""


class Ref(NamedTuple):
    """A build in a payload, where numbers may be other things too."""

    build: int


@dataclass(slots=True)
class Outcome:
    """A build was found finished, or finished anew."""

    t: float
    since: float
    build: int
    row: history.BuildRow
    anew: bool = False
    """It was finished before, and nobody saw it unfinished in between."""
    told: bool = False


class Drafter:
    """Turns facts into drafts; builds and plugins are still known by their real names."""

    def __init__(self, facts: known.Facts) -> None:
        self.facts = facts
        self.drafts: list[Draft] = []
        self.rows: dict[int, history.BuildRow] = {}
        """The first row of each build that was seen."""
        self.given: dict[int, dict[str, Any]] = {build: {} for build in facts.builds}
        """What is given of each build."""
        self.outcomes: list[Outcome] = []
        self.last: dict[int, history.BuildRow] = {}
        """The last row of each build that is not gone."""
        self._evaluations: dict[int, str] = {}
        self._gaps = [fact for fact in facts.told if isinstance(fact, known.Gap)]
        self._mentioned: set[int] = set()
        """Builds that were heard of as not finished yet."""

    def draft(self) -> list[Draft]:
        """Return the drafts in their order."""
        self._read_rows()
        for fact in self.facts.told:
            if isinstance(fact, known.Emitted):
                self._emitted(fact)
        for outcome in self.outcomes:
            if not outcome.told:
                self._silent(outcome)
        self.drafts += retries(self.facts)
        self.drafts.sort(key=lambda one: one.t)
        for build in self.facts.builds:
            self._fold(build)
        self._without_impossible_steps()
        return self.drafts

    # Rows

    def _read_rows(self) -> None:
        marked_first = next(
            (fact.marks for fact in self.facts.told if isinstance(fact, known.State) and fact.first),
            frozenset[int](),
        )
        for fact in self.facts.told:
            if isinstance(fact, known.Emitted) and not isinstance(
                fact.event, channels.CachedBuildFinished | channels.CachedBuildQueued
            ):
                self._mentioned.update(known.named(fact.event))
            if isinstance(fact, known.Row):
                self._row(fact, marked_first)

    def _row(self, fact: known.Row, marked_first: frozenset[int]) -> None:
        build, row = fact.build, fact.row
        if row is None:
            if self.last.pop(build, None) is not None:
                self.drafts.append(Draft(fact.t, "delete", {"build": build}, builds=(build,)))
            elif build not in self.rows:
                self.given[build] = {"row": "later"}  # named, and not there
            return
        before = self.last.get(build)
        self.last[build] = row
        if before is None:
            self.rows.setdefault(build, row)
            self.given[build].pop("row", None)
            new = build in self._mentioned or (row.mark is not None and build not in marked_first)
            if row.finished and not new:
                self.given[build] = {"finished": row_status(row).name}
                if build in marked_first:
                    self.given[build]["pending"] = True
            elif row.finished:
                self.outcomes.append(Outcome(fact.t, fact.since, build, row))
            return
        if _outcome(before) == _outcome(row):
            return
        if row.finished:
            self.outcomes.append(Outcome(fact.t, fact.since, build, row, anew=before.finished))
        else:
            self._restarted(build, fact.t)

    def _restarted(self, build: int, t: float) -> None:
        self.drafts.append(Draft(t, "restart", build, builds=(build,), quiet=True))

    # Notifications

    def _emitted(self, fact: known.Emitted) -> None:
        event = fact.event
        match event:
            case channels.BuildQueued(build):
                self._evaluated(fact, "new", build)
            case channels.CachedBuildFinished(evaluation, build) | channels.CachedBuildQueued(
                evaluation, build
            ):
                self._evaluated(fact, "cached", build, evaluation)
            case channels.BuildStarted(build):
                self._add(fact, "start", build)
            case channels.StepFinished(build, _, log):
                self._add(fact, "step", build, **({} if log else {"log": False}))
            case channels.BuildFinished(build, dependents):
                self._finished(fact, build, dependents)
            case _:
                pass

    def _add(self, fact: known.Emitted, verb: str, build: int, **options: Any) -> None:
        self.drafts.append(Draft(fact.t, verb, build, options, (build,), fact.event, fact.run))

    def _evaluated(self, fact: known.Emitted, kind: str, build: int, evaluation: int = 0) -> None:
        draft = next(
            (one for one in reversed(self.drafts) if one.verb == "evaluate" and one.run == fact.run),
            None,
        )
        if draft is None and evaluation in self._evaluations:
            self.drafts.append(by_hand(Draft(fact.t, "", None, event=fact.event), self._evaluations))
            return
        if draft is None:
            draft = Draft(fact.t, "evaluate", {}, event=fact.event, run=fact.run)
            self.drafts.append(draft)
        if evaluation:
            name = self._evaluations.setdefault(evaluation, f"e{len(self._evaluations) + 1}")
            draft.what = {"name": name, **draft.what}
        if any(build in draft.what.get(kind, ()) for kind in ("new", "cached")):
            self.drafts.append(by_hand(Draft(fact.t, "", None, event=fact.event), self._evaluations))
        else:
            draft.what.setdefault(kind, []).append(build)
            draft.builds = (*draft.builds, build)

    def _finished(self, fact: known.Emitted, build: int, dependents: Sequence[int]) -> None:
        outcome = next(
            (o for o in self.outcomes if o.build == build and not o.told and o.since <= fact.t), None
        )
        if outcome is None:
            self.drafts.append(by_hand(Draft(fact.t, "", None, event=fact.event), self._evaluations))
            return
        outcome.told = True
        for other in self.outcomes:
            if other.build in dependents and not other.told and other.since <= fact.t:
                other.told = True
        if outcome.anew:
            before = [draft.t for draft in self.drafts if build in draft.builds and draft.verb == "finish"]
            self._restarted(build, max([outcome.since, *before]))
        self._add(fact, "finish", build, **_with_status(outcome.row))

    def _silent(self, outcome: Outcome) -> None:
        """Tell an outcome that no notification announced, as far as the tap heard."""
        in_a_gap = any(gap.since < outcome.t and gap.t > outcome.since for gap in self._gaps)
        if outcome.anew:
            self._restarted(outcome.build, outcome.t)
        status = row_status(outcome.row)
        verb, options = "mark_only", _with_status(outcome.row)
        if status is Status.cancelled:
            verb, options = "cancel", {}
        elif in_a_gap:
            verb = "finish"
        self.drafts.append(
            Draft(outcome.t, verb, outcome.build, options, (outcome.build,), quiet=verb == "cancel")
        )

    # A build's way from its start to its end, as one step where nothing came between

    def _fold(self, build: int) -> None:
        cycle: list[Draft] = []
        for draft in list(self.drafts):
            if build not in draft.builds:
                continue
            if draft.verb in {"start", "step"}:
                cycle.append(draft)
            elif draft.verb in {"finish", "mark_only"}:
                self._fold_cycle(build, cycle, draft)
                cycle = []
            elif draft.verb != "notify":
                cycle = []
        ended = sum(draft.verb == "step" for draft in cycle)
        if ended:
            self.given[build]["steps"] = max(ended + 1, self.given[build].get("steps", 1))

    def _fold_cycle(self, build: int, cycle: list[Draft], finish: Draft) -> None:
        ended = [draft for draft in cycle if draft.verb == "step"]
        if not cycle:
            if finish.verb == "mark_only":
                return
            row = next((o.row for o in self.outcomes if o.build == build and o.told), None)
            if row is not None and row.cached and row.start == row.stop:
                if "status" not in finish.options:
                    finish.verb = "substitute"
                elif finish.options["status"] == Status.failed.name:
                    finish.options["status"] = Status.cached_failure.name
            return
        steps = len(ended)
        if steps > 1:
            self.given[build]["steps"] = max(steps, self.given[build].get("steps", 1))
        between = self.drafts[self.drafts.index(cycle[0]) : self.drafts.index(finish)]
        alone = cycle[0].verb == "start" and all(draft in cycle for draft in between)
        gone = cycle if alone else ended[-1:]
        if finish.verb == "finish" and not all(draft.options.get("log", True) for draft in ended):
            finish.options["log"] = False
        self.drafts = [draft for draft in self.drafts if draft not in gone]
        if alone and finish.verb == "finish":
            finish.verb = "build"

    def _without_impossible_steps(self) -> None:
        """Tell of starts and steps that do not fit by their notification alone, as of those of other builds' steps."""
        begun: dict[int, list[int]] = {}
        for at, draft in enumerate(self.drafts):
            if draft.verb not in {"start", "step"}:
                for build in draft.builds:
                    if draft.verb != "notify":
                        begun.pop(build, None)
                continue
            steps = self.given[draft.what].get("steps", 1)
            counts = begun.setdefault(draft.what, [0, 0])
            started, ended = counts
            fits = started == ended < steps if draft.verb == "start" else ended < min(started, steps - 1)
            if fits:
                counts[draft.verb == "step"] += 1
            else:
                self.drafts[at] = by_hand(draft)


def by_hand(draft: Draft, evaluations: dict[int, str] | None = None) -> Draft:
    """Return a draft that tells of a notification and of nothing else."""
    event = draft.event
    assert event is not None
    payload: list[Any] = [Ref(build) for build in known.named(event)]
    match event:
        case channels.CachedBuildFinished(evaluation, build) | channels.CachedBuildQueued(evaluation, build):
            payload = [(evaluations or {}).get(evaluation, evaluation), Ref(build)]
        case channels.StepFinished(build, step, log):
            payload = [Ref(build), step, "-" if log is None else "/log"]
        case _:
            pass
    what = {"channel": event.channel, "payload": payload}
    return Draft(draft.t, "notify", what, {}, known.named(event), event)


def retries(facts: known.Facts) -> Iterator[Draft]:
    """Yield the tasks that were there from the beginning, and the time that passed until a task was tried again."""
    before: dict[int, history.Task] = {}
    for fact in facts.told:
        if not isinstance(fact, known.State):
            continue
        now = {task.id: task for task in fact.tasks}
        if fact.first:
            for task in fact.tasks:
                due_in = max(0, round(task.due - fact.t))
                yield Draft(fact.t, "insert", (task, due_in))
        else:
            tried = [
                task for id_, task in before.items() if id_ not in now or now[id_].attempts > task.attempts
            ]
            if tried:
                yield Draft(fact.t, "advance", max(2 ** min(10, task.attempts) + 1 for task in tried))
        before = now


def _outcome(row: history.BuildRow) -> tuple[Any, ...] | None:
    return (row.status, row.start, row.stop) if row.finished else None


def row_status(row: history.BuildRow) -> Status:
    """Return the status of a finished build's row; a code that no build of Hydra's has counts as a failure."""
    try:
        status = Status(row.status if row.status is not None else Status.failed)
    except ValueError:
        return Status.failed
    return Status.failed if status in STEP_ONLY else status


def _with_status(row: history.BuildRow) -> dict[str, str]:
    status = row_status(row)
    if status is Status.succeeded:
        return {}
    # As failed: the build that it failed with, or a status that no build is finished with, was not heard of.
    return {"status": (status if status in FINISH_STATUSES else Status.failed).name}
