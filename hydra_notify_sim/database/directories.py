"""A server's private directory, which is gone when its owner is gone, however the owner ends."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hydra_notify_sim.database.accounts import Account
from hydra_notify_sim.errors import EnvironmentFailedError

_PREFIX = "hydra-notify-sim-"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory, not a file with a guessable name
_MEMORY_NEEDED = 256 * 1024 * 1024
_LONGEST = 60
"""Bytes of a directory's path: a socket's path must stay under about 100 (macOS: 104)."""
_GUARD_ENDS_WITHIN = 30.0
_YOUNG = 10.0
"""Seconds in which a directory may not be locked by its owner yet."""

# Waits for the end of its input, which comes when the owner closes the pipe or dies, then quits the server
# that may still run in the directory and removes it. A shell, because it is small and starts in a
# millisecond; in a session of its own, so that Ctrl-C and the killing of a process group do not reach it.
_GUARD = """
read -r _
tries=0
while [ $tries -lt 100 ] && read -r pid 2>/dev/null <"$1/data/postmaster.pid"; do
  if [ $tries -lt 60 ]; then kill -QUIT "$pid"; else kill -KILL "$pid"; fi
  [ -e "$1/data/postmaster.pid" ] && sleep 0.05
  tries=$((tries + 1))
done 2>/dev/null
tries=0
until rm -rf -- "$1" || [ $tries -ge 40 ]; do
  sleep 0.05
  tries=$((tries + 1))
done 2>/dev/null
"""


class PrivateDirectory:
    """A directory of mode 0700 that only its owner and the account given may enter.

    A guard process removes it, and ends a server whose data lies in its `data`, when this process ends
    without `remove`, even by SIGKILL. Should the guard be killed too, the next `PrivateDirectory` of anyone
    with the right to do so removes it: the owner holds a lock on it for as long as it lives.
    """

    def __init__(self, account: Account | None, *, executable: bool = False) -> None:
        """Make one in memory, if 256 MB are free there, else where temporary files go.

        `executable` asks for a place from which programs may be run: /dev/shm often forbids it.
        """
        _sweep()
        self._owner = os.getpid()
        base = _base(executable=executable)
        try:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        except OSError as error:
            raise EnvironmentFailedError(
                f"No directory for a server could be made in {base}: {error}. "
                f"Free some space there, or name another place with TMPDIR."
            ) from error
        self._lock = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "hydra-notify-sim-guard", str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        if account is not None and account.change:
            os.chown(self.path, account.uid, account.gid)

    @property
    def guard_pid(self) -> int:
        """The process that removes the directory when we end without doing so."""
        return self._guard.pid

    def remove(self) -> None:
        """Remove the directory and all in it; nothing happens the second time, or in a fork of the owner."""
        if os.getpid() != self._owner or self._guard.stdin is None or self._guard.stdin.closed:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self._guard.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it goes on without us
            self._guard.wait(_GUARD_ENDS_WITHIN)
        os.close(self._lock)


def _base(*, executable: bool) -> Path:
    if not executable and _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK | os.X_OK):
        free = os.statvfs(_MEMORY)
        if free.f_bavail * free.f_frsize >= _MEMORY_NEEDED:
            return _MEMORY
    temporary = Path(tempfile.gettempdir())
    if len(os.fsencode(temporary)) + len(_PREFIX) + 8 > _LONGEST:
        return Path("/tmp")  # noqa: S108 - mkdtemp makes a name nobody can guess
    return temporary


def _sweep() -> None:
    """Remove what owners left behind whose guard was killed with them."""
    for base in {_MEMORY, _base(executable=True)}:
        for path in _left_in(base):
            with contextlib.suppress(OSError):
                if time.time() - path.lstat().st_mtime < _YOUNG:
                    continue
                lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(lock)


def _left_in(base: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from base.glob(f"{_PREFIX}*")
