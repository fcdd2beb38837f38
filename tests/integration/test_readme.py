"""What the README shows is what happens."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_notify_sim.cli import main
from hydra_notify_sim.contract.promises import PROMISES
from hydra_notify_sim.dispatcher.plugins import PythonPlugin
from hydra_notify_sim.engine import events

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    line.removeprefix("$ ").strip()
    for language, block in BLOCKS
    if language == "console"
    for line in block.splitlines()
    if line.startswith("$ ")
]


def _blocks(language: str) -> list[str]:
    found = [block for kind, block in BLOCKS if kind == language]
    assert found
    return found


def test_the_story_plays(tmp_path: Path, play: Callable[..., events.ScenarioFinished]) -> None:
    (story,) = _blocks("yaml")
    file = tmp_path / "story.yaml"
    file.write_text(story)
    assert play(file).passed
    assert not play(file, dispatcher="known-bad:clears-after-the-first-plugin").passed


def test_the_known_bad_dispatcher_is_caught_by_the_command_shown() -> None:
    (command,) = [command for command in COMMANDS if "known-bad" in command]
    program, *arguments = shlex.split(command)
    assert program.endswith("hydra-notify-sim")
    result = subprocess.run(
        [sys.executable, "-m", "hydra_notify_sim", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    assert "B-clear-after was broken" in result.stdout
    assert "Play it again:" in result.stdout


def test_the_plugin_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    _, source = _blocks("python")
    names: dict[str, type] = {}
    exec(source, names)
    plugin = PythonPlugin(names["Chat"]())
    assert plugin.hooks == {"build_finished"}
    build = type("Row", (), {"project": "nixpkgs", "jobset": "trunk", "job": "hello", "buildstatus": 0})()
    plugin.call("build_finished", {"build": build, "dependents": []})
    assert capsys.readouterr().out == "nixpkgs:trunk:hello 0, 0 with it\n"


@pytest.mark.usefixtures("loopback")
def test_the_test_passes_with_the_plugin_of_the_example(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_httpserver")
    source, _ = _blocks("python")
    example = ROOT / "examples" / "github-status"
    fixture = (example / "tests" / "test_github_status.py").read_text().partition("def posted")[0]
    pytester.makepyfile(
        github_status=(example / "github_status.py").read_text(), conftest=fixture, test_readme=source
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider", "-W", "error").assert_outcomes(passed=1)


def test_every_command_of_the_table_exists(capsys: pytest.CaptureFixture[str]) -> None:
    named = re.findall(r"^\| `hydra-notify-sim (\w+)", README, flags=re.MULTILINE)
    assert len(named) == 11
    for name in named:
        assert main([name, "--help"]) == 0
        assert f"hydra-notify-sim {name}" in capsys.readouterr().out


def test_every_link_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert [t for t in targets if not t.startswith("http") and not (ROOT / t).exists()] == []


def test_the_number_of_promises_is_right() -> None:
    assert f"judges {len(PROMISES)} promises" in README
