"""``db`` and ``dispatch`` as processes, as a person runs them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

PLUGIN = """\
class Printing:
    def build_finished(self, build, dependents):
        print("finished", build.id, flush=True)
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hydra_notify_sim", *arguments]


@pytest.fixture
def database() -> Iterator["subprocess.Popen[str]"]:
    environment = {name: value for name, value in os.environ.items() if name != "HYDRA_NOTIFY_SIM_DSN"}
    with subprocess.Popen(
        command("db"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.kill()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_database_is_there_until_it_is_asked_to_end(
    database: "subprocess.Popen[str]", number: signal.Signals
) -> None:
    dsn = first_line(database)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM builds").fetchone() == (0,)
        directory = connection.info.host
    database.send_signal(number)
    out, err = database.communicate(timeout=30)
    assert database.returncode == 0
    assert out == "", "nothing but the DSN on standard output"
    assert "Traceback" not in err
    assert not Path(directory).exists()


def test_a_database_ends_with_its_command_killed(database: "subprocess.Popen[str]") -> None:
    dsn = first_line(database)
    with psycopg.connect(dsn) as connection:
        database.kill()
        database.wait(timeout=30)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(60)")


def test_the_dispatcher_delivers_what_is_marked(database: "subprocess.Popen[str]", tmp_path: Path) -> None:
    dsn = first_line(database)
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO users (username, emailaddress, password) VALUES ('u', '', '!')")
        connection.execute("INSERT INTO projects (name, displayname, owner) VALUES ('p', 'p', 'u')")
        connection.execute(
            "INSERT INTO jobsets (project, name, type, nixexprinput, nixexprpath, emailoverride) VALUES ('p', 'j', 0, 'n', 'x', '')"
        )
        connection.execute(
            "INSERT INTO builds (finished, timestamp, jobset_id, job, drvpath, system, starttime, stoptime, "
            "buildstatus, iscachedbuild, notificationpendingsince) "
            "SELECT 1, 1, id, 'hello', '/nix/store/x.drv', 'x86_64-linux', 1, 2, 0, 0, 2 FROM jobsets"
        )
    (tmp_path / "printing.py").write_text(PLUGIN)
    ended = subprocess.run(
        command("dispatch", "--dsn", dsn, "--plugin", "printing:Printing", "--once"),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "finished 1\n"
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT notificationpendingsince FROM builds").fetchall() == [(None,)]


@pytest.mark.parametrize("arguments", [["db"], ["dispatch", "--plugin", "collections:OrderedDict"]])
def test_a_server_that_is_not_there_is_a_sentence(arguments: list[str]) -> None:
    dsn = "postgres://u:geheim@127.0.0.1:1/x"
    ended = subprocess.run(
        command(*arguments, "--dsn", dsn), capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == (3 if arguments == ["db"] else 2), ended.stderr
    assert "Traceback" not in ended.stderr
    assert "geheim" not in ended.stderr
    assert ended.stderr.startswith("error: ")
