"""The scenarios that we ship together exercise the contract; each is a test itself (``hydra_scenarios``)."""

from collections import Counter
from pathlib import Path

import pytest

from hydra_notify_sim.contract.promises import PROMISES
from hydra_notify_sim.scenario import load_all

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FILES = sorted(SCENARIOS.glob("*.yaml"))


def test_every_promise_is_what_at_least_two_scenarios_exist_for() -> None:
    named = Counter(promise for _, scenario, _ in load_all([SCENARIOS]) for promise in scenario.exercises)
    assert {promise.id for promise in PROMISES if named[promise.id] < 2} == set()


def test_there_are_at_least_thirty() -> None:
    assert len(FILES) >= 30


def test_every_one_is_a_test(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> None:
    root = request.config.rootpath
    patterns = request.config.getini("hydra_scenarios")
    assert {path for pattern in patterns for path in root.glob(pattern)} == set(FILES)
    assert str(SCENARIOS.relative_to(root)) in request.config.getini("testpaths")
    pytester.makeini("[pytest]\nhydra_scenarios = *.yaml\n")
    for file in FILES[:2]:
        pytester.path.joinpath(file.name).write_bytes(file.read_bytes())
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=2)
