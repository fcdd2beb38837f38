"""The database server of a test: what can go wrong with it, one method for each fault of a scenario."""

from typing import TYPE_CHECKING

from hydra_notify_sim.scenario import steps as verbs

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
