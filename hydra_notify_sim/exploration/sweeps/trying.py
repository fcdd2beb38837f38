"""Plays one variant, judges it, and finds the variants that come after it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra_notify_sim import checks, errors, history
from hydra_notify_sim.engine.run import Runner
from hydra_notify_sim.exploration.sweeps import footprints, variants
from hydra_notify_sim.exploration.sweeps.variants import Kind, Move, Variant
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.model import Scenario


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one variant."""

    variant: Variant
    broken: tuple[str, ...] = ()
    """Ids of the promises that were violated."""
    astray: str = ""
    """Why the story did not go as written: a point of its own was not reached, or a step became impossible."""
    unreached: bool = False
    """A point of the variant was never reached: nothing was tried."""
    error: str = ""
    """What kept it from being played or judged."""
    pruned: int = 0
    """Variants that would come after it and equal another one, for the neighbours touch nothing in common."""
    further: int = 0
    """Variants that come after it: with one more fault or moved step."""

    @property
    def held(self) -> bool:
        """Whether it was played to the end and no promise was broken."""
        return not (self.broken or self.error or self.unreached)


@dataclass(frozen=True, slots=True)
class Passed:
    """A numbered point that a play came by."""

    kind: str
    begun: int
    """Steps that were begun by then."""
    recorded: int
    """Records of the history by then."""


@dataclass(slots=True)
class Trier:
    """Plays variants of some scenarios in one environment."""

    runner: Runner
    scenarios: Sequence[tuple[Path, Scenario]]
    kind: Kind
    bound: int
    """Of crashes in one story, 1 or 2; of steps that are moved."""
    _bare: dict[int, Scenario] = field(default_factory=dict)

    def try_one(self, variant: Variant) -> tuple[Tried, list[Variant]]:
        """Play a variant; return what came of it, and the variants with one more fault or moved step."""
        path, scenario = self.scenarios[variant.scenario]
        story = self._bare.get(variant.scenario)
        if story is None:
            story = self._bare[variant.scenario] = variants.bare(
                scenario, interleaved=self.kind == "interleave"
            )
        one = variants.told(story, variant.moves)
        passed: list[Passed] = []
        try:
            with ExitStack() as put_away:
                stage = self.runner.set_up(path, one, "", put_away)
                begun = stage.player.begun

                def note(kind: str, _args: tuple[Any, ...]) -> None:
                    passed.append(Passed(kind, len(begun), len(stage.written)))

                stage.target.points.watch = note
                stage.player.play()
            verdict = checks.decide(stage.written)
        except Exception as error:  # noqa: BLE001  # told with the variant; the sweep goes on
            return Tried(variant, error=_told(error)), []
        of_variant = {f"point {move.point}" for move in variant.moves}
        missed = [one for one in stage.written if isinstance(one, history.PointMissed | history.StoryEnded)]
        unreached = any(
            isinstance(one, history.PointMissed) and one.point in of_variant and not one.diverged
            for one in missed
        )
        more, pruned = self._after(variant, story, passed, begun)
        astray = next((one.reason for one in missed if one.diverged or not unreached), "")
        return Tried(variant, verdict.violated, astray, unreached, pruned=pruned, further=len(more)), more

    def _after(
        self, variant: Variant, story: Scenario, passed: list[Passed], begun: list[verbs.StepBase]
    ) -> tuple[list[Variant], int]:
        if self.kind == "interleave":
            return self._moved(variant, story, passed, begun)
        last = variant.moves[-1].point if variant.moves else 0
        if len(variant.moves) >= self.bound:
            return [], 0
        further = [(number, point) for number, point in enumerate(passed, 1) if number > last]
        moves = [
            move
            for action in _ACTIONS[self.kind]
            for move in _struck_once(action, [one for one in further if _can_strike(action, one[1].kind)])
        ]
        moves.sort(key=lambda move: move.point)
        return [Variant(variant.scenario, (*variant.moves, move)) for move in moves], 0

    # Steps that are moved

    def _moved(
        self, variant: Variant, story: Scenario, passed: list[Passed], begun: list[verbs.StepBase]
    ) -> tuple[list[Variant], int]:
        """Move one more step: the next one of the story, to each point at which it makes a difference."""
        if variant.moved >= self.bound:
            return [], 0
        gone = {place for move in variant.moves for place in move.steps}
        place_of = {id(step): place for place, step in enumerate(story.story) if place not in gone}
        last = variant.moves[-1] if variant.moves else None
        goes_on = any(p.holds or p.takes for p in story.given.plugins.values())
        reached, seen = -1, 0
        found: list[Variant] = []
        pruned = 0
        for number, point in enumerate(passed, 1):
            for step in begun[seen : point.begun]:
                reached = max(reached, place_of.get(id(step), -1))
            seen = point.begun
            if last is not None and number < last.point:
                continue
            following = reached + 1
            while following in gone:
                following += 1
            if reached < 0 or following >= len(story.story):
                continue
            step = story.story[following]
            if not isinstance(step, variants.MOVABLE) or step.at is not None:
                continue
            beside = passed[number].kind if number < len(passed) else ""
            touched = footprints.after(point.kind, beside, calls_go_on=goes_on)
            at_last = last is not None and number == last.point
            if not footprints.of_step(step) & touched:
                pruned += 1
                continue
            if at_last and last is not None:
                together = Move(number, "moved", (*last.steps, following), kind=last.kind)
                found.append(Variant(variant.scenario, (*variant.moves[:-1], together)))
            else:
                move = Move(number, "moved", (following,), kind=point.kind)
                found.append(Variant(variant.scenario, (*variant.moves, move)))
        return found, pruned


_ACTIONS: dict[Kind, tuple[variants.Action, ...]] = {
    "crash": ("crash",),
    "disconnect": ("connection lost", "reply lost"),
}


def _can_strike(action: variants.Action, point: str) -> bool:
    # An answer can be lost only of what is about to be asked; at other points it is the next question's.
    asks = point.startswith("before ") and point not in {"before call", "before connect"}
    return asks or action != "reply lost"


def _struck_once(action: variants.Action, points: Sequence[tuple[int, Passed]]) -> Iterator[Move]:
    """Yield one move for each run of points at which the same comes of the action."""
    run: list[tuple[int, Passed]] = []
    for one in points:
        if run and not _same(action, run[-1][1], one[1]):
            yield _move(action, run)
            run = []
        run.append(one)
    if run:
        yield _move(action, run)


def _same(action: variants.Action, point: Passed, following: Passed) -> bool:
    """Tell whether an action leaves the same behind at a point and at the following one.

    With a crash all that the dispatcher holds is gone, so what it has read makes no difference: only what it has
    written or called does, and both are recorded. A lost connection it survives, and what it has read with it: there
    it must have asked for nothing between the two. An answer is a different one at each point.
    """
    if point.recorded != following.recorded or action == "reply lost":
        return False
    return action == "crash" or point.kind.startswith("after ")


def _move(action: variants.Action, run: Sequence[tuple[int, Passed]]) -> Move:
    (number, first), *others = run
    return Move(number, action, kind=first.kind, also=tuple(point.kind for _, point in others))


def _told(error: Exception) -> str:
    if isinstance(error, errors.UsageError):
        return f"stopped: {error}"
    return f"{type(error).__name__}: {error}"
