"""The reference dispatcher in earnest: `dispatch` as a process of its own, on the test's database."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hydra_notify_sim.database import Database

WITHIN = 60.0
"""Seconds in which what is waited for has to come; on an idle machine it takes a moment."""

PLUGIN = """
import sys
class Prints:
    name = "prints"
    def _say(self, *words):
        print(*words, flush=True)
    def build_queued(self, build):
        self._say("queued", build.id)
    def build_started(self, build):
        self._say("started", build.id)
    def build_finished(self, build, dependents):
        self._say("finished", build.id, [d.id for d in dependents])
        if build.job == "slow":
            self._say("slow:", sys.stdin.readline().strip())
        if build.job == "fails":
            raise RuntimeError("503")
    def step_finished(self, step, log_path):
        self._say("step", step.build, ascii(log_path))
    def eval_started(self, trace, jobset):
        self._say("evaluating", ascii(trace), ascii(jobset.name), ascii(jobset.description))
        if jobset.description == "fails":
            raise RuntimeError("503")
"""


class Running:
    """`dispatch` as a process; what it prints is read line by line, with a deadline."""

    def __init__(self, dsn: str, environment: dict[str, str], *options: str) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "hydra_notify_sim", "dispatch"),
                *("--dsn", dsn, "--plugin", "prints:Prints", *options),
            ],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.printed: list[str] = []
        self.logged: list[str] = []
        self._lines: queue.Queue[None] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.printed)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.logged)),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))
            self._lines.put(None)
        self._lines.put(None)

    def wait_for(self, text: str, lines: list[str] | None = None) -> None:
        """Wait until a line is printed, or logged, that holds this text."""
        lines = self.printed if lines is None else lines
        deadline = time.monotonic() + WITHIN
        while not any(text in line for line in lines):
            if self.process.poll() is not None:
                self._join()
                assert any(text in line for line in lines), (text, self.printed, self.logged)
                return
            try:
                self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError((text, self.printed, self.logged)) from None

    def wait_for_log(self, text: str) -> None:
        self.wait_for(text, self.logged)

    def count(self, line: str) -> int:
        return self.printed.count(line)

    def answer(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ends(self, within: float = WITHIN) -> int:
        """Wait for its end; return its exit status."""
        status = self.process.wait(within)
        self._join()
        return status

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(WITHIN)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


class Rows:
    """Rows as Hydra writes them, as few as there have to be."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self.connection = connection
        connection.execute(
            "INSERT INTO users (username, emailaddress, password) VALUES ('u', '', '!');"
            "INSERT INTO projects (name, displayname, owner) VALUES ('p', 'p', 'u');"
            "INSERT INTO jobsets (name, project, emailoverride, nixexprinput, nixexprpath) VALUES ('j', 'p', '', 'i', 'p')"
        )

    def one(self, query: str, *values: object) -> Any:
        row = self.connection.execute(query, values).fetchone()
        assert row is not None
        return row[0]

    def finished(self, job: str = "job") -> int:
        """Insert a finished build with a mark."""
        return int(
            self.one(
                "INSERT INTO builds (finished, buildstatus, starttime, stoptime, notificationpendingsince, timestamp,"
                " jobset_id, job, drvpath, system) SELECT 1, 0, 5, 6, 6, 1, id, %s, '/nix/store/x.drv', 'x86_64-linux'"
                " FROM jobsets RETURNING id",
                job,
            )
        )

    def unfinished(self) -> int:
        return int(
            self.one(
                "INSERT INTO builds (finished, timestamp, jobset_id, job, drvpath, system)"
                " SELECT 0, 1, id, 'job', '/nix/store/x.drv', 'x86_64-linux' FROM jobsets RETURNING id"
            )
        )

    def notify(self, channel: str, *fields: object) -> None:
        self.connection.execute("SELECT pg_notify(%s, %s)", [channel, "\t".join(map(str, fields))])

    def marks(self) -> list[int]:
        found = self.connection.execute(
            "SELECT id FROM builds WHERE notificationpendingsince IS NOT NULL ORDER BY id"
        )
        return [id_ for (id_,) in found]

    def tasks(self) -> list[tuple[Any, ...]]:
        return self.connection.execute(
            "SELECT channel, pluginname, payload, attempts FROM taskretries ORDER BY id"
        ).fetchall()

    def until(self, query: str, *values: object) -> None:
        """Wait until a query answers true."""
        deadline = time.monotonic() + WITHIN
        while not self.one(query, *values):
            assert time.monotonic() < deadline, query
            time.sleep(0.02)

    def until_unmarked(self, build: int) -> None:
        self.until("SELECT notificationpendingsince IS NULL FROM builds WHERE id = %s", build)

    def until_it_listens(self) -> None:
        """Wait until the dispatcher is up: a build that it is told of has come back as an acknowledgement."""
        self.until(
            "SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle'"
            " AND application_name LIKE 'hydra-notify-sim dispatcher%%' AND query NOT LIKE 'NOTIFY%%'"
        )
        build = self.finished("until it listens")
        deadline = time.monotonic() + WITHIN
        while build in self.marks():
            self.notify("build_finished", build)
            assert time.monotonic() < deadline, "it does not listen"
            time.sleep(0.05)

    def terminate_dispatcher(self) -> None:
        self.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE 'hydra-notify-sim dispatcher%'"
        )


@pytest.fixture
def rows(database: Database) -> Iterator[Rows]:
    with database.connect("hydra-notify-sim test") as connection:
        yield Rows(connection)


@pytest.fixture
def environment_of_plugins(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "prints.py").write_text(PLUGIN)
    return {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}:{os.environ.get('PYTHONPATH', '')}"}


Start = Callable[..., Running]


@pytest.fixture
def start(database: Database, environment_of_plugins: dict[str, str]) -> Iterator[Start]:
    """Start `dispatch`; what is started is ended with the test."""
    begun: list[Running] = []

    def begin(*options: str, dsn: str | None = None, **environment: str) -> Running:
        running = Running(dsn or database.dsn, {**environment_of_plugins, **environment}, *options)
        begun.append(running)
        return running

    yield begin
    for running in begun:
        running.close()


@pytest.fixture
def settings(database: Database, rows: Rows) -> Iterator[Callable[[str, str], None]]:
    """Set something for every session of the database to come; undone with the test."""
    name = rows.connection.info.dbname

    def set_(setting: str, value: str) -> None:
        rows.connection.execute(f"ALTER DATABASE {name} SET {setting} = {value}")

    yield set_
    rows.connection.execute(f"SET default_transaction_read_only = off; ALTER DATABASE {name} RESET ALL")
