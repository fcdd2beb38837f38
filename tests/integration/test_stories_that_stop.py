"""Stories that cannot go on: on a server that may not be restarted, and where a step asks for the impossible."""

import os
import subprocess
import sys
from pathlib import Path

from hydra_notify_sim.database import Server

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
    assert "Not exercised: line 13: a server that is not ours is never restarted" in played.stdout
    assert "Expectation not met" not in played.stdout
    assert "violated:" not in played.stdout


def test_an_impossible_step_is_told_with_its_line(tmp_path: Path) -> None:
    story = tmp_path / "impossible.yaml"
    story.write_text(
        "scenario: A machine is lost that nobody used\n"
        "why: Only playing it can tell\n"
        "exercises: [B-live]\n"
        "given: {builds: {iso: {}}, plugins: {github: {}}}\n"
        "story:\n"
        "  - dispatcher: start\n"
        "  - notify: {channel: build_started, payload: [iso]}\n"
        "  - abort: iso\n"
    )
    played = replay(story)
    assert played.returncode == 2, played.stdout + played.stderr
    assert "line 8: iso: abort is impossible, no step of it is under way; start it first" in played.stdout
    assert "Traceback" not in played.stdout + played.stderr
