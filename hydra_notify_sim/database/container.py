"""A PostgreSQL server in a container: the last source, where a container engine answers."""

import importlib
import os
from pathlib import Path
from typing import Any

from hydra_notify_sim.database.schema import Schema
from hydra_notify_sim.database.server import ForeignServer
from hydra_notify_sim.errors import EnvironmentFailedError

_IMAGE = "postgres:17-alpine"
_MODULES = ("testcontainers.community.postgres", "testcontainers.postgres")  # newer versions first
_SOCKET = Path("/var/run/docker.sock")
_ENGINE_WITHIN = 2
"""Seconds that the engine may take to answer."""


class ContainerServer(ForeignServer):
    """A server in a container of ours, ended with us by testcontainers; it cannot be shut and opened."""

    source = f"container: {_IMAGE}"

    def __init__(self, schema: Schema) -> None:
        """Start it. Raises EnvironmentFailedError if no engine answers, or the container does not start."""
        self._container = _start()
        try:
            super().__init__(self._container.get_connection_url(), schema)
        except BaseException:
            self._container.stop()
            raise

    def stop(self) -> None:
        """End the container."""
        self._container.stop()


def _start() -> Any:
    if not os.environ.get("DOCKER_HOST") and not _SOCKET.exists():
        raise EnvironmentFailedError(
            f"no container engine: there is no {_SOCKET}, and DOCKER_HOST is not set"
        )
    try:
        docker = importlib.import_module("docker")  # 130 ms: only when it comes to this
        docker.from_env(timeout=_ENGINE_WITHIN).ping()
        module = _postgres_module()
        container = module.PostgresContainer(_IMAGE, username="postgres", dbname="hydra", driver=None)
        return container.start()
    except Exception as error:  # docker and its transport raise anything
        raise EnvironmentFailedError(
            f"no container engine: {str(error).strip() or type(error).__name__}"
        ) from error


def _postgres_module() -> Any:
    try:
        return importlib.import_module(_MODULES[0])
    except ImportError:
        return importlib.import_module(_MODULES[1])
