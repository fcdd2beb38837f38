"""Profile ``upstream`` excuses what a quirk breaks where the quirk can have been at work, and nowhere else."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hydra_notify_sim.checks.circumstances import Circumstances
from hydra_notify_sim.checks.world import World
from hydra_notify_sim.contract.deviations import UPSTREAM

WAKEUP = ("hn-lost-wakeup", "L-no-stall")
STALLED = {("hn-lost-wakeup", promise) for promise in ("E-live", "B-live", "C-live")}
CLEARS = ("hn-first-success-clears", "B-clear-after")
LOSES = ("hn-first-success-clears", "B-at-least-once")
STALE = {
    ("hn-stale-clear", promise)
    for promise in ("B-clear-own", "B-at-least-once", "B-each-outcome", "B-clear-after")
}
UNFINISHED = ("hn-recovery-unfinished", "B-unfinished")
LIVELOCK = {("hn-retry-livelock", "R-gone-plugin"), ("hn-retry-livelock", "R-backoff")}
POISON = {("hn-poison-retry", "R-poison"), ("hn-poison-retry", "L-lives")}
DEAF = {("hn-deaf-after-reconnect", "L-reconnect"), ("hn-deaf-after-reconnect", "L-lives")}
TRUNCATED = {
    ("hn-truncated-dependents", promise)
    for promise in ("P-missing-row", "P-arguments", "B-clear-after", "B-dependents", "R-stored", "R-backoff")
}


def met(story: Any) -> set[tuple[str, str]]:
    """Return the quirks, with the promises, that can have been at work in a story."""
    world = World(story.header)
    folded = Circumstances(world)
    for number, record in enumerate(story.records):
        world.update(number, record)
        folded.take(record)
    return {(one.id, one.promise) for one in UPSTREAM if folded.met(one.id, one.promise)}


def up(story: Any) -> None:
    story.start()
    story.settle()


def nothing_much(story: Any) -> None:
    up(story)
    story.notify("build_queued", "5")
    story.deliver("build_queued", 5)
    story.settle()
    story.notify("build_started", "5")
    story.deliver("build_started", 5)
    story.settle()


def a_day(story: Any) -> None:
    up(story)
    story.notify("build_started", "5")
    story.settle()
    story.mark(5)
    story.settle()
    story.announce(5)
    story.deliver("build_finished", 5)
    story.settle()
    story.crash()


def a_crash_in_an_event(story: Any) -> None:
    up(story)
    story.mark(5)
    story.settle()
    story.announce(5)
    story.crash()


def another_outcome_in_an_event(story: Any) -> None:
    up(story)
    story.mark(5, status="failed")
    story.settle()
    story.announce(5)
    story.begin("github", "build_finished", 5)
    story.commit("finish", outcomes=(story.outcome(5),))


def another_outcome_later(story: Any) -> None:
    another_outcome_in_an_event(story)
    story.records.pop()
    story.records.pop()
    story.settle()
    story.commit("finish", outcomes=(story.outcome(5),))


def a_missing_dependent(story: Any) -> None:
    up(story)
    story.notify("build_finished", "5\t9", missing=("builds:9",))


def a_missing_build(story: Any) -> None:
    up(story)
    story.mark(5)
    story.settle()
    story.notify("build_finished", "9\t9\t5", missing=("builds:9",))


def a_lost_connection(story: Any) -> None:
    up(story)
    story.disconnect()


def one_after_the_other(story: Any) -> None:
    up(story)
    story.notify("build_queued", "5")
    story.notify("build_queued", "6")


def one_after_the_other_and_a_kick(story: Any) -> None:
    one_after_the_other(story)
    story.not_settled()


def a_kick_for_nothing(story: Any) -> None:
    up(story)
    story.not_settled()


def a_dependent_deleted_before_it_is_loaded(story: Any) -> None:
    up(story)
    story.mark(5, 6, status="failed")
    story.settle()
    story.announce(5, 6)
    story.delete("builds", "6")


def another_outcome_in_a_retry(story: Any) -> None:
    up(story)
    story.mark(5, 6, status="failed")
    story.settle()
    story.begin("github", "build_finished", 5, 6)
    story.commit("finish", outcomes=(story.outcome(6),))


def a_task_of_an_unfinished_build(story: Any) -> None:
    story.insert_task("github", "build_finished", "5")
    up(story)


def a_task_whose_build_comes_later(story: Any) -> None:
    up(story)
    story.insert_task("github", "build_finished", "9")
    story.observe(force=True)
    story.builds(9)


def a_line_break_inside(story: Any) -> None:
    up(story)
    story.notify("build_queued", "5\n\t6")


def a_digit_of_another_script(story: Any) -> None:
    up(story)
    story.notify("build_queued", "\uff15")


def a_plugin_that_is_gone(story: Any) -> None:
    up(story)
    story.insert_task("slack", "build_queued", "5")
    story.observe(force=True)


def a_plugin_that_lost_its_hook(story: Any) -> None:
    story.insert_task("github", "build_queued", "5")
    story.start(github=["build_started", "build_finished"])


def a_task_like_any_other(story: Any) -> None:
    up(story)
    story.insert_task("github", "build_queued", "5")
    story.observe(force=True)


def a_poisoned_task(story: Any) -> None:
    story.insert_task("github", "build_queued", "five")
    story.start()


def nobody_interested(story: Any) -> None:
    story.start(github=["build_queued"])


def a_restart(story: Any) -> None:
    up(story)
    story.mark(5)
    story.settle()
    story.restart(5)


def a_notification_of_an_unfinished_build(story: Any) -> None:
    up(story)
    story.notify("build_finished", "5")


def a_stop(story: Any) -> None:
    up(story)
    story.stopping()


def an_empty_trace(story: Any) -> None:
    up(story)
    story.notify("eval_started", "\t1")


def an_evaluation_of_september(story: Any) -> None:
    story.header = msgspec.structs.replace(story.header, payloads="2026-09")
    up(story)
    story.notify("eval_failed", "1.5.9\t1\t1")


def a_broken_payload(story: Any) -> None:
    up(story)
    story.notify("build_queued", "\t1")


@pytest.mark.parametrize(
    ("tell", "expected"),
    [
        (nothing_much, set()),
        (a_day, {CLEARS}),
        (a_crash_in_an_event, {LOSES}),
        (another_outcome_in_an_event, {CLEARS, *STALE}),
        (another_outcome_later, {CLEARS}),
        (a_missing_dependent, {UNFINISHED, *TRUNCATED}),
        (a_missing_build, set()),
        (a_lost_connection, DEAF),
        (one_after_the_other, {WAKEUP}),
        (one_after_the_other_and_a_kick, {WAKEUP, *STALLED}),
        (a_kick_for_nothing, set()),
        (a_dependent_deleted_before_it_is_loaded, TRUNCATED),
        (another_outcome_in_a_retry, {CLEARS, *STALE}),
        (a_task_of_an_unfinished_build, {UNFINISHED}),
        (a_task_whose_build_comes_later, {UNFINISHED}),
        (a_line_break_inside, {("hn-loose-parse", "P-malformed")}),
        (a_digit_of_another_script, {("hn-unicode-digits", "P-malformed")}),
        (a_plugin_that_is_gone, LIVELOCK),
        (a_plugin_that_lost_its_hook, LIVELOCK),
        (a_task_like_any_other, set()),
        (a_poisoned_task, POISON),
        (nobody_interested, {("hn-never-cleared", "B-clear")}),
        (a_restart, {UNFINISHED}),
        (a_notification_of_an_unfinished_build, {UNFINISHED}),
        (a_stop, {("hn-no-sigterm", "L-stop")}),
        (an_empty_trace, {("hn-empty-trace", "P-malformed")}),
        (an_evaluation_of_september, {("hn-old-payloads", "E-live")}),
        (a_broken_payload, set()),
    ],
)
def test_each_story_gives_just_the_quirks_that_can_be_at_work_in_it(
    story: Any, tell: Callable[[Any], None], expected: set[tuple[str, str]]
) -> None:
    tell(story)
    assert met(story) == expected


def test_there_is_a_story_for_whatever_profile_upstream_excuses(make_story: Any) -> None:
    parameters = test_each_story_gives_just_the_quirks_that_can_be_at_work_in_it.pytestmark[0].args[1]  # type: ignore[attr-defined]  # what the mark leaves
    told: set[tuple[str, str]] = set().union(*(expected for _, expected in parameters))
    assert told == {(one.id, one.promise) for one in UPSTREAM}


def test_what_a_quirk_breaks_without_its_circumstances_is_violated(story: Any) -> None:
    """It ends by itself, without a lost connection and without a task that cannot be read."""
    up(story)
    story.ended()
    judged = story.judge("upstream")
    assert judged.violated == {"L-lives"}
    assert not judged.known


def test_the_same_after_a_lost_connection_is_known(story: Any) -> None:
    up(story)
    story.disconnect()
    story.ended()
    judged = story.judge("upstream")
    assert not judged.violated
    assert judged["L-lives"].quirk == "hn-deaf-after-reconnect"


def test_a_build_that_is_lost_without_a_crash_is_violated(story: Any) -> None:
    up(story)
    story.finish(5)
    story.call("github", "build_finished", 5)
    story.clear(5)
    story.settle()
    judged = story.judge("upstream")
    assert "B-at-least-once" in judged.violated
    assert "B-clear-after" in judged.known


def test_where_two_quirks_may_have_done_it_both_are_named(story: Any) -> None:
    up(story)
    story.finish(5)
    story.call("github", "build_finished", 5)
    story.restart(5)
    story.finish(5, status="failed")
    story.clear(5)
    story.crash()
    up(story)
    story.settle()
    lost = story.judge("upstream")["B-at-least-once"]
    assert lost.verdict == "known"
    assert lost.quirk == "hn-first-success-clears"
    assert "(hn-first-success-clears explains it, and so would hn-stale-clear.)" in lost.explanation
