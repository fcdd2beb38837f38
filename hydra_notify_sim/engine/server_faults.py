"""Does to the server what a story says, and mends all of it when the story is over."""

from hydra_notify_sim import history
from hydra_notify_sim.engine.actors import Actors
from hydra_notify_sim.engine.environment import Environment
from hydra_notify_sim.targets.target import Target

NOT_OURS = "a server that is not ours is never stopped or restarted"


class ServerFaults:
    """The faults of one story's server: each is recorded, and the dispatcher is told of those that it has to see."""

    def __init__(self, environment: Environment, target: Target, actors: Actors) -> None:
        self._environment = environment
        self._target = target
        self._actors = actors

    @property
    def stopped(self) -> bool:
        """Whether the server is stopped."""
        return self._environment.stopped

    def cannot(self, fault: str) -> str:
        """Return why a fault cannot be had on this server; empty if it can."""
        del fault
        return "" if self._environment.database.server.own else NOT_OURS

    def stop(self) -> None:
        """Stop the server at once: all connections are lost."""
        self._record("postgres stop")
        self._close()

    def start(self) -> None:
        """Start the server again, on the same data."""
        self._record("postgres start")
        self._open()

    def restart(self) -> None:
        """Stop the server and start it."""
        self._record("postgres restart")
        self._close()
        self._open()

    def mend(self) -> None:
        """Put right whatever the story has left broken; nothing happens if that is nothing."""
        if self.stopped:
            self.start()

    def _close(self) -> None:
        self._target.server_closing()
        self._environment.stop_server()

    def _open(self) -> None:
        self._environment.start_server()
        self._target.journal.connection = self._environment.connection
        self._actors.reconnected(self._environment.connection)
        self._target.server_opened()

    def _record(self, fault: str) -> None:
        journal = self._target.journal
        journal.record(history.Fault(t=journal.now, fault=fault))
