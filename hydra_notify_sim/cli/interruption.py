"""Ctrl-C as a wish: the first is noted, so that what is in hand can be finished; the second ends at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Whether somebody asked to end."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        """Tell whether somebody asked."""
        return self.asked


@contextmanager
def interruptions() -> Iterator[Interruption]:
    """Note the first Ctrl-C, SIGTERM or SIGHUP instead of being interrupted by it; the second one interrupts."""
    noted = Interruption()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        usual = before[signal.Signals(number)]
        if not callable(usual):
            noted.asked = True
            return
        try:
            usual(number, frame)
        except KeyboardInterrupt:
            if noted.asked:
                raise
            noted.asked = True

    for number, usual in before.items():
        if usual is not signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield noted
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)
