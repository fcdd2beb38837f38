"""Each known-bad dispatcher is caught by the promises that it breaks; one that breaks nothing is told to be a survivor."""

import dataclasses
import json
from pathlib import Path

import pytest

from hydra_notify_sim import known_bad
from hydra_notify_sim.cli import main
from hydra_notify_sim.conformance import kill_matrix
from hydra_notify_sim.dispatcher import core
from hydra_notify_sim.engine import Options
from hydra_notify_sim.scenario import shipped

SCENARIOS = shipped.load()


@pytest.mark.slow
def test_every_known_bad_dispatcher_is_caught_and_every_promise_has_one(tmp_path: Path) -> None:
    report, page = tmp_path / "matrix.json", tmp_path / "matrix.md"
    code = main(
        ["conformance", "--kill-matrix", "--workers", "3", "--json", str(report), "--markdown", str(page)]
    )
    document = json.loads(report.read_text(encoding="utf-8"))
    assert document["survivors"] == []
    assert {one["dispatcher"]: one["missed"] for one in document["dispatchers"] if one["missed"]} == {}
    assert document["control"]["caught"] == {}
    lacking = {promise for promise, one in document["promises"].items() if not one["broken_by"]}
    assert lacking == kill_matrix.NO_KNOWN_BAD.keys()
    assert code == document["exit_status"] == 0
    # Nothing is left out silently.
    for one in [document["control"], *document["dispatchers"]]:
        assert one["played"] + len(one["left_out"]) == len(SCENARIOS)
    assert all(f"| {name} |" in page.read_text(encoding="utf-8") for name in known_bad.KNOWN_BAD)


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
