"""Opening a connection, with errors that say what to do and never show a password."""

from typing import Any, TypeVar

import psycopg
from psycopg import conninfo

from hydra_notify_sim.database.locks import WatchfulConnection
from hydra_notify_sim.errors import EnvironmentFailedError, UsageError

_WITHIN = 10
"""Seconds that a connection may take, unless the DSN says otherwise."""
_OWN_SETTINGS = (
    "SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed'; "
    "SET statement_timeout = 0; SET idle_session_timeout = 0; SET idle_in_transaction_session_timeout = 0"
)
"""What a story, or a person, may have set for the database."""

_C = TypeVar("_C", bound=psycopg.Connection[Any])


_SECRETS = ("password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret")
_UNREADABLE = (
    "The DSN is no PostgreSQL connection string. Write it like postgresql://user@host:5432/database or "
    "host=/run/postgresql dbname=hydra; in the first form, percent-encode special characters in a password "
    "(an @ is %40, a / is %2F), in the second put it between single quotes."
)


def check_dsn(dsn: str) -> dict[str, Any]:
    """Return what a connection string says, by libpq's names.

    Raises UsageError if it is none. The message shows nothing of it: a password that is not percent-encoded
    is what most often makes it unreadable, and libpq would quote a piece of that.
    """
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise UsageError(_UNREADABLE) from None
    ports = str(given.get("port") or "").split(",")
    if _cuts_a_password(dsn) or not all(port.isdecimal() or not port for port in ports):
        raise UsageError(_UNREADABLE)
    return given


def _cuts_a_password(dsn: str) -> bool:
    """Tell whether libpq takes a piece of a password for the host or the database, and would print it as such.

    In a URL what follows the first @ is the host, and a / before it already ends the password.
    """
    scheme, found, rest = dsn.partition("://")
    if not found or scheme not in {"postgresql", "postgres"}:
        return False
    login, slash, after = rest.partition("/")
    if "@" in login:
        rest = login.partition("@")[2] + slash + after
    return "@" in rest.partition("?")[0]


def has_passwords(dsn: str) -> bool:
    """Tell whether a connection string holds a secret; raises UsageError if it is none."""
    return not check_dsn(dsn).keys().isdisjoint(_SECRETS)


def without_passwords(dsn: str) -> str:
    """Return a connection string that may be shown; raises UsageError if it is none."""
    given = {name: value for name, value in check_dsn(dsn).items() if name not in _SECRETS}
    return conninfo.make_conninfo("", **given) or "the default database"


def connect(dsn: str, name: str, application_name: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection to the database `name` in autocommit mode.

    Raises EnvironmentFailedError, with the server's words, if that fails.
    """
    return _opened(psycopg.Connection, dsn, name, application_name)


def connect_watchful(dsn: str, name: str, application_name: str, whose: str) -> WatchfulConnection:
    """Open a connection that waits for no lock for ever; ``whose`` says in its errors who waited.

    Raises EnvironmentFailedError, with the server's words, if that fails.
    """
    return _opened(WatchfulConnection, dsn, name, application_name).watch(dsn, whose)


def connect_own(dsn: str, name: str, application_name: str) -> WatchfulConnection:
    """Open a connection of the harness's own: watchful, and untouched by what is set for the database.

    Raises EnvironmentFailedError, with the server's words, if that fails.
    """
    connection = connect_watchful(dsn, name, application_name, "the harness")
    connection.execute(_OWN_SETTINGS)
    return connection


def _opened(cls: type[_C], dsn: str, name: str, application_name: str) -> _C:
    try:
        if "connect_timeout" not in check_dsn(dsn):
            dsn = conninfo.make_conninfo(dsn, connect_timeout=_WITHIN)
        return cls.connect(dsn, autocommit=True, application_name=application_name)
    except psycopg.Error as error:
        raise unreachable(name, error) from None  # psycopg's error holds on to the connection string


def unreachable(name: str, error: psycopg.Error) -> EnvironmentFailedError:
    """Return the error that says why the database `name` cannot be reached."""
    said = first_line(error).rstrip(".")
    return EnvironmentFailedError(
        f"Database {name!r} cannot be reached: {said}. "
        f"Is the server running, and are host, port, user and password right?"
    )


def unreadable(name: str, error: psycopg.Error, more_tables: str = "") -> EnvironmentFailedError:
    """Return the error that says why Hydra's tables in the database `name` cannot be read, and what to do."""
    said = first_line(error)
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        return EnvironmentFailedError(
            f"Database {name!r} is none of Hydra's, or of an old one: {said}. Name the database that hydra-server "
            "uses, and run hydra-init on it if it is new or old."
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        tables = ", ".join(filter(None, ("builds, jobsets, taskretries", more_tables)))
        return EnvironmentFailedError(
            f"Database {name!r} does not let this user read: {said}. GRANT SELECT ON {tables} TO the user."
        )
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return EnvironmentFailedError(
            f"Database {name!r} is on a standby, where nothing is notified: {said}. Name the primary."
        )
    return EnvironmentFailedError(f"Database {name!r} cannot be read: {said}.")


def database_name(dsn: str) -> str:
    """Return the name of the database that a connection string leads to, for messages.

    Raises UsageError as `check_dsn` does.
    """
    given = check_dsn(dsn)
    return str(given.get("dbname") or given.get("user") or "the default")


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, its kind if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
