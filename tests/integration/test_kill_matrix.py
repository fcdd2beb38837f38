"""Each known-bad dispatcher is caught by the promises that it breaks; one that breaks nothing is told to be a survivor."""

import dataclasses

import pytest

from hydra_notify_sim import known_bad
from hydra_notify_sim.conformance import kill_matrix
from hydra_notify_sim.dispatcher import core
from hydra_notify_sim.engine import Options
from hydra_notify_sim.scenario import shipped

SCENARIOS = shipped.load()


@pytest.mark.slow
def test_every_known_bad_dispatcher_is_caught_and_every_promise_has_one() -> None:
    """By the stories that exist for what it breaks, a fifth of all.

    All of them, as the pages show them: `hydra-notify-sim conformance --kill-matrix`, two minutes or three.
    """
    matrix = kill_matrix.empty(SCENARIOS)
    for row in matrix.rows:
        others = {
            path.stem for path, scenario, _ in SCENARIOS if set(row.breaks).isdisjoint(scenario.exercises)
        }
        row.left_out = tuple(sorted(others.union(row.left_out)))
        row.wanted = len(SCENARIOS) - len(row.left_out)
    list(kill_matrix.play(matrix, SCENARIOS, Options(), 3))
    assert matrix.survivors == []
    assert {row.name: row.missed for row in matrix.rows if row.missed} == {}
    assert matrix.control.caught == {}
    assert matrix.uncovered == []
    assert matrix.holds


def test_one_that_breaks_nothing_survives(monkeypatch: pytest.MonkeyPatch) -> None:
    tame = known_bad.KnownBad(
        "tame", core.Dispatcher, "Does nothing wrong. Nobody did.", ("B-clear", "E-order")
    )
    monkeypatch.setitem(known_bad.KNOWN_BAD, "tame", tame)
    names = ["tame", "never-clears"]
    some = [one for one in SCENARIOS if one[0].stem in {"a-day-without-trouble", "nobody-is-interested"}]
    matrix = kill_matrix.empty(some, names)
    list(kill_matrix.play(matrix, some, Options(), 1))
    assert [row.name for row in matrix.survivors] == ["known-bad:tame"]
    (caught, survivor) = sorted(matrix.rows, key=lambda row: row.survived)
    assert caught.caught["B-clear"] == ["a-day-without-trouble", "nobody-is-interested"]
    assert survivor.missed == ["E-order"]
    assert not matrix.holds
    assert dataclasses.replace(matrix, rows=[caught]).survivors == []
