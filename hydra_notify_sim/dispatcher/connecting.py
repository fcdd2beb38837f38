"""Connections on which no wait is without end, and in whose texts every byte survives."""

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from psycopg import adapt, conninfo, sql, waiting

from hydra_notify_sim.database import connections

STATEMENT_SECONDS = 20.0
"""Seconds after which a statement is cancelled: somebody holds a lock, or the peer is silent."""
STOP_SECONDS = 5.0
"""Seconds after being asked to stop in which a statement may still end by itself."""
LEAST_SECONDS = 2.0
"""Seconds that a statement is given all the same: one that stores what a plugin did which returned long after that."""
CANCEL_SECONDS = 3.0
"""Seconds in which a statement that was cancelled must end; after that the connection is given up."""
_HURRIED = 2
"""Seconds to connect to one host once the dispatcher was asked to stop, and has something to store."""
_SLICE = 0.5
"""Seconds between two looks at whether to stop."""

_TCP = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""libpq's parameters that end a wait for a peer that is gone, unless the DSN has its own; sockets ignore most."""

_TEXTS = ("text", "varchar", "bpchar", "name", '"char"', "unknown", "citext")


class Patience:
    """How long a statement may take: less once the dispatcher is asked to stop."""

    def __init__(self) -> None:
        self._seconds = STATEMENT_SECONDS
        self._stop_by: float | None = None

    def stop(self) -> None:
        """Take in that the dispatcher was asked to stop; a signal handler may call it."""
        self._stop_by = time.monotonic() + STOP_SECONDS

    @property
    def ending(self) -> bool:
        """Whether the dispatcher was asked to stop."""
        return self._stop_by is not None

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Give the statements of this context so many seconds each."""
        before, self._seconds = self._seconds, seconds
        try:
            yield
        finally:
            self._seconds = before

    def left(self, begun: float) -> float:
        """Return the seconds that are left to a statement that began then, by the monotonic clock."""
        until = begun + self._seconds
        if self._stop_by is not None:
            until = min(until, max(self._stop_by, begun + LEAST_SECONDS))
        return until - time.monotonic()


class PatientConnection(psycopg.Connection[Any]):
    """A connection that cancels a statement when patience is at its end, and gives up a silent peer."""

    patience = Patience()

    def wait(self, gen: Any, interval: float = 0.0, timeout: float | None = None) -> Any:
        """Drive one exchange with the server to its end, as psycopg asks for it.

        Raises:
            OperationalError: the server did not answer, not even to the cancelling.

        """
        del interval, timeout
        begun = time.monotonic()
        try:
            wanted = next(gen)
            for left in self._seconds_left(begun):
                wanted = gen.send(self._poll(wanted, min(_SLICE, left)))
        except StopIteration as done:
            return done.value
        self.pgconn.finish()
        seconds = time.monotonic() - begun
        raise psycopg.OperationalError(f"the server has not answered for {seconds:.0f} s")

    def _seconds_left(self, begun: float) -> Iterator[float]:
        while (left := self.patience.left(begun)) > 0:
            yield left
        # The server is asked to end the statement. Its answer is an error with an SQLSTATE, 57014.
        threading.Thread(target=self._cancel, daemon=True).start()
        until = time.monotonic() + CANCEL_SECONDS
        while (left := until - time.monotonic()) > 0:
            yield left

    def _cancel(self) -> None:
        # On a thread: to a peer that is silent it may take as long as it likes.
        with contextlib.suppress(Exception):
            self.cancel_safe(timeout=CANCEL_SECONDS)

    def _poll(self, wanted: waiting.Wait, seconds: float) -> waiting.Ready:
        events = (select.POLLIN if wanted & waiting.Wait.R else 0) | (
            select.POLLOUT if wanted & waiting.Wait.W else 0
        )
        poller = select.poll()
        poller.register(self.pgconn.socket, events)
        found = 0
        for _, event in poller.poll(max(1, int(seconds * 1000))):
            ended = event & ~(select.POLLIN | select.POLLOUT)
            found |= waiting.Ready.R if (event & select.POLLIN or ended) and wanted & waiting.Wait.R else 0
            found |= waiting.Ready.W if (event & select.POLLOUT or ended) and wanted & waiting.Wait.W else 0
        return waiting.Ready(found)


def parameters(dsn: str) -> str:
    """Return the DSN with what ends waits, and where it names several hosts with the wish for one that is writable.

    Raises UsageError if it is none.
    """
    given = connections.check_dsn(dsn)
    wanted: dict[str, Any] = {name: value for name, value in _TCP.items() if name not in given}
    several = any("," in str(given.get(name, "")) for name in ("host", "hostaddr", "port"))
    if several and "target_session_attrs" not in given and "PGTARGETSESSIONATTRS" not in os.environ:
        wanted["target_session_attrs"] = "read-write"
    return conninfo.make_conninfo(dsn, **wanted)


def connector(
    dsn: str, patience: Patience | None = None, *, read_only: bool = False
) -> Callable[[str], psycopg.Connection[Any]]:
    """Return what opens an autocommit connection under an application name; ``read_only`` ones cannot write."""
    patience = patience or Patience()
    complete = parameters(dsn)
    hurried = conninfo.make_conninfo(complete, connect_timeout=_HURRIED)

    def connect(application_name: str) -> psycopg.Connection[Any]:
        connection = PatientConnection.connect(
            hurried if patience.ending else complete,
            autocommit=True,
            application_name=application_name,
            client_encoding="UTF8",
        )
        connection.patience = patience
        try:
            keep_every_byte(connection)
            if read_only:
                # Not an option of the connection: libpq takes a server with it for a standby.
                connection.execute("SET default_transaction_read_only TO on")
        except BaseException:
            connection.close()
            raise
        return connection

    return connect


def keep_every_byte(connection: psycopg.Connection[Any]) -> None:
    """Take texts as the server stores them, and decode them here: a conversion in the server can fail.

    Bytes that are no text become lone surrogates (``surrogateescape``), and go back as they came.
    """
    server = connection.info.parameter_status("server_encoding") or "UTF8"
    if server == "UTF8":
        return
    connection.execute(sql.SQL("SET client_encoding TO {}").format(sql.Literal(server)))
    try:
        _ = connection.info.encoding
    except psycopg.NotSupportedError:
        # Python cannot read it (EUC_TW, MULE_INTERNAL): the server has to convert.
        connection.execute("SET client_encoding TO 'UTF8'")
    encoding = codec(connection)

    class Loader(adapt.Loader):
        def load(self, data: bytes | bytearray | memoryview) -> str:
            return bytes(data).decode(encoding, "surrogateescape")

    class Dumper(adapt.Dumper):
        def dump(self, obj: str) -> bytes:
            return obj.encode(encoding, "surrogateescape")

    connection.adapters.register_dumper(str, Dumper)
    connection.adapters.register_loader(0, Loader)
    for name in _TEXTS:
        if connection.adapters.types.get(name) is not None:
            connection.adapters.register_loader(name, Loader)


def codec(connection: psycopg.Connection[Any]) -> str:
    """Return Python's name for the encoding of a connection's texts; in SQL_ASCII they are UTF-8 if they are text."""
    name = connection.info.encoding
    return "utf-8" if name == "ascii" else name
