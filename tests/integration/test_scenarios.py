"""Every scenario that we ship is played against the reference dispatcher; together they exercise the contract."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_notify_sim.contract.promises import PROMISES
from hydra_notify_sim.engine import events
from hydra_notify_sim.scenario import load_all

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FILES = sorted(SCENARIOS.glob("*.yaml"))

Play = Callable[..., events.ScenarioFinished]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_reference_dispatcher_keeps_every_promise(file: Path, play: Play) -> None:
    finished = play(file)
    broken = [v for v in finished.judgements.verdicts if v.verdict == "violated"]
    assert broken == []
    assert [e for e in finished.expectations if not e.met] == []
    assert finished.not_exercised == ()
    assert finished.passed


def test_every_promise_is_what_at_least_two_scenarios_exist_for() -> None:
    named = Counter(promise for _, scenario, _ in load_all([SCENARIOS]) for promise in scenario.exercises)
    assert {promise.id for promise in PROMISES if named[promise.id] < 2} == set()


def test_there_are_at_least_thirty() -> None:
    assert len(FILES) >= 30
