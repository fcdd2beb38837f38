"""Plays scenarios that are values, not files, one after the other on one database."""

from pathlib import Path

from hydra_notify_sim.engine import events
from hydra_notify_sim.engine.environment import Environment
from hydra_notify_sim.engine.run import Options, Runner
from hydra_notify_sim.scenario import Scenario
from hydra_notify_sim.targets import registry

GENERATED = Path("generated.yaml")
"""The file name that a scenario without a file goes by."""


class Stage:
    """One environment and one dispatcher, on which any scenario can be played from a clean database."""

    def __init__(self, environment: Environment, options: Options) -> None:
        """Raise UsageError if there is no such dispatcher."""
        self.environment = environment
        self.options = options
        self._runner = Runner(environment, registry.choose(options.dispatcher), options)

    def play(self, scenario: Scenario) -> events.Ended:
        """Play a scenario and judge it."""
        return self._runner.play((GENERATED, scenario, ""))


def violated(event: events.ScenarioFinished) -> tuple[str, ...]:
    """Return the promises that a scenario broke, in the order of the contract."""
    return event.verdict.violated
