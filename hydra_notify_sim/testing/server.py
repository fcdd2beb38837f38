"""The database server of a test: what can go wrong with it, one method for each fault of a scenario."""

from typing import TYPE_CHECKING

from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.testing.handles import Build
from hydra_notify_sim.testing.words import made

if TYPE_CHECKING:
    from hydra_notify_sim.testing.hydra import Hydra

__tracebackhide__ = True
"""Pytest shows a failure where the test is, not in here."""


class DatabaseServer:
    """The server under the dispatcher. What a test leaves broken is mended at its end.

    Each method raises NotExercisedError where a fault cannot be had, such as a stop of a server that is not ours.
    """

    def __init__(self, hydra: "Hydra") -> None:
        self._hydra = hydra

    def stop(self) -> None:
        """Stop it: all connections are lost, and nothing can be written until `start`."""
        self._hydra.play(verbs.Postgres(postgres="stop"))

    def start(self) -> None:
        """Start it again, on the same data."""
        self._hydra.play(verbs.Postgres(postgres="start"))

    def restart(self) -> None:
        """Stop it and start it."""
        self._hydra.play(verbs.Postgres(postgres="restart"))

    def read_only(self) -> None:
        """Switch over to a server that takes no writes: the dispatcher's connections are lost, new ones are read-only."""
        self._hydra.play(verbs.Postgres(postgres="read_only"))

    def writable(self) -> None:
        """Switch back; the dispatcher's connections are lost once more."""
        self._hydra.play(verbs.Postgres(postgres="writable"))

    def settings(
        self,
        *,
        lock_timeout: float | str | None = None,
        statement_timeout: float | str | None = None,
        isolation: str | None = None,
    ) -> None:
        """Set for sessions that begin from now on what is named, and all else as it was; times in seconds."""
        named = {
            "lock_timeout": lock_timeout,
            "statement_timeout": statement_timeout,
            "isolation": isolation,
        }
        said = {name: value for name, value in named.items() if value is not None}
        self._hydra.play(made(verbs.Settings, settings=said))

    def lock(self, build: Build, seconds: float | str) -> None:
        """Keep a build's row locked for so long, on the simulated clock; for a dispatcher that is a process."""
        self._hydra.play(made(verbs.Lock, lock={"build": build.nickname, "for": seconds}))

    def migrate(self, *, add: str | None = None, drop: str | None = None, retype: str | None = None) -> None:
        """Add a column to ``builds``, or drop one, or make one's type bigint."""
        said = {
            key: value
            for key, value in {"add": add, "drop": drop, "retype": retype}.items()
            if value is not None
        }
        self._hydra.play(made(verbs.Migrate, migrate=said))
