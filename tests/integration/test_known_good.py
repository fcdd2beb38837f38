"""The control group: nothing that we ship calls a known-good dispatcher wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from hydra_notify_sim import history
from hydra_notify_sim.cli import main
from hydra_notify_sim.conformance import kill_matrix
from hydra_notify_sim.contract import promises
from hydra_notify_sim.engine import claims, events
from hydra_notify_sim.engine.environment import Environment
from hydra_notify_sim.engine.run import Loaded, Options, Runner
from hydra_notify_sim.known_good import KNOWN_GOOD
from hydra_notify_sim.scenario import shipped
from hydra_notify_sim.targets import registry

IDS = {promise.id for promise in promises.PROMISES}
STORIES = [loaded for loaded in shipped.load() if loaded[1].given.dispatcher != "process"]

PLACES = {name: place for place, name in enumerate(KNOWN_GOOD)}

Play = Callable[..., events.ScenarioFinished]


def claimed(name: str) -> list[Loaded]:
    """Return the stories that a known-good dispatcher claims; but for payloads, it claims all."""
    found = []
    for loaded in STORIES:
        try:
            claims.as_read(loaded[1], KNOWN_GOOD[name].payloads)
        except claims.NotClaimedError:
            continue
        found.append(loaded)
    return found


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
    freedom = KNOWN_GOOD[name].freedom
    promise = freedom if freedom in IDS else "E-live"  # the protocol's freedoms show in whatever is emitted
    for path, scenario, _ in claimed(name):
        if promise in scenario.exercises and not kill_matrix.is_costly(scenario):
            finished = play(path, f"known-good:{name}")
            assert (finished.passed, wrong(finished)) == (True, []), path.stem


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN_GOOD)
def test_no_story_calls_it_wrong(name: str, play: Play) -> None:
    """A third of the stories for each, another third for the next one.

    All of them: `hydra-notify-sim replay scenarios --dispatcher known-good:NAME`, a few seconds for each name.
    """
    for path, _, _ in claimed(name)[PLACES[name] % 3 :: 3]:
        finished = play(path, f"known-good:{name}")
        assert (finished.passed, wrong(finished)) == (True, []), path.stem


def test_all_but_the_stories_of_other_payloads_are_claimed() -> None:
    assert {name for name in KNOWN_GOOD if len(claimed(name)) < len(STORIES)} == {
        "reads-payloads-of-2026-08",
        "reads-payloads-of-2026-09",
    }
    assert {path.stem for path, _, _ in STORIES} - {
        path.stem for path, _, _ in claimed("reads-payloads-of-2026-08")
    } == {"payloads-of-september", "hn-old-payloads"}
    assert {path.stem for path, _, _ in STORIES} - {
        path.stem for path, _, _ in claimed("reads-payloads-of-2026-09")
    } == {"tasks-of-a-newer-version"}


@pytest.mark.parametrize(
    ("dispatcher", "options"),
    [
        ("known-good:reads-payloads-of-2026-08", []),
        ("known-good-process:reads-payloads-of-2026-08", []),
        ("reference", ["--payloads", "2026-08"]),
    ],
)
def test_a_story_of_payloads_that_are_not_read_is_named_and_fails_nothing(
    dispatcher: str, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [
        str(path) for path, _, _ in STORIES if path.stem in {"payloads-of-september", "a-step-without-a-log"}
    ]
    report, junit, out = tmp_path / "report.json", tmp_path / "junit.xml", tmp_path / "out"
    files = ["--json", str(report), "--junit", str(junit), "--out", str(out)]
    assert main(["replay", *paths, "--dispatcher", dispatcher, *options, *files]) == 0
    reason = "the dispatcher reads payloads 2026-08; the story is of 2026-09"
    said = capsys.readouterr().out
    assert f"payloads-of-september: not claimed: {reason}" in said
    assert "1 scenario played: 1 passed, 0 failed, 1 not claimed" in said
    value = json.loads(report.read_text())
    assert [one["name"] for one in value["scenarios"]] == ["a-step-without-a-log"]
    assert [(one["name"], one["reason"]) for one in value["not_claimed"]] == [
        ("payloads-of-september", reason)
    ]
    suite = ET.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        *("2", "0", "0", "1"),
    )
    assert json.loads((out / "run.json").read_text())["not_claimed"] == {"payloads-of-september": reason}


def test_a_process_that_reads_the_newer_payloads_alone_is_told_in_them(play: Play) -> None:
    (path,) = [path for path, _, _ in STORIES if path.stem == "a-day-without-trouble"]
    finished = play(path, "known-good-process:reads-payloads-of-2026-09")
    assert finished.passed
    assert finished.history.header.payloads == "2026-09"
    added = [
        record
        for record in finished.history
        if isinstance(record, history.Called) and record.hook == "eval_added"
    ]
    assert added
    assert all(record.args["error_changed"] == 0 for record in added)


def test_a_sweep_leaves_out_what_is_not_claimed_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = [path for path, _, _ in STORIES if path.stem == "payloads-of-september"]
    arguments = [
        "explore",
        str(path),
        "--sweep",
        "crash",
        "--dispatcher",
        "known-good:reads-payloads-of-2026-08",
    ]
    assert main(arguments) == 4
    reason = "the dispatcher reads payloads 2026-08; the story is of 2026-09"
    assert f"Not claimed: payloads-of-september: {reason}." in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["clears-marks-one-by-one", "keeps-marks-of-failures", "retries-before-events"]
)
def test_no_crash_of_a_sweep_calls_one_wrong(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [
        str(path) for path, _, _ in STORIES if path.stem in {"a-502-is-retried", "deploy-between-two-plugins"}
    ]
    assert main(["explore", *paths, "--sweep", "crash", "--dispatcher", f"known-good:{name}"]) == 0
    assert "0 broke a promise" in capsys.readouterr().out


AS_A_PROCESS = {
    "the-connection-is-lost-and-comes-back",
    "busy-when-the-next-one-comes",
    "a-retry-comes-by-itself",
    "a-502-is-retried",
    "sigterm-while-a-plugin-works",
    "failed-restarted-green-three-times",
    "a-retry-that-meets-a-restarted-build",
    "payloads-of-september",
}
"""Stories that ask of a process what only a process has: signals, sockets, real time; and for its freedoms."""


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN_GOOD)
def test_as_a_process_it_is_called_wrong_no_more(name: str, environment: Environment) -> None:
    """Two or three of these stories for each, others for the next one.

    All stories: `hydra-notify-sim conformance --dispatcher known-good-process:NAME`, some minutes for each name.
    """
    dispatcher = f"known-good-process:{name}"
    runner = Runner(environment, registry.choose(dispatcher), Options(dispatcher=dispatcher))
    stories = [loaded for loaded in shipped.load() if loaded[0].stem in AS_A_PROCESS]
    assert len(stories) == len(AS_A_PROCESS)
    for loaded in stories[PLACES[name] % 3 :: 3]:
        event = runner.play(loaded)
        if isinstance(event, events.ScenarioNotClaimed):
            assert KNOWN_GOOD[name].payloads == ("2026-08",)
            continue
        assert isinstance(event, events.ScenarioFinished), event
        assert (event.passed, wrong(event)) == (True, []), loaded[0].stem
