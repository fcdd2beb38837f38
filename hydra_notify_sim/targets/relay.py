"""A relay between a dispatcher's process and the server's Unix socket, whose connections can fall silent."""

import contextlib
import socket
import threading
from pathlib import Path

from psycopg import conninfo

CHUNK = 65_536
"""Bytes that are passed on at once."""


class _Link:
    """One connection of the dispatcher, with its counterpart at the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.sides = (client, server)
        self.silent = False

    def start(self) -> None:
        for source, sink in (self.sides, reversed(self.sides)):
            threading.Thread(target=self._pass_on, args=(source, sink), name="relay", daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        """Pass on what comes, and the end; once silent, take in what comes and pass nothing on, not even the end."""
        how = socket.SHUT_WR
        try:
            while data := source.recv(CHUNK):
                if not self.silent:
                    sink.sendall(data)
        except OSError:
            how = socket.SHUT_RDWR  # A backend that is killed with a query unread resets its connection.
        if not self.silent:
            with contextlib.suppress(OSError):
                sink.shutdown(how)

    def close(self) -> None:
        for side in self.sides:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)  # ends the threads that wait for it
            side.close()


class Relay:
    """Listens on a socket of its own; the dispatcher connects there."""

    def __init__(self, dsn: str, directory: Path) -> None:
        """Listen in a directory, for a server that the DSN names by its socket's directory."""
        parts = conninfo.conninfo_to_dict(dsn)
        name = f".s.PGSQL.{parts.get('port', 5432)}"
        self._server = str(Path(str(parts["host"]), name))
        self.dsn = conninfo.make_conninfo(dsn, host=str(directory))
        """What the dispatcher connects to."""
        self._links: list[_Link] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(directory / name))
        self._listening.listen(16)
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def silence(self) -> None:
        """Let the connections that there are pass nothing on any more; new ones work."""
        for link in self._links:
            link.silent = True

    def close(self) -> None:
        """Close everything."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for link in self._links:
            link.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(self._server)
                except OSError:  # the server is stopped: so is this connection
                    server.close()
                    client.close()
                    continue
                self._links.append(link := _Link(client, server))
                link.start()
