"""The account a server runs as: ours, or an unprivileged one when we are root (PostgreSQL refuses root)."""

import ctypes
import os
import pwd
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_UNPRIVILEGED = ("nobody", "postgres")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a server's processes run as; `change` is false when that is ourselves already."""

    uid: int
    gid: int
    change: bool

    @property
    def user(self) -> int | None:
        """For `subprocess`: the user to become, None to stay who we are."""
        return self.uid if self.change else None

    @property
    def group(self) -> int | None:
        """For `subprocess`: the group to become."""
        return self.gid if self.change else None

    @property
    def extra_groups(self) -> list[int] | None:
        """For `subprocess`: the further groups to have, none of root's."""
        return [] if self.change else None


def server_account() -> Account | None:
    """Return the account for a server, or None if we are root and there is no account to change to."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), change=False)
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, change=True)
    return None


def server_environment() -> Mapping[str, str]:
    """Return our environment without what would bend a server: PG… settings, locale, time zone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def die_with_parent() -> Callable[[], None] | None:
    """Return what a child does before it executes so that the kernel ends it (SIGQUIT) with its parent.

    Only Linux knows how; there the signal follows the *thread* that forked, so a thread that may end before
    the process does not use it. The guard of `directories.PrivateDirectory` covers what this does not.
    Linux forgets the wish on a change of uid: subprocess runs this after changing it.
    """
    if not sys.platform.startswith("linux") or threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # loaded here: the child does as little as it can
    parent = os.getpid()

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel knew our wish
            os._exit(1)

    return before_exec
