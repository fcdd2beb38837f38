from dataclasses import replace
from pathlib import Path

import pytest

from hydra_notify_sim import checks, errors, history
from hydra_notify_sim.checks.verdicts import Allowed, Judgement, Judgements, Verdict
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import summary


def folded(*run: events.Event) -> summary.Summary:
    total = summary.Summary()
    for event in run:
        total.take(event)
    return total


def failed(error: Exception) -> events.ScenarioFailed:
    return events.ScenarioFailed("x", Path("x.yaml"), "", error, "")


OVER = events.RunFinished(interrupted=False, seconds=1.0)
INTERRUPTED = events.RunFinished(interrupted=True, seconds=1.0)


def test_all_held_is_0(held: events.ScenarioFinished) -> None:
    assert folded(held, OVER).exit_code == 0


def test_a_broken_promise_is_1(held: events.ScenarioFinished, violated: events.ScenarioFinished) -> None:
    assert folded(held, violated, OVER).exit_code == 1


def test_a_broken_expectation_alone_is_1(held: events.ScenarioFinished) -> None:
    unmet = replace(held, verdict=replace(held.verdict, expectations=(checks.Expectation("x", met=False),)))
    assert folded(unmet, OVER).exit_code == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("x"), 2),
        (errors.EnvironmentFailedError("x"), 3),
        (RuntimeError("x"), 5),
        (errors.HydraNotifySimError("x"), 5),
    ],
)
def test_what_failed_beside_the_dispatcher_goes_before_what_it_broke(
    violated: events.ScenarioFinished, error: Exception, code: int
) -> None:
    assert folded(violated, failed(error), OVER).exit_code == code


def test_a_fault_of_the_harness_goes_before_the_environment() -> None:
    assert folded(failed(errors.EnvironmentFailedError("x")), failed(KeyError("x")), OVER).exit_code == 5


def test_nothing_played_is_4() -> None:
    assert folded(OVER).exit_code == 4
    assert folded(OVER).nothing_exercised == "no scenario was played"


def test_a_run_without_a_call_is_4(held: events.ScenarioFinished) -> None:
    silent = replace(held, history=history.History(held.history.header))
    assert folded(silent, OVER).exit_code == 4
    assert folded(silent, held, OVER).exit_code == 0


def test_a_scenario_that_did_not_exercise_its_promise_is_4(
    held: events.ScenarioFinished, unexercised: events.ScenarioFinished
) -> None:
    assert folded(held, unexercised, OVER).exit_code == 4


def test_interrupted_is_130_unless_something_broke(
    held: events.ScenarioFinished, violated: events.ScenarioFinished
) -> None:
    assert folded(held, INTERRUPTED).exit_code == 130
    assert folded(INTERRUPTED).exit_code == 130
    assert folded(violated, INTERRUPTED).exit_code == 1
    terminated = folded(held, INTERRUPTED)
    terminated.terminated = True
    assert terminated.exit_code == 143


def test_every_exit_code_has_words() -> None:
    assert set(summary.EXIT_WORDS) == {0, 1, 2, 3, 4, 5, 130, 143}


@pytest.mark.parametrize(
    ("judged", "over_the_run"),
    [
        (("held", "violated", "known"), "violated"),
        (("known", "held", "not_exercised"), "known"),
        (("not_exercised", "held"), "held"),
        (("held", "not_exercised"), "held"),
        (("not_exercised",), "not_exercised"),
    ],
)
def test_a_promise_over_the_run_is_the_worst_that_was_said_of_it(
    held: events.ScenarioFinished, judged: tuple[Judgement, ...], over_the_run: Judgement
) -> None:
    total = folded(
        *(
            replace(held, verdict=checks.StoryVerdict(Judgements((Verdict("B-clear", one, ""),), ())))
            for one in judged
        )
    )
    assert total.promises == {"B-clear": over_the_run}
    assert total.count(over_the_run) == 1
    assert total.having(over_the_run) == ["B-clear"]


def test_what_was_allowed_is_counted_by_promise(
    held: events.ScenarioFinished, violated: events.ScenarioFinished
) -> None:
    assert folded(held, violated, held).allowed == {("repeated", "B-at-least-once"): 2, ("lost", "E-gone"): 1}


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("hello for github: nobody listened; C-gone allows it", "lost: hello for github: nobody listened; C-gone allows it"),
        ("hello for github.", "lost: hello for github; C-gone allows it"),
        ("Lost: hello", "Lost: hello; C-gone allows it"),
    ],
)  # fmt: skip
def test_what_was_allowed_names_its_promise_once(what: str, text: str) -> None:
    assert summary.allowed_text(Allowed("lost", what, "C-gone")) == text


def test_an_unwritten_report_is_the_environments_failure(violated: events.ScenarioFinished) -> None:
    total = folded(violated, OVER)
    total.unwritten = True
    assert total.exit_code == 3


QUIRK = checks.KnownIssue("hn-stale-clear")
ENTRY = checks.KnownIssue("baseline-1", "B-clear", "a-story")


def sought(event: events.ScenarioFinished, found: dict[checks.KnownIssue, bool]) -> events.ScenarioFinished:
    return replace(event, verdict=replace(event.verdict, sought=found))


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (({QUIRK: True}, {QUIRK: False}), 0),
        (({QUIRK: False}, {QUIRK: True}), 0),
        (({QUIRK: False}, {}), 1),
        (({QUIRK: False}, {QUIRK: False}), 1),
        (({}, {}), 0),
        (({ENTRY: False, QUIRK: True}, {}), 1),
    ],
)
def test_a_known_issue_is_gone_only_if_no_story_finds_it(
    held: events.ScenarioFinished, found: tuple[dict[checks.KnownIssue, bool], ...], code: int
) -> None:
    """Which story finds it may depend on the order of the plugins, and so on the seed; how the run ends does not."""
    total = folded(*(sought(held, one) for one in found), OVER)
    assert total.exit_code == code
    assert total.ending == (summary.GONE if code else "every promise that was exercised held")


def test_what_to_do_about_a_known_issue_that_is_gone_depends_on_where_it_was_named() -> None:
    assert "--known file" not in summary.gone_text(QUIRK)
    assert "Take it out of the --known file" in summary.gone_text(ENTRY)
    assert "in a-story" in summary.gone_text(ENTRY)


def with_verdict(
    event: events.ScenarioFinished, *verdicts: Verdict, expected: str = ""
) -> events.ScenarioFinished:
    return replace(
        event,
        verdict=checks.StoryVerdict(Judgements(verdicts, ()), to_be_violated=frozenset({expected} - {""})),
    )


BROKEN = Verdict("B-live", "violated", "")
KNOWN = Verdict("L-stop", "known", "", quirk="hn-no-sigterm")
UNJUDGED = Verdict("R-poison", "held", "", reported=True)


@pytest.mark.parametrize(
    ("verdicts", "ending"),
    [
        ((), "every promise that was exercised held"),
        ((KNOWN,), "1 promise known to be broken; every other promise that was exercised held"),
        ((BROKEN,), "B-live violated, as the stories expect; every other promise that was exercised held"),
        (
            (UNJUDGED,),
            "R-poison broken, which the profile does not judge; every other promise that was exercised held",
        ),
        (
            (BROKEN, KNOWN),
            "B-live violated, as the stories expect; 1 promise known to be broken; every other promise that was exercised held",
        ),
    ],
)
def test_the_closing_sentence_says_what_was_broken_all_the_same(
    held: events.ScenarioFinished, verdicts: tuple[Verdict, ...], ending: str
) -> None:
    well = Verdict("B-clear", "held", "")
    total = folded(with_verdict(held, well, *verdicts, expected="B-live" if BROKEN in verdicts else ""), OVER)
    assert (total.exit_code, total.ending) == (0, ending)


def test_a_run_about_promises_is_not_content_with_a_violation_that_a_story_expects(
    held: events.ScenarioFinished,
) -> None:
    total = summary.Summary(required=("B-live",))
    for event in (with_verdict(held, BROKEN, expected="B-live"), OVER):
        total.take(event)
    assert (total.exit_code, total.ending) == (1, "a promise or an expectation was broken")
