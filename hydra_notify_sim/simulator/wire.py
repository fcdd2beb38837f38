"""Sends one simple query and waits for its end: what `Connection.execute` does, without making a cursor.

A transaction is one round trip of some 70 µs, and the cursor would take half as long again. The wait can be
interrupted by a signal, unlike libpq's own.
"""

import select
from typing import Any

import psycopg
from psycopg.errors import LockNotAvailable
from psycopg.pq import DiagnosticField, ExecStatus

from hydra_notify_sim.database.locks import WatchfulConnection

_POLL = 0.5
"""Seconds between two looks at the socket; a signal is noticed at once."""


def run(connection: psycopg.Connection[Any], sql: str) -> None:
    """Run statements as one transaction, unless they say otherwise; their rows are thrown away.

    Raises:
        psycopg.Error: the server refused it, or is gone; the class is the one of its SQLSTATE.
        LockHeldError: it waited too long for a lock.

    """
    pgconn = connection.pgconn
    if isinstance(connection, WatchfulConnection):
        connection.begin_wait()
    with connection.lock:
        pgconn.send_query(sql.encode(connection.info.encoding))
        try:
            failed = _drain(connection)
        except KeyboardInterrupt:
            connection.cancel_safe(timeout=5)
            _drain(connection)
            raise
    if isinstance(failed, LockNotAvailable) and isinstance(connection, WatchfulConnection):
        raise connection.held() from failed
    if failed is not None:
        raise failed


def _drain(connection: psycopg.Connection[Any]) -> psycopg.Error | None:
    """Take all results in; return the first error among them."""
    pgconn = connection.pgconn
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN)
    while pgconn.flush():
        # The query is longer than the socket's buffer; the server may have to be read from before it reads on.
        poll.modify(pgconn.socket, select.POLLIN | select.POLLOUT)
        poll.poll(_POLL * 1000)
        pgconn.consume_input()
    poll.modify(pgconn.socket, select.POLLIN)
    failed: psycopg.Error | None = None
    while True:
        while pgconn.is_busy():
            if not poll.poll(_POLL * 1000) and isinstance(connection, WatchfulConnection):
                connection.still_waiting()
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            return failed
        if result.status == ExecStatus.FATAL_ERROR and failed is None:
            failed = _error(result.error_field(DiagnosticField.SQLSTATE), result.get_error_message())


def _error(sqlstate: bytes | None, message: str) -> psycopg.Error:
    if sqlstate is None:
        return psycopg.OperationalError(message)
    try:
        return psycopg.errors.lookup(sqlstate.decode())(message)
    except KeyError:
        return psycopg.DatabaseError(message)
