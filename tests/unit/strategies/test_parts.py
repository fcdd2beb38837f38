"""Every part that a strategy makes is a part of the scenario language, and whole scenarios are files."""

from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from hydra_notify_sim import strategies
from hydra_notify_sim.contract import channels
from hydra_notify_sim.exploration.chance import Chance
from hydra_notify_sim.scenario import (
    Evaluation,
    GivenBuild,
    GivenPlugin,
    Notification,
    Point,
    Scenario,
    StepBase,
    load_text,
    story,
    to_yaml,
)
from hydra_notify_sim.strategies.drawing import dealt, drawn

BUILDS = ("a", "b")


def written(steps: list[Any], **given_parts: Any) -> Scenario:
    """Return a scenario around parts, as its file gives it back."""
    scenario = Scenario.model_validate(
        {
            "scenario": "Parts",
            "why": "they are parts of the language",
            "exercises": ["L-lives"],
            "given": {"builds": {name: {} for name in BUILDS}, "plugins": {"github": {}}, **given_parts},
            "story": [{"dispatcher": "start"}, *steps],
        }
    )
    read = load_text(to_yaml(scenario))
    assert read == scenario
    return read


@settings(max_examples=30)
@given(strategies.payloads(BUILDS))
def test_payloads_are_notifications(notification: Notification) -> None:
    written([{"notify": notification}])


@given(strategies.hostile_payloads())
def test_hostile_payloads_name_nothing_by_accident(notification: Notification) -> None:
    assert isinstance(notification.payload, str)
    assert "{" not in notification.payload
    assert len(notification.payload.encode()) <= channels.MAX_PAYLOAD_BYTES


@given(strategies.nearly_valid_payloads(("b",)))
def test_nearly_valid_payloads_name_the_build(notification: Notification) -> None:
    assert "{b}" in notification.payload
    assert notification.payload != "{b}"


@settings(max_examples=40)
@given(strategies.build_graphs(2, 5))
def test_graphs_of_builds_have_no_circle(graph: dict[str, GivenBuild]) -> None:
    assert 2 <= len(graph) <= 5
    names = list(graph)
    for name, build in graph.items():
        assert {names.index(needed) for needed in build.needs} <= set(range(names.index(name)))
    assert not story.check(written([], builds=graph))


@settings(max_examples=40)
@given(strategies.builds(("a",)), strategies.plugin_behaviours("a"))
def test_builds_and_plugins_can_be_given(build: GivenBuild, plugin: GivenPlugin) -> None:
    written([], builds={"a": {}, "b": build}, plugins={"github": plugin})


@settings(max_examples=40)
@given(strategies.evaluations(("a",), ("b",)))
def test_evaluations_find_what_they_may(evaluation: Evaluation) -> None:
    assert set(evaluation.new) <= {"a"}
    assert set(evaluation.cached) <= {"b"}
    written([{"evaluate": evaluation}])


@settings(max_examples=40)
@given(strategies.outcomes("a"), strategies.faults())
def test_outcomes_and_faults_are_steps(outcome: StepBase, fault: StepBase) -> None:
    read = written([outcome, fault])
    assert [step.verb for step in read.story[1:]] == [outcome.verb, fault.verb]


@settings(max_examples=40)
@given(strategies.points(("github",)), strategies.faults_at_points("a", ("github",)))
def test_faults_happen_at_points(point: Point, build: StepBase) -> None:
    read = written(
        [{"build": "b", "at": point, "do": [{"dispatcher": "crash"}]}, {"dispatcher": "start"}, build]
    )
    assert read.story[-1].at is not None
    assert read.story[-1].do


@settings(max_examples=30)
@given(strategies.scenarios())
def test_a_scenario_is_a_file(scenario: Scenario) -> None:
    assert load_text(to_yaml(scenario)) == scenario


@pytest.mark.slow
def test_rare_things_are_among_the_scenarios() -> None:
    split = find(
        strategies.scenarios(),
        lambda scenario: "L-split" in scenario.exercises,
        settings=settings(max_examples=5_000, database=None, derandomize=True, phases=[Phase.generate]),
    )
    assert sum(build.copies for build in split.given.builds.values()) > 600


def test_the_plainest_scenario_is_plain() -> None:
    plain = find(
        strategies.scenarios(), lambda _scenario: True, settings=settings(database=None, derandomize=True)
    )
    assert [build.copies for build in plain.given.builds.values()] == [1]
    assert len(plain.given.plugins) == 1
    assert not any(step.at for step in plain.story)


def _number(chance: Chance) -> tuple[bool, int, str, list[str], int, str | None]:
    return (
        chance.happens(0.3),
        chance.between(2, 7),
        chance.choice(("first", "second")),
        chance.sample(("x", "y", "z"), 2),
        sum(1 for _ in chance.times(1, 4)),
        chance.rarely({"seldom": 0.1}),
    )


@pytest.mark.parametrize("source", [drawn(_number), dealt(_number, 50)], ids=["drawn", "dealt"])
def test_chance_keeps_its_word_and_shrinks_to_what_comes_first(source: st.SearchStrategy[Any]) -> None:
    @settings(max_examples=60)
    @given(source)
    def keeps(value: Any) -> None:
        _, number, choice, sample, times, rare = value
        assert 2 <= number <= 7
        assert choice in {"first", "second"}
        assert len(set(sample)) == 2
        assert 1 <= times <= 4
        assert rare in {None, "seldom"}

    keeps()
    assert find(drawn(_number), lambda _: True) == (False, 2, "first", ["x", "y"], 1, None)
    assert find(drawn(_number), lambda value: value[0] and value[5] == "seldom")[0]
