"""From what a scenario says of its plugins to what the recorders do."""

from collections.abc import Callable, Mapping
from typing import Any

from hydra_notify_sim.recorders.recorder import Behaviour
from hydra_notify_sim.scenario.model import GivenPlugin, Raises, Scenario

Decide = Callable[[str, Mapping[str, Any], int], str | None]


def of(scenario: Scenario, ids: Mapping[str, int]) -> dict[str, Behaviour]:
    """Return the behaviour of each plugin; ``ids`` is nickname of a build to its id, filled as the story goes on."""
    return {name: behaviour(plugin, scenario, ids) for name, plugin in scenario.given.plugins.items()}


def behaviour(plugin: GivenPlugin, scenario: Scenario, ids: Mapping[str, int]) -> Behaviour:
    """Return the behaviour of one plugin."""
    made = Behaviour(hooks=tuple(plugin.hooks), takes=plugin.takes, holds=plugin.holds)
    if plugin.raises is not None:
        made.raises = _decision(plugin.raises, scenario, ids)
    return made


def _decision(raises: Raises, scenario: Scenario, ids: Mapping[str, int]) -> Decide:
    counted = 0

    def decide(_hook: str, args: Mapping[str, Any], _count: int) -> str | None:
        nonlocal counted
        if raises.always:
            return raises.message
        if raises.for_ is not None:
            builds = {ids.get(name) for name in scenario.singles(raises.for_)}
            if _main_build(args) not in builds:
                return None
        counted += 1
        return raises.message if raises.first is None or counted <= raises.first else None

    return decide


def _main_build(args: Mapping[str, Any]) -> int | None:
    """Return the id of the build that a call is about; of a step, its build."""
    row, column = ("build", "id") if "build" in args else ("step", "build")
    found = args.get(row)
    if found is None:
        return None
    value = found[column] if isinstance(found, Mapping) else getattr(found, column)
    return int(value)
