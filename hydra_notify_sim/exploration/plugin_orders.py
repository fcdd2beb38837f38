"""Finds the orders in which a dispatcher may call the plugins of a story.

Ours calls them in the order in which they are given. Perl keeps hydra-notify's in one that depends on the seed
(`hydra_notify_sim.targets.process_environment`), and what an incident leaves behind depends on it: who was called
first, and who then never was. No tap sees which it was.
"""

import math
from collections.abc import Callable
from dataclasses import replace

from hydra_notify_sim import history
from hydra_notify_sim.engine import Options, events
from hydra_notify_sim.engine.environment import Environment
from hydra_notify_sim.exploration.playing import Stage
from hydra_notify_sim.scenario import Scenario
from hydra_notify_sim.targets import programs

MOST_ORDERS = 6
"""Of three plugins all; of more than three some."""

MOST_SEEDS = 12
"""Seeds that are tried, each in a play of a second or two, until as many orders are found."""


def stages(
    environment: Environment,
    options: Options,
    scenario: Scenario,
    *,
    interrupted: Callable[[], bool] = lambda: False,
) -> list[Stage]:
    """Return a stage for each order in which the plugins of a scenario are called, the one of ``options`` first.

    Raises:
        UsageError: there is no such dispatcher.
        EnvironmentFailedError: its program failed.

    """
    first = Stage(environment, options)
    plugins = tuple(scenario.given.plugins)
    wanted = min(math.factorial(len(plugins)), MOST_ORDERS)
    if wanted < 2 or options.dispatcher.partition(":")[0] != programs.HYDRA_NOTIFY:
        return [first]
    found: dict[tuple[str, ...], Stage] = {}
    for seed in range(options.seed, options.seed + MOST_SEEDS):
        stage = Stage(environment, replace(options, seed=seed)) if seed != options.seed else first
        found.setdefault(_order(stage, plugins), stage)
        if len(found) == wanted or interrupted():
            break
    return list(found.values())


def _order(stage: Stage, plugins: tuple[str, ...]) -> tuple[str, ...]:
    """Play one build to its end, and return the plugins as they were called."""
    event = stage.play(
        Scenario.model_validate(
            {
                "scenario": "One build",
                "why": "The order in which the plugins are called",
                "exercises": ("B-live",),
                "given": {
                    "builds": {"a": {}},
                    "plugins": {name: {"hooks": ["build_finished"]} for name in plugins},
                },
                "story": [{"dispatcher": "start"}, {"build": "a"}, {"settle": True}],
            }
        )
    )
    if not isinstance(event, events.ScenarioFinished):
        raise event.error
    called = (record.plugin for record in event.history if isinstance(record, history.Called))
    return tuple(dict.fromkeys(called))
