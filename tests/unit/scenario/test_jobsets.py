"""What Hydra's evaluator never does, refused when the story is read; and jobsets that are flakes, numbered, edited, deleted."""

from collections.abc import Callable

import pytest

from hydra_notify_sim.scenario import load_text, to_yaml
from hydra_notify_sim.scenario.steps import EditJobset, Evaluate

Complaints = Callable[[str], list[tuple[int, int, str, str]]]

HEAD = """\
scenario: A change is reverted
why: a test
exercises: [B-live]
given:
  jobset: {jobset}
  builds:
    good: {{job: app, row: later}}
    bad: {{job: app, row: later}}
    again: {{same_derivation_as: good, row: later}}
    other: {{steps: 2, row: later}}
    there: {{finished: succeeded}}
    sum: {{constituents: [good, other], maintainers: [a@example.org, b@example.org], row: later}}
{further}story:
"""


def story(steps: str, *, jobset: str = "iohk:75", further: str = "") -> str:
    return HEAD.format(jobset=jobset, further=further) + steps


IMPOSSIBLE = [
    (
        "- evaluate: {new: [good]}\n- evaluate: {new: [bad]}\n- evaluate: {cached: [good]}\n",
        (16, 23),
        "good is not found cached here: Hydra finds only what the jobset's last evaluation with new builds holds",
    ),
    (
        "- evaluate: {new: [good]}\n- evaluate: {cached: [there]}\n",
        (15, 23),
        "Give another build with 'same_derivation_as: there', list it under 'new'",
    ),
    ("- evaluate: {new: [good], cached: [there]}\n- evaluate: {cached: [good]}\n- evaluate: {cached: [there]}\n", (16, 23), "there is not found"),
    ("- evaluate: {new: [good]}\n- evaluate: {}\n- evaluate: {cached: [good]}\n", (16, 23), "good is not found"),
    ("- evaluate: {new: [good]}\n- evaluate: {new: [again]}\n", (15, 20), "Write 'cached: good'"),
    ("- evaluate: {new: [good, bad]}\n", (14, 26), "bad and good are builds of one job, app"),
    ("- delete: {build: there}\n- evaluate: {cached: [there]}\n", (15, 23), "there is no row of there"),
    ("- edit_jobset: {enabled: false}\n- evaluate: {new: [good]}\n", (15, 13), "the jobset is disabled"),
    ("- edit_jobset: {enabled: one_shot}\n- evaluate: {new: [good]}\n- evaluate: {cached: [good]}\n", (16, 13), "disabled"),
    ('- delete: {jobset: "iohk:75"}\n- evaluate: {new: [good]}\n', (15, 13), "the jobset was deleted before"),
    ("- delete: {project: iohk}\n- bump: there\n", (15, 9), "there is gone at 'bump': its jobset was deleted"),
    ('- edit_jobset: {name: old}\n- delete: {jobset: "iohk:75"}\n', (15, 20), "the story's jobset is iohk:old here"),
    ("- delete: {project: other}\n", (14, 21), "the story's project is iohk"),
    ("- delete: {project: iohk}\n- edit_jobset: {hidden: true}\n", (15, 16), "deleted before"),
    ("- evaluate: {new: [good]}\n- start: good\n- substitute: good\n", (16, 15), "a step of good was begun"),
    ("- evaluate: {new: [good]}\n- abort: good\n", (15, 10), "no step of good is under way"),
    ("- evaluate: {new: [good]}\n- start: good\n- start: good\n", (16, 10), "the last step of good is under way"),
    ("- evaluate: {new: [good]}\n- start: good\n- finish: good\n  status: unsupported_system\n", (16, 11), "a step of good is under way"),
    ("- evaluate: {new: [good]}\n- delete: {evaluation: e}\n", (15, 24), "no evaluation 'e'"),
    ("- edit_jobset: {}\n", (14, 16), "nothing is changed here"),
    ("- edit_jobset: {enabled: perhaps}\n", (14, 26), "disabled"),
    ("- evaluate: {fails: true, errors: x}\n", (14, 13), "so it has no errors"),
    ("- evaluate: {flake: github:o/r/x}\n", (14, 21), "the jobset is no flake"),
]  # fmt: skip

POSSIBLE = [
    "- evaluate: {new: [good]}\n- evaluate: {new: [bad]}\n- evaluate: {new: [again]}\n- substitute: again\n",
    "- evaluate: {new: [good]}\n- evaluate: {new: [bad]}\n- evaluate: {cached: [good]}\n  impossible: true\n",
    "- edit_jobset: {enabled: false}\n- evaluate: {new: [good]}\n  impossible: true\n",
    "- edit_jobset: {enabled: false}\n- edit_jobset: {enabled: true}\n- evaluate: {new: [good]}\n",
    "- edit_jobset: {enabled: false}\n- restart: there\n- build: there\n",
    "- evaluate: {cached: [there]}\n- evaluate: {fails: true}\n- evaluate: {unchanged: true}\n- evaluate: {cached: [there]}\n",
    "- evaluate: {new: [good], cached: [there]}\n- evaluate: {cached: [there, good], errors: x}\n",
    "- evaluate: {name: e, new: [good]}\n- delete: {evaluation: e}\n- evaluate: {cached: [there]}\n",
    "- evaluate: {new: [good], inputs: {src: {uri: 'https://example.org/a.git', revision: abc}}}\n",
    "- edit_jobset: {name: 76, hidden: true}\n- delete: {jobset: iohk:76}\n",
    "- evaluate: {new: [other]}\n- start: other\n- step: other\n- abort: other\n- start: other\n- finish: other\n",
    "- evaluate: {new: [good, other, sum]}\n- build: other\n  status: failed\n- restart: [other, sum]\n",
]


@pytest.mark.parametrize(("steps", "place", "message"), IMPOSSIBLE)
def test_what_hydra_never_does_is_refused(
    complaints: Complaints, steps: str, place: tuple[int, int], message: str
) -> None:
    (found, *_) = complaints(story(steps))
    assert message in found[3]
    assert found[:2] == place


@pytest.mark.parametrize("steps", POSSIBLE)
def test_what_it_does_passes_and_is_written_as_it_was_read(complaints: Complaints, steps: str) -> None:
    assert complaints(story(steps)) == []
    scenario = load_text(story(steps))
    assert load_text(to_yaml(scenario)) == scenario


def test_nothing_is_said_where_the_order_of_evaluations_is_not_known(complaints: Complaints) -> None:
    steps = """\
- dispatcher: start
- evaluate: {new: [good]}
  at: before_call
  do: [evaluate: {new: [bad]}]
- evaluate: {cached: [good]}
"""
    plugins = "  plugins: {github: {}}\n"
    assert complaints(story(steps, further=plugins)) == []


def test_a_flake_has_no_inputs(complaints: Complaints) -> None:
    steps = "- evaluate: {new: [good], inputs: {src: {uri: x}}}\n"
    (found,) = complaints(story(steps, further="  flake: github:example/farm\n"))
    assert "which has no inputs" in found[3]
    good = "- evaluate: {new: [good], flake: github:example/farm/abab}\n"
    assert complaints(story(good, further="  flake: github:example/farm\n")) == []


@pytest.mark.parametrize("jobset", ["iohk:75", "iohk:75.2", "iohk:.jobsets", "nixos:release-25.11"])
def test_a_jobset_may_be_called_by_a_number(jobset: str) -> None:
    scenario = load_text(story("- evaluate: {new: [good]}\n", jobset=jobset))
    assert scenario.given.jobset == jobset
    assert load_text(to_yaml(scenario)).given.jobset == jobset


def test_a_new_name_may_be_a_number_and_enabled_a_word() -> None:
    steps = load_text(
        story("- edit_jobset: {name: 76, enabled: false}\n- edit_jobset: {enabled: one_shot}\n")
    ).story
    first, second = steps
    assert isinstance(first, EditJobset)
    assert isinstance(second, EditJobset)
    assert (first.edit_jobset.name, first.edit_jobset.enabled) == ("76", "disabled")
    assert second.edit_jobset.enabled == "one_shot"


def test_an_aggregate_needs_its_constituents() -> None:
    scenario = load_text(story("- evaluate: {new: [good, other, sum]}\n"))
    assert scenario.builds["sum"].needs == ("good", "other")
    assert scenario.dependents_of("good") == ("sum",)


def test_impossible_stands_on_the_step() -> None:
    (step,) = load_text(story("- evaluate: {new: [good]}\n  impossible: true\n")).story
    assert isinstance(step, Evaluate)
    assert step.impossible


@pytest.mark.parametrize(
    ("further", "message"),
    [
        ("    x: {same_derivation_as: nothing}\n", "no build 'nothing'"),
        ("    x: {same_derivation_as: x}\n", "each of the same derivation as the other"),
        ("    x: {same_derivation_as: good, outputs: [dev]}\n", "name, system and outputs are those of"),
        ("    x: {same_derivation_as: good, copies: 2}\n", "has no copies"),
        ("    x: {constituents: [nothing]}\n", "stands for an unknown build 'nothing'"),
        ("    x: {constituents: [y]}\n    y: {needs: [x]}\n", "wait for each other"),
    ],
)
def test_builds_that_cannot_be(complaints: Complaints, further: str, message: str) -> None:
    (found, *_) = complaints(story("- evaluate: {new: [good]}\n", further=further))
    assert message in found[3]
