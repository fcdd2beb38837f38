"""Every ending of an evaluation, docs/reference/hydra.md, section 3: its rows, its transactions, its notifications."""

from typing import Any

import pytest

from hydra_notify_sim.history import RowChange
from hydra_notify_sim.simulator import ImpossibleActionError

T0 = 1_790_000_000


def test_an_evaluation_arrives_whole_after_eval_started(stage: Any) -> None:
    done, open_ = stage.builds("done", "open")
    stage.queue_runner.finish(done)
    stage.forget()
    fresh = stage.world.build("fresh", job="fresh.x86_64-linux", name="fresh-1.0")
    evaluation = stage.evaluator.evaluate([fresh], cached=[done, open_], name="e2")
    trace = evaluation.trace
    assert stage.heard == [
        ("eval_started", [("eval_started", f"{trace}\t1")]),
        (
            "evaluation",
            [
                ("build_queued", "3"),
                ("cached_build_finished", "2\t1"),
                ("cached_build_queued", "2\t2"),
                ("eval_added", f"{trace}\t1\t2"),
                ("builds_added", ""),
            ],
        ),
    ]
    assert stage.row("SELECT jobset_id,timestamp,hasnewbuilds,nrbuilds FROM jobsetevals WHERE id=2") == (
        1,
        T0,
        1,
        3,
    )
    assert stage.rows("SELECT build,isnew FROM jobsetevalmembers WHERE eval=2 ORDER BY 1") == [
        (1, 0),
        (2, 0),
        (3, 1),
    ]
    assert stage.row("SELECT finished,timestamp,job,nixname,system,drvpath FROM builds WHERE id=3") == (
        0,
        T0,
        "fresh.x86_64-linux",
        "fresh-1.0",
        "x86_64-linux",
        fresh.drv_path,
    )
    assert stage.rows("SELECT name,path FROM buildoutputs WHERE build=3") == list(fresh.outputs.items())
    assert stage.rows("SELECT name,type FROM jobsetevalinputs WHERE eval=2") == [("src", "git")]
    assert stage.commits("evaluation")[-1].rows == (
        RowChange("inserted", "jobsetevals", "2", "e2"),
        RowChange("inserted", "builds", "3", "fresh"),
    )


def test_nothing_new_still_adds_an_evaluation(stage: Any) -> None:
    evaluation = stage.evaluator.nothing_new()
    assert stage.heard[-1] == ("evaluation", [("eval_added", f"{evaluation.trace}\t1\t1")])
    assert stage.row("SELECT hasnewbuilds FROM jobsetevals") == (0,)
    assert stage.rows("SELECT * FROM jobsetevalmembers") == []


def test_the_same_builds_again_are_told_and_are_no_members(stage: Any) -> None:
    (hello,) = stage.builds("hello")
    evaluation = stage.evaluator.evaluate(cached=[hello])
    assert stage.heard[-1][1] == [
        ("cached_build_queued", "2\t1"),
        ("eval_added", f"{evaluation.trace}\t1\t2"),
    ]
    assert stage.rows("SELECT hasnewbuilds FROM jobsetevals ORDER BY id") == [(1,), (0,)]
    assert stage.rows("SELECT eval,build FROM jobsetevalmembers") == [(1, 1)]


def test_a_build_that_is_gone_from_the_jobset_is_a_change(stage: Any) -> None:
    hello, _ = stage.builds("hello", "curl")
    stage.evaluator.evaluate(cached=[hello])
    assert stage.rows("SELECT hasnewbuilds FROM jobsetevals ORDER BY id") == [(1,), (1,)]
    assert stage.rows("SELECT build,isnew FROM jobsetevalmembers WHERE eval=2") == [(1, 0)]


def test_an_aggregate_knows_its_constituents(stage: Any) -> None:
    parts = [stage.world.build(name) for name in ("hello", "curl")]
    tested = stage.world.build("tested", constituents=parts, needs=parts)
    stage.queue(*parts, tested)
    assert stage.rows("SELECT aggregate,constituent FROM aggregateconstituents ORDER BY 2") == [
        (3, 1),
        (3, 2),
    ]


def test_unchanged_inputs_name_the_previous_evaluation(stage: Any) -> None:
    stage.builds("hello")
    stage.evaluator.unchanged()
    (started, [(_, payload)]), (cached, [(channel, told)]) = stage.heard
    assert (started, cached, channel) == ("eval_started", "eval_cached", "eval_cached")
    assert told == f"{payload}\t1"


def test_unchanged_needs_an_evaluation(stage: Any) -> None:
    with pytest.raises(ImpossibleActionError, match="there is no evaluation of it"):
        stage.evaluator.unchanged()


def test_a_failure_to_evaluate_is_kept_and_told(stage: Any) -> None:
    stage.evaluator.fails("error: it's \\broken\\ · beyond ä")
    assert [action for action, _ in stage.heard] == ["insert", "eval_started", "eval_error", "eval_failed"]
    assert stage.heard[-1][1] == [("eval_failed", stage.heard[1][1][0][1])]
    assert stage.row("SELECT errormsg,errortime FROM jobsets") == ("error: it's \\broken\\ · beyond ä", T0)


def test_a_failure_to_fetch_is_kept_and_told(stage: Any) -> None:
    stage.evaluator.fetch_fails("503")
    assert [action for action, _ in stage.heard] == ["insert", "eval_started", "fetch_error", "eval_failed"]
    assert stage.row("SELECT fetcherrormsg,lastcheckedtime FROM jobsets") == ("503", T0)


def test_the_september_payloads_carry_error_changed(stages: Any) -> None:
    stage = stages(payloads="2026-09")
    stage.evaluator.fails(error_changed=True)
    stage.evaluator.nothing_new()
    (_, (failed,)), _, (_, (added,)) = stage.heard[-3:]
    assert failed[1].split("\t")[1:] == ["1", "1"]
    assert added[1].split("\t")[1:] == ["1", "1", "0"]


def test_sequences_stay_in_step_and_are_taken_up_where_they_stand(stage: Any, stages: Any) -> None:
    stage.builds("hello", "curl")
    assert stage.row("SELECT nextval('builds_id_seq'),nextval('jobsetevals_id_seq')") == (3, 2)
    other = stages()
    (next_,) = other.builds("next")
    assert next_.id == 4
    assert other.row("SELECT id FROM jobsets") == (1,)
    assert other.rows("SELECT id FROM jobsetevals ORDER BY 1") == [(1,), (3,)]


def test_another_jobset_of_another_project(stage: Any) -> None:
    stage.builds("hello")
    iso = stage.world.build("iso", jobset="nixos:release-25.11")
    stage.evaluator.evaluate([iso])
    assert stage.rows("SELECT project,name,id FROM jobsets ORDER BY id") == [
        ("nixpkgs", "trunk", 1),
        ("nixos", "release-25.11", 2),
    ]
    assert stage.row("SELECT jobset_id FROM builds WHERE id=2") == (2,)
    hello = stage.world.builds[0]
    with pytest.raises(ImpossibleActionError, match="belongs to nixpkgs:trunk, not to nixos"):
        stage.evaluator.evaluate(cached=[hello], jobset=iso.jobset)


def test_new_is_not_known_and_known_is_not_new(stage: Any) -> None:
    (hello,) = stage.builds("hello")
    with pytest.raises(ImpossibleActionError, match="cannot be new"):
        stage.evaluator.evaluate([hello])
    with pytest.raises(ImpossibleActionError, match="there is no row of it"):
        stage.evaluator.evaluate(cached=[stage.world.build("absent")])
    assert stage.heard == []


def test_the_same_seed_writes_the_same_rows(stages: Any, database: Any) -> None:
    def played(seed: int) -> list[tuple[Any, ...]]:
        database.reset()
        stage = stages(seed=seed)
        hello, _ = stage.builds("hello", "curl", products=1)
        stage.queue_runner.finish(hello)
        found = [
            *stage.rows("SELECT * FROM builds ORDER BY id"),
            *stage.rows("SELECT * FROM buildsteps"),
            *stage.rows("SELECT * FROM jobsetevals"),
            *stage.rows("SELECT * FROM buildproducts"),
        ]
        return [tuple(row) for row in found]

    first = played(7)
    assert played(7) == first
    assert played(8) != first
