"""Variants of a scenario: the same story with faults, or with steps of its own, at numbered points.

Each is a scenario like any other: the whole story stands in a ``repeat`` of one time, which carries the point,
so that points are numbered through the story, as `hydra_notify_sim.targets.points` numbers them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.model import Scenario

Kind = Literal["crash", "disconnect", "interleave"]
KINDS: tuple[Kind, ...] = ("crash", "disconnect", "interleave")
Action = Literal["crash", "connection lost", "reply lost", "moved"]

MOVABLE = (
    verbs.Evaluate,
    verbs.Start,
    verbs.StepEnds,
    verbs.Finish,
    verbs.Build,
    verbs.Substitute,
    verbs.Abort,
    verbs.Cancel,
    verbs.Restart,
    verbs.Bump,
    verbs.MarkOnly,
    verbs.Notify,
    verbs.Delete,
    verbs.EditJobset,
    verbs.Insert,
)
"""Steps of the simulator and of the person. What the dispatcher's life and time are about is never moved."""

_FAULTS: dict[Action, tuple[verbs.StepBase, ...]] = {
    "crash": (verbs.Dispatcher(dispatcher="crash"), verbs.Dispatcher(dispatcher="start")),
    "connection lost": (verbs.Connection(connection="lost"),),
    "reply lost": (verbs.Connection(connection="lost", reply_lost=True),),
}


@dataclass(frozen=True, slots=True)
class Move:
    """What happens at a point: a fault, or so many of the story's next steps."""

    point: int
    """Number of the point, from 1, counted through the whole story."""
    action: Action
    steps: tuple[int, ...] = ()
    """Of ``moved``: places of the steps in the bare story (`bare`), from 0."""
    kind: str = ""
    """Kind of the point, such as ``before load``."""
    also: tuple[str, ...] = ()
    """Kinds of the points right behind this one at which the same would come of it: one play stands for all."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A scenario, by its place among those that are swept, and what happens at points of it."""

    scenario: int
    moves: tuple[Move, ...] = ()

    @property
    def moved(self) -> int:
        """How many steps of the story are moved."""
        return sum(len(move.steps) for move in self.moves)


def bare(scenario: Scenario, *, interleaved: bool = False) -> Scenario:
    """Return the scenario without what it expects, for in a variant the promises alone are judged.

    ``interleaved``: without ``settle`` too, which would stand between two steps and changes nothing.
    """
    dropped = (verbs.ExpectStep, verbs.Settle) if interleaved else (verbs.ExpectStep,)
    return scenario.model_copy(update={"story": _without(scenario.story, dropped)})


def _without(
    steps: Sequence[verbs.StepBase], dropped: tuple[type[verbs.StepBase], ...]
) -> tuple[verbs.StepBase, ...]:
    kept: list[verbs.StepBase] = []
    for step in steps:
        if isinstance(step, dropped):
            continue
        changes: dict[str, object] = {}
        if step.do:
            do = _without(step.do, dropped)
            changes = {"do": do, "at": step.at if do else None}
        if isinstance(step, verbs.Repeat):
            inner = _without(step.repeat.steps, dropped)
            if not inner:
                continue
            changes["repeat"] = step.repeat.model_copy(update={"steps": inner})
        kept.append(step.model_copy(update=changes) if changes else step)
    return tuple(kept)


def told(scenario: Scenario, moves: Sequence[Move]) -> Scenario:
    """Return the variant of a bare scenario as a scenario."""
    moved = {place for move in moves for place in move.steps}
    story = tuple(step for place, step in enumerate(scenario.story) if place not in moved)
    # The latest point stands outermost: at a point both are counted before anything is played there.
    for move in moves:
        do = _FAULTS.get(move.action) or tuple(scenario.story[place] for place in move.steps)
        repetition = verbs.Repetition(times=1, steps=story)
        story = (verbs.Repeat.model_validate({"repeat": repetition, "at": {"point": move.point}, "do": do}),)
    return scenario.model_copy(update={"story": story})
