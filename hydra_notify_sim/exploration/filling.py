"""Fills the open places of a story: tries what may have happened there until what was seen comes of it.

Faults stand at named points, and not at numbered ones as in a sweep: the story stays one that a person can read and
keep, and a dispatcher in a process, such as Hydra's own, can be held there too.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hydra_notify_sim import errors, history
from hydra_notify_sim.checks.verdicts import Allowed
from hydra_notify_sim.engine import events
from hydra_notify_sim.exploration.playing import Stage, violated
from hydra_notify_sim.scenario import CallCount, Point, Scenario
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario import story as stories

Kind = Literal["crash", "down", "connection lost"]

MOST_PLUGINS = 4
"""Calls of one event before, inside and after which something is tried."""

TRIES = 5_000
"""Possibilities that are tried at most, unless another number is given."""

_LOOKING = (verbs.ExpectStep, verbs.Settle, verbs.Unknown)
_ONCE = ("before_clear", "after_clear", "before_store", "after_store", "before_wait")
_AROUND_A_CALL = ("after_call", "inside_call", "before_call")


class NothingOpenError(errors.UsageError):
    """The story has no open place."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that may have happened."""

    kind: Kind
    first: int
    """The step at which it happened, by its place in the story without its open places, from 0."""
    last: int
    """Of ``down``: the last step that it was down for; else the same."""
    point: Point | None = None

    def told(self, story: Sequence[verbs.StepBase]) -> str:
        """Return it in words."""
        first, last = _shown(story[self.first]), _shown(story[self.last])
        if self.point is None:
            return f"down during `{first}`" if first == last else f"down from `{first}` to `{last}`"
        what = "crashed" if self.kind == "crash" else "its connections were lost"
        return f"{what} at {self.point} of `{first}`"


@dataclass(frozen=True, slots=True)
class Fill:
    """A way to fill a story that gives what was seen."""

    scenario: Scenario
    """The filled story, with what it is expected to break or to lose."""
    stage: Stage
    """Where it was played."""
    happenings: tuple[Happening, ...]
    violated: tuple[str, ...]
    lost: tuple[str, ...]
    """What the contract allowed to be lost, in words."""


@dataclass(slots=True)
class Count:
    """What was tried."""

    singles: int = 0
    pairs: int = 0
    as_it_is: int = 0
    unreached: int = 0
    """Of them: a point was never reached."""
    otherwise: int = 0
    """Of them: something else came of it than was seen."""
    held: int = 0
    """Of them: what was seen came of it, no promise was broken, and nothing was lost."""
    errors: list[str] = field(default_factory=list)
    """Why some could not be played."""
    ended_early: bool = False

    def add(self, happenings: Sequence[Happening]) -> None:
        """Count one possibility: so many things happened."""
        self.as_it_is += len(happenings) == 0
        self.singles += len(happenings) == 1
        self.pairs += len(happenings) == 2

    @property
    def tried(self) -> int:
        """Return how many possibilities were played."""
        return self.as_it_is + self.singles + self.pairs


class Filler:
    """Tries to fill one story, with each order in which the dispatcher may call its plugins."""

    def __init__(
        self,
        stages: Sequence[Stage],
        scenario: Scenario,
        *,
        tries: int = TRIES,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take a stage for each order of plugins (`plugin_orders`).

        Raises:
            NothingOpenError: the story has no open place.

        """
        self.stages = stages
        self.scenario = scenario
        self.count = Count()
        self._reached: dict[tuple[Happening, ...], list[Stage]] = {}
        """What could happen, with the orders in which its points were reached."""
        self.closed = tuple(step for step in scenario.story if not isinstance(step, verbs.Unknown))
        """The story without its open places."""
        self._tries = tries
        self._interrupted = interrupted
        self._stretches = list(_stretches(scenario))
        if not self._stretches:
            raise NothingOpenError(
                "the story has no open place, so there is nothing to fill; `replay` plays it"
            )

    def fill(self) -> Fill | None:
        """Try nothing, then each thing alone, then every two; return the first that gives what was seen."""
        for stage, happenings in self._possibilities():
            if self._over():
                return None
            found, was_reached = self._try(stage, happenings)
            self.count.add(happenings)
            if found:
                return found
            if was_reached:
                self._reached.setdefault(happenings, []).append(stage)
        return None

    def _possibilities(self) -> Iterator[tuple[Stage, tuple[Happening, ...]]]:
        for happenings in ((), *((single,) for single in self._singles())):
            for stage in self.stages:
                yield stage, happenings
        reached = [single for singles in self._reached for single in singles]
        for pair in itertools.combinations(reached, 2):
            one, other = sorted(pair, key=lambda happening: happening.first)
            if one.last < other.first:
                for stage in self._reached[one,]:
                    if stage in self._reached[other,]:
                        yield stage, (one, other)

    def _over(self) -> bool:
        self.count.ended_early = self._interrupted() or self.count.tried >= self._tries
        return self.count.ended_early

    # What may have happened

    def _singles(self) -> Iterator[Happening]:
        """Yield every single possibility; the last open place and step first, for there the loss was noticed."""
        for kinds, places in reversed(self._stretches):
            # Whatever the dispatcher met, it met at work: a step to look at something is none.
            steps = [place for place in places if not isinstance(self.closed[place], _LOOKING)]
            for kind in kinds:
                if kind == "down":
                    yield from self._down(steps)
                    continue
                for place in reversed(steps):
                    if self.closed[place].at is None and not isinstance(self.closed[place], verbs.Repeat):
                        for point in self._points(self.closed[place]):
                            yield Happening(kind, place, place, point)

    def _down(self, steps: Sequence[int]) -> Iterator[Happening]:
        at_work = [place for place in steps if not isinstance(self.closed[place], verbs.Dispatcher)]
        if len(at_work) > 1 and at_work[-1] - at_work[0] == len(at_work) - 1:
            yield Happening("down", at_work[0], at_work[-1])
        for place in at_work:
            if self.closed[place].at is None:
                yield Happening("down", place, place)

    def _points(self, step: verbs.StepBase) -> Iterator[Point]:
        if isinstance(step, verbs.Dispatcher):
            if step.dispatcher in {"start", "restart"}:
                yield Point(name="between_listen_and_scan")
            else:
                return
        for name in _AROUND_A_CALL:
            for which in range(1, min(len(self.scenario.given.plugins), MOST_PLUGINS) + 1):
                yield Point(name=name, which=which)
        for name in _ONCE:
            yield Point(name=name)

    # Trying

    def _try(self, stage: Stage, happenings: tuple[Happening, ...]) -> tuple[Fill | None, bool]:
        """Play one possibility; return what it is a fill of, if it is one, and whether its points were reached."""
        scenario = filled(self.scenario, self.closed, happenings)
        if stories.check(scenario):
            return None, False
        event = stage.play(scenario)
        if isinstance(event, events.ScenarioNotClaimed):
            raise event.error
        if isinstance(event, events.ScenarioFailed):
            if isinstance(event.error, errors.EnvironmentFailedError):
                raise event.error
            told = "; ".join(happening.told(self.closed) for happening in happenings) or "as it is"
            self.count.errors.append(f"{told}: {event.error}")
            return None, False
        if any(isinstance(record, history.PointMissed) for record in event.history):
            self.count.unreached += 1
            return None, False
        if event.verdict.unmet:
            self.count.otherwise += 1
            return None, True
        broken = violated(event)
        lost = [] if broken else [one for one in event.judgements.allowed if self._explains(one, event)]
        if not broken and not lost:
            self.count.held += 1
            return None, True
        return self._fill(scenario, stage, happenings, event, lost), True

    def _explains(self, allowed: Allowed, event: events.ScenarioFinished) -> bool:
        """Tell whether a loss that is allowed is one that the story is about."""
        if allowed.kind != "lost" or allowed.build not in event.nicknames:
            return False
        missed = list(_missed(self.scenario.story))
        nickname = event.nicknames[allowed.build]
        return not missed or any(hook == allowed.hook and build in {None, nickname} for hook, build in missed)

    def _fill(
        self,
        scenario: Scenario,
        stage: Stage,
        happenings: tuple[Happening, ...],
        event: events.ScenarioFinished,
        lost: Sequence[Allowed],
    ) -> Fill:
        broken = violated(event)
        allowances = {
            (one.hook, event.nicknames[one.build], one.promise): one.what
            for one in lost
            if one.build is not None
        }
        expect: dict[str, object] = {"violated": list(broken)}
        promises = list(broken)
        if not broken:
            expect = {"lost": [{hook: about, "allowed_by": promise} for hook, about, promise in allowances]}
            tested = {v.promise for v in event.judgements.verdicts if v.verdict != "not_exercised"}
            promises = sorted({promise for _, _, promise in allowances} & tested) or sorted(tested)[:1]
        told = "; ".join(happening.told(self.closed) for happening in happenings)
        why = f"{scenario.why.rstrip('.')}. Filled: {told or 'nothing, it happens without a fault'}"
        last = verbs.ExpectStep.model_validate({"expect": expect})
        whole = scenario.model_copy(
            update={"story": (*scenario.story, last), "exercises": tuple(promises), "why": why}
        )
        return Fill(whole, stage, happenings, broken, tuple(dict.fromkeys(allowances.values())))


def filled(scenario: Scenario, closed: Sequence[verbs.StepBase], happenings: Sequence[Happening]) -> Scenario:
    """Return the story with these things in it, and without open places."""
    steps: list[verbs.StepBase] = []
    for place, step in enumerate(closed):
        here = [happening for happening in happenings if happening.first <= place <= happening.last]
        if any(happening.kind == "down" and happening.first == place for happening in here):
            if steps and _only_starts(steps[-1]):
                steps.pop()
            else:
                steps.append(verbs.Dispatcher(dispatcher="stop"))
        steps.append(_met(step, here))
        if any(h.kind == "crash" or (h.kind == "down" and h.last == place) for h in here):
            steps.append(verbs.Dispatcher(dispatcher="start"))
    return scenario.model_copy(update={"story": tuple(steps)})


def _met(step: verbs.StepBase, happenings: Sequence[Happening]) -> verbs.StepBase:
    """Return a step with what the dispatcher meets in it."""
    fault = next((happening for happening in happenings if happening.point is not None), None)
    if fault is None:
        return step
    crash, lost = verbs.Dispatcher(dispatcher="crash"), verbs.Connection(connection="lost")
    return step.replaced(at=fault.point, do=(crash if fault.kind == "crash" else lost,))


def _only_starts(step: verbs.StepBase) -> bool:
    return step == verbs.Dispatcher(dispatcher="start")


def _stretches(scenario: Scenario) -> Iterator[tuple[tuple[Kind, ...], list[int]]]:
    """Yield, for each open place, what may have happened and the steps that it is about: those since the one before."""
    places: list[int] = []
    number = 0
    for step in scenario.story:
        if isinstance(step, verbs.Unknown):
            yield step.unknown, places
            places = []
        else:
            places.append(number)
            number += 1


def _missed(story: Sequence[verbs.StepBase]) -> Iterator[tuple[str, str | None]]:
    """Yield hook and build of the calls that a person missed: those that the story expects not to have come."""
    for step in story:
        if isinstance(step, verbs.ExpectStep):
            for subject, calls in (step.expect.calls or {}).items():
                hook = subject.partition(".")[2]
                if isinstance(calls, CallCount) and calls.at_most == 0:
                    yield hook or calls.hook or "", calls.build
                elif calls == ():
                    yield hook, None


def _shown(step: verbs.StepBase) -> str:
    what = getattr(step, step.verb)
    if isinstance(what, tuple):
        what = ", ".join(what)
    return f"{step.verb}: {what}" if isinstance(what, str) else step.verb
