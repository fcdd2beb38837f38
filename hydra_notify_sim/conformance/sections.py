"""One family of promises out of all: which scenarios are played for it, and what of their verdicts counts."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from hydra_notify_sim.contract import promises
from hydra_notify_sim.contract.promises.model import Promise
from hydra_notify_sim.engine import events
from hydra_notify_sim.engine.run import Loaded


def of(letters: Collection[str]) -> tuple[Promise, ...]:
    """Return the promises whose ids begin with one of these letters, all of them if there is none."""
    return tuple(one for one in promises.PROMISES if not letters or one.id[0] in letters)


def scenarios(loaded: Sequence[Loaded], wanted: Sequence[Promise]) -> list[Loaded]:
    """Return the scenarios that exist for one of these promises."""
    ids = {one.id for one in wanted}
    return [one for one in loaded if not ids.isdisjoint(one[1].exercises)]


def only(event: events.ScenarioFinished, ids: Collection[str]) -> events.ScenarioFinished:
    """Return how a scenario ended as far as these promises go."""
    return replace(event, verdict=event.verdict.about(ids))
