"""One Hydra database on a server: made or adopted, emptied between runs, never taken from anyone."""

import contextlib
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import errors, sql

from hydra_notify_sim.database import additions
from hydra_notify_sim.database.connections import connect, connect_own, connect_watchful
from hydra_notify_sim.database.locks import LockHeldError, WatchfulConnection
from hydra_notify_sim.database.schema import OURS, load
from hydra_notify_sim.database.server import Server
from hydra_notify_sim.errors import EnvironmentFailedError, UsageError

_VACUUM_EVERY = 500
"""Resets after which the dead rows of all tables are cleared away."""
_VACUUM_ROWS = 50_000
"""Deleted rows after which they are, too."""
_GONE_WITHIN = 10.0
"""Seconds within which a terminated backend has to be gone."""
_POLL = 0.0005

_COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
# What someone put into a database: relations, functions, types and schemas that neither the system
# nor an extension brought.
_CONTENTS = """
WITH foreign_schema AS (
  SELECT oid, nspname FROM pg_namespace
  WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
), of_extension AS (
  SELECT objid FROM pg_depend WHERE deptype = 'e'
)
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN foreign_schema n ON n.oid = c.relnamespace
WHERE c.oid NOT IN (SELECT objid FROM of_extension) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
UNION ALL
SELECT n.nspname || '.' || p.proname || '()' FROM pg_proc p JOIN foreign_schema n ON n.oid = p.pronamespace
WHERE p.oid NOT IN (SELECT objid FROM of_extension)
UNION ALL
SELECT n.nspname || '.' || t.typname FROM pg_type t JOIN foreign_schema n ON n.oid = t.typnamespace
WHERE t.oid NOT IN (SELECT objid FROM of_extension) AND t.typtype IN ('d', 'e')
UNION ALL
SELECT nspname FROM foreign_schema
WHERE nspname <> 'public' AND oid NOT IN (SELECT objid FROM of_extension)
ORDER BY 1
"""
_OTHERS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND NOT pid = ANY(%s)
"""


class Database:
    """A Hydra database that is ours to fill and to empty; a context manager that closes its connection."""

    def __init__(self, server: Server, name: str) -> None:
        """Use `prepare` to get one: it sees to it that the database exists and is ours."""
        self.server = server
        self.name = name
        self._control: psycopg.Connection[tuple[Any, ...]] | None = None
        self._resets = 0
        self._deleted = 0
        self._fingerprint = ""
        """Of the objects in it, as they were at the last reset."""
        self._objects: frozenset[str] = frozenset()
        """What stood in it when that was last looked at; on a user's server only."""
        self._removals: list[sql.Composed] = []
        """What deletes rows of others that refer to Hydra's; on a user's server only."""

    @property
    def dsn(self) -> str:
        """The connection string; on a user's server it may hold a password."""
        return self.server.dsn(self.name)

    def connect(self, application_name: str) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection in autocommit mode.

        Raises EnvironmentFailedError if the server does not let us in.
        """
        return connect(self.dsn, self.name, application_name)

    def connect_own(self, application_name: str) -> WatchfulConnection:
        """Open a connection for the harness: it waits for no lock for ever, and nothing set for the database changes it.

        Raises EnvironmentFailedError if the server does not let us in.
        """
        return connect_own(self.dsn, self.name, application_name)

    def connect_watchful(self, application_name: str, whose: str) -> WatchfulConnection:
        """Open a connection that waits for no lock for ever; its errors say who waited, and who holds the lock.

        Raises EnvironmentFailedError if the server does not let us in.
        """
        return connect_watchful(self.dsn, self.name, application_name, whose)

    def reset(self) -> bool:
        """Delete every row and start every sequence again, as `prepare` left them (about 0.3 ms).

        Where somebody made, changed or dropped objects since the last reset (tables, columns, triggers, functions), a
        server of our own gets all of its schema anew (about 0.1 s), and True is returned. On a user's server nothing
        is ever dropped: there the rows that refer to Hydra's by a foreign key go, and `left_behind` names the objects.

        Readers do not hold it up. A transaction that holds rows locked is waited for, 5 seconds at most.
        What another connection inserts and has not committed stays: end its transactions first.
        Raises EnvironmentFailedError if rows stay locked, or the server does not answer.
        """
        try:
            return self._reset()
        except LockHeldError as error:
            raise EnvironmentFailedError(f"Database {self.name!r} could not be emptied: {error}") from error
        except psycopg.Error as error:
            raise EnvironmentFailedError(f"Database {self.name!r} could not be emptied: {error}") from error

    def _reset(self) -> bool:
        if not self._fingerprint:
            self._remember()
        elif not self.server.own and (fingerprint := self._look()) != self._fingerprint:
            self._fingerprint = fingerprint
            self._removals = additions.removals(self._controlling())
        fingerprint = self._empty()
        if fingerprint == self._fingerprint or not self.server.own:
            return False
        self._make_anew()
        return True

    def _empty(self) -> str:
        self._remove()
        ((deleted, fingerprint),) = self._run(f"SELECT hydra_notify_sim.reset(), {additions.FINGERPRINT}")
        self._deleted += int(deleted)
        self._resets += 1
        if self._resets % _VACUUM_EVERY == 0 or self._deleted >= _VACUUM_ROWS:
            self._deleted = 0
            with contextlib.suppress(LockHeldError):  # then at another time
                self._run("VACUUM")
        return str(fingerprint)

    def left_behind(self) -> list[str]:
        """Return what was added to a user's database since this object first emptied it, as ``trigger mine on builds``.

        What is named once is not named again. On a server of our own there is nothing to name: the reset removes it.
        """
        if self.server.own or not self._fingerprint or self._look() == self._fingerprint:
            return []
        there = additions.objects(self._controlling())
        added, self._objects = there - self._objects, there
        tables = {name.removeprefix("table ") for name in added if name.startswith("table ")}
        # A table that is new is named without its columns and constraints.
        return sorted(name for name in added if additions.table_of(name) not in tables)

    def _look(self) -> str:
        ((fingerprint,),) = self._run(f"SELECT {additions.FINGERPRINT}")
        return str(fingerprint)

    def _remember(self) -> None:
        """Take the objects that are there now for those that belong there."""
        self._fingerprint = self._look()
        if not self.server.own:
            self._objects = additions.objects(self._controlling())
            self._removals = additions.removals(self._controlling())

    def _remove(self) -> None:
        for statement in self._removals:
            # Its table may be gone meanwhile.
            with contextlib.suppress(errors.UndefinedTable, errors.UndefinedColumn):
                self._controlling().execute(statement)

    def _make_anew(self) -> None:
        connection = self._controlling()
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = origin")
            _drop_everything(connection)
            load(connection, self.name, self.server.schema)
        self._fingerprint = self._look()

    def make_anew(self) -> None:
        """Drop everything in the database, which is ours, and make its tables again, without a row.

        Raises EnvironmentFailedError if somebody keeps a table locked, or the server does not answer.
        """
        self.close()  # What its session knows of the tables is no longer so.
        with connect_own(self.dsn, self.name, "hydra-notify-sim prepare") as connection:
            try:
                with connection.transaction():
                    _drop_everything(connection)
                    load(connection, self.name, self.server.schema)
            except (psycopg.Error, LockHeldError) as error:
                raise EnvironmentFailedError(
                    f"Database {self.name!r} could not be made anew: {error}"
                ) from error

    def terminate_others(self, keep: AbstractSet[int] = frozenset()) -> None:
        """End every other session in this database but those of the backends `keep`; return when they are gone.

        Raises EnvironmentFailedError if one is still there after ten seconds.
        """
        spared = [sorted(keep)]
        terminate = f"SELECT pg_terminate_backend(pid) FROM ({_OTHERS}) AS other"
        deadline = time.monotonic() + _GONE_WITHIN
        try:
            self._run(terminate, spared)
            while left := self._run(_OTHERS, spared):
                if time.monotonic() > deadline:
                    pids = ", ".join(str(pid) for (pid,) in left)
                    raise EnvironmentFailedError(
                        f"Sessions in database {self.name!r} (pid {pids}) are still there {_GONE_WITHIN:.0f} s "
                        f"after they were told to end."
                    )
                time.sleep(_POLL)
                self._run(terminate, spared)  # one may have been just coming in
        except psycopg.Error as error:
            raise EnvironmentFailedError(
                f"Sessions in database {self.name!r} cannot be ended: {error}"
            ) from error

    @property
    def control_pid(self) -> int:
        """The backend of the connection on which this object works; never ended by `terminate_others`."""
        return self._controlling().info.backend_pid

    def close(self) -> None:
        """Close our own connection; the database stays."""
        if self._control is not None:
            self._control.close()
            self._control = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Database {self.name} on {self.server!r}>"

    def _controlling(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._control is None or self._control.closed:
            self._control = self.connect_own("hydra-notify-sim control")
            # As a replica, triggers and foreign keys stay silent. It takes a superuser, or a right granted
            # since PostgreSQL 15; without it the function's order of tables does, and is slower.
            with contextlib.suppress(errors.InsufficientPrivilege):
                self._control.execute("SET session_replication_role = replica")
        return self._control

    def _run(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._run_once(statement, parameters)
        except psycopg.OperationalError:
            # The connection is gone, as after a restart of the server, or someone and we waited for each other.
            self.close()
            return self._run_once(statement, parameters)

    def _run_once(self, statement: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        cursor = self._controlling().execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def prepare(server: Server, name: str | None = None, *, wipe: str | None = None) -> Database:
    """Return a Hydra database on a server; made if need be, its rows left as they are if it is ours already.

    `name` is the server's own choice by default (`Server.database`). On a user's server a database is ours if
    its comment says so; an empty one is adopted; any other is refused, unless `wipe` is its very name: then
    everything in it is dropped. Raises UsageError for a database that is not ours, and EnvironmentFailedError
    if it cannot be reached or made.
    """
    name = server.database if name is None else name
    if wipe is not None and wipe != name:
        raise UsageError(
            f"Told to wipe {wipe!r}, but the database to be used is {name!r}. Nothing was touched."
        )
    _create_if_missing(server, name)
    with connect_own(server.dsn(name), name, "hydra-notify-sim prepare") as connection:
        try:
            _take(connection, server, name, wipe=wipe is not None)
        except psycopg.Error as error:
            raise EnvironmentFailedError(f"Database {name!r} could not be made ready: {error}") from error
    return Database(server, name)


def _take(connection: psycopg.Connection[Any], server: Server, name: str, *, wipe: bool) -> None:
    """Make sure that the database is ours and has our server's schema, without a row if it had to be loaded."""
    row = connection.execute(_COMMENT).fetchone()
    comment = str(row[0] or "") if row is not None else ""
    if comment == server.schema.comment and not wipe:
        return
    contents = [str(found) for (found,) in connection.execute(_CONTENTS).fetchall()]
    if contents and not wipe and not comment.startswith(OURS):
        some = ", ".join(contents[:5]) + (", …" if len(contents) > 5 else "")
        raise UsageError(
            f"Database {name!r} is not empty and not a test database of ours ({len(contents)} objects: {some}). "
            f"It was left as it is. Name another, or an empty one; or, if all of it may be deleted, "
            f"say so with --wipe {name}."
        )
    with connection.transaction():
        if contents:
            _drop_everything(connection)
        load(connection, name, server.schema)


def _drop_everything(connection: psycopg.Connection[Any]) -> None:
    schemas = connection.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'"
    ).fetchall()
    for (schema,) in schemas:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
    connection.execute("CREATE SCHEMA public")


def _create_if_missing(server: Server, name: str) -> None:
    if server.own and name == server.database:
        return
    try:
        with connect(server.dsn("postgres"), "postgres", "hydra-notify-sim prepare") as connection:
            names = {
                str(found) for (found,) in connection.execute("SELECT datname FROM pg_database").fetchall()
            }
            if name not in names:
                # Someone may have put things of their own into template1.
                template = "template0" if "template0" in names else "template1"
                connection.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                        sql.Identifier(name), sql.Identifier(template)
                    )
                )
    except (errors.DuplicateDatabase, errors.UniqueViolation):
        return  # someone else was faster
    except EnvironmentFailedError:
        return  # no way into the database `postgres`: the next connection tells what is the matter
    except psycopg.Error as error:
        raise EnvironmentFailedError(
            f"Database {name!r} does not exist and could not be made: {error}. Make it, or name another."
        ) from error
