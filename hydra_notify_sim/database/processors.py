"""Keeps a client and the server that it starts on one processor.

The two take turns: while one works, the other waits. Waking each other across processors then takes longer than many
of their queries. What it gains is in docs/decisions/0030.
"""

import contextlib
import os
from collections.abc import Iterator


def keep_to_one(number: int) -> None:
    """Keep the calling thread, and every process that it starts from now on, on one of the processors it may use.

    ``number`` tells workers apart: from as many numbers in a row as there are processors, each gets another one. Where
    the system has no such thing (macOS), or does not allow it, nothing happens.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    allowed = sorted(os.sched_getaffinity(0))
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {allowed[number % len(allowed)]})


@contextlib.contextmanager
def on_one(number: int) -> Iterator[None]:
    """Keep the calling thread on one processor for a while; what it starts meanwhile stays there."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    keep_to_one(number)
    try:
        yield
    finally:
        if before is not None:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, before)
