"""The server and the database that the examples of one process are played on: opened once, emptied in between.

An example that had to start a server would take a hundred times as long as one that empties a database. The server
ends with the process.
"""

import atexit
import functools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from hydra_notify_sim.contract import profiles
from hydra_notify_sim.contract.deviations import Deviation
from hydra_notify_sim.database import processors
from hydra_notify_sim.dispatcher import core
from hydra_notify_sim.engine import Options
from hydra_notify_sim.engine.environment import Environment, opened
from hydra_notify_sim.engine.run import Runner
from hydra_notify_sim.exploration.playing import Stage
from hydra_notify_sim.scenario import deviations
from hydra_notify_sim.targets import registry


class EnvironmentGone(BaseException):  # carries the error past Hypothesis, and is never seen by itself
    """The server or the dispatcher's program failed: nothing that Hypothesis should make smaller.

    It is no `Exception`, for those Hypothesis takes for what it looks for.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Ground:
    """One dispatcher on one database."""

    stage: Stage
    runner: Runner
    options: Options


_environments: dict[tuple[str | None, Path | None], Environment] = {}
_grounds: dict[Options, Ground] = {}
_put_away = ExitStack()
atexit.register(_put_away.close)


def options_of(
    dispatcher: str,
    *,
    profile: str,
    known: str | Path | None,
    dsn: str | None,
    schema: Path | None,
    patience: float,
) -> Options:
    """Return what a test says of its dispatcher as options: ``known`` is a file of known deviations.

    Raises:
        UsageError: there is no such profile, or the file cannot be read or is wrong.

    """
    file = Path(known) if known is not None else None
    return Options(
        dispatcher=dispatcher,
        profile=profiles.named(profile),
        known=_known(file) if file is not None else (),
        known_file=file,
        dsn=dsn,
        schema=schema,
        patience=patience,
    )


@functools.cache
def _known(file: Path) -> tuple[Deviation, ...]:
    # Once for a whole run, for each example asks. A story that was made up need not come by each of them.
    return deviations.read(file, lenient=True)


def of(options: Options) -> Ground:
    """Return where a dispatcher is put to the test, the same for equal options.

    On a user's server (``options.dsn``) each worker of pytest-xdist has a database of its own there, for what is
    notified in a database is heard by all that listen in it.

    Raises:
        UsageError: the dispatcher, the profile or the database is not one that can be used.
        EnvironmentFailedError: there is no server.

    """
    if (found := _grounds.get(options)) is not None:
        return found
    choice = registry.choose(options.dispatcher)
    place = (options.dsn, options.schema)
    if place not in _environments:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        _environments[place] = _put_away.enter_context(
            opened(options.dsn, options.schema, None, suffix=f"_{worker}" if worker else "")
        )
    environment = _environments[place]
    ground = Ground(Stage(environment, options), Runner(environment, choice, options), options)
    _grounds[options] = ground
    return ground


@contextmanager
def on_its_processor(dispatcher: str) -> Iterator[None]:
    """Keep the calling thread on the processor that the server is kept to, for a dispatcher in this process.

    Workers of pytest-xdist have one each.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    number = int("".join(filter(str.isdigit, worker)) or 0) + (os.getppid() if worker else os.getpid())
    in_process = registry.choose(dispatcher).kind == "in process"
    with processors.on_one(number) if in_process else nullcontext():
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what the dispatchers in this process log out of everybody's logs: hundreds of examples are torn from their connections."""
    propagated, core.LOG.propagate = core.LOG.propagate, False
    try:
        yield
    finally:
        core.LOG.propagate = propagated


def close() -> None:
    """Stop the servers now, and not when the process ends."""
    _grounds.clear()
    _environments.clear()
    _put_away.close()
