"""docs/incident.md, as it is written: a lost success is recorded, told, filled and replayed."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hydra_notify_sim import scenario

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "incident.md").read_text()
COMMANDS = re.findall(r"^\$ (.+)$", PAGE, flags=re.MULTILINE)
DEADLINE = 60.0

SHIM = """\
#!/bin/sh
PYTHONPATH="$PYTHONPATH:{root}" exec {python} -m hydra_notify_sim "$@"
"""


def block(language: str, beginning: str) -> str:
    (found,) = [
        text
        for text in re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
        if text.startswith(beginning)
    ]
    return found


class Terminal:
    """Runs the page's commands in a directory of their own."""

    def __init__(self, directory: Path, put_away: ExitStack) -> None:
        self.directory = directory
        self.put_away = put_away
        shim = directory / "bin" / "hydra-notify-sim"
        shim.parent.mkdir()
        shim.write_text(SHIM.format(root=ROOT, python=sys.executable))
        shim.chmod(0o755)
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "HYDRA_NOTIFY_SIM_DSN"},
            "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}",
        }

    def run(self, command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, shell=True, cwd=self.directory, env=self.environment, capture_output=True, text=True,
            check=False, timeout=DEADLINE,
        )  # fmt: skip

    def start(self, command: str, until: str) -> "subprocess.Popen[str]":
        """Start what goes on until it is ended, and wait until it has said that it is ready."""
        errors = (self.directory / f"errors-{len(list(self.directory.iterdir()))}").open("w+")
        process = subprocess.Popen(
            f"exec {command}" if "=" not in command.split(maxsplit=1)[0] else f"exec env {command}",
            shell=True, cwd=self.directory, env=self.environment, stderr=errors, text=True,
        )  # fmt: skip
        self.put_away.callback(errors.close)
        self.put_away.callback(process.wait)
        self.put_away.callback(process.kill)
        wait_for(lambda: until in Path(errors.name).read_text(), f"{command} to say {until!r}")
        return process


def wait_for(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)  # another process is looked at, and nothing tells of it


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with ExitStack() as put_away:
        yield Terminal(tmp_path, put_away)


@pytest.mark.slow
def test_the_page_is_true(terminal: Terminal) -> None:
    database, dispatch, tap, build, again, check, story, fill, replay = COMMANDS
    directory = terminal.directory
    (directory / "plugins.py").write_text(block("python", "import os"))
    (directory / "queue-runner.yaml").write_text(block("yaml", "scenario: A queue runner"))

    terminal.start(database, "A Hydra database is ready")
    dispatcher = terminal.start(dispatch, "starting with Chat, GitHub")
    recording = terminal.start(tap, "Recording 'hydra'")
    built = terminal.run(build)
    assert built.returncode == 4, built.stdout + built.stderr
    assert dispatcher.wait(timeout=DEADLINE) == -signal.SIGKILL
    second = terminal.start(again, "starting with Chat, GitHub")
    second.terminate()
    assert second.wait(timeout=DEADLINE) == 0
    recording.send_signal(signal.SIGINT)
    assert recording.wait(timeout=DEADLINE) == 0

    checked = terminal.run(check)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    told = terminal.run(story)
    assert told.returncode == 0, told.stderr
    assert "In the story plugin-2 is GitHub." in told.stderr
    assert (directory / "incident.yaml").read_text() == block("yaml", "# Captured")
    assert "iso" not in (directory / "incident.yaml").read_text()

    refused = terminal.run("hydra-notify-sim replay incident.yaml")
    assert refused.returncode == 2
    assert "explore --fill incident.yaml" in refused.stderr
    filled = terminal.run(fill)
    assert filled.returncode == 0, filled.stdout + filled.stderr
    assert block("text", "What was seen") in filled.stdout
    replayed = terminal.run(replay)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr

    found = scenario.load(directory / "incident-filled.yaml")
    kept = found.model_copy(update={"story": found.story[:-2]})
    (directory / "regression.yaml").write_text(scenario.to_yaml(kept))
    held = terminal.run("hydra-notify-sim replay regression.yaml")
    assert held.returncode == 0, held.stdout
    broken = terminal.run(replay.replace("incident-filled", "regression"))
    assert broken.returncode == 1, broken.stdout
