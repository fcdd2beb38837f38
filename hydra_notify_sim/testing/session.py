"""What the tests of one pytest session share: a server, a database, and what plays steps on it."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from hydra_notify_sim import database, errors
from hydra_notify_sim.contract import profiles
from hydra_notify_sim.engine import Options
from hydra_notify_sim.engine.environment import Environment
from hydra_notify_sim.engine.run import Runner
from hydra_notify_sim.targets import registry
from hydra_notify_sim.testing import hook_timeout


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line and the ini file say."""

    dispatcher: str = "reference"
    profile: str = profiles.DEFAULT_PROFILE
    seed: int = 0
    dsn: str | None = None
    worker: str = ""
    """The xdist worker, such as ``gw0``; empty without xdist."""
    command: str = "pytest"
    hook_seconds: float = hook_timeout.SECONDS


class Session:
    """One server for the session; started with the first test that needs it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._put_away = ExitStack()
        self._environment: Environment | None = None
        self._runners: dict[Options, Runner] = {}
        registry.choose(settings.dispatcher)
        profiles.named(settings.profile)

    @property
    def environment(self) -> Environment:
        """The database with its connections.

        Raises:
            EnvironmentFailedError: there is no server, or, with a DSN and xdist, no right to make the worker's database.

        """
        if self._environment is None:
            self._environment = self._open()
        return self._environment

    def runner(self, **changes: Any) -> Runner:
        """Return what plays steps as the settings say, or with other settings for one test."""
        settings = replace(self.settings, **changes)
        options = Options(
            dispatcher=settings.dispatcher,
            profile=profiles.named(settings.profile),
            seed=settings.seed,
            command=settings.command,
        )
        runner = self._runners.get(options)
        if runner is None:
            choice = registry.choose(options.dispatcher)
            runner = self._runners[options] = Runner(self.environment, choice, options)
        return runner

    def close(self) -> None:
        """Stop the server, if it is ours."""
        self._put_away.close()

    def _open(self) -> Environment:
        with ExitStack() as put_away:
            server = put_away.enter_context(database.start_server(dsn=self.settings.dsn))
            # Notifications belong to one database: on a server that is shared, each worker has its own.
            name = (
                f"{server.database}_{self.settings.worker}"
                if self.settings.worker and not server.own
                else None
            )
            try:
                prepared = put_away.enter_context(database.prepare(server, name))
            except errors.EnvironmentFailedError as error:
                if name is None:
                    raise
                raise errors.EnvironmentFailedError(
                    f"{error} With xdist each worker uses a database of its own, here {name!r}: the role of "
                    f"--hydra-dsn needs CREATEDB, or make the databases {server.database}_gw0, "
                    f"{server.database}_gw1 … beforehand, or run without -n."
                ) from error
            environment = Environment(prepared)
            put_away.callback(environment.close)
            self._put_away = put_away.pop_all()
        return environment
