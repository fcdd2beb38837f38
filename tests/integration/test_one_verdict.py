"""One history, one verdict: `check` says of a saved history what `replay` said when it was played."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_notify_sim.cli import check, main
from hydra_notify_sim.conformance.kill_matrix import is_costly
from hydra_notify_sim.engine import events
from hydra_notify_sim.engine.environment import Environment
from hydra_notify_sim.engine.run import Loaded, Options, Runner
from hydra_notify_sim.reports import directory
from hydra_notify_sim.reports.summary import Summary
from hydra_notify_sim.scenario import load_all
from hydra_notify_sim.targets import registry

SCENARIOS = Path(__file__).parents[2] / "scenarios"
BAD = "known-bad:clears-after-the-first-plugin"
KNOWN_BAD = [BAD, "known-bad:never-scans", "known-bad:shortens-the-dependents"]
EXPECTED = """
scenario: A known bad one is expected to break
why: what is expected of it stands in the history
exercises: [B-clear-after]
given: {builds: {iso: {}}, plugins: {a: {hooks: [build_finished]}, b: {hooks: [build_finished]}}}
story:
  - dispatcher: start
  - build: iso
    at: {after_call: 1}
    do: [dispatcher: crash]
  - dispatcher: start
  - expect: {violated: [B-clear-after, B-at-least-once]}
"""


def disagreements(
    environment: Environment, dispatcher: str, stories: list[Loaded], folder: Path
) -> list[tuple[str, object, object]]:
    runner = Runner(environment, registry.choose(dispatcher), Options(dispatcher=dispatcher))
    report = directory.DirectoryReport(folder)
    report.take(events.RunStarted(len(stories), dispatcher, "strict", 0, "", ""))
    played: dict[str, events.ScenarioFinished] = {}
    for loaded in stories:
        event = runner.play(loaded)
        if isinstance(event, events.ScenarioFailed):
            raise event.error
        report.take(event)
        played[event.name] = event
    judged = {
        event.name: event
        for event in check.judge_all(directory.histories(folder), None)
        if isinstance(event, events.ScenarioFinished)
    }
    assert set(judged) == set(played)
    return [
        (name, event.verdict, judged[name].verdict)
        for name, event in played.items()
        if event.verdict != judged[name].verdict
    ]


@pytest.mark.parametrize(
    ("dispatcher", "costly"),
    [
        ("reference", False),
        pytest.param("reference", True, marks=pytest.mark.slow),
        *(pytest.param(bad, False, marks=[pytest.mark.slow] if bad != BAD else []) for bad in KNOWN_BAD),
        pytest.param(BAD, True, marks=pytest.mark.slow),
    ],
)
def test_check_says_what_replay_said(
    dispatcher: str, costly: bool, environment: Environment, tmp_path: Path
) -> None:
    stories = [one for one in load_all([SCENARIOS]) if is_costly(one[1]) == costly]
    assert disagreements(environment, dispatcher, stories, tmp_path / "out") == []


def test_a_known_bad_one_that_breaks_what_is_expected_passes_both_and_the_sentence_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = tmp_path / "story.yaml"
    story.write_text(EXPECTED)
    arguments = ["replay", str(story), "--dispatcher", BAD, "--out", str(tmp_path / "out")]
    assert main([*arguments, "--json", str(tmp_path / "replay.json")]) == 0
    assert main(["check", str(tmp_path / "out"), "--json", str(tmp_path / "check.json")]) == 0
    said = capsys.readouterr().out
    assert "every promise that was exercised held" not in said
    ending = "B-at-least-once, B-clear-after violated, as the stories expect; every other promise that was exercised held"
    assert said.count(f"Exit status 0: {ending}.") == 2
    replayed, checked = (json.loads((tmp_path / f"{one}.json").read_text()) for one in ("replay", "check"))
    assert replayed["summary"] == checked["summary"]
    assert replayed["summary"]["outcome"] == ending

    (tmp_path / "out" / "story" / directory.VERDICTS).unlink()
    assert main(["check", str(tmp_path / "out")]) == 0
    assert main([*arguments[:2], "--out", str(tmp_path / "good")]) == 1
    assert main(["check", str(tmp_path / "good")]) == 1


def test_the_exit_status_of_profile_upstream_does_not_depend_on_what_a_quirk_may_break(
    play: Callable[..., events.ScenarioFinished],
) -> None:
    """The reference breaks nothing: what depends on the order of the plugins is not missed."""
    total = Summary()
    total.take(play(SCENARIOS / "upstream" / "hn-stale-clear-by-a-retry.yaml", profile="upstream"))
    assert (total.exit_code, total.outlived) == (0, [])
    total.take(play(SCENARIOS / "upstream" / "hn-stale-clear.yaml", profile="upstream"))
    assert [one.id for one in total.outlived] == ["hn-stale-clear"]
    found = "known-bad:clears-without-comparing"
    total.take(play(SCENARIOS / "upstream" / "hn-stale-clear.yaml", found, profile="upstream"))
    assert (total.exit_code, total.outlived) == (0, [])
