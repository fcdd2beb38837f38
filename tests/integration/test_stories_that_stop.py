"""Stories that cannot go on: on a server that may not be restarted, and where a step asks for the impossible."""

import os
import subprocess
import sys
from pathlib import Path

from hydra_notify_sim import engine
from hydra_notify_sim.database import Server, start_server
from hydra_notify_sim.engine import events
from hydra_notify_sim.scenario import load_all

STORY = """\
scenario: A build is announced
why: a test
exercises: [B-live]
given: {builds: {iso: {}}, plugins: {github: {}}}
story:
  - dispatcher: start
  - build: iso
"""
ROOT = Path(__file__).parents[2]


def replay(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hydra_notify_sim", "replay", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120,
        env={name: value for name, value in os.environ.items() if name != "HYDRA_NOTIFY_SIM_DSN"},
    )  # fmt: skip


def test_a_server_that_is_not_ours_is_not_restarted_and_nothing_is_expected_of_it(server: Server) -> None:
    played = replay(
        ROOT / "scenarios" / "the-database-restarts.yaml", "--dsn", server.dsn("stories_that_stop")
    )
    assert played.returncode == 4, played.stdout + played.stderr
    assert "Not exercised: line 13: a server that is not ours is never stopped" in played.stdout
    assert "Expectation not met" not in played.stdout
    assert "violated:" not in played.stdout


def test_an_impossible_step_is_told_with_its_line(tmp_path: Path) -> None:
    story = tmp_path / "impossible.yaml"
    story.write_text(
        "scenario: The dispatcher is to settle while a plugin holds its call\n"
        "why: Only playing it can tell\n"
        "exercises: [B-live]\n"
        "given: {builds: {iso: {}}, plugins: {github: {holds: true}}}\n"
        "story:\n"
        "  - dispatcher: start\n"
        "  - start: iso\n"
        "  - settle\n"
    )
    played = replay(story)
    assert played.returncode == 2, played.stdout + played.stderr
    assert "line 8: the dispatcher is held in the middle of an event and cannot settle" in played.stdout
    assert "Traceback" not in played.stdout + played.stderr


def test_a_run_ends_where_its_server_went_away(tmp_path: Path) -> None:
    """One paragraph and exit code 3, not one for each of the scenarios that are left."""
    with start_server() as server:
        names = ["a", "b", "c", "d"]
        for name in names:
            (tmp_path / f"{name}.yaml").write_text(STORY)
        options = engine.Options(dsn=server.dsn(server.database))
        run = engine.play_all(load_all([tmp_path]), options)
        seen = []
        for event in run:
            seen.append(event)
            if isinstance(event, events.ScenarioFinished):
                server.shut()
    assert [type(event).__name__ for event in seen] == [
        "RunStarted",
        "ScenarioStarted",
        "ScenarioFinished",
        "ScenarioStarted",
        "ScenarioFailed",
        "RunFinished",
    ]
    assert seen[-2].error.exit_code == 3
