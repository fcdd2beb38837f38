"""Does to the server and its database what a story says, and mends it when the story is over."""

import time

from psycopg import sql

from hydra_notify_sim import history
from hydra_notify_sim.engine.actors import Actors
from hydra_notify_sim.engine.environment import Environment
from hydra_notify_sim.scenario.durations import format_duration
from hydra_notify_sim.scenario.server import DatabaseSettings, Migration
from hydra_notify_sim.targets.in_process import IN_THIS_PROCESS
from hydra_notify_sim.targets.target import READ_ONLY, ROW_LOCKED, SILENT, Target

TRIED_AGAIN_WITHIN = 10.0
"""Real seconds in which a dispatcher tries again to clear a mark that it could not clear while its row was locked."""
NOT_OURS = "a server that is not ours is never stopped, restarted or given other settings"


class ServerFaults:
    """The faults of one story's server: each is recorded, and the dispatcher is told of those that it has to see."""

    def __init__(self, environment: Environment, target: Target, actors: Actors) -> None:
        self._environment = environment
        self._target = target
        self._actors = actors
        self.locked_until: float | None = None
        """When the row is given back that somebody keeps locked, on the story's clock."""
        self._locked = 0
        """Id of the build whose row was locked last."""
        self._read_only = False

    @property
    def stopped(self) -> bool:
        """Whether the server is stopped."""
        return self._environment.stopped

    def cannot(self, verb: str) -> str:
        """Return why a verb about the server cannot be played here; empty if it can."""
        if verb == "lock":
            return IN_THIS_PROCESS if self._target.in_process else ""
        return "" if verb == "migrate" or self._environment.database.server.own else NOT_OURS

    # The server goes, and comes back

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

    def read_only(self) -> None:
        """Switch over to a server that takes no writes: the dispatcher's connections are lost."""
        self._read_only = True
        self._environment.set_for_new_sessions("default_transaction_read_only", "on")
        self._target.hindered = READ_ONLY
        self._switch_over("postgres read only")

    def writable(self) -> None:
        """Switch back: the dispatcher's connections are lost once more."""
        self._read_only = False
        self._environment.set_for_new_sessions("default_transaction_read_only", None)
        self._target.hindered = ""
        self._switch_over("postgres writable")

    def _switch_over(self, fault: str) -> None:
        if self._target.alive:
            self._target.lose_connection(fault=fault)
        else:
            self._record(fault)

    # The database changes

    def set_for_new_sessions(self, settings: DatabaseSettings) -> None:
        """Set for sessions that begin from now on what is said, and all else as it was."""
        wanted = {
            "lock_timeout": _milliseconds(settings.lock_timeout),
            "statement_timeout": _milliseconds(settings.statement_timeout),
            "default_transaction_isolation": settings.isolation,
        }
        for name, value in wanted.items():
            self._environment.set_for_new_sessions(name, value)
        said = ", ".join(f"{name} = {value}" for name, value in wanted.items() if value is not None)
        self._record("settings changed", said or "as they were")

    def lock(self, nickname: str, seconds: float) -> None:
        """Lock a build's row; raises LockHeldError if somebody has it locked."""
        self._locked = self._actors.ids[nickname]
        self._environment.lock(self._locked)
        self.locked_until = self._target.journal.now + seconds
        self._target.hindered = ROW_LOCKED
        self._record("row locked", f"{nickname}, for {format_duration(seconds)}")

    def unlock(self) -> None:
        """Give the row back, and let a dispatcher that was refused it try once more."""
        self.locked_until = None
        self._environment.unlock()
        self._record("row released")
        self._await_acknowledgement()
        self._target.hindered = ""

    def _await_acknowledgement(self) -> None:
        """Wait until the mark of the row is cleared, if it is: nothing tells from outside that it will be tried again."""
        until = time.monotonic() + TRIED_AGAIN_WITHIN * self._environment.patience
        while (
            self._target.alive
            and not self._target.inside
            and self._environment.is_marked(self._locked)
            and time.monotonic() < until
        ):
            self._target.settle()

    def migrate(self, change: Migration) -> None:
        """Change the table builds; raises LockHeldError if somebody keeps it, or a row of it, locked."""
        if change.add is not None:
            clause = sql.SQL("ADD COLUMN {} text").format(sql.Identifier(change.add))
        elif change.drop is not None:
            clause = sql.SQL("DROP COLUMN {}").format(sql.Identifier(change.drop))
        else:
            assert change.retype is not None
            clause = sql.SQL("ALTER COLUMN {} TYPE bigint").format(sql.Identifier(change.retype))
        self._environment.migrate(clause)
        ((said, column),) = change.model_dump(exclude_none=True).items()
        self._record("schema migrated", f"{said} builds.{column}")

    # The end

    def expect_recovery(self) -> None:
        """Say that a dispatcher whose connections have fallen silent has had time: from now on it has to settle."""
        if self._target.hindered == SILENT:
            self._target.hindered = ""

    def mend(self) -> None:
        """Put right what keeps the dispatcher from settling; nothing happens if that is nothing."""
        if self.stopped:
            self.start()
        if self.locked_until is not None:
            self.unlock()
        if self._read_only:
            self.writable()
        self.expect_recovery()

    def _close(self) -> None:
        self._target.server_closing()
        self._environment.stop_server()

    def _open(self) -> None:
        self._environment.start_server()
        self._target.journal.connection = self._environment.connection
        self._actors.reconnected(self._environment.connection)
        self._target.server_opened()

    def _record(self, fault: str, detail: str = "") -> None:
        journal = self._target.journal
        journal.record(history.Fault(t=journal.now, fault=fault, detail=detail))


def _milliseconds(seconds: float | None) -> str | None:
    return None if seconds is None else str(round(seconds * 1000))
