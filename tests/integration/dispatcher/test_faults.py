"""Faults of a real PostgreSQL, one after the other: nothing is lost, nobody is told twice, nothing ends."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from hydra_notify_sim.database import Database

Settings = Callable[[str, str], None]


def test_a_migration_while_it_runs(rows: Any, start: Any) -> None:
    running = start()
    rows.until_it_listens()
    for _ in range(8):  # the library prepares a statement when it has seen it five times
        rows.notify("build_finished", build := rows.finished())
        running.wait_for(f"finished {build} ")
    try:
        for change in ("ADD COLUMN keepuntil int", "ALTER COLUMN size TYPE numeric", "DROP COLUMN keepuntil"):
            rows.connection.execute(f"ALTER TABLE builds {change}")
            rows.notify("build_finished", build := rows.finished())
            running.wait_for(f"finished {build} ")
            rows.until_unmarked(build)
            assert running.count(f"finished {build} []") == 1
    finally:
        rows.connection.execute("ALTER TABLE builds ALTER COLUMN size TYPE bigint")
    running.terminate()
    assert running.ends() == 0


@pytest.mark.parametrize("setting", ["lock_timeout", "statement_timeout"])
def test_a_row_that_somebody_holds_is_told_once_and_holds_nobody_up(
    database: Database, rows: Any, start: Any, settings: Settings, setting: str
) -> None:
    settings(setting, "'200ms'")
    running = start()
    rows.until_it_listens()
    locked, other = rows.finished(), rows.unfinished()
    with database.connect("hydra-notify-sim test: holds a row") as holder, holder.transaction():
        holder.execute("UPDATE builds SET keep = 1 WHERE id = %s", [locked])
        rows.notify("build_finished", locked)
        rows.notify("build_started", other)
        running.wait_for(f"started {other}")
        running.wait_for_log("event=clear_later")
    rows.until_unmarked(locked)
    running.terminate()
    assert running.ends() == 0
    assert running.count(f"finished {locked} []") == 1


def test_a_serialization_failure(database: Database, rows: Any, start: Any, settings: Settings) -> None:
    settings("default_transaction_isolation", "'repeatable read'")
    running = start()
    rows.until_it_listens()
    build = rows.finished()
    with database.connect("hydra-notify-sim test: updates a row") as other, other.transaction():
        other.execute("UPDATE builds SET keep = 1 WHERE id = %s", [build])
        rows.notify("build_finished", build)
        rows.until("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
    rows.until_unmarked(build)
    running.terminate()
    assert running.ends() == 0
    assert running.count(f"finished {build} []") == 1


def test_a_deadlock_with_another_program(
    database: Database, rows: Any, start: Any, settings: Settings
) -> None:
    settings("deadlock_timeout", "'50ms'")
    running = start()
    rows.until_it_listens()
    main, dependent = rows.finished(), rows.finished()
    with database.connect("hydra-notify-sim test: updates rows") as other:
        # The other one waits for as long as it takes; whichever row the dispatcher locked first, it is the victim.
        other.execute("SET deadlock_timeout = '60s'")
        with other.transaction():
            other.execute("UPDATE builds SET keep = 1 WHERE id = %s", [dependent])
            rows.notify("build_finished", main, dependent)
            rows.until("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
            other.execute("UPDATE builds SET keep = 1 WHERE id = %s", [main])
    rows.until_unmarked(main)
    rows.until_unmarked(dependent)
    running.terminate()
    assert running.ends() == 0
    assert running.count(f"finished {main} [{dependent}]") == 1


def test_a_server_that_becomes_read_only(rows: Any, start: Any, settings: Settings) -> None:
    running = start()
    rows.until_it_listens()
    settings("default_transaction_read_only", "on")
    rows.terminate_dispatcher()
    running.wait_for_log("read-only")
    build = rows.finished()
    rows.notify("build_finished", build)
    settings("default_transaction_read_only", "off")
    running.wait_for(f"finished {build} ")
    rows.until_unmarked(build)
    running.terminate()
    assert running.ends() == 0
    assert running.count(f"finished {build} []") == 1
    assert sum("event=connection_lost" in line for line in running.logged) == 1


def test_the_connection_for_tables_is_lost_alone(rows: Any, start: Any) -> None:
    running = start()
    rows.until_it_listens()
    rows.notify("build_finished", slow := rows.finished("slow"))
    running.wait_for(f"finished {slow} ")
    other = rows.unfinished()
    rows.notify("build_started", other)
    rows.connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'hydra-notify-sim dispatcher'"
    )
    running.answer("go on")
    running.wait_for(f"started {other}")
    rows.until_unmarked(slow)
    running.terminate()
    assert running.ends() == 0
    assert running.count(f"finished {slow} []") == 1


def test_rights_that_are_taken_away_while_it_runs(database: Database, rows: Any, start: Any) -> None:
    rows.connection.execute(
        "CREATE ROLE notifier LOGIN; GRANT USAGE ON SCHEMA public TO notifier;"
        "GRANT SELECT ON builds, buildsteps, jobsets, jobsetevals, taskretries TO notifier;"
        "GRANT UPDATE ON builds TO notifier; GRANT INSERT, UPDATE, DELETE ON taskretries TO notifier;"
        "GRANT USAGE ON SEQUENCE taskretries_id_seq TO notifier"
    )
    try:
        running = start(dsn=psycopg.conninfo.make_conninfo(database.dsn, user="notifier"))
        rows.until_it_listens()
        rows.connection.execute("REVOKE SELECT ON builds FROM notifier")
        rows.notify("build_finished", rows.finished())
        assert running.ends() == 3
        assert any("GRANT SELECT ON builds" in line for line in running.logged), running.logged
        assert not any("Traceback" in line for line in running.logged)
    finally:
        rows.terminate_dispatcher()
        rows.connection.execute("DROP OWNED BY notifier; DROP ROLE notifier")


def test_live_events_do_not_wait_for_the_backlog(rows: Any, start: Any) -> None:
    slow = rows.finished("slow")
    backlog = [rows.finished() for _ in range(50)]
    running = start()
    running.wait_for(f"finished {slow} ")
    live = [rows.unfinished() for _ in range(3)]
    for build in live:
        rows.notify("build_started", build)
    running.answer("go on")
    running.wait_for(f"finished {backlog[-1]} ")
    running.terminate()
    assert running.ends() == 0
    told = [line.split()[:2] for line in running.printed]
    # A live event waits for one marked build, and so does the next.
    assert [word for word, _ in told[2:8]] == ["started", "finished"] * 3
    assert [int(build) for word, build in told if word == "started"] == live


def test_a_plugin_at_work_is_waited_for_and_named(rows: Any, start: Any) -> None:
    running = start()
    rows.until_it_listens()
    rows.notify("build_finished", slow := rows.finished("slow"))
    running.wait_for(f"finished {slow} ")
    running.terminate()
    running.wait_for_log("stopping as soon as build_finished of plugin prints has returned")
    running.answer("go on")
    assert running.ends() == 0
    assert slow not in rows.marks()


@pytest.mark.slow
def test_sigterm_ends_a_wait_for_a_locked_row(database: Database, rows: Any, start: Any) -> None:
    running = start()
    rows.until_it_listens()
    locked = rows.finished()
    with database.connect("hydra-notify-sim test: holds a row") as holder, holder.transaction():
        holder.execute("UPDATE builds SET keep = 1 WHERE id = %s", [locked])
        rows.notify("build_finished", locked)
        running.wait_for(f"finished {locked} ")
        rows.until("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        running.terminate()
        assert running.ends() == 0
    assert any("event=left_undone" in line for line in running.logged)
    assert rows.marks() == [locked]
