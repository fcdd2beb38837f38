from typing import Any

import pytest

from hydra_notify_sim import history


def test_l_lives_held(story: Any) -> None:
    story.start()
    story.settle()
    story.crash()
    story.start()
    story.settle()
    assert "L-lives" in story.judge().held
    assert not story.judge().violated


def test_l_lives_violated(story: Any) -> None:
    story.start()
    story.settle()
    end = story.ended("KeyError: 5")
    judged = story.judge()
    assert judged.violated == {"L-lives"}
    assert judged["L-lives"].records == (end,)
    assert "it ended by itself (exit status 1): KeyError: 5" in judged.why["L-lives"]


def test_l_lives_loses_connections_by_itself(story: Any) -> None:
    story.start()
    lost = story.disconnect(by="dispatcher")
    assert story.judge()["L-lives"].records == (lost,)


def test_l_lives_never_comes_up(story: Any) -> None:
    start = story.start(up=False)
    end = story.not_settled("no answer")
    judged = story.judge()
    assert judged["L-lives"].records == (start, end)
    assert "should come up after its start" in judged.why["L-lives"]


def test_l_reconnect_held(story: Any) -> None:
    story.start()
    story.settle()
    lost = story.disconnect()
    story.up()
    story.settle()
    assert story.judge()["L-reconnect"].records == (lost,)
    assert "L-reconnect" in story.judge().held


def test_l_reconnect_violated(story: Any) -> None:
    story.start()
    story.settle()
    lost = story.disconnect()
    end = story.not_settled("it hears nothing")
    judged = story.judge()
    assert judged.violated == {"L-reconnect"}
    assert judged["L-reconnect"].records == (lost, end)
    assert (
        "should connect, listen and scan again, and settle; it has not: it hears nothing"
        in judged.why["L-reconnect"]
    )


def test_l_reconnect_does_not_listen_again(story: Any) -> None:
    story.start()
    story.settle()
    story.disconnect()
    story.up()
    sent = story.notify("build_queued", "5")
    story.settle()
    judged = story.judge()
    assert judged.violated == {"L-reconnect", "E-live"}
    assert sent in judged["L-reconnect"].records


def test_l_reconnect_does_not_scan_again(solo: Any) -> None:
    solo.start()
    solo.settle()
    solo.disconnect(server_closed=True)
    solo.finish(5)
    opened = solo.reopen()
    solo.up()
    solo.settle()
    judged = solo.judge()
    assert {"L-reconnect", "B-recover", "B-at-least-once"} == judged.violated
    assert opened in judged["L-reconnect"].records


def test_l_reconnect_ends_instead(story: Any) -> None:
    story.start()
    lost = story.disconnect()
    story.ended()
    assert lost in story.judge()["L-reconnect"].records


def test_l_no_stall_held(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    sent = story.notify("build_queued", "6", busy=True)
    story.deliver("build_queued", 5)
    story.deliver("build_queued", 6)
    story.settle()
    assert story.judge()["L-no-stall"].records == (sent,)
    assert "L-no-stall" in story.judge().held


def test_l_no_stall_violated(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    sent = story.notify("build_queued", "6", busy=True)
    story.deliver("build_queued", 5)
    end = story.not_settled()
    judged = story.judge()
    assert judged.violated == {"L-no-stall", "E-live"}
    assert judged["L-no-stall"].records == (sent, end)


def test_l_no_stall_held_by_what_was_delivered_before_a_kick(story: Any) -> None:
    story.start()
    sent = story.notify("build_queued", "6", busy=True)
    story.deliver("build_queued", 6)
    story.add(history.Kicked)
    story.settle()
    assert story.judge()["L-no-stall"].records == (sent,)


def test_l_no_stall_is_not_exercised_where_one_plugin_was_called_after_a_kick(story: Any) -> None:
    story.start()
    story.notify("build_queued", "6", busy=True)
    story.call("github", "build_queued", 6)
    story.add(history.Kicked)
    story.call("chat", "build_queued", 6)
    story.settle()
    assert story.judge()["L-no-stall"].verdict == "not_exercised"


def test_l_no_stall_is_not_exercised_after_a_kick(story: Any) -> None:
    story.start()
    story.notify("build_queued", "6", busy=True)
    story.add(history.Kicked)
    story.deliver("build_queued", 6)
    story.settle()
    assert story.judge()["L-no-stall"].verdict == "not_exercised"


def test_a_plugin_that_does_not_return_keeps_the_dispatcher_waiting(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.begin("github", "build_queued", 5)
    story.not_settled("a plugin does not return")
    assert not story.judge().violated


def test_l_stop_held(story: Any) -> None:
    story.start()
    story.finish(5)
    call = story.begin("github", "build_finished", 5)
    story.stopping(busy=True)
    story.returned(call)
    story.call("chat", "build_finished", 5)
    story.clear(5)
    story.notify("build_queued", "6")
    stopped = story.stopped()
    assert stopped in story.judge()["L-stop"].records
    assert not story.judge().violated


@pytest.mark.parametrize(
    ("fields", "why"), [({"exit_status": 15}, "ended with 15"), ({"in_time": False}, "killed")]
)
def test_l_stop_violated(story: Any, fields: dict[str, Any], why: str) -> None:
    story.start()
    story.settle()
    asked = story.stopping()
    stopped = story.stopped(**fields)
    judged = story.judge()
    assert judged.violated == {"L-stop"}
    assert judged["L-stop"].records == (asked, stopped)
    assert why in judged.why["L-stop"]


def test_l_stop_begins_another(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.notify("build_queued", "6")
    call = story.begin("github", "build_queued", 5)
    asked = story.stopping(busy=True)
    story.returned(call)
    story.call("chat", "build_queued", 5)
    other = story.call("github", "build_queued", 6)
    story.call("chat", "build_queued", 6)
    story.stopped()
    judged = story.judge()
    assert judged.violated == {"L-stop"}
    assert judged["L-stop"].records == (asked, other)
    assert "begin no other; it began build_queued b6" in judged.why["L-stop"]


def test_l_stop_leaves_plugins_out(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    call = story.begin("github", "build_queued", 5)
    story.stopping(busy=True)
    story.returned(call)
    story.stopped()
    assert "chat had not been called" in story.judge().why["L-stop"]


def test_l_stop_leaves_the_mark(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    call = solo.begin("github", "build_finished", 5)
    solo.stopping(busy=True)
    solo.returned(call)
    solo.stopped()
    assert "the mark of b5 was not cleared" in solo.judge().why["L-stop"]


def test_l_stop_cuts_a_call_off(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.call("github", "build_queued", 5)
    call = story.begin("chat", "build_queued", 5)
    story.stopping(busy=True)
    story.add(history.CutOff, call=call)
    story.stopped()
    assert "a call was cut off" in story.judge().why["L-stop"]


def test_l_stop_may_finish_a_retry_which_calls_one_plugin_only(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.fail("github", "build_queued", 5)
    story.call("chat", "build_queued", 5)
    story.settle()
    story.wait(2)
    call = story.begin("github", "build_queued", 5)
    story.stopping(busy=True)
    story.returned(call)
    story.drop(1)
    story.stopped()
    assert not story.judge().violated


def test_l_stop_asked_while_rows_are_loaded(story: Any) -> None:
    """Held between two events: the one in hand has called nobody yet."""
    story.start()
    story.notify("build_queued", "5")
    story.notify("build_queued", "6")
    story.deliver("build_queued", 5)
    story.stopping(busy=True)
    story.deliver("build_queued", 6)
    story.stopped()
    assert not story.judge().violated


def test_l_stop_loses_what_came_before_and_says_so(story: Any) -> None:
    story.start()
    story.settle()
    story.stopping()
    story.notify("build_queued", "6")
    story.stopped()
    judged = story.judge()
    assert not judged.violated
    assert ("lost", "build_queued", "E-live") in judged.allowed


def _split(story: Any) -> int:
    story.start()
    story.mark(5, 6, 7, status="failed")
    parts = [history.Notification("build_finished", payload) for payload in ("5\t5\t6", "5\t7")]
    return story.commit("announce_finished", *parts, about="b5")


def test_l_split_held(story: Any) -> None:
    sent = _split(story)
    story.deliver("build_finished", 5, 5, 6)
    story.deliver("build_finished", 5, 7)
    story.settle()
    assert story.judge()["L-split"].records == (sent,)
    assert not story.judge().violated


def test_l_split_violated(solo: Any) -> None:
    sent = _split(solo)
    solo.deliver("build_finished", 5, 5, 6)
    settled = solo.settle()
    judged = solo.judge()
    assert judged["L-split"].records == (sent, settled)
    assert "build_finished b5 with b7 was emitted while the dispatcher was up" in judged.why["L-split"]
    assert judged.violated == {"L-split", "B-live", "B-dependents", "B-at-least-once"}


def test_l_split_put_together_again(solo: Any) -> None:
    sent = _split(solo)
    call = solo.call("github", "build_finished", 5, 5, 6, 7)
    solo.clear(5, 6, 7)
    solo.settle()
    assert solo.judge()["L-split"].records == (sent, call)


def test_l_stop_an_unfinished_dependent_keeps_its_mark(solo: Any) -> None:
    solo.start()
    solo.finish(5, 5, 6, status="failed")
    solo.stopping(busy=True)
    solo.restart(6)
    solo.call("github", "build_finished", 5, 5, 6)
    solo.clear(5)
    solo.stopped()
    assert not solo.judge().violated
