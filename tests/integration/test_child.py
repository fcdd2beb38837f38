"""A dispatcher's process is never nobody's: whenever Ctrl-C comes, it is ended, or the guard knows of it."""

import os
import signal
from collections.abc import Iterator
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
