"""One family of promises out of all: which scenarios are played for it, and what of their verdicts counts."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import msgspec

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


def only(event: events.ScenarioFinished, ids: Collection[str]) -> tuple[events.ScenarioFinished, list[str]]:
    """Return how a scenario ended as far as these promises go, and which others it broke.

    An expectation of the story that is not met counts only where no promise was broken, judged or not: otherwise the
    broken promise says why, and saying it twice would say less.
    """
    verdicts = tuple(one for one in event.judgements.verdicts if one.promise in ids)
    broken = [one.promise for one in event.judgements.verdicts if one.verdict == "violated"]
    explained = any(one.verdict in {"violated", "known"} or one.reported for one in event.judgements.verdicts)
    beside = [one for one in broken if one not in ids]
    ours = [one for one in broken if one in ids]
    unmet = any(not one.met for one in event.expectations)
    return (
        replace(
            event,
            judgements=msgspec.structs.replace(event.judgements, verdicts=verdicts),
            expectations=() if explained else event.expectations,
            passed=event.passed or (not ours and not event.not_exercised and (explained or not unmet)),
        ),
        beside,
    )
