"""The server, the database and the connections that scenarios are played on, kept from one to the next."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from hydra_notify_sim import database, errors
from hydra_notify_sim.database import locks
from hydra_notify_sim.dispatcher import postgres


class Environment:
    """One clean Hydra database, with the harness's connection and a pool for dispatchers in this process."""

    def __init__(self, prepared: database.Database) -> None:
        self.database = prepared
        self._patience = 1.0
        self.connection = prepared.connect_own("hydra-notify-sim harness")
        self.stopped = False
        """Whether the server was stopped, and nobody can connect."""
        self._free: dict[str, list[locks.WatchfulConnection]] = {}
        """Connections that a dispatcher gave back, by the name that it had them under."""

    def be_patient(self, patience: float) -> None:
        """Multiply with this how long a lock is waited for."""
        self._patience = patience
        self._with_patience(self.connection)

    def _with_patience(self, connection: locks.WatchfulConnection) -> locks.WatchfulConnection:
        seconds = locks.LOCK_SECONDS * self._patience
        return connection if connection.seconds == seconds else connection.be_patient(seconds)

    def clean(self) -> None:
        """Make the database empty; a dispatcher of an earlier scenario is gone by now."""
        self.database.reset()

    def usable(self) -> bool:
        """Tell whether the database can still be emptied, and written to on the harness's connection."""
        try:
            self.database.reset()
            if self.connection.closed:
                self.reconnect()
            self.connection.execute("SELECT 1")
        except (psycopg.Error, errors.HydraNotifySimError):
            return False
        return True

    def connect(self, application_name: str) -> psycopg.Connection[Any]:
        """Hand out a connection for a dispatcher, one that is free if there is one."""
        free = self._free.setdefault(application_name, [])
        while free:
            connection = free.pop()
            if not connection.closed:
                return self._with_patience(connection)
        if self.stopped:
            raise psycopg.OperationalError("the server is stopped")
        return self._with_patience(
            self.database.connect_watchful(application_name, "the dispatcher, in this process,")
        )

    def release(self, connection: psycopg.Connection[Any]) -> None:
        """Take a dispatcher's connection back; one that was cut, or is in the middle of something, is closed."""
        assert isinstance(connection, locks.WatchfulConnection)  # one that `connect` handed out
        try:
            idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            if not idle or connection.closed:
                connection.close()
                return
            name = connection.info.parameter_status("application_name") or ""
            if name == postgres.LISTENING:
                connection.execute("UNLISTEN *")
                connection.pgconn.consume_input()
                while connection.pgconn.notifies():
                    pass
        except psycopg.Error:
            connection.close()
            return
        self._free.setdefault(name, []).append(connection)

    def own_backends(self) -> set[int]:
        """Return the backends of the harness's own connections, which no fault may end."""
        ours = [self.connection, *itertools.chain.from_iterable(self._free.values())]
        return {c.info.backend_pid for c in ours if not c.closed} | {self.database.control_pid}

    def stop_server(self) -> None:
        """Stop the server, and give up every connection to it."""
        self.forget_connections()
        self.stopped = True
        self.database.server.shut()

    def start_server(self) -> None:
        """Start the server again, and connect to it."""
        self.database.server.open()
        self.stopped = False
        self.reconnect()

    def forget_connections(self) -> None:
        """Close every connection."""
        for connection in itertools.chain.from_iterable(self._free.values()):
            connection.close()
        self._free.clear()
        self.connection.close()

    def reconnect(self) -> None:
        """Open the harness's own connection again."""
        self.connection = self._with_patience(self.database.connect_own("hydra-notify-sim harness"))

    def close(self) -> None:
        """Close all connections."""
        self.forget_connections()
        self.database.close()


@contextmanager
def opened(
    dsn: str | None, schema: Path | None, wipe: str | None, *, suffix: str = ""
) -> Iterator[Environment]:
    """Start or reach a server, prepare a database in it, and give both back at the end.

    ``suffix`` goes behind the database's name on a user's server, where several of us would meet in one: what is
    notified in a database is heard by all that listen there.
    """
    with database.start_server(dsn=dsn, schema=schema) as server:
        name = None if server.own or not suffix else server.database + suffix
        environment = Environment(database.prepare(server, name, wipe=wipe))
        try:
            yield environment
        finally:
            environment.close()
