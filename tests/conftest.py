"""One server for the test session and, for each test, an empty Hydra database on it."""

import os
from collections.abc import Iterator

import pytest

from hydra_notify_sim.database import Database, Server, prepare, start_server


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
