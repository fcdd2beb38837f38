"""Sees to it that nothing is left when the harness is killed: a process of our own waits for the end of a pipe.

When this process ends, however it ends, the pipe closes; the guard then kills the process groups that are still
on its list and removes their directories. It needs nothing that only Linux has.
"""

import atexit
import contextlib
import os
import subprocess
import sys
from pathlib import Path

ENDS_WITHIN = 30.0
"""Seconds for which the guard's end is waited for."""
_SOURCE = """
import os, shutil, signal, sys
groups, directories = set(), set()
for line in sys.stdin:
    what, _, name = line.rstrip("\\n").partition(" ")
    {"+group": groups.add, "-group": groups.discard, "+directory": directories.add, "-directory": directories.discard}[what](name)
for group in groups:
    try:
        os.killpg(int(group), signal.SIGKILL)
    except OSError:
        pass
for directory in directories:
    shutil.rmtree(directory, ignore_errors=True)
"""


class Guard:
    """The guard of this process, started with the first thing to guard."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def watch_group(self, group: int) -> None:
        """Kill this process group if the harness goes."""
        self._tell(f"+group {group}")

    def forget_group(self, group: int) -> None:
        """Leave this process group alone: it has ended."""
        self._tell(f"-group {group}")

    def watch_directory(self, directory: Path) -> None:
        """Remove this directory if the harness goes."""
        self._tell(f"+directory {directory}")

    def forget_directory(self, directory: Path) -> None:
        """Leave this directory alone: it is gone."""
        self._tell(f"-directory {directory}")

    def _tell(self, line: str) -> None:
        process = self._started()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()

    def _started(self) -> subprocess.Popen[bytes]:
        # A forked child of the harness has a harness of its own to guard.
        if self._process is None or self._owner != os.getpid():
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _SOURCE],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            atexit.register(self._end, self._process, self._owner)
        return self._process

    @staticmethod
    def _end(process: subprocess.Popen[bytes], owner: int) -> None:
        if owner == os.getpid() and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):  # it goes on without us
                process.wait(ENDS_WITHIN)


GUARD = Guard()
