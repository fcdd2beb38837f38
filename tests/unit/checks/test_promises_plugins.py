from typing import Any

import pytest

from hydra_notify_sim import history


def _failed(story: Any, hook: str = "build_queued") -> int:
    """github fails and is stored, chat succeeds; the record of the failure."""
    story.start()
    story.notify(hook, "5")
    failed = story.fail("github", hook, 5)
    story.call("chat", hook, 5)
    story.settle()
    return failed


def test_r_isolated_held(story: Any) -> None:
    _failed(story)
    assert "R-isolated" in story.judge().held
    assert not story.judge().violated


def test_r_isolated_violated(story: Any) -> None:
    story.start()
    sent = story.notify("build_queued", "5")
    story.fail("github", "build_queued", 5)
    settled = story.settle()
    judged = story.judge()
    assert judged.violated == {"R-isolated", "E-live"}
    assert judged["R-isolated"].records == (sent, settled)
    assert "chat should have been called, and was not" in judged.why["R-isolated"]


def test_r_isolated_a_lost_connection_excuses(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.fail("github", "build_queued", 5, stored=False)
    story.disconnect()
    story.up()
    story.settle()
    assert not story.judge().violated


def test_r_stored_held(story: Any) -> None:
    failed = _failed(story)
    assert story.judge()["R-stored"].records == (failed,)
    assert "R-stored" in story.judge().held


def test_r_stored_violated(story: Any) -> None:
    """Stored in the end, and not before the dispatcher went on."""
    story.start()
    story.notify("build_queued", "5")
    failed = story.fail("github", "build_queued", 5, stored=False)
    story.call("chat", "build_queued", 5)
    story.store("github", "build_queued", "5")
    story.settle()
    judged = story.judge()
    assert judged.violated == {"R-stored"}
    assert failed in judged["R-stored"].records
    assert "should be stored in taskretries before the dispatcher goes on" in judged.why["R-stored"]


def test_r_stored_where_rows_are_seen_late(make_story: Any) -> None:
    """A process under test: rows are looked at when it has settled, or is gone."""
    for lost in (False, True):
        story = make_story(in_process=False)
        story.builds(5)
        story.start()
        story.notify("build_queued", "5")
        story.fail("github", "build_queued", 5, stored=False)
        story.call("chat", "build_queued", 5)
        if lost:
            story.crash()
            assert story.judge().violated == {"R-stored"}
        else:
            story.store("github", "build_queued", "5")
            story.settle()
            assert not story.judge().violated


def test_r_stored_where_the_task_is_seen_and_retried_before_it_has_settled(make_story: Any) -> None:
    """A process whose plugins take so long that the retry falls due meanwhile: a campaign found it accused."""
    story = make_story(in_process=False)
    story.builds(5)
    story.start()
    story.notify("build_queued", "5")
    failed = story.fail("github", "build_queued", 5, stored=False)
    story.store("github", "build_queued", "5")
    call = story.begin("chat", "build_queued", 5)
    story.observe(force=True)
    story.wait(2)
    story.returned(call)
    story.observe(force=True)
    retry = story.begin("github", "build_queued", 5)
    story.returned(retry)
    story.drop(1)
    story.settle()
    judged = story.judge()
    assert not judged.violated
    assert failed in judged["R-stored"].records


def test_r_stored_a_crash_right_after_the_failure_excuses(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.fail("github", "build_queued", 5, stored=False)
    story.crash()
    story.start()
    story.settle()
    assert not story.judge().violated


@pytest.mark.parametrize("exit_status", [0, -15])
def test_r_stored_one_that_sigterm_kills_did_not_go_on(make_story: Any, exit_status: int) -> None:
    story = make_story(in_process=False)
    story.builds(5)
    story.start()
    story.notify("build_queued", "5")
    story.stopping(busy=True)
    story.fail("github", "build_queued", 5, stored=False)
    story.stopped(exit_status=exit_status)
    assert ("R-stored" in story.judge().violated) is (exit_status == 0)


def test_r_stored_before_it_has_noticed_that_its_connections_are_gone(story: Any) -> None:
    story.start()
    story.finish(5)
    call = story.begin("github", "build_finished", 5)
    story.disconnect()
    story.raised(call)
    story.raised(story.begin("chat", "build_finished", 5))
    story.deliver("build_finished", 5)
    story.up()
    story.settle()
    assert not story.judge().violated


def test_r_stored_a_task_that_vanishes(story: Any) -> None:
    _failed(story)
    gone = story.drop(1)
    story.settle()
    judged = story.judge()
    assert gone in judged["R-stored"].records
    assert "its task should be kept until attempt 102; it is gone" in judged.why["R-stored"]


def test_r_stored_a_person_deletes_the_task_while_it_is_retried(story: Any) -> None:
    _failed(story)
    story.wait(2)
    call = story.begin("github", "build_queued", 5)
    story.delete("taskretries", "1")
    story.raised(call)
    story.observe(force=True)
    story.settle()
    assert not story.judge().violated


@pytest.mark.parametrize("due_in", [1, 2, 4])
def test_r_backoff_held(story: Any, due_in: int) -> None:
    story.start()
    story.notify("build_queued", "5")
    story.fail("github", "build_queued", 5, stored=False)
    story.store("github", "build_queued", "5", due_in=due_in)
    story.call("chat", "build_queued", 5)
    story.settle()
    story.wait(due_in)
    story.raised(story.begin("github", "build_queued", 5))
    story.requeue(1, 2)
    story.settle()
    assert "R-backoff" in story.judge().held
    assert not story.judge().violated


@pytest.mark.parametrize("due_in", [0, 5, 3600])
def test_r_backoff_violated(story: Any, due_in: int) -> None:
    story.start()
    story.notify("build_queued", "5")
    failed = story.fail("github", "build_queued", 5, stored=False)
    story.store("github", "build_queued", "5", due_in=due_in)
    story.call("chat", "build_queued", 5)
    judged = story.judge()
    assert judged.violated == {"R-backoff"}
    assert failed in judged["R-backoff"].records
    assert f"should be due 2 s later (from 1 to 4); it is due after {due_in} s" in judged.why["R-backoff"]


def test_r_backoff_doubles_up_to_1024_seconds(story: Any) -> None:
    _failed(story)
    for attempts in range(2, 102):
        story.wait(story.tasks[1].due - story.now)
        story.raised(story.begin("github", "build_queued", 5))
        story.requeue(1, attempts)
        story.settle()
    assert story.tasks[1].due - story.now == 1024
    assert not story.judge().violated
    story.wait(1024)
    story.raised(story.begin("github", "build_queued", 5))
    story.drop(1, counted=True)
    story.settle()
    assert not story.judge().violated
    story.records.pop()
    story.records.pop()
    story.settle()
    assert story.judge().violated == {"R-backoff"}  # not counted
    assert "should have been counted" in story.judge().why["R-backoff"]


def test_r_backoff_attempt_102_is_the_last(story: Any) -> None:
    story.start()
    story.insert_task("github", "build_queued", "5", attempts=101)
    story.observe()
    story.raised(story.begin("github", "build_queued", 5))
    kept = story.requeue(1, 102)
    assert kept in story.judge()["R-backoff"].records
    assert "attempt 102 should be the last" in story.judge().why["R-backoff"]


def test_r_backoff_too_early(story: Any) -> None:
    _failed(story)
    early = story.call("github", "build_queued", 5)
    story.drop(1)
    story.settle()
    judged = story.judge()
    assert judged.violated == {"R-backoff"}
    assert early in judged["R-backoff"].records
    assert "was due 2 s later; it should not be tried before" in judged.why["R-backoff"]


def test_r_backoff_never_tried(story: Any) -> None:
    _failed(story)
    story.wait(2)
    settled = story.not_settled("1 task is due")
    judged = story.judge()
    assert judged.violated == {"R-backoff"}
    assert settled in judged["R-backoff"].records
    assert "should have been tried; it is still stored" in judged.why["R-backoff"]


def test_r_backoff_calls_only_the_plugin_that_failed(story: Any) -> None:
    _failed(story)
    story.wait(2)
    other = story.call("chat", "build_queued", 5)
    story.call("github", "build_queued", 5)
    story.drop(1)
    story.settle()
    judged = story.judge()
    assert judged.violated == {"R-backoff", "E-once"}
    assert other in judged["R-backoff"].records
    assert "should call only the plugin that failed; chat" in judged.why["R-backoff"]


@pytest.mark.parametrize("attempts", [1, 2])
def test_r_backoff_counts_each_failed_attempt(story: Any, attempts: int) -> None:
    """A dispatcher that counts in memory begins the ladder anew, or stays on a step of it."""
    _failed(story)
    story.wait(2)
    story.fail("github", "build_queued", 5, stored=False)
    story.requeue(1, 2)
    story.wait(4)
    story.fail("github", "build_queued", 5, stored=False)
    story.requeue(1, attempts, due_in=2**attempts)
    story.settle()
    judged = story.judge()
    assert "R-backoff" in judged.violated
    assert (
        f"should say 3 attempts; it {'says 1' if attempts == 1 else 'was put off and still says 2'}"
        in judged.why["R-backoff"]
    )


def test_r_backoff_after_a_row_that_was_missing(story: Any) -> None:
    """The second attempt fails without a call: its due time counts from when it was written."""
    _failed(story)
    story.delete("builds", "5")
    story.wait(7)
    story.requeue(1, 2)
    story.settle()
    assert not story.judge().violated


def test_r_backoff_a_retry_and_a_new_emission_at_the_same_moment(story: Any) -> None:
    """Nobody can tell the retry's call from the emission's; either may fail."""
    for retry_fails in (True, False):
        for new_fails in (True, False):
            _failed(story)
            first = len(story.records)
            task = max(story.tasks)
            story.wait(2)
            story.notify("build_queued", "5")
            call = story.begin("github", "build_queued", 5)
            (story.raised if retry_fails else story.returned)(call)
            if retry_fails:
                story.requeue(task, 2)
            else:
                story.drop(task)
            if new_fails:
                story.fail("github", "build_queued", 5)
            else:
                story.call("github", "build_queued", 5)
            story.call("chat", "build_queued", 5)
            story.settle()
            assert not story.judge().violated, (retry_fails, new_fails)
            for id_ in list(story.tasks):
                story.delete("taskretries", str(id_))
            story.settle()
            story.crash()
            assert first


def test_r_gone_plugin_held(story: Any) -> None:
    _failed(story)
    story.crash()
    story.start(chat=["build_queued"])
    story.wait(2)
    dropped = story.drop(1, counted=True)
    story.settle()
    assert story.judge()["R-gone-plugin"].records == (dropped,)
    assert not story.judge().violated


def test_r_gone_plugin_violated(story: Any) -> None:
    _failed(story)
    story.crash()
    story.start(chat=["build_queued"])
    story.wait(2)
    end = story.not_settled("it spins", busy=True)
    judged = story.judge()
    assert judged.violated == {"R-gone-plugin"}
    assert end in judged["R-gone-plugin"].records
    assert "should rest; it burns its processor" in judged.why["R-gone-plugin"]


def test_r_gone_plugin_is_left_or_not_counted(story: Any) -> None:
    _failed(story)
    story.crash()
    story.start(github=["build_finished"])
    story.wait(2)
    story.settle()
    assert "should be dropped, for its plugin is gone or not interested" in story.judge().why["R-gone-plugin"]
    story.records.pop()
    story.drop(1)
    story.settle()
    assert "should have been counted since the start; 0 were" in story.judge().why["R-gone-plugin"]


def test_r_poison_held(story: Any) -> None:
    story.start()
    task = story.insert_task("github", "build_finished", "not a number", due_in=5)
    story.settle()
    story.wait(5)
    dropped = story.drop(task, counted=True)
    story.settle()
    assert story.judge()["R-poison"].records == (dropped,)
    assert not story.judge().violated


def test_r_poison_may_be_parked(story: Any) -> None:
    story.start()
    task = story.insert_task("github", "no_channel", "5")
    story.requeue(task, 1, due_in=20 * 365 * 86_400)
    story.settle()
    assert "R-poison" in story.judge().held
    assert not story.judge().violated


def test_r_poison_violated(story: Any) -> None:
    story.start()
    story.insert_task("github", "build_finished", "not a number")
    settled = story.settle()
    judged = story.judge()
    assert judged.violated == {"R-poison"}
    assert settled in judged["R-poison"].records
    assert "should be removed, or parked never to be due" in judged.why["R-poison"]


def test_r_poison_may_not_climb_the_ladder(story: Any) -> None:
    story.start()
    task = story.insert_task("github", "build_finished", "not a number", due_in=5)
    story.settle()
    story.wait(5)
    story.requeue(task, 2, due_in=4)
    story.settle()
    judged = story.judge()
    assert judged.violated == {"R-poison"}
    assert "it was put off by 4 s, with 2 attempts" in judged.why["R-poison"]


def test_r_gone_plugin_may_not_climb_the_ladder(story: Any) -> None:
    _failed(story)
    story.crash()
    story.start(chat=["build_queued"])
    story.wait(2)
    story.requeue(1, 2, due_in=4)
    story.settle()
    judged = story.judge()
    assert judged.violated == {"R-gone-plugin"}
    assert "should be dropped; it was put off" in judged.why["R-gone-plugin"]


def test_r_poison_ends_the_dispatcher(story: Any) -> None:
    story.start()
    story.insert_task("github", "build_finished", "not a number")
    end = story.ended("ValueError")
    judged = story.judge()
    assert judged.violated == {"R-poison", "L-lives"}
    assert end in judged["R-poison"].records


def test_r_delete_held(story: Any) -> None:
    _failed(story)
    story.wait(2)
    call = story.call("github", "build_queued", 5)
    story.drop(1)
    story.settle()
    assert story.judge()["R-delete"].records == (call + 1,)
    assert not story.judge().violated


def test_r_delete_violated(story: Any) -> None:
    _failed(story)
    story.wait(2)
    call = story.call("github", "build_queued", 5)
    story.requeue(1, 1, due_in=100)
    settled = story.settle()
    judged = story.judge()
    assert judged.violated == {"R-delete"}
    assert {call + 1, settled} <= set(judged["R-delete"].records)
    assert "its task should be deleted; it is still stored" in judged.why["R-delete"]


def test_r_delete_rows_seen_between_the_call_and_its_deletion(story: Any) -> None:
    _failed(story)
    story.wait(2)
    story.call("github", "build_queued", 5)
    story.add(history.PointReached, point="after_call")
    story.observe(force=True)
    story.drop(1)
    story.settle()
    assert not story.judge().violated


def test_r_delete_a_task_still_stored_when_it_was_lost_is_run_again(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    solo.fail("github", "build_finished", 5)
    solo.clear(5)
    solo.settle()
    solo.wait(2)
    solo.call("github", "build_finished", 5)
    solo.crash()
    solo.start()
    solo.call("github", "build_finished", 5)
    solo.drop(1)
    solo.settle()
    assert not solo.judge().violated
    assert ("repeated", "build_finished", "R-delete") in solo.judge().allowed


def test_a_dispatcher_may_store_the_task_before_it_calls(story: Any) -> None:
    story.start()
    story.notify("build_queued", "5")
    task = story.store("github", "build_queued", "5", attempts=0, due_in=60)
    story.call("github", "build_queued", 5)
    story.drop(task)
    story.call("chat", "build_queued", 5)
    story.settle()
    assert not story.judge().violated


def test_a_task_that_was_inserted_may_be_gone_before_rows_are_seen(story: Any) -> None:
    story.start()
    story.settle()
    task = story.insert_task("github", "build_queued", "5")
    story.call("github", "build_queued", 5)
    story.drop(task)
    story.settle()
    assert not story.judge().violated


def test_r_stored_a_retry_that_looks_like_the_call_of_an_event_that_calls_nobody(solo: Any) -> None:
    """The retry of an older outcome fails; the new outcome's main build is restarted before its event is handled."""
    solo.start()
    solo.finish(5)
    solo.fail("github", "build_finished", 5)
    solo.clear(5)
    solo.settle()
    solo.restart(5)
    solo.wait(1)
    solo.finish(5, status="failed")
    solo.raised(solo.begin("github", "build_finished", 5))
    solo.requeue(1, 2)
    solo.restart(5)
    solo.settle()
    assert not solo.judge().violated


def test_r_delete_the_retry_came_before_the_emission_that_it_was_booked_on(solo: Any) -> None:
    solo.start()
    solo.notify("build_queued", "5")
    solo.fail("github", "build_queued", 5)
    solo.settle()
    solo.wait(2)
    solo.notify("build_queued", "5")
    solo.call("github", "build_queued", 5)
    solo.drop(1)
    solo.fail("github", "build_queued", 5)
    solo.settle()
    assert not solo.judge().violated


def test_p_missing_row_a_retry_of_what_was_deleted_is_kept(story: Any) -> None:
    _failed(story)
    story.commit("delete", actor="person", rows=(history.RowChange("deleted", "builds", "5"),))
    gone = story.drop(1)
    story.settle()
    judged = story.judge()
    assert gone in judged["P-missing-row"].records
    assert "names a row that was deleted" in judged.why["P-missing-row"]
