"""Known-bad dispatchers that are wrong about connections, waiting and their own end."""

from collections.abc import Iterable

from hydra_notify_sim.dispatcher import core, plugins, ports
from hydra_notify_sim.known_bad.registry import known_bad


@known_bad("does-not-listen-again", "L-reconnect")
class DoesNotListenAgain(core.Dispatcher):
    """Connects again after a loss, and does not listen: it runs, and hears nothing any more.

    What hydra-notify does when its backend is terminated (quirk hn-deaf-after-reconnect).
    """

    def listen_and_scan(self) -> None:
        """Listen at the first connection only."""
        if not self.__dict__.setdefault("listened", False):
            super().listen_and_scan()
            self.__dict__["listened"] = True
        else:
            self.backlog.extend(core.Recovered(build) for build in self.store.marked_builds())


@known_bad("does-not-scan-again", "L-reconnect", "B-recover", "B-at-least-once")
class DoesNotScanAgain(core.Dispatcher):
    """Connects and listens again after a loss, and does not look for what finished meanwhile.

    Libraries that "re-subscribe automatically" and leave the gap to the one who never heard of it.
    """

    def listen_and_scan(self) -> None:
        """Scan at the first connection only."""
        super().listen_and_scan()
        if self.__dict__.setdefault("scanned", False):
            self.backlog.clear()
        self.__dict__["scanned"] = True


@known_bad("gives-up-without-a-server", "L-lives", "L-reconnect")
class GivesUpWithoutAServer(core.Dispatcher):
    """Tries to connect three times after a loss, and ends: an outage longer than that needs a person.

    Retry loops with a fixed number of attempts, tried only with a server that was back at once.
    """

    def start(self) -> None:
        """Count the attempts."""
        try:
            super().start()
        except ports.ConnectionLostError as error:
            self.__dict__["failed"] = self.__dict__.get("failed", 0) + 1
            if self.__dict__["failed"] == 3:
                raise RuntimeError("the database is away") from error
            raise
        self.__dict__["failed"] = 0


@known_bad("waits-for-the-next-one", "L-no-stall", "B-live")
class WaitsForTheNextOne(core.Dispatcher):
    """Sees what arrived while it was busy only when another notification follows.

    What hydra-notify does: it waits on the socket before it looks into the library's buffer (quirk hn-lost-wakeup).
    """

    def handle(self, item: ports.Received | core.Recovered) -> None:
        """Put what arrives during the event aside, and take it up with the next one."""
        unseen: list[ports.Received] = self.__dict__.setdefault("unseen", [])
        if unseen:
            self.waiting.extendleft(reversed([*unseen[1:], item]))
            item = unseen[0]
            unseen.clear()
        super().handle(item)
        if not self.waiting:
            unseen.extend(self.inbox.receive(0.0))


@known_bad("ignores-sigterm", "L-stop", as_process=True)
class IgnoresSigterm(core.Dispatcher):
    """Goes on after SIGTERM until it is killed, wherever it happens to be then.

    A program that is process 1 of its container, or a signal handler that only writes to the log.
    """

    def stop(self) -> None:
        """Go on."""


@known_bad("drops-the-event-in-hand", "L-stop", "B-clear-after")
class DropsTheEventInHand(core.Dispatcher):
    """Leaves the loop over the plugins when it is asked to stop: those behind never hear of the event.

    What hydra-notify makes of every deploy, together with its early clearing (quirk hn-no-sigterm).
    """

    def call_all(
        self, interested: Iterable[plugins.Plugin], channel: str, payload: str, loaded: ports.Loaded
    ) -> None:
        """Look before each call whether to go on."""
        for plugin in interested:
            if self.stopping:
                return
            super().call_all([plugin], channel, payload, loaded)
