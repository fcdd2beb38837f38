"""Opening a connection, with errors that say what to do and never show a password."""

from typing import Any

import psycopg
from psycopg import conninfo

from hydra_notify_sim.errors import EnvironmentFailedError, UsageError

_WITHIN = 10
"""Seconds that a connection may take, unless the DSN says otherwise."""


def check_dsn(dsn: str) -> dict[str, Any]:
    """Return what a connection string says, by libpq's names.

    Raises UsageError if it is none. The message shows nothing of it: a password that is not percent-encoded
    is what most often makes it unreadable, and libpq would quote a piece of that.
    """
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        given = {"port": "unreadable"}
    ports = str(given.get("port") or "").split(",")
    if not all(port.isdecimal() or not port for port in ports):
        raise UsageError(
            "The DSN is no PostgreSQL connection string. Write it like postgresql://user@host:5432/database or "
            "host=/run/postgresql dbname=hydra; in the first form, percent-encode special characters in a password."
        ) from None
    return given


def connect(dsn: str, name: str, application_name: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection to the database `name` in autocommit mode.

    Raises EnvironmentFailedError, with the server's words, if that fails.
    """
    try:
        if "connect_timeout" not in conninfo.conninfo_to_dict(dsn):
            dsn = conninfo.make_conninfo(dsn, connect_timeout=_WITHIN)
        return psycopg.connect(dsn, autocommit=True, application_name=application_name)
    except psycopg.Error as error:
        said = str(error).strip().split("\n")[0].rstrip(".")
        raise EnvironmentFailedError(
            f"Database {name!r} cannot be reached: {said}. "
            f"Is the server running, and are host, port, user and password right?"
        ) from None  # psycopg's error holds on to the connection string
