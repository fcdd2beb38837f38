"""How quick tests with the ``hydra`` fixture are, and beside pytest-postgresql doing its own reset for each test.

Each figure is of a pytest in a process of its own. pytest-postgresql is not among our dependencies: install it into
the environment (``pip install pytest-postgresql``), and it is measured on the same server, in the same run, in turns
with ours; what is compared is the time that one more test takes.
"""

import importlib.util
import os
import re
import shutil
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
BESIDE = (10, 60)
"""Numbers of tests of two runs, whose difference is the time of the tests without everything around them."""

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


def pytest_seconds(folder: Path, text: str, *arguments: str, cache: str = "") -> tuple[float, str]:
    """Run a test file in a process of its own; return the seconds it took and what it printed."""
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
    if ended.returncode:
        raise SystemExit(f"the tests failed:\n{ended.stdout}{ended.stderr}")
    return time.perf_counter() - begun, ended.stdout


def first(output: str) -> float:
    """Return how long the first test took, set-up and all, from ``--durations``."""
    found = re.findall(r"([\d.]+)s (?:setup|call|teardown) +test_it.py::test_it\[0\]", output)
    return sum(map(float, found))


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
    durations = ("--durations=0", "-vv")
    _, output = pytest_seconds(folder, OURS.format(tests=1), *durations, cache=cache)
    print(f"the first test, cold: {first(output):.2f} s (wanted: under 1.5)")
    warm = [
        first(pytest_seconds(folder, OURS.format(tests=1), *durations, cache=cache)[1]) for _ in range(TURNS)
    ]
    print(f"the first test, prepared: {min(warm):.2f} s (wanted: under 0.4)")
    one = min(pytest_seconds(folder, OURS.format(tests=1), cache=cache)[0] for _ in range(TURNS))
    some = min(pytest_seconds(folder, OURS.format(tests=TESTS), cache=cache)[0] for _ in range(TURNS))
    print(f"{TESTS} tests: {some:.2f} s (wanted: under 4)")
    print(f"one more test: {1000 * (some - one) / (TESTS - 1):.1f} ms (wanted: 10 or better)")
    alone, _ = pytest_seconds(folder, OURS.format(tests=MANY), cache=cache)
    if importlib.util.find_spec("xdist"):
        two, _ = pytest_seconds(folder, OURS.format(tests=MANY), "-n2", cache=cache)
        print(f"{MANY} tests: {alone:.1f} s, with -n 2 {two:.1f} s (wanted: less)")


def beside(folder: Path) -> None:
    """Measure a test's clean database, ours and theirs in turns, on one server."""
    schema = folder / "schema.sql"
    schema.write_text(read_schema(None).text)
    times: dict[tuple[str, int], list[float]] = {}
    with start_server() as server:
        host = str(server.directory)  # type: ignore[attr-defined]  # no DSN was given, so it is a local one
        for _ in range(TURNS):
            for tests in BESIDE:
                text = RESET_THEIRS.format(tests=tests, host=host, schema=str(schema))
                theirs, _ = pytest_seconds(folder, text)
                mine, _ = pytest_seconds(
                    folder, RESET_OURS.format(tests=tests), f"--hydra-dsn={server.dsn('ours')}"
                )
                times.setdefault(("theirs", tests), []).append(theirs)
                times.setdefault(("ours", tests), []).append(mine)
    few, more = BESIDE
    each = {
        who: (min(times[who, more]) - min(times[who, few])) / (more - few) * 1000
        for who in ("ours", "theirs")
    }
    print(
        f"a clean database for each test: ours {each['ours']:.2f} ms, pytest-postgresql {each['theirs']:.1f} ms, "
        f"one to {each['theirs'] / each['ours']:.0f} (wanted: at least 20)"
    )


if __name__ == "__main__":
    main()
