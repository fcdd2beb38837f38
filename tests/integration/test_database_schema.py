"""Hydra's tables: what they refuse, what they take with them, what they send."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors

from hydra_notify_sim.database import Database

Connection = psycopg.Connection[tuple[Any, ...]]

TRIGGER_CHANNELS = (
    *("builds_deleted", "builds_restarted", "builds_cancelled", "builds_bumped"),
    *("jobsets_added", "jobsets_deleted", "jobset_shares_changed", "jobset_scheduling_changed"),
)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect("test") as connection:
        yield connection


@pytest.fixture
def build(connection: Connection) -> int:
    """An unfinished build of nixpkgs:trunk."""
    connection.execute(
        "INSERT INTO users (userName, emailAddress, password) VALUES ('alice', 'a@example.org', '!')"
    )
    connection.execute(
        "INSERT INTO projects (name, displayName, owner) VALUES ('nixpkgs', 'Nixpkgs', 'alice')"
    )
    connection.execute(
        "INSERT INTO jobsets (name, project, emailOverride, type, flake) VALUES ('trunk', 'nixpkgs', '', 1, 'f:x')"
    )
    return add_build(connection)


def add_build(connection: Connection, **more: object) -> int:
    columns = {
        "finished": 0,
        "timestamp": 1,
        "jobset_id": 1,
        "job": "hello",
        "drvPath": "/d.drv",
        "system": "s",
    } | more
    row = connection.execute(
        f"INSERT INTO builds ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) RETURNING id",
        list(columns.values()),
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def heard(database: Database, build: int) -> Iterator[Callable[[], list[tuple[str, str]]]]:
    """What the triggers sent since the last look, in order; `build` is there before anyone listens."""
    assert build == 1
    with database.connect("listener") as listener, database.connect("sentinel") as sentinel:
        for channel in (*TRIGGER_CHANNELS, "sentinel"):
            listener.execute(f"LISTEN {channel}")

        def look() -> list[tuple[str, str]]:
            sentinel.execute("NOTIFY sentinel")
            found: list[tuple[str, str]] = []
            while ("sentinel", "") not in found:
                found += [(n.channel, n.payload) for n in listener.notifies(timeout=10, stop_after=1)]
            return [each for each in found if each[0] != "sentinel"]

        yield look


FINISH = "UPDATE builds SET finished = 1, buildStatus = 0, startTime = 5, stopTime = 6"


@pytest.mark.parametrize(
    ("before", "statement", "sent"),
    [
        ([], "DELETE FROM builds", ["builds_deleted"]),
        ([], "DELETE FROM builds WHERE id = 4242", ["builds_deleted"]),
        ([], FINISH, []),
        ([FINISH], "UPDATE builds SET finished = 0, isCachedBuild = 0", ["builds_restarted"]),
        ([], "UPDATE builds SET finished = 0", []),
        ([], FINISH.replace("buildStatus = 0", "buildStatus = 4"), ["builds_cancelled"]),
        ([FINISH], "UPDATE builds SET buildStatus = 4", []),
        ([], "UPDATE builds SET globalPriority = 7", ["builds_bumped"]),
        ([], "UPDATE builds SET globalPriority = 0, priority = 9", []),
        (
            [],
            "INSERT INTO jobsets (name, project, emailOverride, type, flake) VALUES ('n', 'nixpkgs', '', 1, 'f')",
            ["jobsets_added"],
        ),
        (
            [],
            "INSERT INTO jobsets (name, project, emailOverride) SELECT '', '', '' WHERE false",
            ["jobsets_added"],
        ),
        ([], "DELETE FROM jobsets WHERE name = 'nothing'", ["jobsets_deleted"]),
        ([], "UPDATE jobsets SET schedulingShares = 5", ["jobset_shares_changed"]),
        ([], "UPDATE jobsets SET checkInterval = 5", ["jobset_scheduling_changed"]),
        ([], "UPDATE jobsets SET enabled = 0", ["jobset_scheduling_changed"]),
        ([], "UPDATE jobsets SET triggerTime = 12", ["jobset_scheduling_changed"]),
        (["UPDATE jobsets SET triggerTime = 12"], "UPDATE jobsets SET triggerTime = NULL", []),
        ([], "UPDATE jobsets SET description = 'x', schedulingShares = 100", []),
    ],
)
def test_a_change_is_notified_on_its_channel_with_an_empty_payload(
    connection: Connection,
    heard: Callable[[], list[tuple[str, str]]],
    before: list[str],
    statement: str,
    sent: list[str],
) -> None:
    for each in before:
        connection.execute(each)
    heard()
    connection.execute(statement)
    assert heard() == [(channel, "") for channel in sent]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE builds SET finished = 1",
        "UPDATE builds SET finished = 1, startTime = 0, stopTime = 5",
        "UPDATE builds SET finished = 1, startTime = 5, stopTime = NULL",
        "UPDATE jobsets SET schedulingShares = 0",
        "UPDATE jobsets SET type = 2",
        "UPDATE jobsets SET type = 0",
        "UPDATE jobsets SET nixExprInput = 'nixpkgs'",
        "UPDATE jobsets SET flake = NULL",
        "UPDATE jobsets SET type = 0, flake = NULL, nixExprInput = 'x'",
        "INSERT INTO buildsteps (build, stepnr, type, drvPath, busy, status) VALUES (1, 1, 0, '/d', 0, 13)",
        "INSERT INTO buildsteps (build, stepnr, type, drvPath, busy, resolvedDrvPath) VALUES (1, 1, 0, '/d', 1, '/r')",
        (
            "INSERT INTO runcommandlogs (uuid, job_matcher, build_id, command, exit_code) "
            "VALUES (gen_random_uuid(), '*', 1, 'true', 0)"
        ),
    ],
)
def test_rows_that_hydra_cannot_have_are_refused(connection: Connection, build: int, statement: str) -> None:
    assert build == 1
    with pytest.raises(errors.CheckViolation):
        connection.execute(statement)


def test_rows_that_hydra_has_are_taken(connection: Connection, build: int) -> None:
    connection.execute(
        "UPDATE jobsets SET type = 0, flake = NULL, nixExprInput = 'n', nixExprPath = 'release.nix'"
    )
    connection.execute(
        "INSERT INTO buildsteps (build, stepnr, type, drvPath, busy, status, resolvedDrvPath) "
        "VALUES (%s, 1, 0, '/d', 0, 13, '/r'), (%s, 2, 0, '/d', 30, NULL, NULL)",
        [build, build],
    )
    connection.execute(
        "INSERT INTO runcommandlogs (uuid, job_matcher, build_id, command, start_time, exit_code) "
        "VALUES (gen_random_uuid(), '*', %s, 'true', 4, 0)",
        [build],
    )
    assert connection.execute("SELECT machine FROM buildsteps").fetchall() == [("",), ("",)]


def test_a_failed_path_is_kept_once(connection: Connection) -> None:
    for _ in range(2):
        connection.execute("INSERT INTO failedpaths VALUES ('/nix/store/a'), ('/nix/store/b')")
    assert connection.execute("SELECT count(*) FROM failedpaths").fetchone() == (2,)


def test_finished_builds_are_counted(connection: Connection, build: int) -> None:
    def counted() -> int:
        row = connection.execute("SELECT count FROM nrbuilds WHERE what = 'finished'").fetchone()
        assert row is not None
        return int(row[0])

    assert counted() == 0
    connection.execute(FINISH)
    add_build(connection, finished=1, startTime=5, stopTime=6)
    add_build(connection)
    assert counted() == 2
    connection.execute("UPDATE builds SET finished = 0 WHERE id = %s", [build])
    assert counted() == 1
    connection.execute("DELETE FROM builds")
    assert counted() == 0


def test_what_hangs_on_a_project_goes_with_it(connection: Connection, build: int) -> None:
    other = add_build(connection)
    for statement in (
        "INSERT INTO evaluationerrors (errorMsg) VALUES ('boom')",
        (
            "INSERT INTO jobsetevals (jobset_id, evaluationerror_id, timestamp, checkoutTime, evalTime, hasNewBuilds, "
            "hash) VALUES (1, 1, 1, 1, 1, 1, 'h')"
        ),
        f"INSERT INTO jobsetevalmembers VALUES (1, {build}, 1)",
        "INSERT INTO jobsetevalinputs (eval, name, altNr, type) VALUES (1, 'nixpkgs', 0, 'git')",
        f"INSERT INTO buildoutputs VALUES ({build}, 'out', '/o')",
        (
            f"INSERT INTO buildsteps (build, stepnr, type, drvPath, busy, propagatedFrom) "
            f"VALUES ({build}, 1, 0, '/d', 0, {other})"
        ),
        f"INSERT INTO buildstepoutputs VALUES ({build}, 1, 'out', '/o')",
        f"INSERT INTO buildproducts (build, productnr, type, subtype, name) VALUES ({build}, 1, 'doc', 'x', 'n')",
        (
            f"INSERT INTO buildmetrics (build, name, value, project, jobset, job, timestamp) "
            f"VALUES ({build}, 'm', 1.5, 'nixpkgs', 'trunk', 'hello', 1)"
        ),
        f"INSERT INTO buildinputs (build, name, type) VALUES ({build}, 'n', 'git')",
        f"INSERT INTO aggregateconstituents VALUES ({build}, {other})",
        (
            f"INSERT INTO runcommandlogs (uuid, job_matcher, build_id, command) "
            f"VALUES (gen_random_uuid(), '*', {build}, 'true')"
        ),
    ):
        connection.execute(statement)
    connection.execute("UPDATE users SET userName = 'bob'")
    assert connection.execute("SELECT owner FROM projects").fetchone() == ("bob",)
    connection.execute("DELETE FROM evaluationerrors")
    assert connection.execute("SELECT evaluationerror_id FROM jobsetevals").fetchone() == (None,)
    connection.execute("DELETE FROM projects")
    for table in (
        *("jobsets", "jobsetevals", "jobsetevalmembers", "jobsetevalinputs", "builds", "buildoutputs"),
        *("buildsteps", "buildstepoutputs", "buildproducts", "buildmetrics", "buildinputs"),
        *("aggregateconstituents", "runcommandlogs"),
    ):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


def test_the_schema_says_which_version_of_hydra_it_is(connection: Connection) -> None:
    assert connection.execute("SELECT version FROM schemaversion").fetchall() == [(87,)]


def test_what_is_looked_for_often_has_a_partial_index(connection: Connection) -> None:
    rows = connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexdef LIKE '%WHERE%'"
    ).fetchall()
    found = {str(row[0]).partition(" USING btree ")[2] for row in rows}
    assert found == {
        "(notificationpendingsince) WHERE (notificationpendingsince IS NOT NULL)",
        "(finished) WHERE (finished = 0)",
        "(busy) WHERE (busy <> 0)",
    }
