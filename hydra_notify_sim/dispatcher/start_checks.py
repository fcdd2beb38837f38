"""Looks, before the first plugin is called, whether a dispatcher can do its work on a database."""

import os
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import conninfo, pq, sql

from hydra_notify_sim import errors
from hydra_notify_sim.database import connections
from hydra_notify_sim.dispatcher import connecting, postgres, rights, sqlstates

SELF_NOTIFICATION_SECONDS = 5.0
"""Seconds in which a notification to ourselves must arrive; through a socket it takes a millisecond."""


class NotYetError(Exception):
    """The server is there, and cannot be used yet: it starts, is a standby or read-only, or refuses. It may be used later."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the checks found."""

    database: str
    """The connection string without passwords."""
    server: str
    encoding: str
    foreign_tasks: dict[str, int] = field(default_factory=dict)
    """Plugins that are not loaded to the number of their tasks."""


def check(dsn: str, plugins: Sequence[str], connect: postgres.Connect) -> Found:
    """Look whether the database can be reached and used; return what is worth saying about it.

    Raises:
        UsageError: the connection string cannot be read.
        EnvironmentFailedError: a person has to mend something; the message says what. No message holds a password.
        NotYetError: it will be usable when the server has started, is promoted, or does not refuse it any more.

    """
    shown = connections.without_passwords(dsn)
    try:
        session = postgres.Session(connect)
        try:
            session.open(lambda _notify: None)
        except psycopg.Error as error:
            raise _cannot_connect(dsn, shown, error) from None
        try:
            return _look(shown, session, plugins)
        finally:
            session.close()
    except psycopg.Error as error:
        if sqlstates.remedy(error) in ("try again", "connect again"):
            raise NotYetError(postgres.first_line(error)) from None
        raise errors.EnvironmentFailedError(
            f"{shown} cannot be looked at: {postgres.first_line(error)}. Try again, or mend what it says."
        ) from None


def _look(shown: str, session: postgres.Session, plugins: Sequence[str]) -> Found:
    connection = session.querying
    check_schema(shown, connection)
    if missing := rights.missing(connection):
        raise errors.EnvironmentFailedError(
            f"The user {connection.info.user!r} lacks rights on {shown}, so no plugin was called. "
            f"As its owner run: {rights.grants(connection, missing)}"
        )
    _check_names(shown, connection, plugins)
    check_listening(shown, session.listening, session.querying)
    foreign = connection.execute(
        "SELECT pluginname, count(*) FROM taskretries GROUP BY pluginname ORDER BY 1"
    )
    number = connection.info.server_version
    return Found(
        shown,
        f"PostgreSQL {number // 10000}.{number % 10000}",
        connection.info.parameter_status("server_encoding") or "",
        {name: count for name, count in foreign if name not in plugins},
    )


def check_schema(shown: str, connection: psycopg.Connection[Any]) -> None:
    """Look whether Hydra's tables and columns are where search_path leads; raise EnvironmentFailedError if not."""
    tables = list(rights.TABLES)
    lost = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL", [tables]
        )
    ]
    if lost:
        elsewhere = connection.execute(
            "SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
            " WHERE relname = ANY(%s) AND relkind IN ('r', 'p', 'v') GROUP BY nspname HAVING count(*) = %s ORDER BY 1",
            [lost, len(lost)],
        ).fetchone()
        if elsewhere is not None:
            schema, user = (rights.quoted(connection, name) for name in (elsewhere[0], connection.info.user))
            raise errors.EnvironmentFailedError(
                f"Hydra's tables are in schema {schema} of {shown}, and search_path does not lead there. "
                f"Run: GRANT USAGE ON SCHEMA {schema} TO {user}; ALTER ROLE {user} SET search_path = {schema};"
            )
        raise errors.EnvironmentFailedError(
            f"{shown} is not a Hydra database: it has no table {', '.join(lost)}. Name the database that "
            "hydra-server uses, and run hydra-init on it if it is new or old."
        )
    wanted = [(table, column) for table, columns in rights.TABLES.items() for column in columns]
    old = connection.execute(
        "SELECT t || '.' || c FROM unnest(%s::text[], %s::text[]) AS wanted (t, c) WHERE NOT EXISTS"
        " (SELECT FROM pg_attribute WHERE attrelid = to_regclass(t) AND attname = c AND NOT attisdropped)",
        [[table for table, _ in wanted], [column for _, column in wanted]],
    ).fetchall()
    if old:
        raise errors.EnvironmentFailedError(
            f"{shown} has another schema than this program knows: there is no {', '.join(name for (name,) in old)}. "
            "Run hydra-init on it if it is old, or use a version of this program that knows it."
        )


def _check_names(shown: str, connection: psycopg.Connection[Any], plugins: Sequence[str]) -> None:
    encoding = connecting.codec(connection)
    for name in plugins:
        try:
            name.encode(encoding, "surrogateescape")
        except UnicodeEncodeError:
            raise errors.EnvironmentFailedError(
                f"The plugin's name {name!r} cannot be stored in {shown}, whose encoding is "
                f"{connection.info.parameter_status('server_encoding')}. Give the plugin a `name` of ASCII letters."
            ) from None


def check_listening(
    shown: str, listening: psycopg.Connection[Any], notifying: psycopg.Connection[Any]
) -> None:
    """Send a notification to ourselves, for a pooler may take LISTEN, and lose it; raise EnvironmentFailedError then."""
    channel = sql.Identifier(f"hydra_notify_sim_{os.getpid()}")
    listening.execute(sql.SQL("LISTEN {}").format(channel))
    notifying.execute(sql.SQL("NOTIFY {}").format(channel))
    pgconn = listening.pgconn
    until = time.monotonic() + SELF_NOTIFICATION_SECONDS
    while (left := until - time.monotonic()) > 0:
        pgconn.consume_input()
        if pgconn.notifies() is not None:
            listening.execute(sql.SQL("UNLISTEN {}").format(channel))
            return
        select.select([pgconn.socket], [], [], min(left, 0.5))
    raise errors.EnvironmentFailedError(
        f"What is notified through {shown} does not arrive there: LISTEN is lost. That is so behind a pooler such as "
        "PgBouncer in transaction mode. Name the server itself in the DSN, or let the pooler pool whole sessions."
    )


def _cannot_connect(dsn: str, shown: str, error: psycopg.Error) -> Exception:
    """Tell a server that is not ready yet from one that is not there, or does not let us in."""
    said = postgres.first_line(error)
    if isinstance(error, postgres.NotWritableError) or (error.sqlstate or "").startswith("57"):
        # The second is of a session that was made, and ended before it was looked at.
        return NotYetError(said)
    complete = connecting.parameters(dsn)
    answer = pq.PGconn.ping(complete.encode())
    if answer == pq.Ping.REJECT:
        return NotYetError(said)
    if answer == pq.Ping.OK and conninfo.conninfo_to_dict(complete).get("target_session_attrs"):
        try:
            psycopg.connect(conninfo.make_conninfo(complete, target_session_attrs="any")).close()
        except psycopg.Error:
            pass  # then it is no matter of which server is the primary
        else:
            return NotYetError(f"no host of the DSN is writable yet: {said}")
    return errors.EnvironmentFailedError(
        f"cannot connect to {shown}: {said}. Is the server running, and does it let this user in?"
    )
