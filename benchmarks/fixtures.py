"""How quick tests with the ``hydra`` fixture are, and beside pytest-postgresql doing its own reset for each test.

Each figure is of a pytest in a process of its own. pytest-postgresql is not among our dependencies: install it into
the environment (``pip install pytest-postgresql``), and it is measured on the same server, in the same run, in turns
with ours; what is compared is the time of a test, its
set-up and teardown with it, beyond the first.
"""

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import entry_points
from pathlib import Path

from hydra_notify_sim.database import start_server
from hydra_notify_sim.database.schema import read_schema

TESTS = 200
MANY = 2_000
TURNS = 3
BESIDE = 40
CONFTEST = """
import collections, json

TIMES = collections.Counter()

def pytest_runtest_logreport(report):
    TIMES[report.nodeid] += report.duration

def pytest_sessionfinish():
    with open("times.json", "w") as file:
        json.dump(list(TIMES.values()), file)
"""
"""Set-up, call and teardown of each test in seconds, in the order in which they ran."""

OURS = """
import pytest
from hydra_notify_sim.testing import call

@pytest.mark.parametrize("n", range({tests}))
def test_it(hydra, n):
    chat = hydra.install(hydra.plugin("chat", hooks=["build_queued", "build_finished"]))
    iso = hydra.build(hydra.queue("iso"), status="failed")
    assert hydra.calls(plugin=chat) == [call.build_queued(iso), call.build_finished(iso, status="failed")]
"""
RESET_OURS = """
import pytest

@pytest.mark.parametrize("n", range({tests}))
def test_it(hydra_database, n):
    rows = hydra_database.connection.execute("INSERT INTO users (username, fullname, emailaddress, password) "
                                             "VALUES ('a', 'a', 'a', 'a') RETURNING username").fetchall()
    assert rows == [("a",)]
"""
RESET_THEIRS = """
from pathlib import Path

import pytest
from pytest_postgresql import factories

server = factories.postgresql_noproc(host={host!r}, port=5432, user="postgres", dbname="theirs", load=[Path({schema!r})])
client = factories.postgresql("server")

@pytest.mark.parametrize("n", range({tests}))
def test_it(client, n):
    rows = client.execute("INSERT INTO users (username, fullname, emailaddress, password) "
                          "VALUES ('a', 'a', 'a', 'a') RETURNING username").fetchall()
    assert rows == [("a",)]
"""


def pytest_seconds(folder: Path, text: str, *arguments: str, cache: str = "") -> float:
    """Run a test file in a process of its own; return the seconds it took, start-up and all."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(text)
    plugin = (
        () if entry_points(group="pytest11", name="hydra_notify_sim") else ("hydra_notify_sim.pytest_plugin",)
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if cache:
        environment["XDG_CACHE_HOME"] = cache
    begun = time.perf_counter()
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *[f"-p{p}" for p in plugin],
            *arguments,
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begun
    if ended.returncode:
        raise SystemExit(f"the tests failed:\n{ended.stdout}{ended.stderr}")
    return seconds


def each(folder: Path) -> list[float]:
    """Return how long each test of the last run took, set-up and all."""
    times: list[float] = json.loads((folder / "times.json").read_text())
    return times


def main() -> None:
    """Measure everything."""
    folder = Path(tempfile.mkdtemp())
    cache = tempfile.mkdtemp()
    Path(cache).chmod(0o755)
    try:
        ours(folder, cache)
        if importlib.util.find_spec("pytest_postgresql"):
            beside(folder)
        else:
            print("pytest-postgresql is not installed: nothing to compare with")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(cache, ignore_errors=True)


def ours(folder: Path, cache: str) -> None:
    """Measure our own tests: the first one cold and prepared, one more, many, and with two workers."""
    pytest_seconds(folder, OURS.format(tests=1))  # Python compiles modules
    pytest_seconds(folder, OURS.format(tests=1), cache=cache)
    print(f"the first test, cold: {each(folder)[0]:.2f} s (wanted: under 1.5)", flush=True)
    wholes, firsts, others = [], [], []
    for _ in range(TURNS):
        whole = pytest_seconds(folder, OURS.format(tests=TESTS), cache=cache)
        times = each(folder)
        wholes.append(whole)
        firsts.append(times[0])
        others.append(statistics.median(times[1:]))
    print(f"the first test, prepared: {min(firsts):.2f} s (wanted: under 0.4)")
    print(f"a further test: {1000 * min(others):.1f} ms (wanted: 10 or better)")
    print(f"{TESTS} tests: {min(wholes):.2f} s (wanted: under 4)", flush=True)
    alone = pytest_seconds(folder, OURS.format(tests=MANY), cache=cache)
    if importlib.util.find_spec("xdist"):
        two = pytest_seconds(folder, OURS.format(tests=MANY), "-n2", cache=cache)
        print(f"{MANY} tests: {alone:.1f} s, with -n 2 {two:.1f} s (wanted: less)", flush=True)


def beside(folder: Path) -> None:
    """Measure a test's clean database, ours and theirs in turns, on one server."""
    schema = folder / "schema.sql"
    schema.write_text(read_schema(None).text)
    theirs: list[float] = []
    mine: list[float] = []
    with start_server() as server:
        host = str(server.directory)  # type: ignore[attr-defined]  # no DSN was given, so it is a local one
        for _ in range(TURNS):
            pytest_seconds(folder, RESET_THEIRS.format(tests=BESIDE, host=host, schema=str(schema)))
            theirs += each(folder)[1:]
            pytest_seconds(folder, RESET_OURS.format(tests=BESIDE), f"--hydra-dsn={server.dsn('ours')}")
            mine += each(folder)[1:]
    ours, other = 1000 * statistics.median(mine), 1000 * statistics.median(theirs)
    print(
        f"a test with a clean database: ours {ours:.2f} ms, pytest-postgresql {other:.1f} ms, "
        f"one to {other / ours:.0f} (wanted: at least 20)"
    )


if __name__ == "__main__":
    main()
