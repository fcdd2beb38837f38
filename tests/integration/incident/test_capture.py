"""The tap on a real PostgreSQL: what it sees, what it survives, and that it never writes or tells a password."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import conninfo

from hydra_notify_sim import errors, history
from hydra_notify_sim.cli import ending
from hydra_notify_sim.database import Database
from hydra_notify_sim.dispatcher import connecting
from hydra_notify_sim.exploration.capture import tap

WORLD = """
INSERT INTO users (username, emailaddress, password) VALUES ('u', '', '!');
INSERT INTO projects (name, displayname, owner) VALUES ('p', 'p', 'u');
INSERT INTO jobsets (name, project, emailoverride, nixexprinput, nixexprpath) VALUES ('j', 'p', '', 'i', 'p');
INSERT INTO builds (finished, timestamp, jobset_id, job, drvpath, system)
  SELECT 0, 1, id, 'hello', '/nix/store/x.drv', 'x86_64-linux' FROM jobsets, generate_series(1, 3);
"""
FINISH = "UPDATE builds SET finished=1, buildstatus=0, starttime=5, stoptime=6, notificationpendingsince={} WHERE id={}"
TASK = "INSERT INTO taskretries (channel, pluginname, payload, attempts, retry_at) VALUES ('build_finished', 'GitHub', '1', 1, 9)"


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect("hydra-notify-sim test") as connection:
        connection.execute(WORLD)
        yield connection


class Watched:
    """A tap whose story is played by itself: each act once the tap has recorded what the one before it is to cause."""

    def __init__(self, dsn: str) -> None:
        self.records: list[history.AnyRecord] = []
        self.said: list[str] = []
        self.tap = tap.Tap(dsn, self.records.extend, self.said.append, interval=0.05)
        self.tap.open()

    def play(self, *acts: tuple[Callable[[], object], type[history.AnyRecord]]) -> None:
        waiting = iter(acts)
        awaited: tuple[type[history.AnyRecord], int] | None = None
        turns = 0

        def ended() -> bool:
            nonlocal awaited, turns
            turns += 1
            assert turns < 2_000, f"{awaited} never came: {self.records}"
            if awaited is not None and not any(isinstance(r, awaited[0]) for r in self.records[awaited[1] :]):
                return False
            act = next(waiting, None)
            if act is None:
                return True
            awaited = (act[1], len(self.records))
            act[0]()
            return False

        self.tap.run(ended)
        self.tap.close()

    def of(self, kind: type[Any]) -> list[Any]:
        return [record for record in self.records if isinstance(record, kind)]


def test_what_is_announced_and_what_is_not_is_seen_with_its_bounds(
    database: Database, connection: psycopg.Connection[Any]
) -> None:
    connection.execute(FINISH.format(7, 3))
    watched = Watched(database.dsn)
    watched.play(
        (lambda: connection.execute("SELECT pg_notify('build_started', '1')"), history.Seen),
        (lambda: connection.execute(FINISH.format(6, 1)), history.Changed),  # and no notification
        (lambda: connection.execute(TASK), history.Changed),
        (lambda: connection.execute("DELETE FROM taskretries"), history.Changed),
        (lambda: connection.execute("UPDATE builds SET notificationpendingsince=NULL"), history.Changed),
        (lambda: connection.execute("UPDATE builds SET finished=0 WHERE id=1"), history.Seen),
        (lambda: connection.execute("DELETE FROM builds WHERE id=1"), history.Seen),
    )
    (first,) = watched.of(history.Observed)
    assert first.marks == {3: 7}
    assert [(one.channel, one.payload) for one in watched.of(history.Heard)] == [
        ("build_started", "1"),
        ("builds_restarted", ""),
        ("builds_deleted", ""),
    ]
    marked, stored, gone, cleared = watched.of(history.Changed)
    assert marked.marked == {1: 6}
    assert [(task.plugin, task.attempts, task.due) for task in stored.stored] == [("GitHub", 1, 9.0)]
    assert gone.gone == (stored.stored[0].id,)
    assert sorted(cleared.cleared) == [1, 3]
    rows = [
        one.row and (one.row.finished, one.row.mark) for one in watched.of(history.Seen) if one.build == 1
    ]
    assert rows == [(False, None), (True, 6), (True, None), (False, None), None]
    bounded = [one for one in watched.records if not isinstance(one, history.Observed)]
    assert all(one.since <= one.t for one in bounded if isinstance(one, history.Heard | history.Changed))


def test_its_connection_says_what_it_is_and_cannot_write(
    database: Database, connection: psycopg.Connection[Any]
) -> None:
    watched = Watched(database.dsn)
    named = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [tap.APPLICATION]
    )
    assert named.fetchone() == (1,)
    own = watched.tap._open_connection()
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        own.execute("DELETE FROM builds")
    watched.tap.close()


def test_a_lost_connection_is_made_again_and_the_gap_recorded(
    database: Database, connection: psycopg.Connection[Any]
) -> None:
    watched = Watched(database.dsn)

    def lose() -> None:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            [tap.APPLICATION],
        )
        connection.execute(FINISH.format(6, 2))

    watched.play(
        (lose, history.Gap),
        (lambda: connection.execute("SELECT pg_notify('build_finished', '2')"), history.Heard),
    )
    (gap,) = watched.of(history.Gap)
    assert gap.since < gap.t
    assert "server closed the connection" in gap.reason
    assert [one.marks for one in watched.of(history.Observed)] == [{}, {2: 6}]
    assert watched.said[0].startswith("The connection to")
    assert watched.said[-1].startswith("Connected again")


@pytest.fixture
def in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HYDRA_NOTIFY_SIM_DSN", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "hydra_notify_sim", *map(str, arguments)]


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "HYDRA_NOTIFY_SIM_DSN"}
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, timeout=60, env=environment
    )


def test_a_recording_is_ended_by_a_signal_and_can_be_judged(database: Database, tmp_path: Path) -> None:
    out = tmp_path / "history.jsonl"
    with (
        database.connect("hydra-notify-sim test") as connection,
        subprocess.Popen(
            command("capture", "--dsn", database.dsn, "--out", out), stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stderr is not None
        assert "Recording" in process.stderr.readline()
        for build in range(1, 51):
            connection.execute("SELECT pg_notify('build_finished', %s)", [str(build)])
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 0
    assert "Recorded 50 notifications, 50 changes of builds" in said
    judged = run("check", out, "-v")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "build_finished build 50" in judged.stdout
    again = run("capture", "--dsn", database.dsn, "--out", out)
    assert again.returncode == 2
    assert "was left as it is" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--dsn", "postgresql://u:geheim@127.0.0.1:1/x", "--out", "no/x.jsonl"], (3, "cannot be reached")),
        (["--dsn", "host=x password=ge heim", "--out", "x.jsonl"], (2, "no PostgreSQL connection string")),
        (["--dsn", "{hydra}?password=geheim", "--out", "/dev/full", "--overwrite"], (3, "No space left")),
        (["--dsn", "{hydra}?password=geheim", "--out", "no/x.jsonl"], (3, "No such file")),
        (["--dsn", "{other}?password=geheim", "--out", "x.jsonl"], (3, "is not a Hydra database")),
        (["--dsn", "{hydra}", "--out", "x.jsonl", "--build", "1"], (2, "give one or the other")),
        (["--dsn", "{hydra}"], (2, "name the database and the file")),
        (["--dsn", "{hydra}", "--out", "x.jsonl", "--interval", "0"], (2, "write a duration")),
        (["--story", "x.yaml", "--build", "1"], (2, "name the recording")),
        (["--story", "x.yaml", "--build", "1", "gone.jsonl"], (2, "cannot be read")),
    ],
)
def test_what_is_wrong_is_a_sentence_without_a_password(
    database: Database,
    in_directory: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: tuple[int, str],
) -> None:
    dsns = {"hydra": database.dsn, "other": database.server.dsn("template1")}
    code = ending.main(["capture", *(argument.format(**dsns) for argument in arguments)])
    written = capsys.readouterr()
    assert (code, told[1] in written.err) == (told[0], True), written.err
    assert "heim" not in written.out + written.err
    assert "Traceback" not in written.err
    assert not list(in_directory.iterdir())


# Under the faults of a real PostgreSQL


def test_a_locked_table_hinders_its_looks_and_not_its_hearing(
    database: Database, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "STATEMENT_SECONDS", 0.3)
    monkeypatch.setattr(tap, "HINDERED", 0.1)
    watched = Watched(database.dsn)
    with database.connect("somebody") as other:

        def lock() -> None:
            other.execute("BEGIN; LOCK TABLE builds IN ACCESS EXCLUSIVE MODE")
            other.execute(FINISH.format(6, 2))
            connection.execute("SELECT pg_notify('build_started', '1')")

        def unlock() -> None:
            while not watched.said:
                with pytest.raises(psycopg.errors.QueryCanceled) as refused:
                    watched.tap._look()
                watched.tap._go_on_after(refused.value, lambda: False)
            other.execute("COMMIT")

        watched.play((lock, history.Heard), (unlock, history.Changed))
    assert watched.of(history.Gap) == []
    assert watched.of(history.Changed)[-1].marked == {2: 6}
    assert watched.said == [
        f"The rows of {watched.tap.database!r} cannot be looked at now (canceling statement due to user request); trying again."
    ]


def test_a_migration_does_not_stop_it(database: Database, connection: psycopg.Connection[Any]) -> None:
    watched = Watched(database.dsn)
    looks = [
        (lambda mark=mark: connection.execute(FINISH.format(mark, 1)), history.Changed)
        for mark in range(10, 18)
    ]

    def migrate() -> None:
        connection.execute(
            "ALTER TABLE builds ADD COLUMN keepuntil int; ALTER TABLE builds ALTER COLUMN size TYPE numeric"
        )
        connection.execute(FINISH.format(99, 1))

    watched.play(*looks, (migrate, history.Changed))
    assert watched.of(history.Changed)[-1].marked == {1: 99}
    assert watched.of(history.Gap) == []


def test_a_right_that_is_taken_away_ends_it_with_what_to_grant(
    database: Database, connection: psycopg.Connection[Any]
) -> None:
    connection.execute("DROP ROLE IF EXISTS watcher; CREATE ROLE watcher LOGIN")
    connection.execute(
        "GRANT USAGE ON SCHEMA public TO watcher;GRANT SELECT ON builds, jobsets, taskretries TO watcher"
    )
    try:
        watched = Watched(conninfo.make_conninfo(database.dsn, user="watcher"))

        def revoke() -> None:
            connection.execute("REVOKE SELECT ON builds FROM watcher")

        with pytest.raises(
            errors.EnvironmentFailedError, match=r"does not let this user read: .*GRANT SELECT ON builds"
        ):
            watched.play((revoke, history.Gap))
        watched.tap.close()
    finally:
        connection.execute("DROP OWNED BY watcher; DROP ROLE watcher")


def test_texts_that_are_no_text_are_recorded_as_escapes(encoded: Callable[[str], str]) -> None:
    dsn = encoded("SQL_ASCII")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(WORLD)
        watched = Watched(dsn)

        def notify() -> None:
            connection.execute(
                r"UPDATE builds SET job = E'caf\351' WHERE id = 2; SELECT pg_notify('step_finished', E'2\t1\t/log/caf\351')"
            )

        watched.play((notify, history.Seen))
    (heard,) = watched.of(history.Heard)
    assert heard.payload == "2\t1\t/log/caf\\xe9"
    assert [one.row.job for one in watched.of(history.Seen) if one.build == 2] == ["caf\\xe9"]
    msgspec.json.encode(watched.records)


def test_a_pooler_that_loses_listen_is_refused(database: Database, relay: Any, relayed: str) -> None:
    relay.loses_notifications = True
    with pytest.raises(errors.EnvironmentFailedError, match=r"LISTEN is lost.*PgBouncer"):
        Watched(relayed)


def test_a_search_path_that_leads_elsewhere_is_told(
    database: Database, connection: psycopg.Connection[Any]
) -> None:
    with pytest.raises(errors.EnvironmentFailedError, match="search_path does not lead there"):
        Watched(conninfo.make_conninfo(database.dsn, options="-c search_path=pg_catalog"))


def test_a_silent_peer_is_a_gap_and_holds_nothing_up(
    database: Database,
    connection: psycopg.Connection[Any],
    relay: Any,
    relayed: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connecting, "STATEMENT_SECONDS", 0.5)
    monkeypatch.setattr(connecting, "CANCEL_SECONDS", 0.2)
    watched = Watched(relayed)
    watched.play(
        (relay.silence, history.Gap),
        (lambda: connection.execute("SELECT pg_notify('build_finished', '2')"), history.Heard),
    )
    (gap,) = watched.of(history.Gap)
    assert "has not answered" in gap.reason


@pytest.mark.slow
def test_sigterm_ends_it_while_the_peer_is_silent(
    database: Database, connection: psycopg.Connection[Any], relay: Any, relayed: str, tmp_path: Path
) -> None:
    out = tmp_path / "history.jsonl"
    command = [sys.executable, "-m", "hydra_notify_sim", "capture", "--dsn", relayed, "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "Recording" in process.stderr.readline()
        relay.silence()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert "Recorded 0 notifications" in process.stderr.read()
