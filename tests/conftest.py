"""One server for the test session and, for each test, an empty Hydra database on it."""

import os
import socket
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from hydra_notify_sim import engine
from hydra_notify_sim.database import Database, Server, prepare, start_server
from hydra_notify_sim.engine import events
from hydra_notify_sim.engine.environment import Environment
from hydra_notify_sim.engine.run import Runner
from hydra_notify_sim.scenario import load_all
from hydra_notify_sim.targets import registry


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with start_server() as started:
        yield started


@pytest.fixture(scope="session")
def session_database(server: Server) -> Iterator[Database]:
    """Notifications belong to one database: on a server that is shared, each worker has its own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    name = f"{server.database}_{worker}" if worker and not server.own else None
    with prepare(server, name) as database:
        yield database


@pytest.fixture
def database(session_database: Database) -> Database:
    session_database.terminate_others()
    session_database.reset()
    return session_database


@pytest.fixture(scope="session")
def lives() -> Callable[[int], bool]:
    """Tell whether there is such a process that has not ended: one that nobody has waited for yet has."""

    def lives(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    return lives


@pytest.fixture
def loopback() -> None:
    """Leave the test out where not even this machine's own address can be reached (no network, as in CI)."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        try:
            socket.create_connection(listening.getsockname(), timeout=30).close()
        except OSError as error:
            pytest.skip(f"not even the loopback interface is up here: {error}")


@pytest.fixture
def environment(database: Database) -> Iterator[Environment]:
    made = Environment(database)
    yield made
    made.forget_connections()


@pytest.fixture
def play(environment: Environment) -> Callable[..., events.ScenarioFinished]:
    """Play one scenario file and return how it ended; what went wrong around it is raised."""

    def play_one(file: Path, dispatcher: str = "reference", **options: Any) -> events.ScenarioFinished:
        chosen = engine.Options(dispatcher=dispatcher, **options)
        event = Runner(environment, registry.choose(dispatcher), chosen).play(load_all([file])[0])
        if not isinstance(event, events.ScenarioFinished):
            raise event.error
        return event

    return play_one


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Give pytest's own tester; in a checkout that was never installed it is told of our plugin (see conftest.py)."""
    if not entry_points(group="pytest11", name="hydra_notify_sim"):
        monkeypatch.setenv("PYTEST_PLUGINS", "hydra_notify_sim.pytest_plugin")
    return pytester
