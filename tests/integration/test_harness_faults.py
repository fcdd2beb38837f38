"""A fault of the harness's own is never charged to the dispatcher: exit status 5, and what to report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hydra_notify_sim import history
from hydra_notify_sim.cli import main
from hydra_notify_sim.dispatcher import core
from hydra_notify_sim.engine import events
from hydra_notify_sim.recorders.journal import Journal
from hydra_notify_sim.recorders.recorder import Calls
from hydra_notify_sim.targets.in_process_life import Life
from hydra_notify_sim.targets.points import Points

STORY = """
scenario: A build is announced, and a retry of it succeeds
why: each of the harness's own rooms is at work in it
exercises: [B-clear]
given:
  builds: {iso: {}}
  plugins: {github: {hooks: [build_finished], raises: {first: 1}}}
story:
  - dispatcher: start
  - build: iso
  - advance: 10s
  - settle
"""


class OurFault(Exception):  # noqa: N818  # what a bug of ours would raise
    pass


@pytest.fixture
def story(tmp_path: Path) -> Path:
    file = tmp_path / "story.yaml"
    file.write_text(STORY)
    return file


def fails(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, when: Callable[..., bool]) -> None:
    """Let a method of the harness raise where a fault of ours would."""
    real = getattr(owner, method)

    def broken(self: Any, *args: Any, **more: Any) -> Any:
        if when(*args):
            raise OurFault(f"{owner.__name__}.{method}")
        return real(self, *args, **more)

    monkeypatch.setattr(owner, method, broken)


def of_kind(*kinds: type[history.Record]) -> Callable[..., bool]:
    return lambda record, *_: isinstance(record, kinds)


OURS = [
    (Calls, "begin", lambda *_: True),
    (Calls, "raised", lambda *_: True),
    (Calls, "returned", lambda *_: True),
    (Journal, "record", of_kind(history.Called)),
    (Journal, "record", of_kind(history.Raised)),
    (Journal, "record", of_kind(history.Up)),
    (Journal, "record", of_kind(history.Settled)),
    (Life, "_wrote", lambda name: name == "store_retry"),
    (Life, "_before", lambda name, _args: name == "load"),
    (Life, "_after", lambda name, _args: name == "clear_marks"),
    (Points, "step", lambda kind, *_: kind == "after receive"),
]


@pytest.mark.parametrize(("owner", "method", "when"), OURS)
def test_what_our_own_code_raises_is_our_fault(  # noqa: PLR0917  # pytest hands its fixtures by name
    owner: type,
    method: str,
    when: Callable[..., bool],
    story: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fails(monkeypatch, owner, method, when)
    assert main(["replay", str(story)]) == 5
    said = capsys.readouterr()
    assert "ended unasked" not in said.out
    assert f"OurFault: {owner.__name__}.{method}" in said.out
    assert (
        "This is a fault in the harness itself, not in the dispatcher (exit status 5). Please report:"
        in said.err
    )


@pytest.mark.parametrize("method", ["call", "keep_for_retry"])
def test_what_the_dispatcher_raises_ends_it_and_is_a_finding(
    method: str, story: Path, monkeypatch: pytest.MonkeyPatch, play: Callable[..., events.ScenarioFinished]
) -> None:
    fails(monkeypatch, core.Dispatcher, method, lambda *_: True)
    finished = play(story)
    ended = [record for record in finished.history if isinstance(record, history.Ended)]
    assert [one.message for one in ended] == [f"OurFault: Dispatcher.{method}"]
    assert "L-lives" in finished.verdict.violated


@pytest.mark.parametrize("record", [history.Called, history.Settled])
def test_the_same_of_a_process(
    record: type[history.Record],
    story: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fails(monkeypatch, Journal, "record", of_kind(record))
    assert main(["replay", str(story), "--dispatcher", "reference-process"]) == 5
    assert "fault in the harness itself, not in the dispatcher" in capsys.readouterr().err
