"""SIGTERM and SIGINT, for a dispatcher that finishes what it has in hand."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from hydra_notify_sim import errors
from hydra_notify_sim.dispatcher import ports


class Signals:
    """The two signals as a readable file descriptor and a call, while the context lasts."""

    def __init__(self) -> None:
        self.readable, self._writable = os.pipe()
        os.set_blocking(self.readable, False)  # that is how the function is called
        os.set_blocking(self._writable, False)
        self._stop: list[Callable[[], None]] = []
        self._given_up = False
        self.name = ""
        """The signal that came, if one did."""
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1

    def tell(self, stop: Callable[[], None]) -> None:
        """Call this too when a signal comes, or at once if one has come already."""
        self._stop.append(stop)
        if self.name:
            stop()

    @contextmanager
    def giving_up(self) -> Iterator[None]:
        """Let the first signal end what this context does, with ConnectionLostError: the library would go on connecting."""
        self._given_up = not self.name
        try:
            yield
        finally:
            self._given_up = False

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            raise errors.UsageError("the dispatcher takes SIGTERM and SIGINT over: run it in the main thread")
        self._wakeup_before = signal.set_wakeup_fd(self._writable, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self.readable)
        os.close(self._writable)

    def _received(self, number: int, _frame: FrameType | None) -> None:
        # Nothing is logged here: the signal may have come in the middle of writing to the log.
        self.name = signal.Signals(number).name
        for stop in self._stop:
            stop()
        if self._given_up:
            self._given_up = False
            raise ports.ConnectionLostError(f"stopped by {self.name}")
