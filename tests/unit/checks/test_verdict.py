"""What a history comes to, on histories made by hand: the one function that every command and report asks."""

from pathlib import Path
from typing import Any

import pytest

from hydra_notify_sim import checks, history
from hydra_notify_sim.checks.verdict import Outcome
from hydra_notify_sim.contract import profiles
from hydra_notify_sim.contract.deviations import Deviation

CALLED = {"id": 5, "finished": 1, "buildstatus": 0, "starttime": 10, "stoptime": 20}


def a_day(**header: Any) -> history.History:
    """A build that is announced and told of; nothing is broken."""
    return _a_story((), **header)


def a_stop_in_an_event(**header: Any) -> history.History:
    """The same, and SIGTERM ends it by the signal: L-stop is broken."""
    stop = (
        history.Stopping(t=3, life=1, busy=True),
        history.Stopped(t=3, life=1, exit_status=-15),
    )
    return _a_story(stop, **header)


def a_stop(**header: Any) -> history.History:
    """The same, and it ends as it should: L-stop is exercised and held."""
    stop = (history.Stopping(t=3, life=1), history.Stopped(t=3, life=1))
    return _a_story(stop, **header)


def _a_story(more: tuple[history.AnyRecord, ...], **header: Any) -> history.History:
    said = {"name": "story", "plugins": {"github": ("build_finished",)}, **header}
    records: list[history.AnyRecord] = [
        history.Starting(t=0, life=1, plugins=said["plugins"]),
        history.Up(t=0, life=1),
        history.Settled(t=1),
        *more,
    ]
    return history.History(history.Header(**said), records)


def with_more(story: history.History, *records: history.AnyRecord) -> history.History:
    return history.History(story.header, [*story, *records])


MET = history.Expected(t=4, text="marks on: nothing", met=True, line=7)
UNMET = history.Expected(t=4, text="marks on: nothing", met=False, found="iso", line=7)
L_STOP = history.ViolationsExpected(t=4, promises=("L-stop",), line=9)
MISSED = history.PointMissed(
    t=4, point="before_store", reason="line 3: the point before_store: it was never reached"
)
ENDED = history.StoryEnded(t=4, reason="line 5: the story could not go on")


@pytest.mark.parametrize(
    ("story", "more", "outcome"),
    [
        (a_day, (), "passed"),
        (a_day, (MET,), "passed"),
        (a_day, (UNMET,), "broken"),
        (a_day, (MISSED,), "not_exercised"),
        (a_day, (ENDED,), "not_exercised"),
        (a_day, (UNMET, MISSED), "broken"),
        (a_day, (L_STOP,), "broken"),
        (a_stop_in_an_event, (), "broken"),
        (a_stop_in_an_event, (L_STOP,), "passed"),
        (a_stop_in_an_event, (L_STOP, UNMET), "broken"),
        (a_stop_in_an_event, (L_STOP, MISSED), "not_exercised"),
        (a_stop_in_an_event, (history.ViolationsExpected(t=4, promises=("L-stop", "B-live")),), "broken"),
        (a_stop_in_an_event, (history.ViolationsExpected(t=4, promises=("B-live",)),), "broken"),
    ],
)
def test_what_a_history_comes_to(
    story: Any, more: tuple[history.AnyRecord, ...], outcome: Outcome, tmp_path: Path
) -> None:
    written = with_more(story(), *more)
    assert checks.decide(written).outcome == outcome
    history.save(written, tmp_path / "history.jsonl")
    assert checks.decide(history.SavedHistory(tmp_path / "history.jsonl")) == checks.decide(written)


def test_what_diverged_says_nothing_against_a_run() -> None:
    missed = history.PointMissed(t=4, point="p", reason="r", diverged=True)
    assert checks.decide(
        with_more(a_day(), missed, history.StoryEnded(t=4, reason="r", diverged=True))
    ).passed


def test_a_promise_that_the_story_exists_for_has_to_be_exercised() -> None:
    verdict = checks.decide(a_day(exercises=("L-stop",)))
    assert verdict.outcome == "not_exercised"
    assert verdict.not_exercised == (
        "L-stop stands under `exercises`, and nothing in the run put it to the test",
    )


def test_where_a_known_issue_was_met_the_story_need_not_come_true() -> None:
    known = (Deviation("ours", "L-stop", "it ignores SIGTERM"),)
    story = with_more(a_stop_in_an_event(deviations=known, exercises=("R-poison",)), UNMET, MISSED)
    assert checks.decide(story).passed
    assert not checks.decide(with_more(a_stop(deviations=known), UNMET)).passed


def test_an_expectation_that_is_not_met_is_shown_with_what_was_found() -> None:
    verdict = checks.decide(with_more(a_day(), MET, UNMET, L_STOP))
    assert verdict.unmet == (
        checks.Expectation("marks on: nothing", met=False, found="iso", line=7),
        checks.Expectation("violated: L-stop", met=False, found="broken: none", line=9),
    )
    assert verdict.unbroken == ("L-stop",)


def test_a_verdict_about_some_promises_leaves_out_what_others_explain() -> None:
    whole = checks.decide(with_more(a_stop_in_an_event(), UNMET))
    about = whole.about({"L-lives"})
    assert (about.outcome, about.broken_elsewhere, about.expectations) == ("passed", ("L-stop",), ())
    assert whole.about({"L-stop"}).outcome == "broken"
    assert checks.decide(with_more(a_day(), UNMET)).about({"L-lives"}).outcome == "broken"


# Known issues: gone only if no story finds them


def sought(story: history.History, profile: profiles.Profile = "upstream") -> dict[str, bool]:
    return {one.id: found for one, found in checks.decide(story, profile).sought.items()}


NAMED = {"hn-no-sigterm": ("L-stop",)}


def test_a_quirk_is_looked_for_where_a_story_names_it_and_exercises_what_it_breaks() -> None:
    assert sought(a_stop_in_an_event(known=NAMED)) == {"hn-no-sigterm": True}
    assert sought(a_stop(known=NAMED)) == {"hn-no-sigterm": False}
    assert sought(a_day(known=NAMED)) == {}
    assert sought(a_stop(known=NAMED), "strict") == {}
    assert sought(a_stop(known=NAMED, known_lenient=True)) == {}


def test_a_quirk_is_found_by_a_story_that_does_not_name_it_too() -> None:
    assert sought(a_stop_in_an_event()) == {"hn-no-sigterm": True}


def test_what_a_quirk_may_break_is_excused_and_never_looked_for() -> None:
    """It breaks it now and then, by timing or by the order of plugins: the verdict is the same either way."""
    maybe = {"hn-deaf-after-reconnect": ("L-stop",)}
    found = checks.decide(a_stop_in_an_event(may_break=maybe), "upstream")
    assert found.passed
    assert (
        next(one.quirk for one in found.judgements.verdicts if one.promise == "L-stop")
        == "hn-deaf-after-reconnect"
    )
    not_found = checks.decide(a_stop(may_break=maybe), "upstream")
    assert not_found.passed
    assert dict(not_found.sought) == {}
    assert not any(not one for one in found.sought.values())


def test_a_quirk_that_depends_on_timing_is_never_missed() -> None:
    assert sought(a_stop(known={"hn-lost-wakeup": ("L-stop",)})) == {}


def test_an_entry_of_a_file_is_found_by_whatever_is_broken_where_it_covers() -> None:
    entries = (
        Deviation("one", "L-stop", "r"),
        Deviation("two", "L-stop", "r"),
        Deviation("three", "L-stop", "r", "x"),
    )
    assert sought(a_stop_in_an_event(deviations=entries), "strict") == {"one": True, "two": True}
    assert sought(a_stop(deviations=entries), "strict") == {"one": False, "two": False}
    late = (Deviation("late", "L-stop", "r", timing=True),)
    assert sought(a_stop(deviations=late), "strict") == {}
