"""A worker process ends with the process that it works for, however that ends."""

import multiprocessing
import os
import threading


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
