"""Servers and databases as they are in real life: other encodings, and a relay that falls silent."""

import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from hydra_notify_sim.database import Database, Server


@pytest.fixture
def encoded(server: Server) -> Iterator[Callable[[str], str]]:
    """Make a Hydra database in an encoding; return its DSN."""
    if not server.own:
        pytest.skip("databases in other encodings are made on a server of our own only")
    made: list[str] = []

    def make(encoding: str) -> str:
        name = f"hydra_{encoding.lower()}"
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            # Our server keeps no template0; only from one of that name may a database in another encoding be made.
            connection.execute("CREATE DATABASE template0 TEMPLATE template1")
            connection.execute(
                f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
            )
            connection.execute("DROP DATABASE template0")
        made.append(name)
        with psycopg.connect(server.dsn(name), autocommit=True) as connection:
            connection.execute(server.schema.text)
        return server.dsn(name)

    yield make
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Relay:
    """A socket before the server's: what passes may fall silent, without an end, or lose its notifications."""

    def __init__(self, server: Path, directory: Path) -> None:
        self.directory = directory
        self.loses_notifications = False
        self._server = str(server)
        self._passing: list[threading.Event] = []
        """One for each connection that still passes; cleared, it is silent."""
        self._sockets: list[socket.socket] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(directory / ".s.PGSQL.5432"))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """Let nothing pass any more on the connections that there are."""
        for passing in self._passing:
            passing.clear()

    def close(self) -> None:
        for one in [self._listening, *self._sockets]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            self._sockets += [client, server]
            passing = threading.Event()
            passing.set()
            self._passing.append(passing)
            for source, sink, back in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, sink, passing, back), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, passing: threading.Event, back: bool) -> None:
        held = b""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not passing.is_set():
                    continue
                if back and self.loses_notifications:
                    data, held = _without_notifications(held + data)
                sink.sendall(data)
            if passing.is_set():
                sink.shutdown(socket.SHUT_RDWR)


def _without_notifications(data: bytes) -> tuple[bytes, bytes]:
    """Leave out whole messages of type A (NotificationResponse); return what passes, and an unfinished message."""
    passed = b""
    while len(data) >= 5 and len(data) >= (length := 1 + int.from_bytes(data[1:5], "big")):
        passed += data[:length] if data[:1] != b"A" else b""
        data = data[length:]
    return passed, data


@pytest.fixture
def relay(database: Database) -> Iterator[Relay]:
    given = conninfo.conninfo_to_dict(database.dsn)
    host = Path(str(given.get("host", "")))
    if not host.is_absolute():
        pytest.skip("the server is reached through TCP: the relay stands before a socket")
    with tempfile.TemporaryDirectory() as directory:  # a socket's path may not be long
        made = Relay(host / f".s.PGSQL.{given.get('port', 5432)}", Path(directory))
        yield made
        made.close()


@pytest.fixture
def relayed(database: Database, relay: Relay) -> str:
    """The DSN of the test's database through the relay."""
    return conninfo.make_conninfo(database.dsn, host=str(relay.directory), port=5432)
