from typing import Any

import pytest

from hydra_notify_sim import history


def _finished_while_up(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    solo.deliver("build_finished", 5)
    solo.settle()


def test_b_at_least_once_held(solo: Any) -> None:
    solo.start()
    solo.settle()
    solo.crash()
    marked, _ = solo.finish(5)
    solo.start(up=False)
    solo.deliver("build_finished", 5)
    solo.up()
    solo.settle()
    assert solo.judge()["B-at-least-once"].records == (marked,)
    assert {"B-at-least-once", "B-recover", "B-clear", "B-clear-after"} <= solo.judge().held
    assert not solo.judge().violated


def test_b_at_least_once_violated(solo: Any) -> None:
    solo.start()
    marked, announced = solo.finish(5)
    settled = solo.settle()
    judged = solo.judge()
    assert judged.violated == {"B-at-least-once", "B-live"}
    assert judged["B-at-least-once"].records == (marked, announced, settled)
    assert "b5 finished (succeeded, stopped at" in judged.why["B-at-least-once"]
    assert "github should have been shown that outcome or have a stored task" in judged.why["B-at-least-once"]


def test_b_at_least_once_a_stored_task_will_do(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    solo.fail("github", "build_finished", 5)
    solo.clear(5)
    solo.settle()
    assert not solo.judge().violated
    assert "B-at-least-once" in solo.judge().held


def test_b_at_least_once_given_up_is_owed_nothing_more(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    solo.fail("github", "build_finished", 5)
    solo.clear(5)
    solo.settle()
    solo.delete("taskretries", "1")
    solo.settle()
    assert not solo.judge().violated


def test_b_at_least_once_restarted_before_the_next_settled_moment(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    solo.restart(5)
    solo.settle()
    assert not solo.judge().violated


def test_b_at_least_once_not_owed_before_the_next_start_if_nobody_told(solo: Any) -> None:
    """The queue runner marks and dies before it notifies (quirk qr-notify-gap)."""
    solo.start()
    solo.mark(5)
    solo.settle()
    assert not solo.judge().violated
    solo.crash()
    solo.start()
    solo.settle()
    assert solo.judge().violated == {"B-at-least-once", "B-recover"}


def test_b_at_least_once_the_main_build_was_unfinished_by_then(solo: Any) -> None:
    """Named only as a dependent of a build that is restarted before its event is handled."""
    solo.start()
    solo.finish(5, 5, 6, status="failed")
    solo.restart(5)
    solo.settle()
    assert not solo.judge().violated


def test_b_at_least_once_the_mark_is_cancelled_over(solo: Any) -> None:
    """A build cancelled over a stale mark is pending; no NOTIFY: owed from the next start on."""
    solo.finish(5, status="failed")
    solo.start(up=False)
    solo.up()
    solo.restart(5)
    solo.commit("cancelled", actor="person", outcomes=(solo.outcome(5, "cancelled"),))
    solo.settle()
    assert not solo.judge().violated
    solo.crash()
    solo.start(up=False)
    solo.deliver("build_finished", 5)
    solo.up()
    solo.settle()
    assert not solo.judge().violated


def test_b_at_least_once_repeated_is_allowed(story: Any) -> None:
    story.start()
    story.finish(5)
    story.call("github", "build_finished", 5)
    story.crash()
    story.start(up=False)
    story.deliver("build_finished", 5)
    story.up()
    story.settle()
    assert not story.judge().violated
    assert story.judge().allowed == [("repeated", "build_finished", "B-at-least-once")]


def test_plugins_change_between_lives(story: Any) -> None:
    """Who was interested when the mark was cleared is owed; while it is not cleared, who is interested now."""
    story.start(github=["build_finished"])
    story.finish(5)
    story.deliver("build_finished", 5)
    story.finish(6)
    story.crash()
    story.start(up=False, chat=["build_finished"])
    story.deliver("build_finished", 6)
    story.up()
    story.settle()
    assert not story.judge().violated


def test_b_live_held(story: Any) -> None:
    """Mark or no mark: a notification sent again by hand is delivered too."""
    _finished_while_up(story)
    story.notify("build_finished", "5")
    story.deliver("build_finished", 5)
    story.settle()
    assert not story.judge().violated
    assert "B-live" in story.judge().held


def test_b_live_violated(solo: Any) -> None:
    _finished_while_up(solo)
    again = solo.notify("build_finished", "5")
    settled = solo.settle()
    judged = solo.judge()
    assert judged.violated == {"B-live"}
    assert judged["B-live"].records == (again, settled)
    assert "github should have been called, and was not" in judged.why["B-live"]


def test_b_live_failed_and_not_stored(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    failed = solo.fail("github", "build_finished", 5, stored=False)
    solo.settle()
    judged = solo.judge()
    assert {"B-live", "R-stored", "B-at-least-once"} <= judged.violated
    assert failed in judged["B-live"].records


def test_b_live_asks_nothing_if_the_main_build_was_unfinished_at_some_time(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    solo.restart(5)
    solo.finish(5, status="failed")
    solo.deliver("build_finished", 5)
    solo.settle()
    assert not solo.judge().violated


def test_b_recover_held(solo: Any) -> None:
    solo.finish(5)
    start = solo.start(up=False)
    solo.deliver("build_finished", 5)
    solo.up()
    solo.settle()
    assert solo.judge()["B-recover"].records == (start,)
    assert "B-recover" in solo.judge().held


def test_b_recover_violated(solo: Any) -> None:
    marked, _ = solo.finish(5)
    start = solo.start()
    settled = solo.settle()
    judged = solo.judge()
    assert judged.violated == {"B-recover", "B-at-least-once"}
    assert judged["B-recover"].records == (marked, start, settled)
    assert "b5 carried a mark as the dispatcher started" in judged.why["B-recover"]
    assert "should have been delivered to github" in judged.why["B-recover"]


def test_b_recover_as_the_manual_words_it_takes_unfinished_builds_too(solo: Any) -> None:
    solo.finish(5)
    solo.restart(5)
    start = solo.start()
    solo.settle()
    assert not solo.judge().violated
    assert solo.judge("manual").violated == {"B-recover"}
    assert start in solo.judge("manual")["B-recover"].records
    solo.records.pop()
    solo.call("github", "build_finished", 5)
    solo.settle()
    assert solo.judge().violated == {"B-unfinished"}
    manual = solo.judge("manual")
    assert not manual.violated
    assert "B-unfinished, not judged under profile manual: " in manual.reported


def test_b_recover_the_connection_was_lost_while_the_mark_was_being_cleared(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    solo.call("github", "build_finished", 5)
    solo.disconnect()
    solo.clear(5)
    solo.up()
    solo.settle()
    assert not solo.judge().violated


def test_b_recover_what_this_life_had_shown_need_only_be_acknowledged(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    solo.call("github", "build_finished", 5)
    solo.disconnect()
    solo.up()
    solo.clear(5)
    solo.settle()
    assert not solo.judge().violated


def test_b_recover_what_an_earlier_life_had_shown_is_told_again(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    solo.call("github", "build_finished", 5)
    solo.crash()
    solo.start(up=False)
    solo.disconnect()
    solo.up()
    solo.clear(5)
    solo.settle()
    assert "B-recover" in solo.judge().violated


def test_b_recover_what_was_never_shown_is_not_acknowledged_unseen(solo: Any) -> None:
    solo.start()
    solo.disconnect()
    solo.mark(5)
    solo.up()
    solo.clear(5)
    solo.settle()
    assert solo.judge().violated


def test_b_listen_first_held(solo: Any) -> None:
    solo.start(up=False)
    marked, _ = solo.finish(5)
    solo.deliver("build_finished", 5)
    solo.up()
    solo.settle()
    assert solo.judge()["B-listen-first"].records == (marked,)
    assert not solo.judge().violated


def test_b_listen_first_violated(solo: Any) -> None:
    solo.start(up=False)
    marked, announced = solo.finish(5)
    solo.up()
    settled = solo.settle()
    judged = solo.judge()
    assert judged.violated == {"B-listen-first", "B-at-least-once"}
    assert judged["B-listen-first"].records == (marked, announced, settled)


def test_b_clear_after_held(story: Any) -> None:
    story.start()
    story.finish(5)
    story.fail("github", "build_finished", 5)
    story.call("chat", "build_finished", 5)
    story.clear(5)
    story.settle()
    assert "B-clear-after" in story.judge().held
    assert not story.judge().violated


def test_b_clear_after_violated(story: Any) -> None:
    """The first plugin's success clears the mark for all (quirk hn-first-success-clears)."""
    story.start()
    marked, _ = story.finish(5)
    story.call("github", "build_finished", 5)
    cleared = story.clear(5)
    story.call("chat", "build_finished", 5)
    story.settle()
    judged = story.judge()
    assert judged.violated == {"B-clear-after"}
    assert judged["B-clear-after"].records == (marked, cleared)
    assert "the mark of b5 (succeeded" in judged.why["B-clear-after"]
    assert "it was cleared, and chat had not" in judged.why["B-clear-after"]


def test_b_clear_after_a_failure_that_was_not_stored(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    solo.fail("github", "build_finished", 5, stored=False)
    solo.clear(5)
    assert "B-clear-after" in solo.judge().violated


def test_b_clear_after_failed_by_a_missing_row(solo: Any) -> None:
    solo.start()
    solo.mark(5)
    solo.notify("build_finished", "5\t99", missing=("builds:99",))
    solo.store("github", "build_finished", "5\t99")
    solo.clear(5)
    solo.settle()
    assert not solo.judge().violated


def test_b_clear_after_a_row_that_is_deleted_takes_its_mark_along(solo: Any) -> None:
    solo.start()
    solo.mark(5)
    solo.observe()
    solo.delete("builds", "5")
    solo.settle()
    assert not solo.judge().violated


def test_b_clear_after_rows_seen_while_the_commit_is_under_way(solo: Any) -> None:
    """Rows are looked at before COMMIT has taken effect, and show no mark yet."""
    solo.start()
    sent = solo.send("insert", outcomes=(solo.outcome(5),), actor="harness")
    mark = solo.marks.pop(5)
    solo.observe(force=True)
    solo.add(history.Committed, commit=sent)
    solo.marks[5] = mark
    solo.notify("build_finished", "5")
    solo.deliver("build_finished", 5)
    solo.settle()
    assert not solo.judge().violated


def test_b_clear_held(solo: Any) -> None:
    _finished_while_up(solo)
    assert "B-clear" in solo.judge().held


def test_b_clear_violated(solo: Any) -> None:
    solo.start()
    marked, _ = solo.finish(5)
    call = solo.call("github", "build_finished", 5)
    settled = solo.settle()
    judged = solo.judge()
    assert judged.violated == {"B-clear"}
    assert {marked, call, settled} <= set(judged["B-clear"].records)
    assert "its mark should be cleared; it is still there" in judged.why["B-clear"]


def test_b_clear_where_nobody_is_interested(make_story: Any) -> None:
    story = make_story({"github": ("build_queued",)})
    story.builds(5)
    story.start()
    _, announced = story.finish(5)
    story.settle()
    assert announced in story.judge()["B-clear"].records
    assert story.judge().violated == {"B-clear"}
    story.records.pop()
    story.clear(5)
    story.settle()
    assert not story.judge().violated
    assert "B-clear" in story.judge().held


def test_b_clear_where_nobody_is_interested_and_a_row_is_missing(make_story: Any) -> None:
    story = make_story({"github": ("build_queued",)})
    story.builds(5)
    story.start()
    story.mark(5)
    story.notify("build_finished", "5\t99", missing=("builds:99",))
    story.settle()
    assert not story.judge().violated


@pytest.mark.parametrize("cleared", [True, False])
def test_b_clear_while_a_failure_is_stored_or_a_retry_came_last(story: Any, *, cleared: bool) -> None:
    story.start()
    story.finish(5)
    story.fail("github", "build_finished", 5)
    story.call("chat", "build_finished", 5)
    if cleared:
        story.clear(5)
    story.settle()
    story.wait(2)
    story.call("github", "build_finished", 5)
    story.drop(1)
    story.settle()
    assert not story.judge().violated


def test_b_clear_not_after_a_transition_since_the_first_call(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    call = solo.begin("github", "build_finished", 5)
    solo.restart(5)
    solo.mark(5, status="failed", stop=int(solo.now) + 1)
    solo.returned(call)
    solo.settle()
    assert not solo.judge().violated


def _overtaken(solo: Any, *, same_second: bool = False) -> tuple[int, int]:
    """It fails, and while that is being told it is restarted and succeeds."""
    solo.start()
    solo.finish(5, status="failed")
    row = solo.row(5)
    call = solo.begin("github", "build_finished", 5, rows={5: row})
    record = len(solo.records) - 1
    solo.restart(5)
    if not same_second:
        solo.wait(1)
    later = solo.mark(5)
    solo.returned(call)
    return record, later


@pytest.mark.parametrize("same_second", [True, False])
def test_b_clear_own_held(solo: Any, *, same_second: bool) -> None:
    _, later = _overtaken(solo, same_second=same_second)
    solo.announce(5)
    solo.deliver("build_finished", 5)
    solo.settle()
    assert solo.judge()["B-clear-own"].records == (later,)
    assert not solo.judge().violated


@pytest.mark.parametrize("same_second", [True, False])
def test_b_clear_own_violated(solo: Any, *, same_second: bool) -> None:
    call, later = _overtaken(solo, same_second=same_second)
    cleared = solo.clear(5)
    solo.announce(5)
    solo.call("github", "build_finished", 5)
    solo.settle()
    judged = solo.judge()
    assert judged.violated == {"B-clear-own", "B-clear-after"}
    assert judged["B-clear-own"].records == (call, later, cleared)
    assert "it cleared the mark of a later one (succeeded" in judged.why["B-clear-own"]


def test_b_clear_own_is_not_what_the_later_outcomes_own_event_breaks(story: Any) -> None:
    """It clears after its first plugin; the older outcome's event is over."""
    story.start()
    story.finish(5, status="failed")
    for plugin in ("github", "chat"):
        story.call(plugin, "build_finished", 5)
    story.restart(5)
    story.finish(5)
    story.call("github", "build_finished", 5)
    story.clear(5)
    story.call("chat", "build_finished", 5)
    story.settle()
    assert story.judge().violated == {"B-clear-after"}


def test_b_clear_own_is_not_broken_by_an_event_that_was_settled(story: Any) -> None:
    """Somebody else's plugin was called for the later outcome, and its mark cleared, before any of ours."""
    story.start()
    story.finish(6, 5, status="failed")
    for plugin in ("github", "chat"):
        story.call(plugin, "build_finished", 6, 5)
    story.restart(5)
    story.clear(6)
    story.settle()
    story.finish(5)
    story.clear(5)
    story.deliver("build_finished", 5)
    story.settle()
    assert story.judge().violated == {"B-clear-after"}


def test_b_clear_own_a_failed_older_outcome_gives_no_right_to_the_later_mark(solo: Any) -> None:
    solo.start()
    solo.finish(5, status="failed")
    call = solo.begin("github", "build_finished", 5)
    solo.restart(5)
    solo.wait(1)
    solo.mark(5)
    solo.raised(call)
    solo.store("github", "build_finished", "5")
    solo.clear(5)
    assert {"B-clear-own", "B-clear-after"} <= solo.judge().violated


def test_transitions_equal_in_status_and_times_are_one_outcome(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    stop = solo.rows[5]["stoptime"]
    call = solo.begin("github", "build_finished", 5)
    solo.restart(5)
    solo.mark(5, stop=stop)
    solo.returned(call)
    solo.clear(5)
    solo.settle()
    assert not solo.judge().violated


def test_b_unfinished_held(solo: Any) -> None:
    _finished_while_up(solo)
    solo.restart(5)
    late = solo.notify("build_finished", "5")
    solo.settle()
    assert solo.judge()["B-unfinished"].records == (late,)
    assert not solo.judge().violated


def test_b_unfinished_violated(solo: Any) -> None:
    _finished_while_up(solo)
    solo.restart(5)
    solo.notify("build_finished", "5")
    call = solo.call("github", "build_finished", 5)
    solo.settle()
    judged = solo.judge()
    assert judged.violated == {"B-unfinished"}
    assert judged["B-unfinished"].records == (call,)
    assert "github was told that b5 had finished, and its row is unfinished" in judged.why["B-unfinished"]


def test_b_unfinished_clears_nothing(solo: Any) -> None:
    solo.finish(5)
    solo.restart(5)
    solo.start()
    cleared = solo.clear(5)
    solo.settle()
    judged = solo.judge()
    assert judged.violated == {"B-unfinished"}
    assert cleared in judged["B-unfinished"].records


def test_b_unfinished_a_task_is_put_off(solo: Any) -> None:
    solo.start()
    solo.finish(5, 5, 6, status="failed")
    solo.fail("github", "build_finished", 5, 5, 6)
    solo.clear(5, 6)
    solo.settle()
    solo.restart(5)
    solo.wait(2)
    put_off = solo.requeue(1, 1)
    solo.settle()
    assert not solo.judge().violated
    assert put_off in solo.judge()["B-unfinished"].records


@pytest.mark.parametrize(("named", "dropped_is_wrong"), [((5,), False), ((5, 5, 6), True)])
def test_b_unfinished_a_task_that_names_others_is_not_dropped(
    solo: Any, named: tuple[int, ...], *, dropped_is_wrong: bool
) -> None:
    solo.start()
    solo.finish(*named, status="failed")
    solo.fail("github", "build_finished", *named)
    solo.clear(5, 6)
    solo.settle()
    solo.restart(5)
    solo.wait(2)
    dropped = solo.drop(1)
    solo.settle()
    judged = solo.judge()
    assert judged.violated == ({"B-unfinished"} if dropped_is_wrong else set())
    assert dropped in judged["B-unfinished"].records
    if dropped_is_wrong:
        assert "it should be put off; it was dropped" in judged.why["B-unfinished"]


def _red_then_green(solo: Any) -> tuple[int, int]:
    solo.start()
    solo.finish(5, status="failed")
    solo.deliver("build_finished", 5)
    solo.settle()
    solo.restart(5)
    return solo.finish(5)


def test_b_each_outcome_held(solo: Any) -> None:
    marked, _ = _red_then_green(solo)
    solo.deliver("build_finished", 5)
    solo.settle()
    assert solo.judge()["B-each-outcome"].records == (marked,)
    assert not solo.judge().violated


def test_b_each_outcome_violated(solo: Any) -> None:
    marked, announced = _red_then_green(solo)
    settled = solo.settle()
    judged = solo.judge()
    assert judged.violated == {"B-each-outcome", "B-live", "B-at-least-once"}
    assert judged["B-each-outcome"].records == (marked, announced, settled)
    assert "b5 finished again (succeeded" in judged.why["B-each-outcome"]


def test_b_each_outcome_the_last_delivery_shows_the_last(solo: Any) -> None:
    _red_then_green(solo)
    row = {**solo.row(5), "buildstatus": 1, "stoptime": solo.rows[5]["stoptime"] - 1}
    row["starttime"] = row["stoptime"] - 1
    solo.deliver("build_finished", 5)
    solo.notify("build_finished", "5")
    solo.call("github", "build_finished", 5, rows={5: row})
    solo.settle()
    judged = solo.judge()
    assert {"B-each-outcome", "B-fresh"} == judged.violated
    assert "should show the last outcome (succeeded" in judged.why["B-each-outcome"]


def test_b_each_outcome_one_that_replaces_an_unseen_one_is_accepted(solo: Any) -> None:
    solo.finish(5, status="failed")
    solo.restart(5)
    solo.finish(5)
    solo.start(up=False)
    solo.deliver("build_finished", 5)
    solo.up()
    solo.settle()
    assert not solo.judge().violated


def test_b_dependents_held(story: Any) -> None:
    story.start()
    story.finish(5, 5, 6, status="failed")
    story.deliver("build_finished", 5, 5, 6)
    story.settle()
    assert "B-dependents" in story.judge().held
    assert not story.judge().violated


def test_b_dependents_violated(solo: Any) -> None:
    """Their marks are left."""
    solo.start()
    solo.finish(5, 5, 6, status="failed")
    call = solo.call("github", "build_finished", 5, 5, 6)
    solo.clear(5)
    settled = solo.settle()
    judged = solo.judge()
    assert judged.violated == {"B-dependents", "B-clear"}
    assert {call, settled} <= set(judged["B-dependents"].records)
    assert "the outcome of b6 (dependency_failed" in judged.why["B-dependents"]


def test_b_dependents_unfinished_ones_are_handed_over_as_they_are(solo: Any) -> None:
    solo.start()
    solo.finish(5, 5, 6, status="failed")
    solo.restart(6)
    solo.call("github", "build_finished", 5, 5, 6)
    solo.clear(5)
    solo.settle()
    assert not solo.judge().violated
    solo.records.pop()
    cleared = solo.clear(6)
    solo.settle()
    judged = solo.judge()
    assert judged.violated == {"B-dependents"}
    assert cleared in judged["B-dependents"].records
    assert "b6 is unfinished: an event that names it should clear nothing of it" in judged.why["B-dependents"]


def test_b_fresh_held(solo: Any) -> None:
    _finished_while_up(solo)
    assert "B-fresh" in solo.judge().held


@pytest.mark.parametrize("finished", [0, 1])
def test_b_fresh_violated(solo: Any, finished: int) -> None:
    solo.start()
    marked, announced = solo.finish(5)
    old = {**solo.row(5), "finished": finished, "buildstatus": 1}
    call = solo.call("github", "build_finished", 5, rows={5: old})
    solo.settle()
    judged = solo.judge()
    assert "B-fresh" in judged.violated
    assert judged["B-fresh"].records == (marked, announced, call)
    assert "at least as new as the notification (succeeded" in judged.why["B-fresh"]


def test_b_fresh_rows_loaded_before_a_restart_are_fresh_enough(solo: Any) -> None:
    """Also of a build of which nothing is remembered any more."""
    _finished_while_up(solo)
    solo.notify("build_finished", "5")
    row = solo.row(5)
    solo.restart(5)
    solo.call("github", "build_finished", 5, rows={5: row})
    solo.settle()
    assert not solo.judge().violated


def test_b_fresh_an_outcome_may_be_under_way_when_a_notification_is_sent(solo: Any) -> None:
    solo.start()
    solo.mark(5)
    before = solo.row(6)
    sent = solo.send("insert", outcomes=(solo.outcome(6),), actor="harness")
    solo.notify("build_finished", "5\t6")
    solo.call("github", "build_finished", 5, 6, rows={6: before})
    solo.clear(5)
    solo.add(history.Committed, commit=sent)
    solo.notify("build_finished", "6")
    solo.deliver("build_finished", 6)
    solo.settle()
    assert not solo.judge().violated
