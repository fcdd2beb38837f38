"""Each known-bad dispatcher is caught, by the promise that it breaks, in the scenarios that exist for that promise."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_notify_sim.engine import events
from hydra_notify_sim.known_bad import KNOWN_BAD
from hydra_notify_sim.scenario import load_all

SCENARIOS = Path(__file__).parents[2] / "scenarios"

Play = Callable[..., events.ScenarioFinished]


@pytest.mark.parametrize("name", sorted(KNOWN_BAD))
def test_it_is_caught_by_every_promise_that_it_breaks(name: str, play: Play) -> None:
    bad = KNOWN_BAD[name]
    broken: set[str] = set()
    failed = 0
    for path, scenario, _ in load_all([SCENARIOS]):
        if set(bad.breaks) & set(scenario.exercises) and scenario.given.dispatcher != "process":
            finished = play(path, dispatcher=f"known-bad:{name}")
            broken |= {v.promise for v in finished.judgements.verdicts if v.verdict == "violated"}
            failed += not finished.passed
    assert set(bad.breaks) <= broken
    assert failed > 0


def test_each_says_what_it_does_and_who_did_it() -> None:
    assert len(KNOWN_BAD) >= 10
    for bad in KNOWN_BAD.values():
        assert bad.breaks
        assert len(bad.story.split(". ")) >= 2
