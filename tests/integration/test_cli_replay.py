"""``replay`` and ``check`` as processes on a real PostgreSQL, as a person runs them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

STORY = """\
scenario: {sentence}
why: A status on GitHub is what people look at
exercises: [B-live, B-clear-after]
given:
  builds: {{hello: {{}}, world: {{}}}}
  plugins:
    github: {{hooks: [build_finished]}}
    irc: {{hooks: [build_finished]}}
story:
  - dispatcher: start
  - build: hello
  - finish: world
    at: {{after_call: 1}}
    do: [dispatcher: crash]
  - dispatcher: start
  - settle
  - expect: {{marks: []}}
"""


@pytest.fixture
def story(tmp_path: Path) -> Path:
    file = tmp_path / "a-crash-between-two-plugins.yaml"
    file.write_text(STORY.format(sentence="The dispatcher crashes between two plugins"))
    return file


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("HYDRA_NOTIFY_SIM_")}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "hydra_notify_sim", *map(str, arguments)]


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, timeout=120, env=environment()
    )


def test_the_reference_holds_and_its_history_can_be_judged_again(story: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    played = run(
        "replay", story, "--out", out, "--json", tmp_path / "run.json", "--junit", tmp_path / "run.xml"
    )
    assert played.returncode == 0, played.stdout + played.stderr
    assert played.stderr == ""
    report = json.loads((tmp_path / "run.json").read_text())
    assert report["summary"]["passed"] == 1
    assert report["summary"]["promises"]["violated"] == 0
    assert (out / story.stem / "scenario.yaml").read_text() == story.read_text()

    judged = run("check", out, "--json", tmp_path / "again.json")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["scenarios"][0]["verdicts"] == report["scenarios"][0]["verdicts"]
    assert again["scenarios"][0]["expectations"] == report["scenarios"][0]["expectations"]


def test_a_known_bad_dispatcher_fails_with_the_promise_it_breaks(story: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    played = run("replay", story, "--dispatcher", "known-bad:clears-after-the-first-plugin", "--out", out)
    assert played.returncode == 1, played.stdout + played.stderr
    assert "B-clear-after was broken" in played.stdout
    again = f" replay --dispatcher known-bad:clears-after-the-first-plugin {story}"
    assert again in played.stdout
    assert run("check", out).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--dispatcher", "known-bad:nonsense"], 2),
        (["--dsn", "this is no DSN"], 2),
        (["--dsn", "postgres://u:geheim@127.0.0.1:1/x"], 3),
        (["-k", "nothing-like-it"], 4),
    ],
)
def test_what_keeps_a_run_from_beginning_is_a_sentence(story: Path, arguments: list[str], code: int) -> None:
    ended = run("replay", story, *arguments)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "geheim" not in ended.stdout + ended.stderr
    assert ended.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_ends_cleanly(tmp_path: Path, number: signal.Signals, code: int) -> None:
    for one in range(400):
        (tmp_path / f"story-{one:03}.yaml").write_text(STORY.format(sentence=f"Story {one}"))
    report = tmp_path / "run.json"
    with subprocess.Popen(
        command("replay", tmp_path, "--json", report),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("passed") for line in process.stdout), "one scenario was played"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code, out + err
    assert f"Exit status {code}:" in out
    assert "Traceback" not in out + err
    assert 0 < json.loads(report.read_text())["summary"]["passed"] < 400
