from typing import Any

import pytest

from hydra_notify_sim import history
from hydra_notify_sim.contract import profiles
from hydra_notify_sim.contract.promises import PROMISES


def _clears_too_early(story: Any) -> None:
    story.start()
    story.finish(5)
    story.call("github", "build_finished", 5)
    story.clear(5)
    story.call("chat", "build_finished", 5)
    story.settle()


def test_there_is_a_verdict_for_every_promise_in_the_order_of_the_contract(story: Any) -> None:
    ids = [verdict.promise for verdict in story.judge().judgements.verdicts]
    assert ids == [promise.id for promise in PROMISES]


def test_an_empty_history_exercises_nothing(make_story: Any) -> None:
    judged = make_story().judge()
    assert {verdict.verdict for verdict in judged.judgements.verdicts} == {"not_exercised"}


def test_a_promise_that_was_broken_once_is_violated_however_often_it_was_kept(story: Any) -> None:
    _clears_too_early(story)
    story.finish(6)
    story.deliver("build_finished", 6)
    story.settle()
    assert story.judge()["B-clear-after"].verdict == "violated"


def test_further_violations_are_counted_and_proved(story: Any) -> None:
    story.start()
    sent = [story.notify("build_queued", str(build)) for build in (5, 6, 7)]
    story.settle()
    verdict = story.judge()["E-live"]
    assert set(sent) <= set(verdict.records)
    assert verdict.explanation.endswith("(2 more of this kind.)")


def test_profile_manual_judges_what_the_manual_says_and_reports_the_rest(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.notify("build_started", "5")
    story.deliver("build_started", 5)
    story.deliver("build_queued", 5)
    story.settle()
    assert story.judge().violated == {"E-order"}
    manual = story.judge("manual")
    assert not manual.violated
    assert "E-order, not judged under profile manual: " in manual.reported
    assert "Broken, and not judged under profile manual" in manual["E-order"].explanation


def test_profile_upstream_knows_hydras_deviations(story: Any) -> None:
    _clears_too_early(story)
    upstream = story.judge("upstream")
    assert not upstream.violated
    assert upstream.known == {"B-clear-after"}
    assert upstream["B-clear-after"].quirk == "hn-first-success-clears"


def test_profile_upstream_names_the_quirk_that_the_scenario_names(make_story: Any) -> None:
    story = make_story(known={"hn-stale-clear": ("B-clear-after",)}, profile="upstream")
    story.builds(5)
    _clears_too_early(story)
    assert story.judge()["B-clear-after"].quirk == "hn-stale-clear"


def test_profile_upstream_fails_what_no_quirk_explains(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.settle()
    assert story.judge("upstream").violated == {"E-live"}


def test_the_profile_given_overrides_the_one_in_the_header(make_story: Any) -> None:
    story = make_story(profile="manual")
    story.builds(5)
    _clears_too_early(story)
    assert story.judge().violated == {"B-clear-after"}
    assert story.judge("upstream").known == {"B-clear-after"}


def test_an_unknown_profile_is_a_users_error(make_story: Any) -> None:
    with pytest.raises(profiles.UnknownProfileError, match="no profile 'strikt'"):
        make_story(profile="strikt").judge()


def test_what_follows_on_a_commit_that_never_returns_is_judged_in_the_end(story: Any) -> None:
    story.start()
    story.send("notify", history.Notification("build_queued", "5", raw=True), actor="person")
    call = story.call("github", "build_queued", 6)
    story.settle()
    assert story.judge()["E-no-phantom"].records == (call,)
