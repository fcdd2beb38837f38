"""Plays steps one by one as somebody thinks of them, also while a plugin holds its call open.

The engine plays a story from its beginning to its end, and what comes after a held call it plays on the
dispatcher's own stack. A test, or a state machine, is a story that nobody has written down yet: each step is known
when they get there. As long as no plugin holds its calls, each step is simply played. Where one does, the engine runs
in a thread of its own and asks for the next step; the two threads never run at the same time.
"""

import queue
import threading
from collections.abc import Iterator

from hydra_notify_sim.engine.play import Player
from hydra_notify_sim.scenario.steps import StepBase

__tracebackhide__ = True
"""Pytest shows a failure where the test is, not in here."""


class Feed:
    """Hands steps to a player; returns from each when it is done, or its call is held."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._steps: queue.SimpleQueue[StepBase | None] = queue.SimpleQueue()
        self._idle: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def play(self, step: StepBase, *, may_be_held: bool) -> None:
        """Play a step; what goes wrong in it is raised here."""
        if threading.current_thread() is self._thread or (self._thread is None and not may_be_held):
            self._player.play_steps((step,))
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hydra-notify-sim engine", daemon=True)
            self._thread.start()
            self._wait()
        self._steps.put(step)
        self._wait()

    def end(self) -> None:
        """Say that there are no more steps: a call that is still held returns."""
        if self._thread is not None:
            self._steps.put(None)
            self._wait()

    def _run(self) -> None:
        try:
            self._player.play_steps(self._asked_for())
        except BaseException as error:  # noqa: BLE001  # it belongs to whoever thinks of the steps, in the other thread
            self._thread = None
            self._idle.put(error)
        else:
            self._thread = None
            self._idle.put(None)

    def _asked_for(self) -> Iterator[StepBase]:
        while True:
            self._idle.put(None)
            step = self._steps.get()
            if step is None:
                return
            yield step

    def _wait(self) -> None:
        error = self._idle.get()
        if error is not None:
            raise error
