from typing import Any

import pytest

from hydra_notify_sim import history


def _note(channel: str, *fields: object) -> history.Notification:
    return history.Notification(channel, "\t".join(map(str, fields)))


def _started(story: Any, build: int) -> None:
    about = f"b{build}"
    story.commit("insert_step", _note("step_started", build, 1), about=about)
    story.commit("announce_started", _note("build_started", build), about=about)


def test_q_transactions_held(story: Any) -> None:
    _started(story, 5)
    story.finish(5)
    assert "Q-transactions" in story.judge().held
    assert not story.judge().violated


@pytest.mark.parametrize(
    ("action", "notes", "fields", "problem"),
    [
        ("announce_finished", [_note("build_finished", 5)], {}, "should follow"),
        (
            "announce_started",
            [_note("build_started", 5)],
            {},
            "should follow insert_step; it follows nothing",
        ),
        ("finish_step", [], {}, "should emit step_finished at place 1; it emits nothing more"),
        ("mark_finished", [_note("build_finished", 5)], {}, "should emit nothing at place 1"),
        ("insert_step", [_note("step_started", 5, 1)], {"restarted": (5,)}, "no build should be restarted"),
        ("eval_started", [_note("eval_started", "t", 1)], {}, "no transaction of the queue_runner"),
        ("finish_it", [], {}, "knows no transaction 'finish_it'"),
        (
            "step_state",
            [],
            {"rows": (history.RowChange("updated", "builds", "5"),)},
            "step_state should not write builds",
        ),
    ],
)
def test_q_transactions_violated(
    story: Any, action: str, notes: list[history.Notification], fields: dict[str, Any], problem: str
) -> None:
    commit = story.commit(action, *notes, about="b5", **fields)
    judged = story.judge()
    assert "Q-transactions" in judged.violated
    assert commit in judged["Q-transactions"].records
    assert problem in judged.why["Q-transactions"]
    assert "departs from Hydra's transactions" in judged.why["Q-transactions"]


def test_q_transactions_a_named_fault_is_exempt(story: Any) -> None:
    story.commit("mark_finished", outcomes=(story.outcome(5),), about="b5", fault="mark_only")
    assert story.judge()["Q-transactions"].verdict == "not_exercised"


def test_q_transactions_finishing_where_no_build_finishes(story: Any) -> None:
    outcome = story.outcome(5)
    story.commit("step_state", outcomes=(outcome,), about="b5")
    assert "in step_state no build should finish; 1 did" in story.judge().why["Q-transactions"]


def _substituted(story: Any, build: int) -> int:
    return story.commit(
        "substituted", _note("build_finished", build), outcomes=(story.outcome(build),), about=f"b{build}"
    )


def test_q_substituted_held(story: Any) -> None:
    commit = _substituted(story, 5)
    assert story.judge()["Q-substituted"].records == (commit,)
    assert not story.judge().violated


@pytest.mark.parametrize("before", [True, False])
def test_q_substituted_violated(story: Any, *, before: bool) -> None:
    if before:
        _started(story, 5)
    commit = _substituted(story, 5)
    if not before:
        _started(story, 5)
    judged = story.judge()
    assert judged.violated == {"Q-substituted"}
    assert commit in judged["Q-substituted"].records
    assert "should emit build_finished only" in judged.why["Q-substituted"]


def test_q_substituted_and_restarted_it_is_built_like_any_other(story: Any) -> None:
    _substituted(story, 5)
    story.restart(5)
    _started(story, 5)
    story.finish(5)
    assert not story.judge().violated


def _evaluation(story: Any, *cached: tuple[str, int, int]) -> int:
    story.commit("eval_started", _note("eval_started", "t", 1), actor="evaluator")
    story.commit("evaluation_errors", actor="evaluator")
    notes = [_note(channel, evaluation, build) for channel, evaluation, build in cached]
    added = _note("eval_added", "t", 1, cached[0][1])
    return story.commit("evaluation", *notes, added, actor="evaluator")


def _found(
    story: Any, evaluation: int, *, new: tuple[int, ...] = (), cached: tuple[int, ...] = (), **more: Any
) -> int:
    story.commit("eval_started", _note("eval_started", "t", 7), actor="evaluator")
    story.commit("evaluation_errors", actor="evaluator")
    notes = [_note("build_queued", build) for build in new]
    notes += [_note("cached_build_finished", evaluation, build) for build in cached]
    added = _note("eval_added", "t", 7, evaluation)
    return story.commit("evaluation", *notes, added, actor="evaluator", **more)


def test_q_transactions_a_member_of_the_last_evaluation_with_new_builds_is_found_cached(story: Any) -> None:
    _found(story, 11, new=(5,))
    _found(story, 14, cached=(5,))
    _found(story, 17, cached=(5,), new=(8,))
    _found(story, 21, cached=(8, 5))
    assert not story.judge().violated


def test_q_transactions_a_build_of_an_earlier_evaluation_is_not_found_cached(story: Any) -> None:
    _found(story, 11, new=(5,))
    _found(story, 14, new=(8,))
    reverted = _found(story, 17, cached=(5,))
    judged = story.judge()
    assert judged.violated == {"Q-transactions"}
    assert judged["Q-transactions"].records == (reverted,)
    assert "evaluation 17 found b5 cached" in judged.why["Q-transactions"]


def test_q_transactions_a_build_that_left_the_jobset_is_not_found_cached(story: Any) -> None:
    _found(story, 11, new=(5, 8))
    _found(story, 14, cached=(5,))
    _found(story, 17, cached=(5, 8))
    assert story.judge().violated == {"Q-transactions"}


def test_q_transactions_what_is_asked_for_although_impossible_is_exempt(story: Any) -> None:
    _found(story, 11, new=(5,))
    _found(story, 14, new=(8,))
    _found(story, 17, cached=(5,), fault="impossible")
    assert not story.judge().violated


def test_q_transactions_with_the_last_evaluation_deleted_nobody_knows_its_members(story: Any) -> None:
    _found(story, 11, new=(5,))
    _found(story, 14, new=(8,))
    gone = (history.RowChange("deleted", "jobsetevals", "14"),)
    story.commit("delete", actor="person", rows=gone)
    _found(story, 17, cached=(5,))
    assert not story.judge().violated


def test_q_cached_once_held(story: Any) -> None:
    first = _evaluation(story, ("cached_build_finished", 1, 5), ("cached_build_queued", 1, 6))
    _evaluation(story, ("cached_build_finished", 2, 5))
    assert story.judge()["Q-cached-once"].records == (first,)
    assert not story.judge().violated


@pytest.mark.parametrize("in_one", [True, False])
def test_q_cached_once_violated(story: Any, *, in_one: bool) -> None:
    twice = (("cached_build_finished", 1, 5), ("cached_build_queued", 1, 5))
    if in_one:
        commit = _evaluation(story, *twice)
    else:
        _evaluation(story, twice[0])
        commit = _evaluation(story, twice[1])
    judged = story.judge()
    assert judged.violated == {"Q-cached-once"}
    assert judged["Q-cached-once"].records == (commit,)
    assert "for evaluation 1 and build 5 it emitted another" in judged.why["Q-cached-once"]


def test_q_cached_once_a_person_may_send_it_again(story: Any) -> None:
    _evaluation(story, ("cached_build_finished", 1, 5))
    story.notify("cached_build_finished", "1\t5")
    assert not story.judge().violated


def test_q_restart_held(story: Any) -> None:
    story.finish(5)
    commit = story.restart(5)
    assert story.judge()["Q-restart"].records == (commit,)


@pytest.mark.parametrize("columns", [("finished", "buildstatus"), ("iscachedbuild",), ()])
def test_q_restart_violated(story: Any, columns: tuple[str, ...]) -> None:
    story.finish(5)
    row = history.RowChange("updated", "builds", "5", columns=columns)
    commit = story.commit("restarted", actor="person", restarted=(5,), rows=(row,))
    judged = story.judge()
    assert judged.violated == {"Q-restart"}
    assert judged["Q-restart"].records == (commit,)
    assert "should reset `finished` and `isCachedBuild` and nothing else; of b5" in judged.why["Q-restart"]
