"""Connections that fall silent: a dispatcher that notices goes on, one that waits for ever is found."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from hydra_notify_sim import history
from hydra_notify_sim.dispatcher import core
from hydra_notify_sim.engine import events

Play = Callable[..., events.ScenarioFinished]
STORY = """
scenario: The connections fall silent, without an end, and a build finishes meanwhile
why: A proxy forgot the connections; the program waited on dead sockets for ever
exercises: [L-reconnect, B-at-least-once]
given:
  dispatcher: process
  builds: {iso: {}}
  plugins: {github: {hooks: [build_finished]}}
story:
  - dispatcher: start
  - connection: silent
  - advance: 10m
  - build: iso
  - settle
"""


class Notices(core.Dispatcher):
    """Gives a turn two seconds; an answer that takes longer will not come."""

    def run(self, after_turn: Callable[[], None] = lambda: None, heartbeat: float = 0.5) -> None:
        signal.signal(signal.SIGALRM, _too_long)
        while not self.stopping:
            self.turn(0.5)

    def turn(self, patience: float = 0.0) -> bool:
        signal.setitimer(signal.ITIMER_REAL, 2)
        try:
            return super().turn(patience)
        except TimeoutError:
            self.forget()
            return True
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


class NeverNotices(core.Dispatcher):
    """Waits for ever for what will not come."""

    def run(self, after_turn: Callable[[], None] = lambda: None, heartbeat: float = 0.5) -> None:
        while not self.stopping:
            self.turn(1_000_000)


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError


@pytest.fixture
def play_silence(play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    file = tmp_path / "story.yaml"
    file.write_text(STORY)

    def play_it(dispatcher: type[core.Dispatcher], **options: float) -> events.ScenarioFinished:
        runs = f"exec:{sys.executable} -m hydra_notify_sim.targets.run_reference --dispatcher {__name__}:"
        return play(file, runs + dispatcher.__name__, **options)

    return play_it


@pytest.mark.slow
def test_one_that_notices_goes_on(play_silence: Play) -> None:
    event = play_silence(Notices)
    assert event.passed, event
    faults = [record.fault for record in event.history if isinstance(record, history.Fault)]
    assert faults == ["connection silent"]


@pytest.mark.slow
def test_the_reference_notices_by_its_heartbeat(play: Play, tmp_path: Path) -> None:
    file = tmp_path / "story.yaml"
    file.write_text(STORY)
    assert play(file).passed


@pytest.mark.slow
def test_one_that_never_notices_is_found(play_silence: Play) -> None:
    event = play_silence(NeverNotices, patience=0.2)
    assert "L-reconnect" in {v.promise for v in event.judgements.verdicts if v.verdict == "violated"}


def test_one_in_this_process_has_no_connection_that_could(play: Play, tmp_path: Path) -> None:
    file = tmp_path / "story.yaml"
    file.write_text(STORY.replace("  dispatcher: process\n", ""))
    event = play(file)
    assert event.verdict.not_exercised[0].startswith("line 10: a dispatcher in this process")
