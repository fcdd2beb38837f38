"""A dispatcher's process: in its own session and process group, its output kept, nothing of it left behind."""

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hydra_notify_sim import errors
from hydra_notify_sim.recorders import messages
from hydra_notify_sim.targets.guard import GUARD

LINES_KEPT = 2_000
"""Lines of output that are kept, the last ones."""
LINE_KEPT = 4_096
"""Characters of a line that are kept."""
ROUNDS = 20
"""How often it is looked for what is left of a killed process, at most: one may beget another meanwhile."""
DEATH_SECONDS = 10.0
"""How long a killed process may take to die: its memory is freed, its writes to a disk end."""
OUTPUT_SECONDS = 1.0
"""How long the rest of the output may take to arrive once the whole process group is dead."""


class Child:
    """One life's process."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], directory: Path) -> None:
        """Start it in a directory.

        Raises:
            EnvironmentFailedError: there is no such program, or it may not be run.

        """
        try:
            self._process = _started(command, environment, directory)
        except OSError as error:
            raise errors.EnvironmentFailedError(
                f"the dispatcher cannot be started: {command[0]}: {error.strerror}. Is it installed, and executable?"
            ) from error
        self._mark = f"{messages.SOCKET_VARIABLE}={environment.get(messages.SOCKET_VARIABLE, '')}".encode()
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._dead = False
        self._reader = threading.Thread(target=self._read, name=f"output of {self.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id, which is the group's too."""
        return self._process.pid

    @property
    def exited(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    @property
    def exit_status(self) -> int | None:
        """Exit status, or minus the number of the signal that ended it; None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> list[str]:
        """The last lines of standard output and error."""
        return list(self._lines)

    def terminate(self) -> None:
        """Ask the process, and not its group, to end (SIGTERM)."""
        self._process.terminate()

    def freeze(self) -> None:
        """Let the whole group stand still; returns when the process does."""
        self._signal(signal.SIGSTOP)
        if hasattr(os, "waitid"):  # older Pythons on macOS have none, and it stops a moment later
            # Nothing is reaped: its exit status is for somebody else.
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let the whole group go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """Kill the group and, where /proc tells of it, what has left the group; returns when all of it is dead."""
        if self._dead:
            return
        self._dead = True
        self._signal(signal.SIGKILL)
        self._end_the_rest()
        try:
            self._process.wait(DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            raise errors.EnvironmentFailedError(
                f"process {self.pid} of the dispatcher was killed {DEATH_SECONDS:.0f} s ago and has not died. Does it wait "
                "for a disk?"
            ) from None
        GUARD.forget_group(self.pid)
        self._reader.join(OUTPUT_SECONDS)

    def _end_the_rest(self) -> None:
        """End whoever lives still in our group, or has our environment: a daemon that made itself a session of its own."""
        for _ in range(ROUNDS):
            rest = {pid for pid, fields in self._group() if fields[0] != "Z"}
            rest.update(
                int(environ.parent.name)
                for environ in Path("/proc").glob("[0-9]*/environ")
                if self._mark in _environment(environ)
            )
            for pid in rest:
                _end(pid)
            if not rest:
                return

    def cpu_seconds(self) -> float | None:
        """Return the processor time that the group has used so far, in seconds; None where /proc does not say."""
        ticks = [int(fields[11]) + int(fields[12]) for _, fields in self._group()]
        return sum(ticks) / os.sysconf("SC_CLK_TCK") if ticks else None

    def wants_processor(self) -> bool:
        """Tell whether a process of the group runs, or waits for a processor to run on; False where /proc does not say."""
        return any(fields[0] == "R" for _, fields in self._group())

    def _group(self) -> Iterator[tuple[int, list[str]]]:
        """Process id and fields of /proc's stat, from the state on, of each process of the group; none without /proc."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # The second field, the name in parentheses, may hold spaces.
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.pid:
                    yield int(stat.parent.name), fields

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with stream:
            while line := stream.readline(LINE_KEPT):
                self._lines.append(line.decode(errors="replace").rstrip("\n"))


def _started(
    command: Sequence[str], environment: Mapping[str, str], directory: Path
) -> "subprocess.Popen[bytes]":
    """Start a process that the guard knows of; in a thread, for Ctrl-C in between would leave one that nobody knows of."""
    with ThreadPoolExecutor(1) as elsewhere:
        starting = elsewhere.submit(_start, command, environment, directory)
        try:
            return starting.result()
        except KeyboardInterrupt:
            with starting.result() as process, contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            GUARD.forget_group(process.pid)
            raise


def _start(
    command: Sequence[str], environment: Mapping[str, str], directory: Path
) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    GUARD.watch_group(process.pid)
    return process


def _end(pid: int) -> None:
    """Kill a process that is not our child; returns when it is dead, where the system can tell (Linux)."""
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
        if hasattr(os, "pidfd_open"):
            process = os.pidfd_open(pid)
            try:
                death = select.poll()
                death.register(process, select.POLLIN)
                death.poll(DEATH_SECONDS * 1000)
            finally:
                os.close(process)


def _environment(file: Path) -> list[bytes]:
    """Return a process's environment; nothing of one that is gone, or is not ours."""
    try:
        return file.read_bytes().split(b"\0")
    except OSError:
        return []
