"""Open places of stories: found before anything is played, for a story that has any is not whole."""

from collections.abc import Iterable
from pathlib import Path

from hydra_notify_sim import errors
from hydra_notify_sim.scenario.model import Scenario
from hydra_notify_sim.scenario.names import walk
from hydra_notify_sim.scenario.steps import Unknown


class OpenPlacesError(errors.UsageError):
    """A story has open places, so it cannot be played; the message says where, and how they are filled."""


def open_places(scenario: Scenario) -> list[Unknown]:
    """Return the open places of a story, in order."""
    return [step for _, step in walk(scenario.story) if isinstance(step, Unknown)]


def refuse_open_places(scenarios: Iterable[tuple[Path, Scenario]]) -> None:
    """See that every story can be played.

    Raises:
        OpenPlacesError: some have open places; all of them are named.

    """
    told = [
        f"{path}: {_counted(places)} left open, so this story cannot be played. "
        f"Let `hydra-notify-sim explore --fill {path}` find what fits."
        for path, scenario in scenarios
        if (places := open_places(scenario))
    ]
    if told:
        raise OpenPlacesError("\n".join(told))


def _counted(places: list[Unknown]) -> str:
    lines = [str(place.line) for place in places if place.line]
    where = f" (line{'s' if len(lines) > 1 else ''} {', '.join(lines)})" if lines else ""
    return f"what happened in {len(places)} {'places' if len(places) > 1 else 'place'}{where} is"
