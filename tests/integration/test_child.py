"""A dispatcher's process is never nobody's, and kill() leaves nothing of it that lives."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from hydra_notify_sim.targets.child import Child
from hydra_notify_sim.targets.guard import GUARD


def _ctrl_c(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


@pytest.fixture
def ctrl_c() -> Iterator[int]:
    """The number of a signal that does to this process what Ctrl-C does."""
    before = signal.signal(signal.SIGUSR1, _ctrl_c)
    yield signal.SIGUSR1
    signal.signal(signal.SIGUSR1, before)


def test_ctrl_c_just_after_the_fork_leaves_no_process_behind(
    ctrl_c: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def watch(group: int) -> None:
        started.append(group)
        os.kill(os.getpid(), ctrl_c)

    monkeypatch.setattr(GUARD, "watch_group", watch)
    with pytest.raises(KeyboardInterrupt):
        Child(["sleep", "60"], os.environ, tmp_path)
    with pytest.raises(ProcessLookupError):
        os.killpg(started[0], signal.SIGKILL)


LEAVES_A_PROCESS = """
import signal, subprocess, sys
much_memory = 'import os, signal; memory = os.urandom(1 << 20) * 300; print(os.getpid(), flush=True); signal.pause()'
other = subprocess.Popen([sys.executable, "-c", much_memory], env={}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
with open("ready", "wb") as ready:
    ready.write(other.stdout.readline())
signal.pause()
"""
"""Its process has neither its environment nor its output, and is killed a while before it is dead: memory is freed."""


def test_what_is_left_of_the_group_is_dead_when_kill_returns(
    tmp_path: Path, lives: Callable[[int], bool]
) -> None:
    os.mkfifo(tmp_path / "ready")
    child = Child([sys.executable, "-c", LEAVES_A_PROCESS], os.environ, tmp_path)
    other = int((tmp_path / "ready").read_text())
    child.kill()
    assert not lives(other)
