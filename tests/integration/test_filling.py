"""Open places are filled with what gives what was seen: a broken promise, or a loss that the contract allows."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_notify_sim import engine, scenario
from hydra_notify_sim.cli import ending
from hydra_notify_sim.database import Database
from hydra_notify_sim.engine import events
from hydra_notify_sim.engine.environment import Environment
from hydra_notify_sim.exploration import filling, plugin_orders

HEAD = """\
scenario: An incident
why: Captured
exercises: [B-at-least-once]
given:
  builds: {iso: {}, hello: {finished: succeeded}}
  plugins: {chat: {hooks: [build_finished]}, github: {hooks: [build_finished, cached_build_finished]}}
story:
  - dispatcher: start
"""
LOST = """\
  - build: iso
  - unknown: [crash, down, connection lost]
  - settle
  - expect: {calls: {github.build_finished: {build: iso, at_most: 0}}, marks: []}
"""
CACHED = """\
  - evaluate: {name: e1, cached: [hello]}
  - unknown: [crash, down, connection lost]
  - settle
  - expect: {calls: {github.cached_build_finished: {build: hello, at_most: 0}}}
"""


@pytest.fixture
def fill(environment: Environment) -> Callable[..., tuple[filling.Fill | None, filling.Filler]]:
    def fill_one(
        text: str, dispatcher: str = "reference", **options: int
    ) -> tuple[filling.Fill | None, filling.Filler]:
        one = scenario.load_text(text)
        stages = plugin_orders.stages(environment, engine.Options(dispatcher=dispatcher), one)
        filler = filling.Filler(stages, one, **options)
        return filler.fill(), filler

    return fill_one


Filling = Callable[..., tuple[filling.Fill | None, filling.Filler]]


def told(found: filling.Fill | None, filler: filling.Filler) -> list[str]:
    assert found is not None, filler.count
    return [happening.told(filler.closed) for happening in found.happenings]


def test_the_crash_that_lost_a_success_is_found(fill: Filling) -> None:
    found, filler = fill(HEAD + LOST, "known-bad:clears-after-the-first-plugin")
    assert told(found, filler) == ["crashed at after_call 1 of `build: iso`"]
    assert found is not None
    assert "B-at-least-once" in found.violated


def test_what_was_struck_out_is_not_tried(fill: Filling) -> None:
    """The loss is one of a crash: where none can have been, nothing gives what was seen."""
    bad = "known-bad:clears-after-the-first-plugin"
    for left, singles in (("down", 1), ("connection lost", 11)):
        found, filler = fill(HEAD + LOST.replace("[crash, down, connection lost]", left), bad)
        assert found is None
        assert filler.count.singles >= singles


def test_being_down_is_found_where_the_contract_allows_the_loss(fill: Filling) -> None:
    found, filler = fill(HEAD + CACHED.replace("[crash, down, connection lost]", "down"))
    assert told(found, filler) == ["down during `evaluate`"]
    assert found is not None
    assert found.violated == ()
    assert found.scenario.exercises == ("C-gone",)


def test_two_things_in_two_places_are_found(fill: Filling) -> None:
    first, last = CACHED.split("  - settle\n")
    first = first.replace("[crash, down, connection lost]", "down")
    again = first.replace("e1", "e2")
    never = last.replace("{build: hello, at_most: 0}", "[]")
    found, filler = fill(HEAD + first + again + "  - settle\n" + never)
    assert told(found, filler) == ["down during `evaluate`", "down during `evaluate`"]
    assert found is not None
    starts = [step for step in found.scenario.story if getattr(step, "dispatcher", "") in {"start", "stop"}]
    assert len(starts) == 1, "down all the while, and started at the end"


def test_a_dispatcher_without_fault_gives_nothing_and_all_that_was_tried_is_counted(fill: Filling) -> None:
    found, filler = fill(HEAD + LOST.replace("[crash, down, connection lost]", "crash"))
    assert found is None
    count = filler.count
    assert not count.errors
    assert not count.ended_early
    assert count.tried == 1 + count.singles + count.pairs
    assert count.unreached + count.otherwise + count.held == count.tried


HASHED = f"""\
#!{sys.executable}
import os, sys
from hydra_notify_sim.recorders import messages
from hydra_notify_sim.targets import run_reference

names = os.environ[messages.PLUGINS_VARIABLE].split(",")
if int(os.environ["PERL_HASH_SEED"], 16) < 3:
    names.reverse()
os.environ[messages.PLUGINS_VARIABLE] = ",".join(names)
sys.argv += ["--dispatcher", "hydra_notify_sim.known_bad.marks:ClearsAfterTheFirstPlugin"]
sys.exit(run_reference.main())
"""


@pytest.mark.slow
def test_hydra_notify_may_call_its_plugins_in_another_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], database: Database
) -> None:
    script, file = tmp_path / "hydra-notify", tmp_path / "incident.yaml"
    script.write_text(HASHED)
    script.chmod(0o700)
    file.write_text(HEAD + LOST.replace("[crash, down, connection lost]", "crash"))
    command = ["--dispatcher", f"hydra-notify:{script}", "--dsn", database.dsn]
    assert ending.main(["explore", "--fill", str(file), *command]) == 0
    said = capsys.readouterr().out
    assert "with 2 orders of the plugins" in said
    assert "crashed at after_call 1 of `build: iso`" in said
    filled = tmp_path / "incident-filled.yaml"
    assert f" --seed 3 {filled}\n" in filled.read_text()
    assert ending.main(["replay", str(filled), *command, "--seed", "3"]) == 0
    assert ending.main(["replay", str(filled), *command]) == 1


def test_tries_bound_it(fill: Filling) -> None:
    found, filler = fill(HEAD + LOST, tries=3)
    assert found is None
    assert filler.count.ended_early
    assert filler.count.tried == 3


def test_the_command_writes_what_replays_and_keeps_what_is_there(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    play: Callable[..., events.ScenarioFinished],
    database: Database,
) -> None:
    bad = "known-bad:clears-after-the-first-plugin"
    file, report = tmp_path / "incident.yaml", tmp_path / "report.json"
    file.write_text(HEAD + LOST)
    again = ["explore", "--fill", str(file), "--dispatcher", bad, "--dsn", database.dsn]
    assert ending.main([*again, "--json", str(report)]) == 0
    filled = tmp_path / "incident-filled.yaml"
    assert play(filled, dispatcher=bad).passed
    assert not play(filled).passed
    assert json.loads(report.read_text())["file"] == str(filled)
    assert ending.main(again) == 2
    assert "was left as it is" in capsys.readouterr().err
    assert ending.main(["explore", "--fill", str(filled), "--dsn", database.dsn]) == 2
    assert "has no open place" in capsys.readouterr().err
    file.write_text(HEAD + LOST.replace("[crash, down, connection lost]", "down"))
    assert ending.main([*again, "--overwrite"]) == 1
    assert "Nothing that was tried gives what was seen" in capsys.readouterr().out
