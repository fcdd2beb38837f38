"""The server, the database and the connections that scenarios are played on, kept from one to the next."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql

from hydra_notify_sim import database, errors
from hydra_notify_sim.database import locks
from hydra_notify_sim.dispatcher import postgres


class Environment:
    """One clean Hydra database, with the harness's connection and a pool for dispatchers in this process."""

    def __init__(self, prepared: database.Database) -> None:
        self.database = prepared
        self.patience = 1.0
        self._settings: dict[str, str] = {}
        """What a story has set for the database."""
        self._era = 0
        """Counts the changes of these settings."""
        self._eras: WeakKeyDictionary[psycopg.Connection[Any], int] = WeakKeyDictionary()
        """When each of the connections was opened that were handed out."""
        self._somebody: locks.WatchfulConnection | None = None
        """Keeps a row locked that a story has locked."""
        self._migrated = False
        self.connection = prepared.connect_own("hydra-notify-sim harness")
        self.stopped = False
        """Whether the server was stopped, and nobody can connect."""
        self._free: dict[str, list[locks.WatchfulConnection]] = {}
        """Connections that a dispatcher gave back, by the name that it had them under."""

    def be_patient(self, patience: float) -> None:
        """Multiply with this how long a lock is waited for."""
        self.patience = patience
        self._with_patience(self.connection)

    def _with_patience(self, connection: locks.WatchfulConnection) -> locks.WatchfulConnection:
        seconds = locks.LOCK_SECONDS * self.patience
        return connection if connection.seconds == seconds else connection.be_patient(seconds)

    def clean(self) -> None:
        """Make the database empty; a dispatcher of an earlier scenario is gone by now."""
        if self.database.reset():
            # What these connections had prepared was for tables that are gone.
            self.forget_connections()
            self.reconnect()

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
        if "lock_timeout" in self._settings:
            return self.database.connect(
                application_name
            )  # It waits as long as the story says, and sees it fail.
        connection = self._with_patience(
            self.database.connect_watchful(application_name, "the dispatcher, in this process,")
        )
        self._eras[connection] = self._era
        return connection

    def release(self, connection: psycopg.Connection[Any]) -> None:
        """Take a dispatcher's connection back; one that was cut, or is in the middle of something, is closed."""
        try:
            idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            if (
                not isinstance(connection, locks.WatchfulConnection)
                or self._eras.get(connection) != self._era
                or not idle
                or connection.closed
            ):
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
        ours = [
            self.connection,
            *filter(None, [self._somebody]),
            *itertools.chain.from_iterable(self._free.values()),
        ]
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

    def set_for_new_sessions(self, setting: str, value: str | None) -> None:
        """Set something for sessions of the database that begin from now on; None: as it was."""
        self.connection.execute(
            sql.SQL("ALTER DATABASE {} {} {} {}").format(
                sql.Identifier(self.database.name),
                sql.SQL("RESET" if value is None else "SET"),
                sql.Identifier(setting),
                sql.SQL("") if value is None else sql.SQL("= {}").format(sql.Literal(value)),
            )
        )
        self._settings = {name: kept for name, kept in self._settings.items() if name != setting}
        if value is not None:
            self._settings[setting] = value
        self._era += 1  # Connections that were handed out before are of no use to whoever connects next.
        self._forget_free()

    def lock(self, build: int) -> None:
        """Lock a build's row, as somebody else would.

        Raises:
            LockHeldError: somebody has it locked already.

        """
        if self._somebody is None:
            self._somebody = self.database.connect_own("hydra-notify-sim: somebody who works on the row")
        self._somebody.execute("BEGIN")
        try:
            self._with_patience(self._somebody).execute(
                "SELECT FROM builds WHERE id = %s FOR UPDATE", [build]
            )
        except locks.LockHeldError:
            self.unlock()
            raise

    def unlock(self) -> None:
        """Give the row back."""
        if self._somebody is not None:
            self._somebody.execute("ROLLBACK")

    def is_marked(self, build: int) -> bool:
        """Tell whether a finished build carries a mark."""
        found = self.connection.execute(
            "SELECT FROM builds WHERE id = %s AND finished = 1 AND notificationpendingsince IS NOT NULL",
            [build],
        )
        return found.fetchone() is not None

    def migrate(self, change: sql.Composable) -> None:
        """Change the table ``builds``; `mend` makes all tables anew.

        Raises:
            LockHeldError: somebody keeps it, or a row of it, locked.

        """
        self._migrated = True
        self.connection.execute(sql.SQL("ALTER TABLE builds {}").format(change))

    def mend(self) -> None:
        """Put right what a story has left broken in server, settings and tables; nobody may be connected any more."""
        if self.stopped:
            self.start_server()
        if self._somebody is not None:
            self._somebody.close()
            self._somebody = None
        for setting in tuple(self._settings):
            self.set_for_new_sessions(setting, None)
        if self._migrated:
            self._forget_free()
            self.database.make_anew()
            self._migrated = False

    def _forget_free(self) -> None:
        for connection in itertools.chain.from_iterable(self._free.values()):
            connection.close()
        self._free.clear()

    def forget_connections(self) -> None:
        """Close every connection."""
        self._forget_free()
        if self._somebody is not None:
            self._somebody.close()
            self._somebody = None
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
