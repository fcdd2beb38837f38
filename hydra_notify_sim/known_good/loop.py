"""Known-good dispatchers that wait, connect and answer in another way than the reference."""

from hydra_notify_sim.dispatcher import core, ports
from hydra_notify_sim.known_good.registry import known_good
from hydra_notify_sim.recorders import messages

POLL = 0.1
"""Seconds between two looks."""
SLOW = 0.3
"""Seconds that an answer takes: longer than the harness waits before it sends a sentinel again."""


@known_good("polls", "L-no-stall")
class Polls(core.Dispatcher):
    """Looks for notifications and due tasks ten times a second, and never waits on its socket."""

    def turn(self, patience: float = 0.0) -> bool:
        """Take a turn without waiting in it; sleep where there was nothing to do."""
        self.wake()
        busy = super().turn()
        if patience and not busy:
            self.clock.sleep(POLL)
        return busy


@known_good("uses-one-connection", "L-no-stall")
class UsesOneConnection(core.Dispatcher):
    """Listens and reads tables on the same connection: what arrives during a query waits in the library's buffer."""

    def connect(self) -> None:
        """Open one connection."""
        self.inbox.connect(1)


@known_good("keeps-its-queue", "L-reconnect")
class KeepsItsQueue(core.Dispatcher):
    """Keeps the notifications that it had received when its connections were lost, and delivers them all the same."""

    def forget(self) -> None:
        """Forget the marks alone: the next scan finds them again."""
        received = list(self.waiting)
        super().forget()
        self.waiting.extend(received)


@known_good("answers-sentinels-slowly", "recorder.md, Sentinel")
class AnswersSentinelsSlowly(core.Dispatcher):
    """Takes 0.3 s for each sentinel, in which the harness sends the next one."""

    def handle(self, item: ports.Received | core.Recovered) -> None:
        """Take a while."""
        if isinstance(item, ports.Received) and item.payload.startswith(messages.SENTINEL_TRACE):
            self.clock.sleep(SLOW)
        super().handle(item)
