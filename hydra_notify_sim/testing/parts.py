"""The parts for those who want no more: a database, and one world for queue runner and evaluator."""

from collections.abc import Callable
from typing import Any

import psycopg

from hydra_notify_sim import history, simulator
from hydra_notify_sim.contract import channels
from hydra_notify_sim.engine.environment import Environment


class HydraDatabase:
    """A clean Hydra database."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._opened: list[psycopg.Connection[Any]] = []

    @property
    def dsn(self) -> str:
        """The connection string; with a user's server it may hold a password."""
        return self._environment.database.dsn

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The harness's own connection, in autocommit mode; it is shared, so leave no transaction open."""
        return self._environment.connection

    def connect(self, application_name: str = "hydra-notify-sim test") -> psycopg.Connection[Any]:
        """Open a connection of your own in autocommit mode; it is closed when the test ends."""
        connection = self._environment.database.connect(application_name)
        self._opened.append(connection)
        return connection

    def close(self) -> None:
        """Close what was opened; the database stays."""
        for connection in self._opened:
            connection.close()
        if not self.connection.closed and self.connection.info.transaction_status:
            self.connection.rollback()


class _WholeSeconds:
    """The simulated clock as the simulator reads it: it starts where every run does, and stands."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def now(self) -> int:
        return int(self._now())


def world(
    database: HydraDatabase, now: Callable[[], float], *, seed: int, payloads: channels.PayloadVersion
) -> simulator.World:
    """Return a world on a database without a dispatcher; what it commits is recorded nowhere else."""
    written = history.History(history.Header(name="parts"))
    return simulator.World(
        database.connection, written.append, _WholeSeconds(now), seed=seed, payloads=payloads
    )
