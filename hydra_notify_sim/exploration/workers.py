"""What the worker processes of all pools have in common: how they begin, and that they end with who started them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""What ends us: Ctrl-C, and what a service manager or a closed terminal sends."""


def end_with_parent() -> None:
    """See to it, from a thread of its own, that this process ends when its parent is gone; its server ends with it.

    A pool of the standard library's leaves its workers waiting for ever if it is killed: each holds both ends of the
    pipe that it reads from.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait, args=(parent,), daemon=True).start()


def _wait(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off what would interrupt us, and what is started meanwhile: a worker that Ctrl-C meets in its imports dies of it.

    What was started has to `hear` again, once it is ready for it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hear() -> None:
    """Take in signals again, those that came since this worker was started too; what we start hears them as well."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
