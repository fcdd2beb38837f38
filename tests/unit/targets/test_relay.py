"""The relay before a server's socket passes everything on, an abrupt end too."""

import contextlib
import socket
from pathlib import Path

from hydra_notify_sim.targets.relay import Relay

WITHIN = 10.0


def test_a_server_that_resets_a_connection_ends_it_for_the_client(tmp_path: Path) -> None:
    before, behind = tmp_path / "a", tmp_path / "b"
    before.mkdir()
    behind.mkdir()
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(behind / ".s.PGSQL.5432"))
        server.listen()
        relay = Relay(f"host={behind} port=5432", before)
        try:
            client.settimeout(WITHIN)
            client.connect(str(before / ".s.PGSQL.5432"))
            backend, _ = server.accept()
            client.sendall(b"a query")
            backend.recv(1)
            backend.close()  # What it has not read makes this a reset.
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
        finally:
            relay.close()
