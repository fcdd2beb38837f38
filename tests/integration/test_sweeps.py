"""Sweeps: every point has its turn, a mistake is found and replays, and nothing passes by not happening."""

import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from hydra_notify_sim import history, scenario
from hydra_notify_sim.engine import Options, environment, events, run
from hydra_notify_sim.exploration import sweeps
from hydra_notify_sim.scenario.write import to_yaml
from hydra_notify_sim.targets import registry

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "sweeps.md").read_text()
STORY = """\
scenario: Two builds finish
why: a test
exercises: [B-at-least-once]
given:
  builds: {a: {}, b: {}}
  plugins: {chat: {hooks: [build_finished]}, github: {hooks: [build_finished]}}
story:
  - dispatcher: start
  - build: a
  - build: b
  - settle
  - expect: {calls: {chat: {build: a, at_least: 1, at_most: 1}}}
"""


@pytest.fixture
def story(tmp_path: Path) -> Path:
    file = tmp_path / "two-builds.yaml"
    file.write_text(STORY)
    return file


def explore(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hydra_notify_sim", "explore", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120,
        env={name: value for name, value in os.environ.items() if name != "HYDRA_NOTIFY_SIM_DSN"},
    )  # fmt: skip


def swept(kind: sweeps.Kind, bound: int = 1, text: str = STORY) -> list[sweeps.Tried]:
    loaded = [(Path("story.yaml"), scenario.load_text(text))]
    return list(sweeps.sweep(loaded, sweeps.Settings(kind=kind, bound=bound, options=Options())))


def test_every_point_is_crashed_at_once_and_the_reference_keeps_its_promises() -> None:
    as_written, *crashes = swept("crash")
    assert not as_written.variant.moves
    moves = [tried.variant.moves[0] for tried in crashes]
    points = [move.point + place for move in moves for place in range(1 + len(move.also))]
    assert points == list(range(1, len(points) + 1))
    kinds = {kind for move in moves for kind in (move.kind, *move.also)}
    assert {"before load", "after load", "before call", "after clear_marks", "after receive"} <= kinds
    assert all(tried.held and not tried.astray for tried in crashes)
    # What a progress line says is still to come.
    assert as_written.further == len(crashes)
    assert not any(tried.further for tried in crashes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["crash", "disconnect"])
def test_one_play_stands_for_the_points_between_which_nothing_happened(kind: sweeps.Kind) -> None:
    failing = STORY.replace("github: {hooks: [build_finished]}", "github: {raises: {first: 2}}")
    bare = sweeps.bare(scenario.load_text(failing + "  - advance: 5s\n"))
    alike = [tried.variant.moves[0] for tried in swept(kind, text=to_yaml(bare)) if tried.variant.moves]
    with environment.opened(None, None, None) as opened:
        runner = run.Runner(opened, registry.choose("reference"), Options())

        def history_of(point: int, action: sweeps.Action) -> list[history.AnyRecord]:
            with ExitStack() as put_away:
                one = sweeps.told(bare, [sweeps.Move(point, action)])
                stage = runner.set_up(Path("story.yaml"), one, "", put_away)
                stage.player.play()
            return [record for record in stage.written if not isinstance(record, history.PointReached)]

        compared = 0
        for move in alike:
            expected = history_of(move.point, move.action) if move.also else []
            for further in range(1, 1 + len(move.also)):
                assert history_of(move.point + further, move.action) == expected
                compared += 1
    assert compared > 20


def test_a_crash_may_take_away_the_evaluation_that_a_later_step_names() -> None:
    """The step has become impossible then; it is no fault of the harness."""
    text = """\
scenario: An evaluation is deleted that was made at a point
why: a test
exercises: [B-at-least-once]
given:
  builds: {a: {}, b: {}}
  plugins: {chat: {hooks: [build_finished]}}
story:
  - dispatcher: start
  - build: a
    at: {inside_call: chat}
    do: [evaluate: {name: later, new: [b]}]
  - delete: {evaluation: later}
  - settle
"""
    tried = swept("crash", text=text)
    assert any(one.astray for one in tried)
    assert [one.error for one in tried if one.error] == []


def test_an_answer_is_lost_only_where_one_is_asked_for() -> None:
    lost = [tried.variant.moves[0] for tried in swept("disconnect")[1:]]
    assert {move.kind for move in lost if move.action == "reply lost"} >= {
        "before load",
        "before clear_marks",
    }
    assert not any(move.action == "reply lost" for move in lost if not move.kind.startswith("before "))


def test_steps_are_moved_in_their_order_and_each_schedule_is_tried_once() -> None:
    tried = swept("interleave", bound=2)
    assert all(one.held for one in tried)
    moved = [[place for move in one.variant.moves for place in move.steps] for one in tried]
    assert [1] in moved  # the first build while the dispatcher starts
    assert [1, 2] in moved
    assert all(places == sorted(places) for places in moved)
    assert len({one.variant for one in tried}) == len(tried)
    assert sum(one.pruned for one in tried)


@pytest.mark.slow
def test_every_pair_has_its_turn() -> None:
    lone = STORY.replace("  - build: b\n", "").replace("a: {}, b: {}", "a: {}")
    tried = swept("crash", 2, lone)
    pairs = {tuple(move.point for move in one.variant.moves) for one in tried if len(one.variant.moves) == 2}
    firsts = {one.variant.moves[0].point for one in tried if len(one.variant.moves) == 1}
    assert {first for first, _ in pairs} == firsts
    assert all(first < second for first, second in pairs)
    counted = sweeps.Matrix()
    for one in tried:
        counted.add(one)
    assert counted.played == len(tried) - 1 < counted.tried
    assert all(one.held for one in tried)


@pytest.mark.slow
def test_a_mistake_is_found_told_and_replays(
    story: Path, tmp_path: Path, play: Callable[..., events.ScenarioFinished]
) -> None:
    bad = "known-bad:clears-after-the-first-plugin"
    kept, report = tmp_path / "kept", tmp_path / "report.json"
    found = explore(
        "--sweep", "crash", story, "--dispatcher", bad, "--counter-examples", kept, "--json", report, "--workers", 2
    )  # fmt: skip
    assert found.returncode == 1, found.stdout + found.stderr
    assert "B-clear-after was broken" in found.stdout
    again = re.findall(r"Play it again: \S.* replay (.*)", found.stdout)
    assert again == [f"--dispatcher {bad} {file}" for file in sorted(kept.glob("*.yaml"))]
    told = json.loads(report.read_text())
    assert told["exit_status"] == 1
    assert told["broken"]["B-at-least-once"]
    assert told["counter_examples"]
    for name in told["counter_examples"]:
        assert play(Path(name), dispatcher=bad).passed
        assert not play(Path(name)).passed


def test_what_the_documentation_shows_is_so(
    tmp_path: Path, play: Callable[..., events.ScenarioFinished]
) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCS, flags=re.DOTALL)
    file = tmp_path / "variant.yaml"
    file.write_text(text)
    finished = play(file)
    assert finished.passed
    assert any("point 11" in str(record) for record in finished.history)
    (command,) = re.findall(r"\$ hydra-notify-sim explore (.*)", DOCS)
    *options, path = command.split()
    result = explore(*options, ROOT / path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"Tried all \d+ crash points of 1 scenario: 0 broke a promise", result.stdout)


def test_a_point_of_a_repeat_that_is_never_reached_is_not_passed(
    tmp_path: Path, play: Callable[..., events.ScenarioFinished]
) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCS, flags=re.DOTALL)
    file = tmp_path / "variant.yaml"
    file.write_text(text.replace("point: 11", "point: 1100"))
    finished = play(file)
    assert not finished.passed
    assert "the point point 1100" in finished.verdict.not_exercised[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--twice"], "belong to a sweep"),
        (["--sweep", "disconnect", "--twice"], "--twice is for --sweep crash"),
        (["--sweep", "crash", "--bound", "2"], "--bound is for --sweep interleave"),
        (["--sweep", "crash", "--scenarios", "5"], "belong to different explorations"),
        (["--sweep", "crash"], "name scenarios to be swept"),
    ],
)
def test_contradictions_are_refused(arguments: list[str], said: str) -> None:
    result = explore(*arguments)
    assert result.returncode == 2
    assert said in result.stderr


def test_the_workers_of_a_sweep_that_is_killed_end_with_it() -> None:
    ladder = ROOT / "scenarios" / "the-whole-retry-ladder.yaml"
    command = [sys.executable, "-m", "hydra_notify_sim", "explore", "--sweep", "crash", "--twice", "--workers", "2", ladder]  # fmt: skip
    terminal, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environment) as sweep:
        os.close(theirs)
        shown = b""
        while b"[2/" not in shown:  # by now the workers are at work
            shown += os.read(terminal, 4096)
        sweep.kill()
        assert sweep.stderr is not None
        # It is the workers' too: its end comes when the last of them has ended.
        poll = select.poll()
        poll.register(sweep.stderr, select.POLLIN)
        while poll.poll(30_000):
            if not os.read(sweep.stderr.fileno(), 4096):
                break
        else:
            pytest.fail("a worker is still there")
    os.close(terminal)
