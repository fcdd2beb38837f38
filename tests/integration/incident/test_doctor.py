"""The doctor on a real PostgreSQL: what it finds, that it writes nothing, and its exit status."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from hydra_notify_sim.cli import main
from hydra_notify_sim.database import Database
from hydra_notify_sim.incident import doctor

ROWS = """
INSERT INTO users (username, emailaddress, password) VALUES ('u', '', '!');
INSERT INTO projects (name, displayname, owner) VALUES ('p', 'p', 'u');
INSERT INTO jobsets (name, project, emailoverride, nixexprinput, nixexprpath) VALUES ('j', 'p', '', 'i', 'p');
INSERT INTO builds (finished, buildstatus, starttime, stoptime, notificationpendingsince, timestamp, jobset_id, job, drvpath, system)
  SELECT 1, 0, 5, 6, 1700000000, 1, id, 'hello', '/nix/store/x.drv', 'x86_64-linux' FROM jobsets;
"""
LISTENER = "LISTEN build_finished"


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect("hydra-notify") as connection:
        connection.execute(ROWS)
        yield connection


def _ids(database: Database) -> set[str]:
    return {one.id for one in doctor.diagnose(doctor.look(database.dsn))}


def test_an_old_mark_is_found_and_whether_anybody_listens(
    database: Database, connection: psycopg.Connection[Any]
) -> None:
    connection.execute("SELECT 1")
    assert _ids(database) == {"old-marks", "no-listener"}
    connection.execute(LISTENER)
    assert _ids(database) == {"old-marks"}


def test_a_mark_on_an_unfinished_build_is_found(
    database: Database, connection: psycopg.Connection[Any]
) -> None:
    connection.execute("UPDATE builds SET finished = 0")
    connection.execute(LISTENER)
    assert _ids(database) == {"stale-marks"}


@pytest.mark.parametrize(
    ("channel", "payload", "found"),
    [
        ("build_finished", "{build}", set()),
        ("build_finished", "{build}\t999999", {"orphaned-tasks"}),
        ("build_finished", "99999999999999999999", {"orphaned-tasks"}),
        ("step_finished", "{build}\t1\t-", {"orphaned-tasks"}),
        ("build_finished", "hello", {"poisoned-tasks"}),
        ("build_ended", "{build}", {"poisoned-tasks"}),
        ("eval_failed", "1.5\t{jobset}\t1", set()),
        ("eval_failed", "1.5\t{jobset}", set()),
    ],
)
def test_a_task_is_read_as_a_dispatcher_reads_it(
    database: Database, connection: psycopg.Connection[Any], channel: str, payload: str, found: set[str]
) -> None:
    row = connection.execute("SELECT builds.id, jobset_id FROM builds").fetchone()
    assert row is not None
    connection.execute("UPDATE builds SET notificationpendingsince = NULL")
    connection.execute(
        "INSERT INTO taskretries (channel, pluginname, payload, attempts, retry_at) VALUES (%s, 'GitHub', %s, 1, 2000000000)",
        [channel, payload.format(build=row[0], jobset=row[1])],
    )
    connection.execute(LISTENER)
    assert _ids(database) == found


def test_who_waits_for_a_lock_is_found_with_who_holds_it(
    database: Database, connection: psycopg.Connection[Any]
) -> None:
    connection.execute("UPDATE builds SET notificationpendingsince = NULL")
    with database.connect("somebody") as other, other.transaction():
        other.execute("SELECT id FROM builds FOR UPDATE")
        connection.pgconn.send_query(b"UPDATE builds SET notificationpendingsince = NULL")
        holder = other.info.backend_pid
        deadline = time.monotonic() + 30
        while not (facts := doctor.look(database.dsn)).backends or not facts.backends[0].blocked_by:
            assert time.monotonic() < deadline
        blocked = {one.id: one for one in doctor.diagnose(facts, late=-1.0)}["blocked"]
        assert blocked.examples == (connection.info.backend_pid, holder)
    while connection.pgconn.get_result() is not None:
        pass


def test_nothing_is_written_and_nobody_is_notified(
    database: Database, connection: psycopg.Connection[Any]
) -> None:
    connection.execute(LISTENER)
    before = connection.execute("SELECT builds::text, xmin::text FROM builds").fetchall()
    doctor.look(database.dsn)
    assert connection.execute("SELECT builds::text, xmin::text FROM builds").fetchall() == before
    assert not list(connection.notifies(timeout=0))


def test_the_command_prints_what_to_do_and_ends_with_1(
    database: Database,
    connection: psycopg.Connection[Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    connection.execute(LISTENER)
    report = tmp_path / "doctor.json"
    assert main(["doctor", "--dsn", database.dsn, "--json", str(report)]) == 1
    printed = capsys.readouterr().out
    assert re.search(
        r"problem: old-marks\n +1 finished build waits to be announced, the oldest for [0-9]+ d", printed
    )
    assert "What to do: " in printed
    document = json.loads(report.read_text())
    assert document["exit_code"] == 1
    assert document["numbers"]["marks"] == 1
    assert [one["id"] for one in document["findings"]] == ["old-marks"]


def test_the_command_ends_with_0_where_nothing_is_wrong(
    database: Database, connection: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    connection.execute("UPDATE builds SET notificationpendingsince = NULL")
    connection.execute(LISTENER)
    assert main(["doctor", "--dsn", database.dsn]) == 0
    assert "No problem was found." in capsys.readouterr().out


def test_a_database_that_is_not_hydras_or_cannot_be_reached_is_said_with_status_3(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--dsn", conninfo.make_conninfo(database.dsn, dbname="postgres")]) == 3
    assert "is not a Hydra database" in capsys.readouterr().err
    assert main(["doctor", "--dsn", "host=/nowhere password=geheim dbname=hydra"]) == 3
    assert "geheim" not in capsys.readouterr().err


def test_without_a_database_or_with_a_wrong_time_it_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HYDRA_NOTIFY_SIM_DSN", raising=False)
    assert main(["doctor"]) == 2
    assert main(["doctor", "--dsn", "host=/nowhere", "--late", "soon"]) == 2
    assert "--late soon" in capsys.readouterr().err
