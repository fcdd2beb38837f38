"""Ends a plugin's hook that does not return, and says at which line it stands."""

import contextlib
import ctypes
import linecache
import signal
import sys
import sysconfig
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from hydra_notify_sim import errors

Code = Callable[[str, Mapping[str, Any]], None]

SECONDS = 60.0
"""Seconds in which a hook has to return, unless a test says otherwise."""
AGAIN = 1.0
"""Seconds after which a hook is interrupted again that has caught the interruption."""

_LIBRARY = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))


class HookTimeoutError(errors.HydraNotifySimError):
    """A hook did not return in time; the message says where it stood."""


class _Interruption(BaseException):
    """Raised in a hook that has had its time; not an `Exception`, for hooks catch those."""


def limited(code: Code, plugin: str, seconds: float) -> Code:
    """Return a plugin's code whose hooks are interrupted after so many seconds, again and again until they return.

    In the main thread a timer's signal (SIGALRM) interrupts them, also while they sleep or wait for a socket; in the
    thread in which the engine runs while some plugin holds its calls, they are interrupted at the next line of
    Python. Code in C that neither returns nor looks for signals cannot be interrupted.

    The hooks raise HookTimeoutError.
    """

    def call(hook: str, arguments: Mapping[str, Any]) -> None:
        watch = _Watch(seconds)
        try:
            watch.begin()
            code(hook, arguments)
        except _Interruption:
            pass
        finally:
            watch.end()
            if watch.stood_at:
                raise HookTimeoutError(
                    f"{plugin}.{hook} had not returned after {seconds:g} s, and was interrupted. It stood at {watch.stood_at}. "
                    "A hook that needs longer is given more by --hydra-hook-timeout."
                ) from None

    return call


class _Watch:
    """Interrupts what runs in the present thread from `begin` to `end`, if that takes too long."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._thread = threading.get_ident()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._before: tuple[Any, float] | None = None
        """The handler of SIGALRM and the seconds of the timer that were there."""
        self.stood_at = ""
        """Where the code was first interrupted; empty: it was not."""

    def begin(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            threading.Thread(target=self._wait, name="hook timeout", daemon=True).start()
            return
        theirs, _ = signal.getitimer(signal.ITIMER_REAL)
        # Somebody else's timer, such as pytest-timeout's, that rings before ours would is left alone.
        if not theirs or theirs > self._seconds:
            self._before = (signal.signal(signal.SIGALRM, self._ring), theirs)
            signal.setitimer(signal.ITIMER_REAL, self._seconds, AGAIN)

    def end(self) -> None:
        """Interrupt no more; an interruption that comes this very moment is taken back."""
        while not self._over.is_set():
            with contextlib.suppress(_Interruption):
                self._disarm()

    def _disarm(self) -> None:
        if self._before is not None:
            handler, theirs = self._before
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            if theirs:
                signal.setitimer(signal.ITIMER_REAL, max(0.001, theirs - self._seconds))
        with self._lock:
            _interrupt(self._thread, None)
            self._over.set()

    def _ring(self, _number: int, frame: FrameType | None) -> None:
        self.stood_at = self.stood_at or where(frame)
        raise _Interruption

    def _wait(self) -> None:
        seconds = self._seconds
        while not self._over.wait(seconds):
            with self._lock:
                if not self._over.is_set():
                    frame = sys._current_frames().get(self._thread)  # noqa: SLF001  # documented all the same
                    self.stood_at = self.stood_at or where(frame)
                    _interrupt(self._thread, _Interruption)
            seconds = AGAIN


def _interrupt(thread: int, error: type[BaseException] | None) -> None:
    """Raise an error in a thread at its next line of Python; None takes back one that was not raised yet."""
    raised = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)


def where(frame: FrameType | None) -> str:
    """Return the innermost line of a stack that is neither in Python's library nor in an installed package."""
    innermost = frame
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARY):
        frame = frame.f_back
    frame = frame or innermost
    if frame is None:
        return "a place that is not known"
    path = Path(frame.f_code.co_filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    line = linecache.getline(str(path), frame.f_lineno).strip()
    return f"{shown}:{frame.f_lineno}, in {frame.f_code.co_name}: {line}"
