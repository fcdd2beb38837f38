"""The clock of a run whose dispatcher is a process: it stands still but for what the story moves it.

How long the harness, the machine and the dispatcher take is no part of the story. The dispatcher under test sees real
time; what it writes of the future is moved accordingly (`hydra_notify_sim.targets.parking`).
"""

import contextlib
import time
from collections.abc import Iterator


class ProcessClock:
    """The time at which the run began, and what the story has moved on."""

    def __init__(self) -> None:
        self._now = float(int(time.time()))
        self._since: float | None = None

    def now(self) -> float:
        """Return Unix seconds."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        return self._now + running

    def move(self, seconds: float) -> None:
        """Move on."""
        self._now += seconds

    @property
    def is_running(self) -> bool:
        """Whether it runs at present."""
        return self._since is not None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Let it run as real time does."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._now, self._since = self.now(), None
