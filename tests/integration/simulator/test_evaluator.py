"""Every ending of an evaluation, docs/reference/hydra.md, section 3: its rows, its transactions, its notifications."""

from typing import Any

import pytest

from hydra_notify_sim.history import RowChange
from hydra_notify_sim.simulator import ImpossibleActionError, Input
from hydra_notify_sim.simulator.evaluator import locked

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
        ("evaluation_errors", []),
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
    assert stage.rows("SELECT name,altnr,type,uri,revision FROM jobsetevalinputs WHERE eval=2") == [
        ("src", 0, "git", "https://git.example.org/src.git", evaluation.revision)
    ]
    assert stage.row("SELECT flake,nixexprinput,nixexprpath FROM jobsetevals WHERE id=2") == (
        None,
        "src",
        "release.nix",
    )
    assert stage.row(
        "SELECT errormsg,errortime FROM jobsetevals e JOIN evaluationerrors r ON r.id=e.evaluationerror_id "
        "WHERE e.id=2"
    ) == ("", T0)
    assert stage.row("SELECT errormsg,errortime,fetcherrormsg,lastcheckedtime FROM jobsets") == (
        "",
        T0,
        None,
        T0,
    )
    assert stage.commits("evaluation")[-1].rows == (
        RowChange("inserted", "jobsetevals", "2", "e2"),
        RowChange("inserted", "builds", "3", "fresh"),
    )


def test_nothing_new_still_adds_an_evaluation(stage: Any) -> None:
    evaluation = stage.evaluator.nothing_new()
    assert stage.heard[-1] == ("evaluation", [("eval_added", f"{evaluation.trace}\t1\t1")])
    assert stage.row("SELECT hasnewbuilds,nrbuilds FROM jobsetevals") == (0, None)
    assert stage.rows("SELECT * FROM jobsetevalinputs") == []
    assert stage.rows("SELECT errormsg FROM evaluationerrors") == [("",)]
    assert stage.rows("SELECT * FROM jobsetevalmembers") == []


def test_the_same_builds_again_are_told_and_are_no_members(stage: Any) -> None:
    (hello,) = stage.builds("hello")
    evaluation = stage.evaluator.evaluate(cached=[hello])
    assert stage.heard[-1][1] == [
        ("cached_build_queued", "2\t1"),
        ("eval_added", f"{evaluation.trace}\t1\t2"),
    ]
    assert stage.rows("SELECT hasnewbuilds,nrbuilds FROM jobsetevals ORDER BY id") == [(1, 1), (0, None)]
    assert stage.rows("SELECT eval,build FROM jobsetevalmembers") == [(1, 1)]
    assert stage.rows("SELECT eval FROM jobsetevalinputs") == [(1,)]


def test_a_build_that_is_gone_from_the_jobset_is_a_change(stage: Any) -> None:
    hello, _ = stage.builds("hello", "curl")
    stage.evaluator.evaluate(cached=[hello])
    assert stage.rows("SELECT hasnewbuilds,nrbuilds FROM jobsetevals ORDER BY id") == [(1, 2), (1, 1)]
    assert stage.rows("SELECT build,isnew FROM jobsetevalmembers WHERE eval=2") == [(1, 0)]
    assert stage.rows("SELECT id,iscurrent FROM builds ORDER BY 1") == [(1, 1), (2, 0)]
    (commit,) = stage.commits("current_builds")
    assert commit.rows == (RowChange("updated", "builds", "2", "curl", ("iscurrent",)),)


def test_a_build_is_found_only_in_the_last_evaluation_with_new_builds(stage: Any) -> None:
    """A, B, A: Hydra makes three builds (hydra.md, section 3)."""
    (good,) = stage.builds("good", job="app")
    stage.queue_runner.finish(good)
    (bad,) = stage.builds("bad", job="app")
    stage.queue_runner.finish(bad, "failed")
    with pytest.raises(ImpossibleActionError, match="good cannot be found cached: it is no member"):
        stage.evaluator.evaluate(cached=[good])
    again = stage.world.build("again", same_derivation_as=good)
    stage.forget()
    evaluation = stage.evaluator.evaluate([again])
    assert [channel for channel, _ in stage.heard[2][1]] == ["build_queued", "eval_added", "builds_added"]
    stage.queue_runner.already_valid(again)
    assert stage.rows("SELECT job,drvpath,buildstatus,iscurrent FROM builds ORDER BY id") == [
        ("app", good.drv_path, 0, 0),
        ("app", bad.drv_path, 1, 0),
        ("app", good.drv_path, 0, 1),
    ]
    assert stage.rows("SELECT path FROM buildoutputs WHERE build=1") == stage.rows(
        "SELECT path FROM buildoutputs WHERE build=3"
    )
    assert stage.rows("SELECT build FROM jobsetevalmembers WHERE eval=3") == [(again.id,)]
    assert evaluation.has_new_builds


def test_the_same_derivation_of_the_same_job_is_not_new_twice(stage: Any) -> None:
    (good,) = stage.builds("good", job="app")
    again = stage.world.build("again", same_derivation_as=good)
    with pytest.raises(
        ImpossibleActionError, match="again: it cannot be new, for good is the same derivation"
    ):
        stage.evaluator.evaluate([again])
    alias = stage.world.build("alias", job="app-alias", same_derivation_as=good)
    stage.evaluator.evaluate([alias], cached=[good])
    twice = [stage.world.build(name, job="other") for name in ("one",)]
    twice.append(stage.world.build("two", same_derivation_as=twice[0]))
    with pytest.raises(ImpossibleActionError, match="two: it cannot be new, for one is the same"):
        stage.evaluator.evaluate(twice)


def test_what_hydra_never_writes_is_written_if_asked_for_and_named_a_fault(stage: Any) -> None:
    (good,) = stage.builds("good")
    stage.builds("bad")
    stage.evaluator.evaluate(cached=[good], impossible=True)
    assert stage.heard[2][1][0] == ("cached_build_queued", "3\t1")
    assert [commit.fault for commit in stage.commits("evaluation")] == ["", "", "impossible"]


def test_after_an_evaluation_that_finds_nothing_nothing_is_cached(stage: Any) -> None:
    (hello,) = stage.builds("hello")
    stage.evaluator.nothing_new()
    assert stage.rows("SELECT hasnewbuilds,nrbuilds FROM jobsetevals ORDER BY id") == [(1, 1), (1, 0)]
    with pytest.raises(ImpossibleActionError, match="no member"):
        stage.evaluator.evaluate(cached=[hello])


def test_a_deleted_evaluation_has_no_members_and_the_one_before_counts_again(stage: Any) -> None:
    (good,) = stage.builds("good")
    second = stage.evaluator.evaluate([stage.world.build("bad")])
    stage.person.delete_evaluation(second)
    stage.forget()
    stage.evaluator.evaluate(cached=[good])
    assert stage.heard[2][1][0][0] == "cached_build_queued"
    assert stage.rows("SELECT id,iscurrent FROM builds ORDER BY 1") == [(1, 1), (2, 0)]


def test_errors_of_single_jobs_are_an_evaluation_and_no_failure(stage: Any) -> None:
    stage.builds("hello")
    hello = stage.world.builds[0]
    stage.evaluator.evaluate(cached=[hello], errors="in job 'docs':\nerror: attribute 'docs' missing")
    assert [action for action, _ in stage.heard] == ["eval_started", "evaluation_errors", "evaluation"]
    assert [channel for channel, _ in stage.heard[-1][1]] == ["cached_build_queued", "eval_added"]
    text = "in job 'docs':\nerror: attribute 'docs' missing"
    assert stage.row("SELECT errormsg,errortime FROM jobsets") == (text, T0)
    assert stage.rows(
        "SELECT errormsg FROM jobsetevals e JOIN evaluationerrors r ON r.id=e.evaluationerror_id ORDER BY e.id"
    ) == [("",), (text,)]
    stage.evaluator.evaluate(cached=[hello])
    assert stage.row("SELECT errormsg FROM jobsets") == ("",)


def test_an_evaluation_has_the_inputs_that_it_is_given(stage: Any) -> None:
    hello = stage.world.build("hello", maintainers=["a@example.org", "b@example.org"])
    stage.evaluator.evaluate(
        [hello],
        inputs=[
            Input("src", uri="https://git.example.org/app.git", revision="ab" * 20),
            Input("officialRelease", type="boolean", value="false"),
            Input("src", uri="https://git.example.org/old.git", revision="cd" * 20),
        ],
    )
    assert stage.rows(
        "SELECT name,altnr,type,uri,revision,shortrevlength,value FROM jobsetevalinputs ORDER BY 1,2"
    ) == [
        ("officialRelease", 0, "boolean", None, None, None, "false"),
        ("src", 0, "git", "https://git.example.org/app.git", "ab" * 20, 7, None),
        ("src", 1, "git", "https://git.example.org/old.git", "cd" * 20, 7, None),
    ]
    assert stage.row("SELECT maintainers FROM builds") == ("a@example.org, b@example.org",)


def test_a_flake_is_evaluated_at_its_revision_and_has_no_inputs(stages: Any) -> None:
    stage = stages(jobset="farm:main", flake="github:example/farm")
    evaluation = stage.evaluator.evaluate([stage.world.build("hello")])
    locked = f"github:example/farm/{evaluation.revision}"
    assert stage.row("SELECT type,flake,nixexprinput,nixexprpath FROM jobsets") == (
        1,
        "github:example/farm",
        None,
        None,
    )
    assert stage.row("SELECT flake,nixexprinput,nixexprpath FROM jobsetevals") == (locked, None, None)
    assert stage.rows("SELECT * FROM jobsetevalinputs") == []
    given = f"github:example/farm/{'ab' * 20}"
    stage.evaluator.evaluate([stage.world.build("world")], flake=given)
    assert stage.rows("SELECT flake FROM jobsetevals ORDER BY id") == [(locked,), (given,)]
    with pytest.raises(ImpossibleActionError, match="is a flake, so its evaluation has no inputs"):
        stage.evaluator.evaluate(inputs=[])
    with pytest.raises(ImpossibleActionError, match="so its evaluation has no flake"):
        stage.evaluator.evaluate(flake=given, jobset=stage.world.jobset("farm:old"))


def test_a_flake_that_cannot_be_fetched_is_an_error_of_the_evaluation(stages: Any) -> None:
    stage = stages(jobset="farm:main", flake="git+ssh://git@example.org/farm")
    stage.evaluator.fetch_fails("'nix flake metadata' returned exit code 1")
    assert [action for action, _ in stage.heard] == ["insert", "eval_started", "eval_failed"]
    assert stage.row("SELECT errormsg,errortime,fetcherrormsg FROM jobsets") == (
        "'nix flake metadata' returned exit code 1",
        T0,
        None,
    )


@pytest.mark.parametrize(
    ("flake", "expected"),
    [
        ("github:example/farm", "github:example/farm/{rev}"),
        ("github:example/farm/main", "github:example/farm/{rev}"),
        ("git+ssh://git@example.org/farm", "git+ssh://git@example.org/farm?rev={rev}"),
        ("git+https://example.org/farm?ref=main", "git+https://example.org/farm?ref=main&rev={rev}"),
    ],
)
def test_a_locked_flake_names_the_revision(flake: str, expected: str) -> None:
    assert locked(flake, "ab" * 20) == expected.format(rev="ab" * 20)


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
    assert [action for action, _ in stage.heard] == [
        "insert",
        "eval_started",
        "evaluation_errors",
        "eval_failed",
    ]
    assert stage.heard[-1][1] == [("eval_failed", stage.heard[1][1][0][1])]
    assert stage.row("SELECT errormsg,errortime,lastcheckedtime,fetcherrormsg FROM jobsets") == (
        "error: it's \\broken\\ · beyond ä",
        T0,
        T0,
        None,
    )
    assert stage.rows("SELECT * FROM jobsetevals") == []


def test_a_failure_to_fetch_is_kept_and_told_and_a_good_evaluation_ends_it(stage: Any) -> None:
    stage.evaluator.fails("broken")
    stage.forget()
    stage.evaluator.fetch_fails("503")
    assert [action for action, _ in stage.heard] == ["eval_started", "eval_failed"]
    assert stage.row("SELECT fetcherrormsg,lastcheckedtime,errormsg FROM jobsets") == ("503", T0, "broken")
    stage.clock.time += 60
    stage.builds("hello")
    assert stage.row("SELECT fetcherrormsg,lastcheckedtime,errormsg FROM jobsets") == (None, T0 + 60, "")
    stage.evaluator.fetch_fails("503")
    stage.evaluator.unchanged()
    assert stage.row("SELECT fetcherrormsg FROM jobsets") == (None,)


def test_the_september_payloads_carry_error_changed(stages: Any) -> None:
    stage = stages(payloads="2026-09")
    stage.evaluator.fails(error_changed=True)
    stage.evaluator.nothing_new()
    failed, added = (stage.heard[at][1][0] for at in (-4, -1))
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
