from typing import Any

import pytest

from hydra_notify_sim import history


def test_e_live_held(story: Any) -> None:
    story.start()
    sent = story.notify("build_queued", "5")
    story.deliver("build_queued", 5)
    story.settle()
    assert story.judge()["E-live"].records == (sent,)
    assert not story.judge().violated


def test_e_live_violated(story: Any) -> None:
    story.start()
    sent = story.notify("build_queued", "5")
    story.call("github", "build_queued", 5)
    settled = story.settle()
    judged = story.judge()
    assert judged.violated == {"E-live"}
    assert judged["E-live"].records == (sent, settled)
    assert "build_queued b5 was emitted while the dispatcher was up" in judged.why["E-live"]
    assert "chat should have been called, and was not" in judged.why["E-live"]


def test_e_live_is_content_with_a_stored_failure(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.fail("github", "build_queued", 5)
    story.call("chat", "build_queued", 5)
    story.settle()
    assert {"E-live", "R-stored", "R-isolated", "R-backoff"} <= story.judge().held
    assert not story.judge().violated


def test_e_live_asks_nothing_of_who_is_not_interested(make_story: Any) -> None:
    story = make_story({"github": ("build_finished",)})
    story.builds(5)
    story.start()
    story.notify("build_queued", "5")
    story.settle()
    assert story.judge()["E-live"].verdict == "not_exercised"


def test_e_live_lost_on_the_way_is_allowed(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.call("github", "build_queued", 5)
    story.crash()
    story.start()
    story.settle()
    judged = story.judge()
    assert not judged.violated
    assert judged.allowed == [("lost", "build_queued", "E-live")]
    assert "for chat" in judged.judgements.allowed[0].what


def test_e_live_a_commit_in_flight_is_not_owed_yet(story: Any) -> None:
    story.start()
    note = history.Notification("build_queued", "5", raw=True)
    sent = story.send("notify", note, actor="person")
    story.settle()
    assert not story.judge().violated
    story.add(history.Committed, commit=sent)
    story.settle()
    assert story.judge().violated == {"E-live"}
    story.records.pop()
    story.deliver("build_queued", 5)
    story.settle()
    assert not story.judge().violated


def test_a_call_may_be_recorded_before_the_commit_has_returned(story: Any) -> None:
    story.start()
    sent = story.send("notify", history.Notification("build_queued", "5", raw=True), actor="person")
    story.deliver("build_queued", 5)
    story.settle()
    story.add(history.Committed, commit=sent)
    story.settle()
    assert not story.judge().violated


def test_a_refused_commit_never_happened(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5", ok=False)
    story.commit("mark_finished", outcomes=(story.outcome(5),), ok=False)
    story.notify("build_finished", "5", ok=False)
    story.marks.clear()
    story.settle()
    assert not story.judge().violated
    sent = story.send("notify", history.Notification("build_queued", "6", raw=True), actor="person")
    call = story.call("github", "build_queued", 6)
    story.add(history.Committed, commit=sent, ok=False)
    story.settle()
    assert story.judge()["E-no-phantom"].records == (call,)


def test_e_once_held(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.deliver("build_queued", 5)
    story.settle()
    assert "E-once" in story.judge().held


def test_e_once_violated(story: Any) -> None:
    story.start()
    sent = story.notify("build_queued", "5")
    story.deliver("build_queued", 5)
    again = story.call("chat", "build_queued", 5)
    story.settle()
    judged = story.judge()
    assert judged.violated == {"E-once"}
    assert judged["E-once"].records == (sent, again)
    assert "emitted once, and every call that this allows chat had been made" in judged.why["E-once"]


@pytest.mark.parametrize("settled_between", [True, False])
def test_e_once_equal_emissions_of_two_transactions_are_two(story: Any, *, settled_between: bool) -> None:
    story.start()
    story.notify("build_queued", "5")
    if settled_between:
        story.deliver("build_queued", 5)
        story.settle()
    story.notify("build_queued", "5")
    if not settled_between:
        story.deliver("build_queued", 5)
    story.deliver("build_queued", 5)
    story.settle()
    assert not story.judge().violated


def test_equal_notifications_of_one_transaction_are_one(story: Any) -> None:
    note = history.Notification("build_queued", "5", raw=True)
    story.start()
    story.commit("notify", note, note, actor="person")
    story.deliver("build_queued", 5)
    story.settle()
    assert not story.judge().violated
    story.call("github", "build_queued", 5)
    story.settle()
    assert "E-once" in story.judge().violated


def test_e_once_a_call_whose_task_was_still_stored_may_be_repeated(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.fail("github", "build_queued", 5)
    story.call("chat", "build_queued", 5)
    story.settle()
    story.wait(2)
    story.call("github", "build_queued", 5)
    story.crash()
    story.start()
    story.call("github", "build_queued", 5)
    story.drop(1)
    story.settle()
    judged = story.judge()
    assert not judged.violated
    assert judged.allowed == [("repeated", "build_queued", "E-once")]


def test_e_gone_held(story: Any) -> None:
    sent = story.notify("build_queued", "5")
    story.start()
    story.settle()
    judged = story.judge()
    assert judged["E-gone"].records == (sent,)
    assert "E-gone" in judged.held
    assert judged.allowed == [("lost", "build_queued", "E-gone")]


def test_e_gone_violated(story: Any) -> None:
    sent = story.notify("build_queued", "5")
    story.start()
    call = story.call("github", "build_queued", 5)
    story.settle()
    judged = story.judge()
    assert judged.violated == {"E-gone"}
    assert judged["E-gone"].records == (sent, call)
    assert "should never be delivered; github was called for it" in judged.why["E-gone"]


def test_e_gone_counts_the_time_the_server_was_closed_to_it(story: Any) -> None:
    story.start()
    story.settle()
    story.disconnect(server_closed=True)
    story.notify("build_queued", "5")
    story.reopen()
    story.up()
    story.settle()
    assert "E-gone" in story.judge().held
    assert not story.judge().violated
    story.call("github", "build_queued", 5)
    assert "E-gone" in story.judge().violated


def test_emitted_while_starting_may_be_delivered_or_not(story: Any) -> None:
    story.start(up=False)
    story.notify("build_queued", "5")
    story.notify("build_queued", "6")
    story.up()
    story.deliver("build_queued", 6)
    story.settle()
    assert not story.judge().violated


def test_e_no_phantom_held(story: Any) -> None:
    story.finish(5)
    story.start(up=False)
    story.deliver("build_finished", 5)
    story.up()
    story.settle()
    assert "E-no-phantom" in story.judge().held
    assert not story.judge().violated


def test_e_no_phantom_violated(story: Any) -> None:
    story.start()
    story.settle()
    call = story.call("chat", "build_queued", 6)
    story.settle()
    judged = story.judge()
    assert judged.violated == {"E-no-phantom"}
    assert judged["E-no-phantom"].records == (call,)
    assert "called only for a cause; it was called with build_queued b6" in judged.why["E-no-phantom"]


def test_e_no_phantom_a_task_that_a_person_inserts_is_a_cause(story: Any) -> None:
    story.start()
    task = story.insert_task("github", "build_queued", "5")
    story.observe()
    story.call("github", "build_queued", 5)
    story.drop(task)
    story.settle()
    assert not story.judge().violated


def test_e_order_held(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.notify("build_started", "5")
    story.deliver("build_queued", 5)
    story.deliver("build_started", 5)
    story.settle()
    assert "E-order" in story.judge().held


def test_e_order_violated(story: Any) -> None:
    story.start()
    first = story.notify("build_queued", "5")
    second = story.notify("build_started", "5")
    story.deliver("build_started", 5)
    call = story.deliver("build_queued", 5)
    story.settle()
    judged = story.judge()
    assert judged.violated == {"E-order"}
    assert {first, second, call} <= set(judged["E-order"].records)
    assert "should be called in commit order" in judged.why["E-order"]


def test_e_order_within_a_transaction(story: Any) -> None:
    story.start()
    notes = [history.Notification(channel, "5", raw=True) for channel in ("build_queued", "build_started")]
    story.commit("notify", *notes, actor="person")
    story.deliver("build_started", 5)
    story.deliver("build_queued", 5)
    story.settle()
    assert story.judge().violated == {"E-order"}


def test_e_order_is_free_between_transactions_under_way_at_the_same_time(story: Any) -> None:
    story.start()
    first, second = (
        story.send("notify", history.Notification(channel, "5", raw=True), actor="person")
        for channel in ("build_queued", "build_started")
    )
    story.add(history.Committed, commit=second)
    story.add(history.Committed, commit=first)
    story.deliver("build_started", 5)
    story.deliver("build_queued", 5)
    story.settle()
    assert not story.judge().violated


def test_e_order_sets_retries_aside(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.fail("github", "build_queued", 5)
    story.call("chat", "build_queued", 5)
    story.wait(1)
    story.notify("build_started", "5")
    story.deliver("build_started", 5)
    story.wait(1)
    story.call("github", "build_queued", 5)
    story.drop(1)
    story.settle()
    assert not story.judge().violated


def test_e_order_an_equal_emission_that_nobody_had_to_answer_does_not_count(solo: Any) -> None:
    """A late notification of a restarted build, ignored; then the build finishes."""
    solo.finish(5)
    solo.start(up=False)
    solo.deliver("build_finished", 5)
    solo.up()
    solo.settle()
    solo.restart(5)
    solo.notify("build_finished", "5")
    solo.notify("build_queued", "6")
    solo.finish(5)
    solo.deliver("build_queued", 6)
    solo.deliver("build_finished", 5)
    solo.settle()
    assert not solo.judge().violated


def test_e_order_an_equal_emission_from_before_a_loss_may_not_have_been_heard(story: Any) -> None:
    story.start()
    story.notify("build_started", "5")
    story.disconnect()
    story.notify("build_queued", "5")
    story.notify("build_started", "5")
    story.up()
    story.deliver("build_queued", 5)
    story.deliver("build_started", 5)
    story.settle()
    assert not story.judge().violated


def test_e_order_a_mark_and_its_emission_while_starting_are_two_causes(solo: Any) -> None:
    """The scan finds the mark, the notification is heard too, and once more by hand."""
    solo.start(up=False)
    solo.finish(5)
    solo.notify("build_queued", "6")
    solo.notify("build_finished", "5")
    solo.deliver("build_finished", 5)
    solo.deliver("build_finished", 5)
    solo.up()
    solo.deliver("build_queued", 6)
    solo.deliver("build_finished", 5)
    solo.settle()
    assert not solo.judge().violated


def test_e_order_two_equal_emissions_of_which_either_may_have_called_nobody(solo: Any) -> None:
    """The main build is restarted, and finished again when the second of them is handled."""
    solo.start()
    solo.finish(5)
    solo.notify("build_queued", "6")
    solo.notify("build_finished", "5")
    solo.restart(5)
    solo.deliver("build_queued", 6)
    solo.wait(1)
    solo.mark(5)
    solo.deliver("build_finished", 5)
    solo.settle()
    assert not solo.judge().violated
