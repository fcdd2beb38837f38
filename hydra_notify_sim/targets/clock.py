"""The clock of a run in this process: it moves only when the scenario says so."""

START = 1_767_225_600
"""Where a run's time begins: 2026-01-01 00:00:00 UTC."""


class VirtualClock:
    """Time that is data; the dispatcher sleeps on it without waiting."""

    def __init__(self, start: float = START) -> None:
        self._now = float(start)

    def now(self) -> float:
        """Return Unix seconds."""
        return self._now

    def move(self, seconds: float) -> None:
        """Move on."""
        self._now += seconds

    def sleep(self, seconds: float) -> None:
        """Wait without waiting: the time between two attempts to connect is nobody's promise."""
