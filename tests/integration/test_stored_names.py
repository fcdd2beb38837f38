"""A dispatcher that stores a plugin's failures under a name of its own, as Hydra's does: the harness uses it too."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_notify_sim import history
from hydra_notify_sim.engine import events

SCENARIOS = Path(__file__).parents[2] / "scenarios"
PROGRAM = """
import os, sys
from hydra_notify_sim.dispatcher import command
from hydra_notify_sim.recorders import messages, python_plugin
path = os.environ[messages.SOCKET_VARIABLE]
recorders = [
    python_plugin.Recorder(name, path, task_name=f"Hydra::Plugin::{name.title()}") for name in python_plugin.names()
]
sys.exit(command.serve(os.environ[messages.DSN_VARIABLE], recorders))
"""

Play = Callable[..., events.ScenarioFinished]


@pytest.fixture
def dispatcher(tmp_path: Path) -> str:
    """The reference dispatcher with such names, as a process."""
    program = tmp_path / "renamed.py"
    program.write_text(PROGRAM, encoding="utf-8")
    return f"exec:{sys.executable} {program}"


def test_a_person_deletes_the_task_of_a_plugin_by_what_the_story_calls_it(
    play: Play, dispatcher: str
) -> None:
    event = play(SCENARIOS / "a-person-empties-the-table-of-tasks.yaml", dispatcher)
    assert event.passed, event.verdict.unmet


def test_a_task_that_was_stored_before_the_first_start_is_its_plugins(play: Play, dispatcher: str) -> None:
    event = play(SCENARIOS / "upstream" / "hn-retry-livelock.yaml", dispatcher)
    assert event.passed
    called = [record.plugin for record in event.history if isinstance(record, history.Called)]
    assert called == ["github"]
    assert {one.promise for one in event.judgements.verdicts if one.verdict == "held"} >= {
        "R-gone-plugin",
        "R-backoff",
    }
