"""The control group: nothing that we ship calls a known-good dispatcher wrong."""

from collections.abc import Callable

import pytest

from hydra_notify_sim.engine import events
from hydra_notify_sim.known_good import KNOWN_GOOD
from hydra_notify_sim.scenario import shipped

STORIES = [loaded for loaded in shipped.load() if loaded[1].given.dispatcher != "process"]

Play = Callable[..., events.ScenarioFinished]


def wrong(finished: events.ScenarioFinished) -> list[str]:
    """Return what a story found fault with."""
    return [
        *(
            f"{one.promise}: {one.explanation}"
            for one in finished.judgements.verdicts
            if one.verdict == "violated"
        ),
        *(f"line {one.line}: {one.text}: {one.found}" for one in finished.verdict.unmet),
        *finished.verdict.not_exercised,
    ]


@pytest.mark.parametrize("name", KNOWN_GOOD)
def test_no_story_of_the_promise_that_leaves_it_free_calls_it_wrong(name: str, play: Play) -> None:
    for path, scenario, _ in STORIES:
        if KNOWN_GOOD[name].freedom in scenario.exercises:
            finished = play(path, f"known-good:{name}")
            assert (finished.passed, wrong(finished)) == (True, []), path.stem


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN_GOOD)
def test_no_story_calls_it_wrong(name: str, play: Play) -> None:
    for path, _, _ in STORIES:
        finished = play(path, f"known-good:{name}")
        assert (finished.passed, wrong(finished)) == (True, []), path.stem
