"""Each known-bad dispatcher is caught, by the promise that it breaks, in the scenarios that exist for that promise."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_notify_sim.contract import promises
from hydra_notify_sim.engine import events
from hydra_notify_sim.known_bad import KNOWN_BAD
from hydra_notify_sim.scenario import load_all
from hydra_notify_sim.targets import process

SCENARIOS = load_all([Path(__file__).parents[2] / "scenarios"])

KEPT_BY_THE_SIMULATOR = "what the simulator itself must keep: no dispatcher can break it"
NO_KNOWN_BAD = {
    promise.id: KEPT_BY_THE_SIMULATOR
    for promise in promises.PROMISES
    if promise.id == "P-format" or promise.id.startswith("Q-")
}
"""Promises that no known-bad dispatcher breaks, with the reason; tests/unit/checks breaks them in histories."""

AS_PROCESSES = ("ignores-sigterm", "drops-the-event-in-hand")
"""Those that are wrong about signals."""

Play = Callable[..., events.ScenarioFinished]


def violated_by(name: str, play: Play, *, process: bool) -> set[str]:
    """Play the scenarios that exist for what it breaks, until all of that was found; return what was."""
    breaks = set(KNOWN_BAD[name].breaks)
    broken: set[str] = set()
    failed = 0
    for path, scenario, _ in SCENARIOS:
        if breaks <= broken:
            break
        if breaks & set(scenario.exercises) and (scenario.given.dispatcher == "process") == process:
            finished = play(path, dispatcher=f"known-bad:{name}")
            broken |= {v.promise for v in finished.judgements.verdicts if v.verdict == "violated"}
            failed += not finished.passed
    assert failed > 0
    return broken


@pytest.mark.parametrize("name", sorted(set(KNOWN_BAD) - {"ignores-sigterm"}))
def test_it_is_caught_by_every_promise_that_it_breaks(name: str, play: Play) -> None:
    assert set(KNOWN_BAD[name].breaks) <= violated_by(name, play, process=False)


@pytest.mark.parametrize("name", AS_PROCESSES)
def test_it_is_caught_as_a_process(name: str, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "STOP_DEADLINE", 2.0)
    assert "L-stop" in violated_by(name, play, process=True)


def test_every_promise_has_a_dispatcher_that_breaks_it() -> None:
    broken = {promise for bad in KNOWN_BAD.values() for promise in bad.breaks}
    assert broken | NO_KNOWN_BAD.keys() == {promise.id for promise in promises.PROMISES}
    assert not broken & NO_KNOWN_BAD.keys()


def test_each_says_what_it_does_and_who_did_it() -> None:
    assert len(KNOWN_BAD) >= 35
    for bad in KNOWN_BAD.values():
        assert bad.breaks
        assert len(bad.story.split(". ")) >= 2
