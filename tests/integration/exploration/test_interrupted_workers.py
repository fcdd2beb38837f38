"""Ctrl-C while workers start: it ends with 130, and no worker prints a traceback of its imports."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STORY = str(Path(__file__).parents[3] / "scenarios" / "deploy-between-two-plugins.yaml")
POOLS = {
    "campaign": ["explore", "--workers", "2", "--scenarios", "100000"],
    "sweep": ["explore", "--sweep", "crash", STORY, "--workers", "2"],
    "conformance": ["conformance", "--dispatcher", "reference-process", "--workers", "2"],
}


def workers_of(pid: int) -> list[int]:
    """Return the processes that a process has spawned to work for it."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            parent = int(line.with_name("stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"spawn_main" in line.read_bytes():
                found.append(int(line.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked for in /proc")
@pytest.mark.parametrize("pool", POOLS)
def test_ctrl_c_while_the_workers_start_ends_quietly(pool: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hydra_notify_sim", *POOLS[pool]],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while not workers_of(process.pid):
        assert process.poll() is None
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: all of them are meant
    said, _ = process.communicate(timeout=120)
    assert "Traceback" not in said
    assert process.returncode == 130, said
