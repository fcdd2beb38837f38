"""The scenarios that we ship together exercise the contract; each is a test itself (``hydra_scenarios``)."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_notify_sim.contract import quirks
from hydra_notify_sim.contract.promises import PROMISES
from hydra_notify_sim.engine import events
from hydra_notify_sim.scenario import load_all

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FILES = sorted(SCENARIOS.glob("**/*.yaml"))
UPSTREAM = sorted((SCENARIOS / "upstream").glob("*.yaml"))
PAGE = SCENARIOS.parent / "docs" / "hydra-notify.md"
NOT_WITHOUT_THE_QUIRK = {"hn-truncated-dependents": {"P-arguments", "B-clear-after"}}
"""Promises that only what the quirk does puts to the test, by the story's name."""
HYDRA_NOTIFY = [quirk for quirk in quirks.QUIRKS if quirk.by == "hydra-notify"]


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


def _known_upstream() -> dict[str, set[str]]:
    """Return quirk → promises that a story under upstream/ knows it to break, each quirk in files of its own name."""
    known: dict[str, set[str]] = {}
    for path, scenario, _ in load_all(UPSTREAM):
        named = (*scenario.known, *scenario.may_break)
        mine = max((quirk for quirk in named if path.stem.startswith(quirk)), key=len)
        known.setdefault(mine, set()).update(scenario.known.get(mine, ()))
    return known


def test_a_story_and_the_table_of_quirks_say_the_same() -> None:
    for path, scenario, _ in load_all([SCENARIOS]):
        for id_ in {*scenario.known, *scenario.may_break}:
            quirk = quirks.quirk(id_)
            surely, perhaps = scenario.known.get(id_, ()), scenario.may_break.get(id_, ())
            assert {*surely, *perhaps} <= {*quirk.breaks, *quirk.may_break}, (path, id_)
            assert not {*surely} & {*perhaps}, (path, id_)


def test_every_quirk_of_hydra_notify_has_a_story_that_shows_what_it_breaks() -> None:
    known = _known_upstream()
    assert set(known) == {quirk.id for quirk in HYDRA_NOTIFY}
    assert {quirk.id: set(quirk.breaks) - known[quirk.id] for quirk in HYDRA_NOTIFY} == {
        quirk.id: set() for quirk in HYDRA_NOTIFY
    }


def test_what_a_story_knows_to_be_broken_it_exercises_on_the_reference(
    play: Callable[..., events.ScenarioFinished],
) -> None:
    for path, scenario, _ in load_all(UPSTREAM):
        if scenario.given.dispatcher == "process":
            continue  # played once as an item of its own; `exercises` holds it to the same
        verdicts = {v.promise: v.verdict for v in play(path).judgements.verdicts}
        named = {promise for broken in scenario.known.values() for promise in broken}
        assert {p for p in named if verdicts[p] != "held"} <= NOT_WITHOUT_THE_QUIRK.get(path.stem, set()), (
            path
        )


def test_the_page_names_every_quirk_and_every_story_of_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert {quirk.id for quirk in HYDRA_NOTIFY if f"| {quirk.id} |" not in page} == set()
    assert {path.name for path in UPSTREAM if f"scenarios/upstream/{path.name}" not in page} == set()
