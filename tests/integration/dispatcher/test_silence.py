"""Peers that fall silent, servers that are not ready yet, poolers: waits that have an end, and say what they are for."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from hydra_notify_sim.database import Database, postmaster, start_server
from hydra_notify_sim.database.server import LocalServer


@pytest.mark.slow
def test_a_peer_that_falls_silent_is_noticed(rows: Any, start: Any, relay: Any, relayed: str) -> None:
    running = start(dsn=relayed)
    rows.until_it_listens()
    relay.silence()
    build = rows.finished()
    rows.notify("build_finished", build)
    running.wait_for(f"finished {build} ")
    rows.until_unmarked(build)
    relay.silence()
    began = time.monotonic()
    running.terminate()
    assert running.ends() == 0
    assert time.monotonic() - began < 15
    assert running.count(f"finished {build} []") == 1


def test_a_pooler_that_loses_listen_is_named(rows: Any, start: Any, relay: Any, relayed: str) -> None:
    relay.loses_notifications = True
    build = rows.finished()
    running = start(dsn=relayed)
    assert running.ends() == 3
    assert any("LISTEN is lost" in line and "PgBouncer" in line for line in running.logged), running.logged
    assert running.printed == []
    assert rows.marks() == [build]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "status"), [("transaction", 3), ("session", 0)])
def test_pgbouncer(database: Database, rows: Any, start: Any, mode: str, status: int) -> None:
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    given = conninfo.conninfo_to_dict(database.dsn)
    if program is None:
        pytest.skip("no pgbouncer is installed; the relay that loses notifications stands in for it")
    if not str(given.get("host", "")).startswith("/"):
        pytest.skip("the server is reached through TCP")
    build = rows.finished()
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        settings = Path(directory, "pgbouncer.ini")
        settings.write_text(
            f"[databases]\nhydra = host={given['host']} port={given.get('port', 5432)} user={given['user']}"
            f" dbname={given['dbname']}\n"
            f"[pgbouncer]\nlisten_addr =\nunix_socket_dir = {directory}\nlisten_port = 6432\nauth_type = any\n"
            f"pool_mode = {mode}\n"
        )
        account = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
        as_nobody = account if shutil.which("setpriv") and os.geteuid() == 0 else ()
        with subprocess.Popen([*as_nobody, program, "-q", str(settings)]) as pooler:
            try:
                _wait_for_socket(Path(directory, ".s.PGSQL.6432"))
                running = start("--once", dsn=f"host={directory} port=6432 dbname=hydra user={given['user']}")
                assert running.ends() == status, running.logged
            finally:
                pooler.terminate()
    assert running.printed == ([f"finished {build} []"] if status == 0 else [])


def _wait_for_socket(path: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.connect(str(path))
            return
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


class Standby:
    """A server of ours with Hydra's tables that has become a standby, until it is promoted."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.dsn = server.dsn(server.database)
        assert server._postmaster is not None
        server._postmaster.finish()
        (server.directory / "data" / "standby.signal").touch()
        data = server.directory / "data"
        command = [str(server.binaries / "postgres"), "-D", str(data), "-k", str(server.directory), "-F"]
        settings = {**postmaster._SETTINGS, "hot_standby": "on"}
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (server.directory / "log").open("ab") as log:
            self.process = postmaster._spawn(command, server._binaries.account, server.directory, log)
        deadline = time.monotonic() + 60
        while not self._is_in_recovery():
            assert time.monotonic() < deadline, (server.directory / "log").read_text()
            time.sleep(0.05)

    def _is_in_recovery(self) -> bool:
        try:
            with psycopg.connect(self.dsn) as connection:
                return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        except psycopg.OperationalError:
            return False

    def promote(self) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)


@pytest.fixture
def standby(monkeypatch: pytest.MonkeyPatch) -> Iterator[Standby]:
    monkeypatch.setitem(postmaster._SETTINGS, "wal_level", "replica")
    with start_server() as server:
        if not isinstance(server, LocalServer):
            pytest.skip("only a server of our own is made a standby")
        made = Standby(server)
        yield made
        made.process.terminate()
        made.process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("several", [False, True], ids=["one host", "two hosts"])
def test_a_standby_is_waited_for_until_it_is_promoted(standby: Standby, start: Any, several: bool) -> None:
    given = conninfo.conninfo_to_dict(standby.dsn)
    hosts = f"/no/such/directory,{given['host']}" if several else str(given["host"])
    dsn = conninfo.make_conninfo(standby.dsn, host=hosts)
    checking = start("--check", dsn=dsn)
    assert checking.ends() == 3
    running = start(dsn=dsn)
    running.wait_for_log("event=waiting")
    standby.promote()
    running.wait_for_log("event=starting")
    running.terminate()
    assert running.ends() == 0


@pytest.mark.slow
def test_sigterm_ends_the_wait_for_a_standby(standby: Standby, start: Any) -> None:
    running = start(dsn=standby.dsn)
    running.wait_for_log("event=waiting")
    running.terminate()
    assert running.ends() == 0
    assert any("event=stopped" in line for line in running.logged)
