"""When a dispatcher that is a process has settled: not before it has told all that it owes."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_notify_sim.dispatcher import core, ports
from hydra_notify_sim.engine import events

BACKLOG = """
scenario: Many builds finish while the dispatcher is down
why: It tells live events and its backlog in turns, so the harness's sentinels were answered before the rest of the backlog
exercises: [B-recover, B-at-least-once]
given:
  dispatcher: process
  builds: {many: {copies: 6}}
  plugins: {github: {hooks: [build_finished]}}
story:
  - mark_only: many
  - dispatcher: start
  - expect: {calls: {github: {ended: returned, at_least: 6, at_most: 6}}, marks: []}
"""


class ClearsSlowly(core.Dispatcher):
    """Takes so long to clear a mark that a sentinel arrives meanwhile."""

    def acknowledge(self, loaded: ports.Loaded) -> None:
        time.sleep(0.15)
        super().acknowledge(loaded)


def test_a_dispatcher_with_a_backlog_has_not_settled(
    play: Callable[..., events.ScenarioFinished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    file = tmp_path / "story.yaml"
    file.write_text(BACKLOG)
    command = f"exec:{sys.executable} -m hydra_notify_sim.targets.run_reference --dispatcher {__name__}:{ClearsSlowly.__name__}"
    event = play(file, command)
    assert event.passed, (event.verdict.violated, event.verdict.unmet)
