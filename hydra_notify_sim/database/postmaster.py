"""PostgreSQL's own programs: make a data directory, start a server on it, end it."""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hydra_notify_sim.database.accounts import Account, die_with_parent, server_environment
from hydra_notify_sim.database.directories import PrivateDirectory
from hydra_notify_sim.errors import EnvironmentFailedError

_INITDB = (
    *("-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C"),
    *("--no-sync", "--no-instructions", "--wal-segsize=1"),
)
# Nothing here has to survive the machine's crash, so nothing is synced (-F). But commits do reach the kernel
# before they are answered (no `synchronous_commit=off`): what was committed is there after a restart.
_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0600",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    # Small tables and short statements: planning a prepared one anew each time would take longer than running it.
    "plan_cache_mode": "force_generic_plan",
    "checkpoint_timeout": "1h",
    "max_connections": "100",
    "min_wal_size": "2MB",
    # Kept in the data directory: nothing is left in /dev/shm when the server is killed.
    "dynamic_shared_memory_type": "mmap",
    # The errors that scenarios provoke on purpose are no news.
    "log_min_messages": "log",
    "log_checkpoints": "off",
}
_INITDB_WITHIN = 300.0
_START_WITHIN = 60.0
_STOP_WITHIN = 10.0
_POLL = 0.001


@dataclass(frozen=True, slots=True)
class Binaries:
    """PostgreSQL's programs: where they lie, who told us, and which version they are."""

    directory: Path
    source: str
    """The source's name, as in HYDRA_NOTIFY_SIM_POSTGRES_SOURCE."""
    version: str
    """As in `15.18`."""
    build: str
    """The whole answer of `postgres --version`."""
    account: Account
    copy: PrivateDirectory | None = None
    """Where they had to be copied to for this once."""

    def release(self) -> None:
        """Say that they are needed no more."""
        if self.copy is not None:
            self.copy.remove()

    @property
    def major(self) -> int:
        """The version's first number, 14 to 18."""
        return int(self.version.split(".")[0])


def initialise(binaries: Binaries, data: Path) -> None:
    """Make a new data directory with `initdb`.

    Raises EnvironmentFailedError, with what initdb said, if it fails.
    """
    checksums = ["--no-data-checksums"] if binaries.major >= 18 else []
    with _spawn(
        [str(binaries.directory / "initdb"), "-D", str(data), *_INITDB, *checksums],
        binaries.account,
        data.parent,
        subprocess.PIPE,
    ) as process:
        try:
            said, _ = process.communicate(timeout=_INITDB_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            raise EnvironmentFailedError(
                f"initdb of {binaries.directory} has not ended in {_INITDB_WITHIN:.0f} s. Is the disk of {data} full, or slow?"
            ) from None
    if process.returncode != 0:
        raise EnvironmentFailedError(
            f"initdb of {binaries.directory} failed (exit {process.returncode}): {_tail(said)}"
        )


def _spawn(
    command: list[str], account: Account, directory: Path, output: int | IO[bytes]
) -> subprocess.Popen[bytes]:
    """Run a program as the account, out of reach of Ctrl-C, ended with us where the kernel can do that."""
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=server_environment(),
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - it makes two system calls, no Python lock
            user=account.user,
            group=account.group,
            extra_groups=account.extra_groups,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvironmentFailedError(f"{command[0]} cannot be run: {error}") from error


class Postmaster:
    """One run of a server on a data directory, its socket and its log beside that."""

    def __init__(self, binaries: Binaries, directory: Path) -> None:
        """Start `postgres` on `directory`/data and wait until it accepts connections.

        Raises EnvironmentFailedError, with the end of the server's log, if it does not within a minute.
        """
        self._data = directory / "data"
        self._log = directory / "log"
        options = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [
            str(binaries.directory / "postgres"),
            "-D",
            str(self._data),
            "-k",
            str(directory),
            "-F",
            *options,
        ]
        with self._log.open("ab") as log:
            self._process = _spawn(command, binaries.account, directory, log)
        try:
            self._wait_until_ready()
        except BaseException:
            self.quit()
            raise

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._process.pid

    def quit(self) -> None:
        """End it at once (SIGQUIT): every session is cut, and the next start recovers as from a crash."""
        self._end(signal.SIGQUIT)

    def finish(self) -> None:
        """End it cleanly (SIGINT), so that its data directory can be copied."""
        self._end(signal.SIGINT)

    def _end(self, by: signal.Signals) -> None:
        if self._process.poll() is not None:
            return
        self._process.send_signal(by)
        try:
            self._process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_WITHIN
        while not self._is_ready():
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                how = (
                    f"ended (exit {ended})"
                    if ended is not None
                    else f"was not ready in {_START_WITHIN:.0f} s"
                )
                raise EnvironmentFailedError(f"The PostgreSQL server {how}: {_tail(self._log.read_bytes())}")
            time.sleep(_POLL)

    def _is_ready(self) -> bool:
        # Documented in PostgreSQL's sources only, and what pg_ctl reads too: line 1 is the postmaster's
        # pid, line 8 its status.
        with contextlib.suppress(OSError):
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").split("\n")
            return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"
        return False


def _tail(output: bytes) -> str:
    text = output.decode("utf-8", "replace").strip()
    return "\n  ".join(["", *text.splitlines()[-12:]]) if text else "it said nothing"


def ask_version(program: Path, account: Account) -> str:
    """Return what `postgres --version` prints when it runs as the account a server would have.

    Raises OSError or subprocess.SubprocessError if it does not run, with the reason.
    """
    done = subprocess.run(
        [str(program), "--version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd="/",
        env=server_environment(),
        timeout=20,
        check=False,
        text=True,
        errors="replace",
        user=account.user,
        group=account.group,
        extra_groups=account.extra_groups,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit {done.returncode}"
        raise subprocess.SubprocessError(
            f"{program} --version failed ({how}) {said[-1] if said else ''}".strip()
        )
    return done.stdout.strip()


def is_executable(program: Path) -> bool:
    """Tell whether there is a file that we may execute."""
    return program.is_file() and os.access(program, os.X_OK)
