"""Makes a failing scenario small in a scenario's own terms, while the same promise is still broken.

Greedy, to a fixpoint: of all smaller neighbours the first that still fails is taken. Neighbours are the same
scenario with steps, a build, a plugin, an option or a number less; those that are no story are never played.
Nothing here is random, so the same scenario shrinks to the same story.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hydra_notify_sim.exploration import neighbours
from hydra_notify_sim.scenario import Scenario
from hydra_notify_sim.scenario import story as stories

PLAYS = 800
"""Scenarios that one shrinking may play at most; ten to a few dozen of them usually do."""
PLAYS_IN_A_PROCESS = 60
"""The same where each start of the dispatcher is a process: a play takes seconds there."""

StillFails = Callable[[Scenario], bool]
"""Plays a scenario from a clean database and tells whether the same promise is broken."""


def budget(*, in_process: bool) -> int:
    """Return how many scenarios a shrinking may play, for a dispatcher in this process or in one of its own."""
    return PLAYS if in_process else PLAYS_IN_A_PROCESS


@dataclass(frozen=True, slots=True)
class Shrunk:
    """What is left of a failing scenario."""

    scenario: Scenario
    plays: int
    """Scenarios that were played to get there."""
    complete: bool
    """No smaller neighbour fails; False: the budget was used up, or it was interrupted."""


def shrink(
    scenario: Scenario,
    still_fails: StillFails,
    *,
    plays: int = PLAYS,
    interrupted: Callable[[], bool] = lambda: False,
) -> Shrunk:
    """Return the smallest scenario that greedy steps lead to, all of them failing as the first one does.

    ``scenario`` itself is taken to fail, and is not played again.
    """
    search = _Search(still_fails, plays, interrupted)
    data = neighbours.data_of(scenario)
    search.seen.add(neighbours.fingerprint(data))
    changed = True
    while changed and not search.over:
        changed = False
        for neighbourhood in neighbours.ALL:
            smaller = _exhaust(neighbourhood, data, search)
            changed = changed or smaller is not data
            data = smaller
    return Shrunk(search.best or scenario, search.played, complete=not search.over)


def _exhaust(neighbourhood: neighbours.Neighbourhood, data: dict[str, Any], search: "_Search") -> Any:
    """Follow one kind of neighbour as far as it leads."""
    while True:
        smaller = next((one for one in neighbourhood(data) if search.fails(one)), None)
        if smaller is None:
            return data
        data = smaller


class _Search:
    """What was tried, and what it cost."""

    def __init__(self, still_fails: StillFails, plays: int, interrupted: Callable[[], bool]) -> None:
        self._still_fails = still_fails
        self._plays = plays
        self._interrupted = interrupted
        self.played = 0
        self.seen: set[str] = set()
        self.best: Scenario | None = None

    @property
    def over(self) -> bool:
        return self.played >= self._plays or self._interrupted()

    def fails(self, data: Mapping[str, Any]) -> bool:
        """Tell whether this is a story that was not tried before, and fails."""
        if self.over:
            return False
        print_ = neighbours.fingerprint(data)
        if print_ in self.seen:
            return False
        self.seen.add(print_)
        scenario = readable(data)
        if scenario is None:
            return False
        self.played += 1
        if not self._still_fails(scenario):
            return False
        self.best = scenario
        return True


def readable(data: Mapping[str, Any]) -> Scenario | None:
    """Return the scenario that the data is, or None if it is none that a file could hold."""
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError:
        return None
    return None if stories.check(scenario) else scenario


def actions(scenario: Scenario) -> int:
    """Return how many actions a story has: its steps, those at points included, without waiting and looking."""
    return sum(1 for _ in _verbs(neighbours.data_of(scenario)["story"]))


def _verbs(steps: list[dict[str, Any]]) -> Iterator[str]:
    for step in steps:
        if "repeat" in step:
            yield from _verbs(step["repeat"]["steps"])
        elif not step.keys() & {"settle", "expect"}:
            yield next(iter(step.keys() & neighbours.VERBS))
        yield from _verbs(step.get("do", []))
