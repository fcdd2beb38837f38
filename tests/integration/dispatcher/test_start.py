"""What is looked at before the first call: a database that cannot be used is said to be so, and no plugin is told."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from hydra_notify_sim.database import Database

GRANTS = (
    "GRANT SELECT ON builds, buildsteps, jobsets, jobsetevals, taskretries TO notifier",
    "GRANT UPDATE ON builds TO notifier; GRANT INSERT, UPDATE, DELETE ON taskretries TO notifier",
    "GRANT USAGE ON SEQUENCE taskretries_id_seq TO notifier",
)


@pytest.fixture
def notifier(database: Database, rows: Any) -> Any:
    rows.connection.execute("CREATE ROLE notifier LOGIN; GRANT USAGE ON SCHEMA public TO notifier")
    yield conninfo.make_conninfo(database.dsn, user="notifier")
    rows.terminate_dispatcher()
    rows.connection.execute("DROP OWNED BY notifier; DROP ROLE notifier")


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (0, "GRANT SELECT ON builds TO notifier;"),
        (1, "GRANT UPDATE ON builds TO notifier; GRANT INSERT ON taskretries TO notifier;"),
        (2, "run: GRANT USAGE ON SEQUENCE taskretries_id_seq TO notifier;"),
    ],
)
def test_a_missing_right_is_named_before_anybody_is_told(
    rows: Any, start: Any, notifier: str, given: int, missing: str
) -> None:
    rows.finished()
    for grant in GRANTS[:given]:
        rows.connection.execute(grant)
    running = start(dsn=notifier)
    assert running.ends() == 3
    assert running.printed == []
    assert any(missing in line for line in running.logged), running.logged


def test_with_all_rights_it_starts(rows: Any, start: Any, notifier: str) -> None:
    build = rows.finished()
    for grant in GRANTS:
        rows.connection.execute(grant)
    running = start("--once", dsn=notifier)
    assert running.ends() == 0
    assert running.printed == [f"finished {build} []"]


def test_check_looks_and_calls_nobody(rows: Any, start: Any, notifier: str) -> None:
    build = rows.finished()
    assert start("--check", dsn=notifier).ends() == 3
    for grant in GRANTS:
        rows.connection.execute(grant)
    running = start("--check", dsn=notifier)
    assert running.ends() == 0
    assert any("A dispatcher can start on" in line for line in running.logged)
    assert running.printed == []
    assert rows.marks() == [build]


def test_a_search_path_that_leads_elsewhere_is_named(
    rows: Any, start: Any, settings: Callable[[str, str], None]
) -> None:
    build = rows.finished()
    settings("search_path", "elsewhere")
    running = start()
    assert running.ends() == 3
    assert any("tables are in schema public" in line for line in running.logged), running.logged
    assert running.printed == []
    assert rows.marks() == [build]


def test_a_search_path_that_leads_elsewhere_later_is_named_too(
    rows: Any, start: Any, settings: Callable[[str, str], None]
) -> None:
    running = start()
    rows.until_it_listens()
    settings("search_path", "elsewhere")
    rows.terminate_dispatcher()
    assert running.ends() == 3
    assert any("Does search_path lead to Hydra's tables" in line for line in running.logged)


def test_an_old_schema_is_named(rows: Any, start: Any) -> None:
    rows.connection.execute("ALTER TABLE taskretries RENAME COLUMN retry_at TO later")
    try:
        running = start()
        assert running.ends() == 3
        assert any("there is no taskretries.retry_at" in line for line in running.logged)
    finally:
        rows.connection.execute("ALTER TABLE taskretries RENAME COLUMN later TO retry_at")


HYDRAS = "INSERT INTO taskretries (channel, pluginname, payload, attempts, retry_at) VALUES ('build_finished', %s, %s, 3, 1)"


def test_tasks_of_a_running_hydra_are_left_alone(rows: Any, start: Any) -> None:
    build = rows.finished()
    rows.connection.execute(HYDRAS, ["Hydra::Plugin::SlackNotification", str(build)])
    rows.connection.execute(HYDRAS, ["prints", str(build)])
    running = start("--once")
    assert running.ends() == 0
    assert rows.tasks() == [("build_finished", "Hydra::Plugin::SlackNotification", str(build), 3)]
    assert any(
        "event=foreign_retries" in line and "Hydra::Plugin::SlackNotification (1)" in line
        for line in running.logged
    )


def test_they_are_dropped_where_that_is_wanted(rows: Any, start: Any) -> None:
    build = rows.finished()
    rows.connection.execute(HYDRAS, ["gone", str(build)])
    running = start("--once", "--adopt-retries")
    assert running.ends() == 0
    assert rows.tasks() == []


def test_a_plugin_without_the_hook_has_its_task_dropped(rows: Any, start: Any) -> None:
    rows.connection.execute(
        "INSERT INTO taskretries (channel, pluginname, payload, attempts, retry_at) VALUES ('eval_cached', 'prints', 'x\t1\t1', 3, 1)"
    )
    assert start("--once").ends() == 0
    assert rows.tasks() == []


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
def test_every_byte_of_a_database_in_another_encoding_survives(
    start: Any, encoded: Callable[[str], str], encoding: str
) -> None:
    dsn = encoded(encoding)
    texts = {"SQL_ASCII": b"na\xc3\xafve \xff", "LATIN1": b"na\xefve", "EUC_JP": b"\xb4\xc1"}
    shown = {"SQL_ASCII": "naïve \udcff", "LATIN1": "naïve", "EUC_JP": "漢"}[encoding]
    text = texts[encoding]
    with psycopg.connect(dsn, autocommit=True, client_encoding=encoding) as connection:
        connection.execute(
            "INSERT INTO users (username, emailaddress, password) VALUES ('u', '', '!');"
            "INSERT INTO projects (name, displayname, owner) VALUES ('p', 'p', 'u')"
        )
        row = connection.execute(
            "INSERT INTO jobsets (name, project, emailoverride, nixexprinput, nixexprpath, description)"
            " VALUES (convert_from(%b, %s), 'p', '', 'i', 'p', 'fails') RETURNING id",
            [text, encoding],
        ).fetchone()
        assert row is not None
        payload = text + b"\t%d" % row[0]
        running = start(dsn=dsn, PGCLIENTENCODING="WIN1252")
        while not running.printed:
            connection.execute("SELECT pg_notify('eval_started', convert_from(%b, %s))", [payload, encoding])
            connection.execute("SELECT pg_sleep(0.05)")
        running.wait_for(f"evaluating {shown!a} {shown!a} 'fails'")
        running.terminate()
        assert running.ends() == 0
        found = connection.execute(
            "SELECT DISTINCT convert_to(payload, %s), pluginname = 'prints' FROM taskretries", [encoding]
        ).fetchall()
    assert [(bytes(stored), ours) for stored, ours in found] == [(payload, True)]


def test_a_statement_that_is_refused_while_it_looks_is_waited_for(
    database: Database, rows: Any, start: Any, settings: Callable[[str, str], None]
) -> None:
    build = rows.finished()
    settings("lock_timeout", "'100ms'")
    with database.connect("hydra-notify-sim test: migrates") as other, other.transaction():
        other.execute("LOCK TABLE taskretries IN ACCESS EXCLUSIVE MODE")
        running = start()
        running.wait_for_log("waiting for the database, no plugin is called before: canceling statement")
    running.wait_for(f"finished {build} ")
    running.terminate()
    assert running.ends() == 0


def test_connections_that_are_lost_while_it_looks_are_made_again(
    database: Database, rows: Any, start: Any
) -> None:
    build = rows.finished()
    with database.connect("hydra-notify-sim test: migrates") as other, other.transaction():
        other.execute("LOCK TABLE taskretries IN ACCESS EXCLUSIVE MODE")
        running = start()
        rows.until("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        rows.terminate_dispatcher()
        running.wait_for_log("waiting for the database, no plugin is called before: terminating connection")
    running.wait_for(f"finished {build} ")
    running.terminate()
    assert running.ends() == 0
