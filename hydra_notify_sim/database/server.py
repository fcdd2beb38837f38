"""A running PostgreSQL server: one that we start and end, or one that the user's DSN names."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg import conninfo

from hydra_notify_sim.database import cache, sources
from hydra_notify_sim.database.connections import check_dsn, connect
from hydra_notify_sim.database.directories import PrivateDirectory
from hydra_notify_sim.database.postmaster import Binaries, Postmaster
from hydra_notify_sim.database.schema import Schema, read_schema
from hydra_notify_sim.errors import EnvironmentFailedError

_LOOKING = "hydra-notify-sim: looking at the server"


class Server:
    """A server in use; a context manager that stops it, if we started it.

    It ends with this process however that ends, and leaves no file behind but the cache.
    """

    version: str
    """As in `15.18`."""
    source: str
    """Where it came from, for people."""
    own: bool
    """We started it from programs on this machine: all in it is ours, and it can be shut and opened."""
    database: str
    """The database to use unless another is named: `hydra`, or the one in the user's DSN."""
    schema: Schema
    """What `prepare` loads into an empty database."""

    def dsn(self, dbname: str) -> str:
        """Return the connection string of one of its databases; it may hold a password."""
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, while a server of ours is running on this machine."""
        return None

    def shut(self) -> None:
        """End the server at once, as SIGQUIT does: every session is cut, later ones are refused.

        Raises EnvironmentFailedError for a server that is not ours.
        """
        raise self._not_ours()

    def open(self) -> None:
        """Start it again on the same data after `shut`; returns when it accepts connections."""
        raise self._not_ours()

    def restart(self) -> None:
        """`shut`, then `open`: a server that crashes and comes back (about 50 ms)."""
        self.shut()
        self.open()

    def stop(self) -> None:
        """End a server of ours and remove its directory; a user's server is left alone."""

    def close(self) -> None:
        """Stop it: the other name."""
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} PostgreSQL {self.version}, {self.source}>"  # never a DSN: passwords

    def _not_ours(self) -> EnvironmentFailedError:
        return EnvironmentFailedError(
            f"The server ({self.source}) cannot be restarted: it was not started from programs on this "
            f"machine. Play this story without a DSN."
        )


class LocalServer(Server):
    """A server of ours, on a socket in a private directory."""

    own = True
    database = cache.DATABASE

    def __init__(self, binaries: Binaries, schema: Schema) -> None:
        """Start it. Raises EnvironmentFailedError if it does not come up."""
        self.version = binaries.version
        self.source = f"{binaries.source}: {binaries.directory}"
        self.schema = schema
        self._binaries = binaries
        self._directory = PrivateDirectory(binaries.account)
        self._owner = os.getpid()
        try:
            self._postmaster: Postmaster | None = cache.start_prepared(binaries, schema, self._directory.path)
        except BaseException:
            self._directory.remove()
            binaries.release()
            raise

    def dsn(self, dbname: str) -> str:
        """Return a URI; anyone who may enter the server's directory may connect, without a password."""
        return (
            f"postgresql://postgres@{quote(str(self._directory.path), safe='')}:5432/{quote(dbname, safe='')}"
        )

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, None while it is shut."""
        return self._postmaster.pid if self._postmaster is not None else None

    @property
    def guard_pid(self) -> int:
        """The process that cleans up if this one is killed."""
        return self._directory.guard_pid

    @property
    def binaries(self) -> Path:
        """Where the programs lie that it runs; `psql` need not be among them."""
        return self._binaries.directory

    @property
    def directory(self) -> Path:
        """The private directory with its socket, log and data."""
        return self._directory.path

    def shut(self) -> None:
        """End the server at once; nothing happens if it is shut already."""
        if self._postmaster is not None and os.getpid() == self._owner:
            self._postmaster.quit()
            self._postmaster = None

    def open(self) -> None:
        """Start it again on the same data; nothing happens if it is running."""
        if self._postmaster is None:
            self._postmaster = Postmaster(self._binaries, self._directory.path)

    def stop(self) -> None:
        """End it and remove its directory."""
        self.shut()
        self._directory.remove()
        self._binaries.release()


class ForeignServer(Server):
    """The server that a user's DSN names; we never start, stop or restart it."""

    own = False
    source = "the DSN given"

    def __init__(self, dsn: str, schema: Schema) -> None:
        """Look at it. Raises UsageError for a DSN that is none, EnvironmentFailedError if it does not answer."""
        self._dsn = dsn
        self.schema = schema
        given = check_dsn(dsn)
        # What libpq would take for a name that is not given.
        self.database = str(
            given.get("dbname") or os.environ.get("PGDATABASE") or given.get("user") or _user_name()
        )
        with self._reach() as connection:
            number = connection.info.server_version
        self.version = f"{number // 10000}.{number % 10000}"
        if not sources.OLDEST <= number // 10000 <= sources.NEWEST:
            raise EnvironmentFailedError(
                f"The server that the DSN names is PostgreSQL {self.version}; "
                f"{sources.OLDEST} to {sources.NEWEST} are supported."
            )

    def dsn(self, dbname: str) -> str:
        """Return the user's connection string with another database's name in it."""
        return conninfo.make_conninfo(self._dsn, dbname=dbname)

    def _reach(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect to the DSN's database or, as it need not exist yet, to the one that every server has."""
        try:
            return connect(self.dsn(self.database), self.database, _LOOKING)
        except EnvironmentFailedError as refused:
            try:
                return connect(self.dsn("postgres"), "postgres", _LOOKING)
            except EnvironmentFailedError:
                raise refused from None  # what the user asked for is what failed


def _user_name() -> str:
    import getpass  # noqa: PLC0415 - only a DSN that names neither database nor user needs it

    return getpass.getuser()


def start_server(
    *,
    dsn: str | None = None,
    binaries: Path | None = None,
    schema: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Server:
    """Return a running server, from the first source that works (see `sources`).

    `dsn` is a user's server, `binaries` a directory with `initdb` and `postgres`, `schema` a Hydra checkout's
    hydra.sql to be used in place of our tables; `environment` stands in for the process's variables.
    Start it from the main thread: on Linux the kernel then ends it with us.
    Raises UsageError for arguments that cannot be meant, EnvironmentFailedError if there is no server.
    """
    environment = os.environ if environment is None else environment
    tables = read_schema(schema)
    wishes = sources.read_wishes(dsn, binaries, environment)
    if wishes.dsn is not None:
        return ForeignServer(wishes.dsn, tables)
    search = sources.Search(wishes, environment)
    for found in search.found():
        try:
            return LocalServer(found, tables)
        except EnvironmentFailedError as error:
            search.failed(found.source, f"{found.directory}: {error}")
    if "container" in wishes.names and wishes.binaries is None:
        from hydra_notify_sim.database.container import ContainerServer  # noqa: PLC0415 - it builds on this module

        try:
            return ContainerServer(tables)
        except EnvironmentFailedError as error:
            search.failed("container", error)
    raise search.error()
