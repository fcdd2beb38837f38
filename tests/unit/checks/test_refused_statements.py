"""Histories in which the server refuses statements: what it means there that a promise was held, violated or not exercised."""

from typing import Any

from hydra_notify_sim import history


def locked(story: Any) -> None:
    story.add(history.Fault, fault="row locked", detail="b5, for 20s")


def released(story: Any) -> None:
    story.add(history.Fault, fault="row released")


def test_a_mark_that_is_cleared_later_breaks_nothing(story: Any) -> None:
    story.start()
    story.finish(5)
    locked(story)
    story.deliver("build_finished", 5)
    story.notify("build_queued", "6")
    story.deliver("build_queued", 6)
    released(story)
    story.clear(5)
    story.settle()
    judged = story.judge()
    assert not judged.violated
    assert {"L-lives", "E-live", "B-live", "B-clear", "E-no-phantom"} <= judged.held


def test_told_again_because_the_mark_could_not_be_cleared(story: Any) -> None:
    story.start()
    story.finish(5)
    locked(story)
    story.deliver("build_finished", 5)
    story.deliver("build_finished", 5)
    released(story)
    story.clear(5)
    story.settle()
    assert story.judge().violated == {"E-no-phantom"}


def test_an_event_that_was_dropped_while_a_row_was_locked(story: Any) -> None:
    story.start()
    locked(story)
    story.notify("build_queued", "6")
    released(story)
    story.settle()
    assert story.judge().violated == {"E-live"}


def test_a_connection_that_it_gives_up_by_itself(story: Any) -> None:
    story.start()
    locked(story)
    story.disconnect(by="dispatcher")
    released(story)
    story.up()
    story.settle()
    assert story.judge().violated == {"L-lives"}


def test_asked_to_stop_while_the_row_is_locked_it_may_leave_the_mark(story: Any) -> None:
    story.start()
    story.finish(5)
    locked(story)
    story.deliver("build_finished", 5)
    story.stopping(busy=True)
    story.stopped()
    judged = story.judge()
    assert not judged.violated
    assert "L-stop" in judged.held


def test_asked_to_stop_while_the_row_is_locked_it_may_not_stay(story: Any) -> None:
    story.start()
    story.finish(5)
    locked(story)
    story.deliver("build_finished", 5)
    story.stopping(busy=True)
    story.stopped(in_time=False, exit_status=-9)
    assert story.judge().violated == {"L-stop"}


def test_without_a_mark_and_an_event_nothing_is_exercised(story: Any) -> None:
    story.start()
    locked(story)
    released(story)
    judged = story.judge()
    assert not judged.violated
    assert {"E-live", "B-clear", "E-no-phantom", "L-stop"}.isdisjoint(judged.held)
