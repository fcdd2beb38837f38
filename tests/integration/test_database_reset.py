"""The reset between runs, and the other things a harness does to a database."""

import threading
from typing import Any

import psycopg
import pytest

from hydra_notify_sim.database import Database, Server, databases, locks, prepare, start_server
from hydra_notify_sim.errors import EnvironmentFailedError

FILL = """
INSERT INTO users (userName, emailAddress, password) VALUES ('alice', 'a@example.org', '!');
INSERT INTO projects (name, displayName, owner) VALUES ('nixpkgs', 'Nixpkgs', 'alice');
INSERT INTO jobsets (name, project, emailOverride, type, flake) VALUES ('trunk', 'nixpkgs', '', 1, 'f');
INSERT INTO builds (finished, timestamp, jobset_id, job, drvPath, system, startTime, stopTime)
  VALUES (1, 1, 1, 'hello', '/d.drv', 's', 2, 3), (0, 1, 1, 'hello', '/d.drv', 's', NULL, NULL);
INSERT INTO jobsetevals (jobset_id, timestamp, checkoutTime, evalTime, hasNewBuilds, hash) VALUES (1, 1, 1, 1, 1, 'h');
INSERT INTO jobsetevalmembers VALUES (1, 1, 1);
INSERT INTO buildsteps (build, stepnr, type, drvPath, busy) VALUES (1, 1, 0, '/d', 0);
INSERT INTO buildstepoutputs VALUES (1, 1, 'out', '/o');
INSERT INTO taskretries (channel, pluginname, payload, attempts, retry_at) VALUES ('build_finished', 'P', '1', 1, 9);
INSERT INTO failedpaths VALUES ('/nix/store/a');
"""


def content(connection: psycopg.Connection[Any]) -> dict[str, list[tuple[Any, ...]]]:
    tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {
        name: rows for (name,) in tables if (rows := connection.execute(f"SELECT * FROM {name}").fetchall())
    }


def test_a_reset_leaves_nothing_and_counts_from_one_again(database: Database) -> None:
    with database.connect("test") as connection:
        fresh = content(connection)
        for _ in range(3):
            connection.execute(FILL)  # names build 1: it fails if ids go on counting
            assert len(content(connection)) > 10
            database.reset()
            assert content(connection) == fresh
    assert fresh == {"schemaversion": [(87,)], "nrbuilds": [("finished", 0)]}


def test_a_reset_sends_no_notification(database: Database) -> None:
    with database.connect("test") as connection:
        connection.execute(FILL)
        connection.execute("LISTEN builds_deleted; LISTEN jobsets_deleted; LISTEN sentinel")
        database.reset()
        connection.execute("NOTIFY sentinel")
        heard = [n.channel for n in connection.notifies(timeout=10, stop_after=1)]
    assert heard == ["sentinel"]


def test_a_reset_does_not_wait_for_a_reader(database: Database) -> None:
    with database.connect("test") as connection, database.connect("reader") as reader:
        connection.execute(FILL)
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert reader.execute("SELECT count(*) FROM builds").fetchone() == (2,)
        database.reset()
        assert reader.execute("SELECT count(*) FROM builds").fetchone() == (2,)
        assert connection.execute("SELECT count(*) FROM builds").fetchone() == (0,)


def test_a_reset_waits_for_rows_that_are_locked_for_a_moment(database: Database) -> None:
    with database.connect("test") as connection, database.connect("writer") as writer:
        connection.execute(FILL)
        writer.execute("BEGIN; UPDATE builds SET keep = 1")
        resetting = threading.Thread(target=database.reset)
        resetting.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s"
        while connection.execute(waiting, [database.control_pid]).fetchone() == (0,):
            assert resetting.is_alive()
        writer.execute("COMMIT")
        resetting.join(10)
        assert content(connection).keys() == {"schemaversion", "nrbuilds"}


def test_a_reset_that_cannot_have_its_rows_says_who_has_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LOCK_SECONDS", 0.6)
    with (
        Database(database.server, database.name) as impatient,
        database.connect("test") as connection,
        database.connect("the greedy one") as greedy,
    ):
        connection.execute(FILL)
        greedy.execute("BEGIN; UPDATE builds SET keep = 1")
        with pytest.raises(EnvironmentFailedError, match="the greedy one") as caught:
            impatient.reset()
        assert str(greedy.info.backend_pid) in str(caught.value)
        greedy.execute("ROLLBACK")
        impatient.reset()
        assert content(connection).keys() == {"schemaversion", "nrbuilds"}


def test_resets_clear_dead_rows_away(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "_VACUUM_EVERY", 5)
    fill = "INSERT INTO users SELECT n, n, n, n FROM generate_series(1, 2000) n"
    with Database(database.server, database.name) as often, database.connect("test") as connection:

        def size() -> int:
            row = connection.execute("SELECT pg_relation_size('users')").fetchone()
            assert row is not None
            return int(row[0])

        connection.execute(fill)
        once = size()
        often.reset()
        for _ in range(20):
            connection.execute(fill)
            often.reset()
        assert once > 0
        assert size() < 12 * once  # twenty times, if nothing were cleared away


def test_a_reset_outlives_the_loss_of_its_connection(database: Database) -> None:
    with database.connect("test") as connection:
        connection.execute(FILL)
        connection.execute("SELECT pg_terminate_backend(%s)", [database.control_pid])
        database.reset()
        assert content(connection).keys() == {"schemaversion", "nrbuilds"}


def test_other_sessions_are_ended_and_those_to_be_kept_are_not(database: Database) -> None:
    kept, ended = database.connect("kept"), database.connect("ended")
    with kept:
        database.terminate_others(keep={kept.info.backend_pid})
        names = kept.execute(
            "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend' ORDER BY 1"
        ).fetchall()
        assert names == [("hydra-notify-sim control",), ("kept",)]
        with pytest.raises(psycopg.OperationalError):
            ended.execute("SELECT")
    ended.close()


def test_without_the_right_to_silence_foreign_keys_a_reset_empties_all_the_same(server: Server) -> None:
    with (
        server_role(server, "plain_owner") as dsn,
        start_server(dsn=dsn) as plain,
        prepare(plain) as database,
        database.connect("test") as connection,
    ):
        assert connection.execute(
            "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone() == (False,)
        fresh = content(connection)
        for _ in range(2):
            connection.execute(FILL)
            database.reset()
            assert content(connection) == fresh


class server_role:  # noqa: N801 - used like a function
    """A role that may only make databases; it and its database are dropped again."""

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self._name = name

    def _execute(self, *statements: str) -> None:
        with psycopg.connect(self._server.dsn("postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def __enter__(self) -> str:
        self._execute(f"CREATE ROLE {self._name} LOGIN CREATEDB")
        return psycopg.conninfo.make_conninfo(self._server.dsn(self._name), user=self._name)

    def __exit__(self, *_: object) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {self._name} WITH (FORCE)", f"DROP ROLE {self._name}")
