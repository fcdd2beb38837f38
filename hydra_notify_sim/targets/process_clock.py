"""The clock of a run whose dispatcher is a process: real time, and what the scenario has moved on."""

import math
import time


class ProcessClock:
    """Real time and an offset; the dispatcher under test sees real time only."""

    def __init__(self) -> None:
        self._offset = 0.0

    def now(self) -> float:
        """Return Unix seconds."""
        return time.time() + self._offset

    def move(self, seconds: float) -> None:
        """Move on."""
        self._offset += seconds

    @property
    def whole_offset(self) -> int:
        """The offset in whole seconds, rounded up: ``retry_at`` holds no fractions, and what is due must be due."""
        return math.ceil(self._offset)
