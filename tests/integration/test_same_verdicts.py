"""The reference dispatcher gets the same verdicts in this process and as a process of its own, story by story."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_notify_sim.engine import events

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FILES = sorted(SCENARIOS.glob("**/*.yaml"))
NOT_AS_A_PROCESS = {
    "finished-while-the-dispatcher-starts": {"P-arguments", "B-listen-first"},
    "a-failure-whose-storing-was-not-confirmed": {"R-stored", "R-backoff", "R-delete"},
    "the-answer-to-a-commit-is-lost": {"R-stored", "R-backoff", "R-delete"},
}
"""What is not exercised where a process cannot be held at a point, or a reply to it not be lost, by story."""

Play = Callable[..., events.ScenarioFinished]


def verdicts(event: events.ScenarioFinished) -> dict[str, str]:
    return {verdict.promise: verdict.verdict for verdict in event.judgements.verdicts}


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_process_gets_the_verdicts_of_the_dispatcher_in_this_one(file: Path, play: Play) -> None:
    in_process, as_process = play(file), play(file, "reference-process")
    here, there = verdicts(in_process), verdicts(as_process)
    missed = {promise for promise, verdict in here.items() if there[promise] != verdict}
    assert missed == NOT_AS_A_PROCESS.get(file.stem, set())
    assert {there[promise] for promise in missed} <= {"not_exercised"}
    assert bool(as_process.verdict.not_exercised) == (file.stem in NOT_AS_A_PROCESS)
    assert as_process.verdict.unmet == ()
