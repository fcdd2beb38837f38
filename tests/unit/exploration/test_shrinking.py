"""Shrinking without a database: what "fails" is a question about the scenario itself."""

from pathlib import Path

import pytest

from hydra_notify_sim.exploration import counter_examples, neighbours, shrinking
from hydra_notify_sim.scenario import Scenario, load_all, load_text, to_yaml
from hydra_notify_sim.scenario.names import walk

SCENARIOS = [scenario for _, scenario, _ in load_all([Path(__file__).parents[3] / "scenarios"])]

LONG = load_text("""
scenario: A day with more in it than is needed
why: to be shrunk
exercises: [B-clear]
given:
  builds:
    kernel: {steps: 3}
    iso: {needs: [kernel], products: 2}
    docs: {needs: [kernel]}
  plugins:
    github: {takes: 2s}
    mail: {raises: {for: [iso, docs], message: no route}}
story:
  - dispatcher: start
  - evaluate: {name: e1, new: [kernel, iso, docs]}
  - build: [docs, iso]
    status: failed
    same_second: true
    at: {inside_call: mail, hook: build_finished}
    do:
      - bump: kernel
      - dispatcher: crash
  - dispatcher: start
  - repeat: {times: 7, steps: [{notify: {channel: build_finished, payload: [kernel, docs]}}, settle]}
  - advance: 90s
  - expect: {marks: []}
""")


def crashes(scenario: Scenario) -> bool:
    return any(getattr(step, "dispatcher", "") == "crash" for _, step in walk(scenario.story))


def test_what_is_not_needed_goes() -> None:
    shrunk = shrinking.shrink(LONG, crashes)
    assert to_yaml(shrunk.scenario).split("story:")[1].split() == [
        "-",
        "dispatcher:",
        "start",
        "-",
        "dispatcher:",
        "crash",
    ]
    assert not shrunk.scenario.given.builds
    assert not shrunk.scenario.given.plugins
    assert shrunk.complete
    assert shrinking.actions(shrunk.scenario) == 2 < shrinking.actions(LONG) == 8


def test_what_is_needed_stays() -> None:
    def notifies_twice_of_docs(scenario: Scenario) -> bool:
        text = to_yaml(scenario)
        return "docs" in text.split("story:")[1] and "times" in text

    shrunk = shrinking.shrink(LONG, notifies_twice_of_docs)
    assert list(shrunk.scenario.given.builds) == ["docs"]
    assert notifies_twice_of_docs(shrunk.scenario)


RETRIED = load_text("""
scenario: A retry after a crash
why: to be shrunk
exercises: [R-backoff]
given:
  builds:
    iso: {}
  plugins:
    github: {hooks: [build_started, eval_cached]}
    mail: {hooks: [build_started, eval_failed], raises: {first: 1}}
story:
  - dispatcher: start
  - build: iso
  - dispatcher: crash
  - dispatcher: start
  - advance: 10s
""")


def test_two_steps_that_only_go_together_go_wherever_they_are() -> None:
    def builds_and_waits_while_it_runs(scenario: Scenario) -> bool:
        told = [getattr(step, step.verb) for step in scenario.story]
        up = told.count("start") == told.count("crash") + 1
        return told[:2] == ["start", ("iso",)] and up and scenario.story[-1].verb == "advance"

    shrunk = shrinking.shrink(RETRIED, builds_and_waits_while_it_runs)
    assert [step.verb for step in shrunk.scenario.story] == ["dispatcher", "build", "advance"]


def test_of_the_hooks_only_those_stay_that_are_needed() -> None:
    def both_hear_of_the_start(scenario: Scenario) -> bool:
        plugins = scenario.given.plugins.values()
        return len(plugins) == 2 and all("build_started" in plugin.hooks for plugin in plugins)

    shrunk = shrinking.shrink(RETRIED, both_hear_of_the_start)
    assert [plugin.hooks for plugin in shrunk.scenario.given.plugins.values()] == [("build_started",)] * 2


def test_the_same_scenario_shrinks_to_the_same_story() -> None:
    assert shrinking.shrink(LONG, crashes) == shrinking.shrink(LONG, crashes)


def test_the_budget_of_plays_is_kept_and_told() -> None:
    played = 0

    def fails(scenario: Scenario) -> bool:
        nonlocal played
        played += 1
        return crashes(scenario)

    shrunk = shrinking.shrink(LONG, fails, plays=5)
    assert played == shrunk.plays == 5
    assert not shrunk.complete
    assert crashes(shrunk.scenario)


def test_an_interruption_leaves_what_was_reached() -> None:
    shrunk = shrinking.shrink(LONG, crashes, interrupted=lambda: True)
    assert shrunk.scenario == LONG
    assert not shrunk.complete


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.scenario[:30])
def test_the_data_of_a_scenario_is_the_scenario(scenario: Scenario) -> None:
    assert Scenario.model_validate(neighbours.data_of(scenario)) == scenario


def test_every_neighbour_of_every_shipped_scenario_is_another_one_and_each_kind_gives_some_that_are_stories() -> (
    None
):
    readable = dict.fromkeys(neighbours.ALL, 0)
    for scenario in SCENARIOS[::6]:
        data = neighbours.data_of(scenario)
        before = neighbours.fingerprint(data)
        for kind in neighbours.ALL:
            for number, smaller in enumerate(kind(data)):
                assert neighbours.fingerprint(smaller) != before
                if number < 5:
                    readable[kind] += shrinking.readable(smaller) is not None
        assert neighbours.fingerprint(data) == before, "the scenario itself was changed"
    assert all(readable[kind] for kind in neighbours.ALL if kind is not neighbours.gentler_steps), readable


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.scenario[:30])
def test_without_a_build_or_a_plugin_nothing_names_it(scenario: Scenario) -> None:
    data = neighbours.data_of(scenario)
    data["story"] = [step for step in data["story"] if "expect" not in step]
    for kind, names in ((neighbours.fewer_builds, "builds"), (neighbours.fewer_plugins, "plugins")):
        for smaller in kind(data):
            (gone,) = set(data["given"][names]) - set(smaller["given"].get(names, {}))
            text = neighbours.fingerprint(smaller["story"])
            assert f'"{gone}"' not in text.replace(f'"payload": "{gone}"', "")  # raw text, no nickname


def test_the_shape_of_a_story_has_no_names() -> None:
    other = load_text(to_yaml(LONG).replace("docs", "manual").replace("mail", "slack").replace("e1", "e9"))
    assert counter_examples.signature("B-clear", other) == counter_examples.signature("B-clear", LONG)
    assert counter_examples.shape_of(LONG) == (
        "dispatcher:start evaluate:new build:failed:same_second@inside_call[bump dispatcher:crash]"
        " dispatcher:start repeat[notify:build_finished:fields] advance"
    )


def test_another_outcome_or_point_is_another_shape() -> None:
    succeeded = load_text(to_yaml(LONG).replace("status: failed", "status: succeeded"))
    earlier = load_text(to_yaml(LONG).replace("inside_call: mail", "before_call: mail"))
    shapes = {counter_examples.signature("B-clear", one) for one in (LONG, succeeded, earlier)}
    assert len(shapes) == 3
