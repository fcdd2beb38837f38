"""The reference dispatcher in earnest, started as a person starts it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hydra_notify_sim import errors
from hydra_notify_sim.database import Database
from hydra_notify_sim.dispatcher import command, plugins

PLUGIN = """
import sys
class Prints:
    name = "prints"
    def build_finished(self, build, dependents):
        print("finished", build.id, [d.id for d in dependents], flush=True)
        if build.job == "slow":
            print("slow:", sys.stdin.readline().strip(), flush=True)
        if build.job == "fails":
            raise RuntimeError("503")
    def build_queued(self, build):
        print("queued", build.id, flush=True)
"""

MAIN = """
import sys
from hydra_notify_sim import errors
from hydra_notify_sim.dispatcher.command import run
try:
    port = int(sys.argv[3]) if len(sys.argv) > 3 else None
    sys.exit(run(sys.argv[1], ["prints:Prints"], once=sys.argv[2] == "once", metrics_port=port))
except errors.HydraNotifySimError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection[tuple[int, ...]]]:
    with database.connect("hydra-notify-sim test") as connection:
        connection.execute(
            "INSERT INTO users (username, emailaddress, password) VALUES ('u', '', '!');"
            "INSERT INTO projects (name, displayname, owner) VALUES ('p', 'p', 'u');"
            "INSERT INTO jobsets (name, project, emailoverride, nixexprinput, nixexprpath) VALUES ('j', 'p', '', 'i', 'p')"
        )
        yield connection


def finished(connection: psycopg.Connection[tuple[int, ...]], job: str = "job") -> int:
    row = connection.execute(
        "INSERT INTO builds (finished, buildstatus, starttime, stoptime, notificationpendingsince, timestamp, jobset_id,"
        " job, drvpath, system) SELECT 1, 0, 5, 6, 6, 1, id, %s, '/nix/store/x.drv', 'x86_64-linux' FROM jobsets RETURNING id",
        [job],
    ).fetchone()
    assert row is not None
    return row[0]


def marks(connection: psycopg.Connection[tuple[int, ...]]) -> list[int]:
    rows = connection.execute("SELECT id FROM builds WHERE notificationpendingsince IS NOT NULL ORDER BY id")
    return [id_ for (id_,) in rows]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "prints.py").write_text(PLUGIN)
    return {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}:{os.environ.get('PYTHONPATH', '')}"}


def arguments(*given: str) -> list[str]:
    return [sys.executable, "-c", MAIN, *given]


def once(dsn: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments(dsn, "once"), env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def running(database: Database, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        arguments(database.dsn, "forever"),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_once_delivers_what_is_marked_and_due_and_ends(
    database: Database, environment: dict[str, str], connection: psycopg.Connection[tuple[int, ...]]
) -> None:
    first, failing = finished(connection), finished(connection, "fails")
    connection.execute(
        "INSERT INTO taskretries (channel, pluginname, payload, attempts, retry_at) VALUES ('build_queued', 'prints', %s, 1, 1)",
        [str(first)],
    )
    done = once(database.dsn, environment)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [f"finished {first} []", f"finished {failing} []", f"queued {first}"]
    assert marks(connection) == []
    stored = connection.execute("SELECT channel, payload, attempts FROM taskretries").fetchall()
    assert stored == [("build_finished", str(failing), 1)]
    assert "level=error" in done.stderr
    assert "503" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_finish_the_event_in_hand(
    running: subprocess.Popen[str], connection: psycopg.Connection[tuple[int, ...]], number: signal.Signals
) -> None:
    first = finished(connection)
    connection.execute("SELECT pg_notify('build_finished', %s)", [str(first)])
    assert line(running) == f"finished {first} []"
    slow, never = finished(connection, "slow"), finished(connection)
    connection.execute("SELECT pg_notify('build_finished', %s)", [str(slow)])
    connection.execute("SELECT pg_notify('build_finished', %s)", [str(never)])
    assert line(running) == f"finished {slow} []"
    running.send_signal(number)
    output, logged = running.communicate("answered", timeout=60)
    assert running.returncode == 0
    assert output.splitlines() == ["slow: answered"]
    assert marks(connection) == [never]
    assert f"stopped by {number.name}" in logged


def test_a_signal_ends_its_rest_at_once(
    running: subprocess.Popen[str], connection: psycopg.Connection[tuple[int, ...]]
) -> None:
    first = finished(connection)
    connection.execute("SELECT pg_notify('build_finished', %s)", [str(first)])
    assert line(running) == f"finished {first} []"
    running.terminate()
    # Its own rest is thirty seconds long.
    assert running.wait(timeout=15) == 0


@pytest.mark.usefixtures("loopback")
def test_metrics_are_served(
    database: Database, environment: dict[str, str], connection: psycopg.Connection[tuple[int, ...]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    first = finished(connection)
    process = subprocess.Popen(
        arguments(database.dsn, "forever", str(port)),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert line(process) == f"finished {first} []"
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
                text = page.read().decode()
        finally:
            process.kill()
    assert 'notify_plugin_executions{channel="build_finished",plugin="prints"} 1.0' in text


def test_a_server_that_is_not_there_is_said_without_the_password(environment: dict[str, str]) -> None:
    done = once("host=/no/such/directory dbname=hydra user=u password=hunter2", environment)
    assert done.returncode == 3
    assert "cannot connect to" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dsn_that_is_none_is_not_repeated() -> None:
    with pytest.raises(errors.UsageError, match="no PostgreSQL connection string") as caught:
        command.check_database("host=h password=hun ter2")
    assert "ter2" not in str(caught.value)


def test_a_database_that_is_not_hydras_is_refused(database: Database) -> None:
    with pytest.raises(errors.EnvironmentFailedError, match="no table builds, buildsteps"):
        command.check_database(database.server.dsn("template1"))


def test_no_plugin_and_a_wrong_one_are_refused(database: Database) -> None:
    with pytest.raises(errors.UsageError, match="no plugin"):
        command.run(database.dsn, [])
    with pytest.raises(plugins.PluginError, match="cannot be imported"):
        command.run(database.dsn, ["no_such_module:Plugin"])


def test_a_port_in_use_is_a_wrong_port(database: Database, environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = subprocess.run(
            arguments(database.dsn, "once", str(taken.getsockname()[1])),
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert "cannot be served on port" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["dispatch", "--plugin", "prints:Prints"],
        ["dispatch", "--check", "--plugin", "prints:Prints"],
        ["capture"],
        ["doctor"],
        ["replay", "scenarios/nobody-is-interested.yaml"],
        ["db"],
    ],
)
def test_no_piece_of_a_password_that_is_not_encoded_is_printed(
    environment: dict[str, str], command: list[str]
) -> None:
    name, *options = command
    done = subprocess.run(
        [
            *(sys.executable, "-m", "hydra_notify_sim", name),
            *("--dsn", "postgresql://hydra:hun@ter:2/9@db.invalid/hydra", *options),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    for piece in ("hun", "ter:", "2/9", "db.invalid"):
        assert piece not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_systemd_is_told_that_it_listens_and_lives(start: Any, rows: Any) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(f"{directory}/notify")
        manager.settimeout(60.0)
        running = start(NOTIFY_SOCKET=f"{directory}/notify", WATCHDOG_USEC="200000")
        told = [manager.recv(1000)]
        while len(told) < 4:
            told.append(manager.recv(1000))
        running.terminate()
        assert running.ends() == 0
        while told[-1] != b"STOPPING=1":
            told.append(manager.recv(1000))
    assert told[0] == b"READY=1\nSTATUS=Listening"
    assert set(told[1:-1]) == {b"WATCHDOG=1"}
    assert all("event=" in line for line in running.logged)
