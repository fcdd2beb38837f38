"""Known-bad dispatchers that are wrong about what PostgreSQL refuses: stale plans, locked rows, a server that takes no writes."""

from hydra_notify_sim.dispatcher import core, ports, rows
from hydra_notify_sim.known_bad.arguments import session_of
from hydra_notify_sim.known_bad.registry import known_bad


@known_bad("dies-of-a-migration", "L-lives")
class DiesOfAMigration(core.Dispatcher):
    """Ends when the plan of a prepared statement is out of date: every upgrade of Hydra takes the dispatcher down.

    Every client with a cache of prepared statements that expects no error but a lost connection.
    """

    def take_up(self, work: core.Work) -> None:
        """Let the error out."""
        try:
            super().take_up(work)
        except ports.NotNowError as refused:
            if "cached plan" in str(refused):
                raise RuntimeError(str(refused)) from refused
            raise


@known_bad("takes-a-refusal-for-a-lost-connection", "E-no-phantom", "E-live")
class TakesARefusalForALostConnection(core.Dispatcher):
    """Begins anew when a mark cannot be cleared: one outcome is told again and again, and what had arrived is dropped.

    The one `except DatabaseError: reconnect()` around a whole loop.
    """

    def _clear(self, builds: list[rows.Build]) -> None:
        super()._clear(builds)
        if self._uncleared:
            self.in_hand = None
            self._told.clear()
            self._uncleared.clear()
            raise ports.ConnectionLostError("a statement was refused")


@known_bad("works-on-a-read-only-server", "E-no-phantom")
class WorksOnAReadOnlyServer(TakesARefusalForALostConnection):
    """Takes a server for its own that takes no writes: it tells of a mark, cannot clear it, and begins anew.

    A standby answers every SELECT, so a program that only asks whether it is connected goes on. Where it ends at the
    refused write, the service manager starts it again.
    """

    def connect(self) -> None:
        """Connect to any server that answers."""
        session = session_of(self)
        session._connect_to_write = session._connect  # noqa: SLF001 - the reference cannot be told not to look
        super().connect()


@known_bad("stops-when-all-is-cleared", "L-stop", as_process=True)
class StopsWhenAllIsCleared(core.Dispatcher):
    """Goes on after SIGTERM until it has cleared a mark whose row somebody keeps locked: the deploy hangs.

    The graceful shutdown that waits for the queue to be empty, and sets no deadline.
    """

    asked_to_stop = False

    def stop(self) -> None:
        """Remember it."""
        self.asked_to_stop = True

    def turn(self, patience: float = 0.0) -> bool:
        """Stop when nothing is left."""
        busy = super().turn(patience)
        if self.asked_to_stop and self.in_hand is None and not self._uncleared:
            super().stop()
        return busy
