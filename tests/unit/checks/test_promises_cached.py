from typing import Any


def test_c_at_most_once_held(story: Any) -> None:
    story.start()
    sent = story.notify("cached_build_finished", "1\t5")
    call = story.deliver("cached_build_finished", 1, 5)
    story.settle()
    assert story.judge()["C-at-most-once"].records == (call,)
    assert "C-at-most-once" in story.judge().held
    assert story.judge()["C-live"].records == (sent,)


def test_c_at_most_once_violated(story: Any) -> None:
    story.start()
    sent = story.notify("cached_build_queued", "1\t5")
    story.deliver("cached_build_queued", 1, 5)
    story.settle()
    story.crash()
    story.start()
    again = story.call("github", "cached_build_queued", 1, 5)
    story.settle()
    judged = story.judge()
    assert judged.violated == {"C-at-most-once"}
    assert judged["C-at-most-once"].records == (sent, again)
    assert "it was called once more" in judged.why["C-at-most-once"]


def test_c_at_most_once_sent_again_by_hand_is_an_emission_of_its_own(story: Any) -> None:
    story.start()
    for _ in range(2):
        story.notify("cached_build_finished", "1\t5")
        story.deliver("cached_build_finished", 1, 5)
        story.settle()
    assert not story.judge().violated


def test_c_at_most_once_a_call_whose_task_was_still_stored_may_be_repeated(story: Any) -> None:
    story.start()
    story.notify("cached_build_finished", "1\t5")
    story.fail("github", "cached_build_finished", 1, 5)
    story.call("chat", "cached_build_finished", 1, 5)
    story.settle()
    story.wait(2)
    story.call("github", "cached_build_finished", 1, 5)
    story.disconnect()
    story.up()
    story.call("github", "cached_build_finished", 1, 5)
    story.drop(1)
    story.settle()
    assert not story.judge().violated
    assert story.judge().allowed == [("repeated", "cached_build_finished", "C-at-most-once")]


def test_c_at_most_once_the_connection_was_lost_inside_the_retry(story: Any) -> None:
    story.start()
    story.notify("cached_build_finished", "1\t5")
    story.fail("github", "cached_build_finished", 1, 5)
    story.call("chat", "cached_build_finished", 1, 5)
    story.settle()
    story.wait(2)
    call = story.begin("github", "cached_build_finished", 1, 5)
    story.disconnect()
    story.returned(call)
    story.up()
    story.call("github", "cached_build_finished", 1, 5)
    story.drop(1)
    story.settle()
    assert not story.judge().violated


def test_c_live_held(story: Any) -> None:
    story.start()
    story.notify("cached_build_finished", "1\t5")
    story.fail("github", "cached_build_finished", 1, 5)
    story.call("chat", "cached_build_finished", 1, 5)
    story.settle()
    assert "C-live" in story.judge().held
    assert not story.judge().violated


def test_c_live_violated(story: Any) -> None:
    story.start()
    sent = story.notify("cached_build_finished", "1\t5")
    settled = story.settle()
    judged = story.judge()
    assert judged.violated == {"C-live"}
    assert judged["C-live"].records == (sent, settled)
    assert "github, chat should have been called" in judged.why["C-live"]


def test_c_live_not_exercised(story: Any) -> None:
    story.start()
    story.settle()
    assert story.judge()["C-live"].verdict == "not_exercised"


def test_c_gone_held(story: Any) -> None:
    sent = story.notify("cached_build_finished", "1\t5")
    story.start()
    story.settle()
    judged = story.judge()
    assert judged["C-gone"].records == (sent,)
    assert not judged.violated
    assert judged.allowed == [("lost", "cached_build_finished", "C-gone")]


def test_c_gone_violated(story: Any) -> None:
    story.start()
    story.notify("cached_build_finished", "1\t5")
    story.deliver("cached_build_finished", 1, 5)
    story.settle()
    story.crash()
    sent = story.notify("cached_build_finished", "1\t5")
    story.start()
    call = story.call("github", "cached_build_finished", 1, 5)
    story.settle()
    judged = story.judge()
    assert judged.violated == {"C-gone"}
    assert {sent, call} <= set(judged["C-gone"].records)
    assert "while no dispatcher was up or starting" in judged.why["C-gone"]


def test_c_gone_is_not_exercised_where_nobody_is_interested(make_story: Any) -> None:
    story = make_story({"github": ("build_finished",)})
    story.builds(5)
    story.notify("cached_build_finished", "1\t5")
    story.start()
    story.settle()
    assert story.judge()["C-gone"].verdict == "not_exercised"
    assert not story.judge().allowed
