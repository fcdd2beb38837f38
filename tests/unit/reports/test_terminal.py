import io
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from hydra_notify_sim import checks, errors, history
from hydra_notify_sim.checks.verdicts import Judgements
from hydra_notify_sim.contract import promises
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import screen, terminal

Started = Callable[[int], events.RunStarted]


def said(run: Iterable[events.Event], *, verbose: bool = False) -> str:
    stream = io.StringIO()
    report = terminal.TerminalReport(stream, verbose=verbose)
    for event in run:
        report.take(event)
    return stream.getvalue()


def whole(started: Started, *finished: events.ScenarioFinished | events.ScenarioFailed) -> list[events.Event]:
    run: list[events.Event] = [started(len(finished))]
    for one in finished:
        run += [events.ScenarioStarted(one.name, one.file, one.sentence, 3), one]
    return [*run, events.RunFinished(interrupted=False, seconds=1.9)]


def test_a_scenario_is_a_plain_line_where_no_terminal_is(
    started: Started, held: events.ScenarioFinished
) -> None:
    text = said(whole(started, held, held))
    assert text.count("passed  a-build-is-announced (0.03 s)\n") == 2
    assert "2 scenarios played: 2 passed, 0 failed (1.9 s)\n" in text
    assert text.endswith("Exit status 0: every promise that was exercised held.\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


def test_a_failure_tells_the_story_the_promise_and_how_to_play_it_again(
    started: Started, violated: events.ScenarioFinished
) -> None:
    text = said(whole(started, violated))
    lines = text.splitlines()
    assert (
        "FAILED  deploy-between-two-plugins: B-clear-after violated, 1 expectation not met (0.25 s)" in lines
    )
    assert f"    {promises.promise('B-clear-after').text}" in lines
    assert "    The mark of build 2 (iso) was cleared though github had not been shown the outcome." in lines
    proof = [line for line in lines if line.startswith("    >")]
    assert len(proof) == 2
    assert "queue runner finish build iso (succeeded) → build_finished iso" in proof[0]
    assert "mark cleared: iso" in proof[1]
    assert any(line.endswith("dispatcher   crashes") for line in lines)
    assert "  Expectation not met, scenarios/deploy-between-two-plugins.yaml:24" in lines
    assert "    expected: github.build_finished: {build: iso, at_least: 1}" in lines
    assert "    found:    no call" in lines
    assert "    hello from the dispatcher" in lines
    assert "    hydra-notify-sim replay scenarios/deploy-between-two-plugins.yaml --seed 7" in lines
    assert lines[-1] == "Exit status 1: a promise or an expectation was broken."


def test_the_summary_counts_promises_over_the_whole_run(
    started: Started, held: events.ScenarioFinished, violated: events.ScenarioFinished
) -> None:
    text = said(whole(started, violated, held))
    assert "Promises: 1 held, 1 violated, 1 known, 1 not exercised\n" in text
    assert "  violated: B-clear-after\n" in text
    assert "  known: B-recover\n" in text
    assert "  not exercised: L-stop\n" in text
    assert "The contract allowed to be lost: 1 (E-gone 1; -v shows each)\n" in text


def test_what_was_allowed_is_told_where_one_scenario_was_played(
    started: Started, held: events.ScenarioFinished
) -> None:
    line = "  repeated: build_finished iso for github; B-at-least-once allows it\n"
    assert line in said(whole(started, held))
    assert line not in said(whole(started, held, held))
    assert line in said(whole(started, held, held), verbose=True)


def test_verbose_tells_every_story_and_every_verdict(started: Started, held: events.ScenarioFinished) -> None:
    text = said(whole(started, held, held), verbose=True)
    assert text.count("dispatcher   has settled") == 2
    assert "    held          P-format: 2 notifications.\n" in text
    assert "    not exercised L-stop: No SIGTERM was sent.\n" in text


def test_a_fault_of_the_harness_is_no_failure_of_the_dispatcher(started: Started) -> None:
    broke = events.ScenarioFailed(
        "story", Path("s.yaml"), "A story", ValueError("password=geheim oh"), "replay it"
    )
    text = said(whole(started, broke))
    assert "ERROR   story: a fault in the harness itself\n  A story\n  ValueError: password=*** oh\n" in text
    assert "Exit status 5:" in text


def test_an_environment_that_failed_says_so(started: Started) -> None:
    error = errors.EnvironmentFailedError("no server answered")
    text = said(whole(started, events.ScenarioFailed("story", Path("s.yaml"), "", error, "")))
    assert "ERROR   story: could not be played\n  no server answered\n" in text
    assert "Exit status 3:" in text


def test_an_interrupted_run_says_what_was_not_played(started: Started, held: events.ScenarioFinished) -> None:
    text = said([started(3), held, events.RunFinished(interrupted=True, seconds=1)])
    assert "1 scenario played: 1 passed, 0 failed, 2 not played (1 s)\n" in text
    assert text.endswith("Exit status 130: interrupted.\n")


def test_a_run_that_exercised_too_little_says_why(
    started: Started, unexercised: events.ScenarioFinished
) -> None:
    text = said(whole(started, unexercised))
    assert "FAILED  never-there: not exercised" in text
    assert "  Not exercised: before_store was never reached\n" in text
    assert "Exit status 4:" in text


def test_no_password_is_shown(started: Started, violated: events.ScenarioFinished) -> None:
    leaky = replace(
        violated, log=("connecting to postgres://u:geheim@h/d",), command="x --dsn 'password=geheim'"
    )
    assert "geheim" not in said(whole(started, leaky), verbose=True)


def test_a_payload_cannot_move_the_cursor(started: Started, held: events.ScenarioFinished) -> None:
    nasty = history.Commit(
        t=0,
        actor="person",
        action="notify",
        about="\x1b[2J",
        notifications=(history.Notification("build_queued", "\x1b[31mred\x07"),),
    )
    bad = replace(held, history=history.History(held.history.header, [nasty]), name="\x1b]0;title\x07")
    text = said(whole(started, bad), verbose=True)
    assert "\x1b" not in text
    assert "\\x1b[31mred" in text


def on_a_terminal(run: Iterable[events.Event], monkeypatch: pytest.MonkeyPatch, width: int) -> str:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(screen, "_REFRESH", 0)
    stream = io.StringIO()
    stream.isatty = lambda: True
    report = terminal.TerminalReport(stream, width=width)
    for event in run:
        report.take(event)
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_gets_lines_that_fit_and_a_progress_line(
    started: Started,
    violated: events.ScenarioFinished,
    held: events.ScenarioFinished,
    monkeypatch: pytest.MonkeyPatch,
    width: int,
) -> None:
    text = on_a_terminal(whole(started, violated, held), monkeypatch, width)
    assert "[2/2] a-build-is-announced" in text
    assert "1 failed" in text
    shown = Console(file=io.StringIO(), width=width)
    for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "").splitlines():
        assert shown.measure(line).maximum <= width, line


def test_a_terminal_of_somebody_who_wants_no_colour_gets_none(
    started: Started, violated: events.ScenarioFinished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    stream.isatty = lambda: True
    report = terminal.TerminalReport(stream, width=80)
    for event in whole(started, violated):
        report.take(event)
    assert not re.search(r"\x1b\[[0-9;]*3[0-7][0-9;]*m", stream.getvalue())


def test_a_closed_pipe_is_the_callers_affair(started: Started) -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        terminal.TerminalReport(Closed()).take(started(1))


def test_a_scenario_without_any_verdict_is_not_a_pass(
    started: Started, held: events.ScenarioFinished
) -> None:
    assert "Exit status 4:" in said(
        whole(started, replace(held, verdict=checks.StoryVerdict(Judgements((), ()))))
    )
