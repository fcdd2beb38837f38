"""Stories of what PostgreSQL refuses, against dispatchers that take it for something else: each is caught by the promise that it breaks."""

from collections.abc import Callable

import pytest

from hydra_notify_sim.engine import events
from hydra_notify_sim.known_bad import KNOWN_BAD
from hydra_notify_sim.scenario import shipped

STORIES = {path.stem: path for path, _, _ in shipped.load()}
CAUGHT_BY = {
    "dies-of-a-migration": "a-column-is-added-while-it-runs",
    "takes-a-refusal-for-a-lost-connection": "waits-for-a-locked-row-are-cut-short",
    "works-on-a-read-only-server": "the-database-is-read-only-for-a-while",
    "stops-when-all-is-cleared": "sigterm-while-a-row-is-locked",
}


@pytest.mark.parametrize(("name", "story"), CAUGHT_BY.items())
def test_each_is_caught_by_its_story_and_by_all_that_it_breaks(
    play: Callable[..., events.ScenarioFinished], name: str, story: str
) -> None:
    event = play(STORIES[story], f"known-bad:{name}", patience=0.2)
    assert set(event.verdict.violated) == set(KNOWN_BAD[name].breaks)


def test_none_is_without_its_story() -> None:
    here = {name for name, bad in KNOWN_BAD.items() if bad.dispatcher.__module__.endswith(".refusals")}
    assert here == CAUGHT_BY.keys()
