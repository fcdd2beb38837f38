from typing import Any

import pytest

from hydra_notify_sim import history


def test_p_format_held(story: Any) -> None:
    commit = story.announce(5, 6)
    assert story.judge()["P-format"].records == (commit,)
    assert "P-format" in story.judge().held


def test_p_format_violated(story: Any) -> None:
    commit = story.commit("announce_finished", history.Notification("build_finished", "5\t\t6"))
    verdict = story.judge()["P-format"]
    assert verdict.verdict == "violated"
    assert verdict.records == (commit,)
    assert "should emit payloads exactly as the contract says" in verdict.explanation
    assert "field 2 is empty" in verdict.explanation


@pytest.mark.parametrize("payload", ["007", "5\t\n", "x", ""])
def test_p_format_exempts_what_a_person_sends(story: Any, payload: str) -> None:
    story.notify("build_queued", payload)
    assert story.judge()["P-format"].verdict == "not_exercised"


def test_p_format_wants_no_leading_zeros(story: Any) -> None:
    story.commit("announce_finished", history.Notification("build_finished", "05"))
    assert "not written as it should be" in story.judge()["P-format"].explanation


def test_p_arguments_held(story: Any) -> None:
    story.start()
    story.finish(5, 5, 6, status="failed")
    story.deliver("build_finished", 5, 5, 6)
    story.settle()
    assert "P-arguments" in story.judge().held
    assert not story.judge().violated & {"P-arguments", "B-dependents", "B-live", "E-no-phantom"}


@pytest.mark.parametrize("called_with", [(5, 6, 5), (5, 5), (5,), (5, 5, 6, 7)])
def test_p_arguments_violated(solo: Any, called_with: tuple[int, ...]) -> None:
    solo.start()
    _, announced = solo.finish(5, 5, 6, status="failed")
    call = solo.call("github", "build_finished", *called_with)
    solo.clear(5, 6)
    solo.settle()
    judged = solo.judge()
    assert judged["P-arguments"].records == (announced, call)
    assert (
        "should be called with what the payload names, build_finished b5 with b5, b6"
        in judged.why["P-arguments"]
    )
    assert "B-dependents" in judged.violated
    assert "E-no-phantom" not in judged.violated


def test_p_arguments_a_dash_is_no_log(make_story: Any) -> None:
    story = make_story({"github": ("step_finished",)})
    story.builds(5)
    story.start()
    story.notify("step_finished", "5\t1\t-")
    story.call("github", "step_finished", 5, 1, None)
    story.settle()
    assert {"P-arguments", "E-live"} <= story.judge().held
    story.notify("step_finished", "5\t1\t-")
    call = story.call("github", "step_finished", 5, 1, "-")
    story.settle()
    assert story.judge()["P-arguments"].records[-1] == call


def test_p_arguments_that_name_nothing(solo: Any) -> None:
    solo.start()
    solo.finish(5)
    solo.add(history.Called, call=9, life=1, plugin="github", hook="build_finished", args={"build": None})
    assert "from which no event can be read" in solo.judge().why["P-arguments"]


@pytest.mark.parametrize("payload", ["", "5x", "5\t\t6", "\t5", "-5", "\u0665", "5 6"])
def test_p_malformed_held(story: Any, payload: str) -> None:
    story.start()
    story.settle()
    bad = story.notify("build_finished", payload)
    story.notify("build_queued", "5")
    story.counters["malformed"] = 1.0
    story.deliver("build_queued", 5)
    story.settle()
    judged = story.judge()
    assert judged["P-malformed"].records == (bad,)
    assert not judged.violated
    assert "P-malformed" in judged.held


def test_p_malformed_violated(story: Any) -> None:
    """It stops what comes after it, stores a task, calls a plugin, is not counted, ends the dispatcher."""
    story.start()
    bad = story.notify("build_finished", "5x")
    queued = story.notify("build_queued", "5")
    settled = story.settle()
    verdict = story.judge()["P-malformed"]
    assert {bad, queued, settled} <= set(verdict.records)
    assert "should stop nothing" in verdict.explanation


def test_p_malformed_violated_by_a_call(solo: Any) -> None:
    solo.start()
    bad = solo.notify("build_finished", "5x")
    call = solo.call("github", "build_finished", 5, rows={5: {"id": 5, "finished": 1}})
    solo.counters["malformed"] = 1.0
    solo.settle()
    judged = solo.judge()
    assert judged["P-malformed"].records == (bad, call)
    assert "should reach no plugin; github was called" in judged.why["P-malformed"]
    assert judged.violated == {"P-malformed"}


def test_p_malformed_violated_by_a_task(solo: Any) -> None:
    solo.start()
    solo.notify("build_finished", "5x")
    solo.store("github", "build_finished", "5x")
    assert "should store no task" in solo.judge().why["P-malformed"]


def test_p_malformed_is_counted_in_process_only(make_story: Any) -> None:
    for in_process in (True, False):
        story = make_story(in_process=in_process)
        story.start()
        story.notify("build_finished", "x")
        story.settle()
        assert ("P-malformed" in story.judge().violated) is in_process


def test_p_malformed_violated_by_an_end(story: Any) -> None:
    story.start()
    bad = story.notify("build_finished", "x")
    end = story.ended("ValueError")
    assert story.judge()["P-malformed"].records == (bad, end)
    assert story.judge().violated == {"P-malformed", "L-lives"}


def test_p_malformed_a_new_life_counts_from_nothing(story: Any) -> None:
    story.start()
    story.settle()
    story.notify("build_finished", "x")
    story.counters["malformed"] = 1.0
    story.settle()
    story.crash()
    story.start()
    story.notify("build_finished", "y")
    story.counters["malformed"] = 1.0
    story.settle()
    assert not story.judge().violated


def test_p_malformed_before_it_listens_is_not_counted(story: Any) -> None:
    story.start(up=False)
    story.notify("build_finished", "x")
    story.up()
    story.settle()
    assert not story.judge().violated


@pytest.mark.parametrize("payload", ["05", "5\t", "5\n"])
@pytest.mark.parametrize("delivered", [True, False])
def test_leniencies_are_reported_not_judged(story: Any, payload: str, *, delivered: bool) -> None:
    story.start()
    story.notify("build_queued", payload)
    if delivered:
        story.deliver("build_queued", 5)
    story.settle()
    judged = story.judge()
    assert not judged.violated
    assert ("the manual leaves open" in judged.reported) is delivered


@pytest.mark.parametrize("payload", ["5\t", "5\n"])
def test_a_lenient_dispatcher_retries_what_it_stored(solo: Any, payload: str) -> None:
    solo.start()
    solo.notify("build_queued", payload)
    solo.fail("github", "build_queued", 5, stored=False)
    task = solo.store("github", "build_queued", payload)
    solo.settle()
    solo.wait(2)
    solo.call("github", "build_queued", 5)
    solo.drop(task)
    solo.settle()
    assert not solo.judge().violated
    assert "R-delete" in solo.judge().held


def test_a_stored_task_of_somebody_else_is_read_strictly(solo: Any) -> None:
    task = solo.insert_task("github", "build_queued", "5\n")
    solo.start()
    solo.drop(task, counted=True)
    solo.settle()
    assert not solo.judge().violated
    assert "R-poison" in solo.judge().held


def test_p_malformed_an_unknown_channel_is_nobodys_business(story: Any) -> None:
    story.start()
    story.notify("builds_added", "")
    story.settle()
    assert not story.judge().violated


def test_p_missing_row_held(story: Any) -> None:
    story.mark(5)
    story.start(up=False)
    story.deliver("build_finished", 5)
    story.up()
    sent = story.notify("build_finished", "5\t99", missing=("builds:99",))
    tasks = [story.store(plugin, "build_finished", "5\t99") for plugin in story.plugins]
    story.settle()
    assert sent in story.judge()["P-missing-row"].records
    story.wait(2)
    for task in tasks:
        story.requeue(task, 2)
    story.settle()
    assert not story.judge().violated
    story.builds(99)
    story.wait(4)
    for plugin, task in zip(story.plugins, tasks, strict=True):
        story.call(plugin, "build_finished", 5, 99)
        story.drop(task)
    story.settle()
    assert not story.judge().violated
    assert {"P-missing-row", "R-delete"} <= story.judge().held


def test_p_missing_row_violated(story: Any) -> None:
    """One plugin's failure is stored, the other is called with what is there (quirk hn-truncated-dependents)."""
    story.start()
    story.mark(5)
    sent = story.announce(5, 99)
    broken = story.records[sent]
    story.records[sent] = history.Commit(
        t=broken.t,
        actor="queue_runner",
        action=broken.action,
        about=broken.about,
        notifications=(history.Notification("build_finished", "5\t99", missing=("builds:99",)),),
    )
    story.store("github", "build_finished", "5\t99")
    call = story.call("chat", "build_finished", 5)
    story.settle()
    judged = story.judge()
    assert judged["P-missing-row"].records == (sent, call)
    assert "names builds:99, which does not exist: no plugin should be called" in judged.why["P-missing-row"]


def test_p_missing_row_not_stored_for_all(story: Any) -> None:
    story.start()
    sent = story.notify("build_queued", "99", missing=("builds:99",))
    story.store("github", "build_queued", "99")
    settled = story.settle()
    judged = story.judge()
    assert judged["P-missing-row"].records == (sent, settled)
    assert "should be stored for chat as for every interested plugin" in judged.why["P-missing-row"]


def test_p_missing_row_a_row_deleted_after_it_was_loaded(story: Any) -> None:
    story.start()
    story.notify("build_queued", "7")
    row = story.row(7)
    story.delete("builds", "7")
    for plugin in story.plugins:
        story.call(plugin, "build_queued", 7, rows={7: row})
    story.settle()
    assert not story.judge().violated


def test_p_missing_row_an_id_beyond_int4_names_no_row(story: Any) -> None:
    story.start()
    long = "9" * 40
    story.notify("build_queued", long, missing=(f"builds:{long}",))
    for plugin in story.plugins:
        story.store(plugin, "build_queued", long)
    story.settle()
    assert not story.judge().violated
    assert "P-missing-row" in story.judge().held
