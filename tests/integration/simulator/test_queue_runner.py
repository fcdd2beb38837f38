"""Every outcome of docs/reference/hydra.md, section 2: its rows, its transactions, its notifications."""

from typing import Any

import pytest

from hydra_notify_sim.contract.statuses import Status
from hydra_notify_sim.history import Outcome
from hydra_notify_sim.simulator import ImpossibleActionError
from hydra_notify_sim.simulator.names import log_path

T0 = 1_790_000_000
BUILD = "SELECT finished,buildstatus,starttime,stoptime,iscachedbuild,notificationpendingsince FROM builds WHERE id={}"
STEPS = "SELECT build,stepnr,type,busy,status,starttime,stoptime,propagatedfrom FROM buildsteps ORDER BY build,stepnr"


def test_a_success_is_five_transactions(stage: Any) -> None:
    (hello,) = stage.builds("hello", outputs=("out", "dev"), products=2, metrics={"time": 1.5})
    stage.queue_runner.start(hello)
    assert stage.row(STEPS) == (1, 1, 0, 1, None, T0, None, None)
    stage.clock.time += 7
    assert stage.queue_runner.finish(hello) == [hello]
    assert stage.heard == [
        ("insert_step", [("step_started", "1\t1")]),
        ("announce_started", [("build_started", "1")]),
        ("finish_step", [("step_finished", f"1\t1\t{log_path(hello.drv_path)}")]),
        ("mark_finished", []),
        ("announce_finished", [("build_finished", "1")]),
    ]
    assert stage.row(BUILD.format(1)) == (1, 0, T0, T0 + 7, 0, T0 + 7)
    assert stage.row(STEPS) == (1, 1, 0, 0, 0, T0, T0 + 7, None)
    machine, system, overhead, drv, message = stage.row(
        "SELECT machine,system,overhead,drvpath,errormsg FROM buildsteps"
    )
    assert (system, drv, message) == ("x86_64-linux", hello.drv_path, None)
    assert machine.endswith(".example.org")
    assert overhead > 0
    assert stage.rows("SELECT name,path FROM buildoutputs ORDER BY name") == sorted(hello.outputs.items())
    assert stage.rows("SELECT name,path FROM buildstepoutputs ORDER BY name") == sorted(hello.outputs.items())
    assert stage.rows("SELECT productnr FROM buildproducts ORDER BY 1") == [(1,), (2,)]
    assert stage.rows("SELECT name,value,project,jobset,timestamp FROM buildmetrics") == [
        ("time", 1.5, "nixpkgs", "trunk", T0 + 7)
    ]
    size, closure = stage.row("SELECT size,closuresize FROM builds")
    assert 0 < size < closure
    assert stage.commits("mark_finished")[0].outcomes == (Outcome(1, 0, T0, T0 + 7, pending=True),)


def test_a_step_on_the_way_tells_of_no_build(stage: Any) -> None:
    (iso,) = stage.builds("iso", steps=3)
    stage.queue_runner.start(iso)
    assert stage.queue_runner.step(iso) == 1
    assert [action for action, _ in stage.heard] == ["insert_step", "announce_started", "finish_step"]
    stage.queue_runner.finish(iso)
    assert [action for action, _ in stage.heard[3:]] == [
        *["insert_step", "announce_started", "finish_step"] * 2,
        "mark_finished",
        "announce_finished",
    ]
    paths = [row[0] for row in stage.rows("SELECT drvpath FROM buildsteps ORDER BY stepnr")]
    assert paths[2] == iso.drv_path
    assert len(set(paths)) == 3


def test_steps_under_way_at_once_all_end(stage: Any) -> None:
    (iso,) = stage.builds("iso", steps=2)
    stage.queue_runner.start(iso)
    stage.queue_runner.start(iso)
    stage.queue_runner.finish(iso, "failed")
    assert stage.rows("SELECT stepnr,status FROM buildsteps ORDER BY 1") == [(1, 0), (2, 1)]
    assert stage.row(BUILD.format(1))[:2] == (1, 1)


def test_a_failure_takes_every_dependent_along(stage: Any) -> None:
    world = stage.world
    kernel = world.build("kernel")
    modules = world.build("modules", needs=[kernel])
    iso = world.build("iso", needs=[modules])
    done = world.build("done", needs=[kernel])
    other = world.build("other")
    stage.queue(kernel, modules, iso, done, other)
    stage.queue_runner.substitute(done)
    stage.forget()
    stage.queue_runner.start(kernel)
    stage.clock.time += 3
    assert stage.queue_runner.finish(kernel, Status.failed) == [kernel, modules, iso]
    assert stage.heard[2:] == [
        ("finish_step", [("step_finished", f"1\t1\t{log_path(kernel.drv_path)}")]),
        ("fail_builds", []),
        ("announce_finished", [("build_finished", "1\t1\t2\t3")]),
    ]
    assert stage.row(BUILD.format(1)) == (1, 1, T0, T0 + 3, 0, T0 + 3)
    for dependent in (2, 3):
        assert stage.row(BUILD.format(dependent)) == (1, 2, T0, T0 + 3, 0, T0 + 3)
    assert stage.row(BUILD.format(4))[1] == 0
    assert stage.row(BUILD.format(5))[0] == 0
    steps = [row for row in stage.rows(STEPS) if row[0] in {1, 2, 3}]
    assert steps == [
        (1, 1, 0, 0, 1, T0, T0 + 3, None),
        (2, 1, 0, 0, 1, None, None, 1),
        (3, 1, 0, 0, 1, None, None, 1),
    ]
    assert {row[0] for row in stage.rows("SELECT drvpath FROM buildsteps WHERE build IN (2,3)")} == {
        kernel.drv_path
    }
    (failed,) = stage.commits("fail_builds")
    assert [(o.build, o.status, o.pending) for o in failed.outcomes] == [
        (1, 1, True),
        (2, 2, True),
        (3, 2, True),
    ]
    assert [(row.table, row.id) for row in failed.rows] == [("buildsteps", "2/1"), ("buildsteps", "3/1")]


@pytest.mark.parametrize(
    "status",
    ["timed_out", "log_limit_exceeded", "nar_size_limit_exceeded", "not_deterministic", "aborted"],
)
def test_dependents_take_every_other_code_as_it_is(stage: Any, status: str) -> None:
    tests = stage.world.build("tests")
    docs = stage.world.build("docs", needs=[tests])
    stage.queue(tests, docs)
    stage.queue_runner.finish(tests, status)
    code = int(Status[status])
    assert stage.rows("SELECT buildstatus FROM builds ORDER BY id") == [(code,), (code,)]
    assert stage.rows("SELECT status FROM buildsteps ORDER BY build") == [(code,), (code,)]
    assert stage.heard[-1] == ("announce_finished", [("build_finished", "1\t1\t2")])


def test_failed_with_output_is_a_success_of_the_step(stage: Any) -> None:
    tests = stage.world.build("tests")
    docs = stage.world.build("docs", needs=[tests])
    stage.queue(tests, docs)
    stage.queue_runner.finish(tests, "failed_with_output")
    assert stage.row(BUILD.format(1))[:2] == (1, 6)
    assert stage.row(BUILD.format(2))[0] == 0
    assert stage.row("SELECT status FROM buildsteps") == (0,)
    assert stage.heard[-1] == ("announce_finished", [("build_finished", "1")])


def test_one_step_finishes_every_build_of_its_derivation(stage: Any) -> None:
    first = stage.world.build("first")
    second = stage.world.build("second", job="alias", same_derivation_as=first)
    docs = stage.world.build("docs", needs=[first])
    stage.queue(first, second, docs)
    stage.queue_runner.finish(second)
    assert stage.heard[-1] == ("announce_finished", [("build_finished", "1"), ("build_finished", "2")])
    assert stage.rows("SELECT iscachedbuild FROM builds WHERE finished=1 ORDER BY id") == [(1,), (0,)]
    assert [o.cached for o in stage.commits("mark_finished")[0].outcomes] == [True, False]


def test_a_failed_step_gives_its_code_to_every_build_of_its_derivation(stage: Any) -> None:
    first = stage.world.build("first")
    second = stage.world.build("second", job="alias", same_derivation_as=first)
    docs = stage.world.build("docs", needs=[first])
    stage.queue(first, second, docs)
    stage.queue_runner.finish(second, "failed")
    assert stage.heard[-1] == ("announce_finished", [("build_finished", "2\t1\t2\t3")])
    assert stage.rows("SELECT buildstatus FROM builds ORDER BY id") == [(1,), (1,), (2,)]


def test_a_cached_failure_is_told_as_it_is_marked(stage: Any) -> None:
    (before,) = stage.builds("before")
    stage.queue_runner.finish(before, "failed")
    again = stage.world.build("again", job="alias", same_derivation_as=before)
    docs = stage.world.build("docs", needs=[again])
    stage.queue(again, docs)
    stage.clock.time += 50
    stage.queue_runner.finish(again, "cached_failure")
    assert stage.heard == [
        ("cached_failure", [("build_finished", "2")]),
        ("cached_failure", [("build_finished", "3")]),
    ]
    now = stage.clock.time
    assert stage.row(BUILD.format(2)) == (1, 1, now, now, 1, now)
    assert stage.row(BUILD.format(3)) == (1, 2, now, now, 1, now)
    assert stage.rows(STEPS)[1:] == [
        (2, 1, 0, 0, 8, None, None, 1),
        (3, 1, 0, 0, 8, None, None, 2),
    ]


def test_a_substituted_build_says_build_finished_only(stage: Any) -> None:
    (hello,) = stage.builds("hello", outputs=("out", "man"))
    stage.queue_runner.substitute(hello)
    assert stage.heard == [("substituted", [("build_finished", "1")])]
    assert stage.row(BUILD.format(1)) == (1, 0, T0, T0, 1, T0)
    assert stage.rows("SELECT stepnr,type,busy,status,machine,system FROM buildsteps ORDER BY 1") == [
        (1, 1, 0, 0, "", None),
        (2, 1, 0, 0, "", None),
    ]
    assert stage.rows("SELECT stepnr,name FROM buildstepoutputs ORDER BY 1") == [(1, "out"), (2, "man")]


def test_already_valid_outputs_leave_no_step(stage: Any) -> None:
    (hello,) = stage.builds("hello")
    stage.queue_runner.already_valid(hello)
    assert stage.heard == [("already_valid", [("build_finished", "1")])]
    assert stage.row(BUILD.format(1)) == (1, 0, T0, T0, 1, T0)
    assert stage.rows(STEPS) == []


@pytest.mark.parametrize("found", ["substitute", "already_valid"])
def test_outputs_are_looked_for_before_a_build_is_begun(stage: Any, found: str) -> None:
    (hello,) = stage.builds("hello")
    runner = stage.queue_runner
    runner.start(hello)
    with pytest.raises(ImpossibleActionError, match="a step of it was begun"):
        getattr(runner, found)(hello)
    runner.abort(hello)
    with pytest.raises(ImpossibleActionError, match="a step of it was begun"):
        getattr(runner, found)(hello)
    runner.start(hello)
    runner.stopped()
    getattr(runner, found)(hello)
    stage.person.restart([hello])
    getattr(runner, found)(hello)
    assert len(stage.commits("substituted") + stage.commits("already_valid")) == 2


def test_an_aborted_step_is_tried_again(stage: Any) -> None:
    (hello,) = stage.builds("hello")
    stage.queue_runner.start(hello)
    stage.queue_runner.abort(hello, log=False)
    stage.queue_runner.finish(hello)
    assert stage.heard == [
        ("insert_step", [("step_started", "1\t1")]),
        ("announce_started", [("build_started", "1")]),
        ("finish_step", [("step_finished", "1\t1\t-")]),
        ("insert_step", [("step_started", "1\t2")]),
        ("announce_started", [("build_started", "1")]),
        ("finish_step", [("step_finished", f"1\t2\t{log_path(hello.drv_path)}")]),
        ("mark_finished", []),
        ("announce_finished", [("build_finished", "1")]),
    ]
    assert stage.rows("SELECT stepnr,status FROM buildsteps ORDER BY 1") == [(1, 3), (2, 0)]


def test_an_unsupported_system_is_told_without_a_step_being_sent(stage: Any) -> None:
    tests = stage.world.build("tests", system="riscv64-linux")
    docs = stage.world.build("docs", needs=[tests])
    stage.queue(tests, docs)
    stage.queue_runner.finish(tests, "unsupported_system")
    assert stage.heard == [
        ("unsupported_system", []),
        ("announce_finished", [("build_finished", "1\t1\t2")]),
    ]
    assert stage.rows("SELECT build,status,errormsg,machine FROM buildsteps ORDER BY 1") == [
        (1, 9, "unsupported system type 'riscv64-linux'", ""),
        (2, 9, "unsupported system type 'riscv64-linux'", ""),
    ]
    assert stage.rows("SELECT buildstatus FROM builds") == [(9,), (9,)]


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_between_marking_and_notifying_the_queue_runner_can_die(stage: Any, status: str) -> None:
    (hello,) = stage.builds("hello")
    stage.queue_runner.mark_only(hello, status)
    marking = stage.commits()[-1]
    assert (marking.fault, marking.notifications) == ("mark_only", ())
    assert stage.row(BUILD.format(1))[5] == T0
    assert "announce_finished" not in [action for action, _ in stage.heard]
    assert stage.queue_runner.announce(hello) == 1
    assert stage.heard[-1] == (
        "announce_finished",
        [("build_finished", "1" if status == "succeeded" else "1\t1")],
    )
    with pytest.raises(ImpossibleActionError, match="nothing was marked"):
        stage.queue_runner.announce(hello)


def test_a_late_announcement_may_follow_a_restart(stage: Any) -> None:
    (hello,) = stage.builds("hello")
    stage.queue_runner.mark_only(hello)
    stage.person.restart([hello])
    stage.queue_runner.announce(hello)
    assert stage.heard[-1] == ("announce_finished", [("build_finished", "1")])


def test_above_seven_thousand_bytes_build_finished_is_split(stage: Any) -> None:
    kernel = stage.world.build("kernel")
    modules = [stage.world.build(f"module{n}", needs=[kernel]) for n in range(2000)]
    stage.queue(kernel, *modules)
    stage.queue_runner.finish(kernel, "failed")
    action, parts = stage.heard[-1]
    assert action == "announce_finished"
    assert [channel for channel, _ in parts] == ["build_finished"] * 2
    lists = [payload.split("\t") for _, payload in parts]
    assert [ids[0] for ids in lists] == ["1", "1"]
    assert [int(id_) for ids in lists for id_ in ids[1:]] == list(range(1, 2002))
    assert max(len(payload) for _, payload in parts) <= 7000
    assert len(parts[0][1]) > 6990
    assert stage.row("SELECT count(*) FROM builds WHERE buildstatus=2") == (2000,)


def test_a_stopping_queue_runner_leaves_no_step_busy(stage: Any) -> None:
    (hello,) = stage.builds("hello")
    stage.queue_runner.start(hello)
    stage.queue_runner.stopped()
    assert stage.heard[-1] == ("reset_busy_steps", [])
    assert stage.row("SELECT busy,status,stoptime FROM buildsteps") == (0, 3, 0)
    stage.queue_runner.finish(hello)
    assert stage.rows("SELECT stepnr,status FROM buildsteps ORDER BY 1") == [(1, 3), (2, 0)]


def test_the_states_of_a_step_are_written_when_asked_for(stages: Any) -> None:
    stage = stages(detailed=True)
    (hello,) = stage.builds("hello")
    stage.queue_runner.start(hello)
    assert stage.row("SELECT busy FROM buildsteps") == (30,)
    stage.queue_runner.finish(hello)
    assert [action for action, _ in stage.heard].count("step_state") == 5


def test_results_are_replaced_when_a_build_is_finished_again(stage: Any) -> None:
    (hello,) = stage.builds("hello", products=3, metrics={"size": 12.0})
    stage.queue_runner.finish(hello)
    stage.person.restart([hello])
    stage.clock.time += 60
    stage.queue_runner.finish(hello)
    assert stage.rows("SELECT productnr FROM buildproducts ORDER BY 1") == [(1,), (2,), (3,)]
    assert stage.rows("SELECT timestamp FROM buildmetrics") == [(T0 + 60,)]
    assert stage.rows("SELECT stepnr FROM buildsteps ORDER BY 1") == [(1,), (2,)]


def test_what_cannot_happen_is_refused_and_changes_nothing(stage: Any) -> None:
    (hello,) = stage.builds("hello")
    absent = stage.world.build("absent")
    runner = stage.queue_runner
    with pytest.raises(ImpossibleActionError, match="absent: start is impossible, there is no row"):
        runner.start(absent)
    with pytest.raises(ImpossibleActionError, match="no step of it is under way"):
        runner.abort(hello)
    with pytest.raises(ImpossibleActionError, match="finish with cancelled"):
        runner.finish(hello, "cancelled")
    with pytest.raises(ImpossibleActionError, match="'sideways' is not a status"):
        runner.finish(hello, "sideways")
    with pytest.raises(ImpossibleActionError, match="finish with cached_failure and no notification"):
        runner.mark_only(hello, "cached_failure")
    runner.start(hello)
    with pytest.raises(ImpossibleActionError, match="its last step"):
        runner.start(hello)
    runner.finish(hello)
    for action in (runner.start, runner.finish, runner.substitute, runner.already_valid, runner.unsupported):
        with pytest.raises(ImpossibleActionError, match="it is finished already"):
            action(hello)
    assert len(stage.commits("mark_finished")) == 1


def test_a_payload_that_names_a_deleted_build_says_so(stage: Any) -> None:
    kernel = stage.world.build("kernel")
    iso = stage.world.build("iso", needs=[kernel])
    stage.queue(kernel, iso)
    stage.queue_runner.mark_only(kernel, "failed")
    stage.person.delete_build(iso)
    stage.queue_runner.announce(kernel)
    (notification,) = stage.commits("announce_finished")[0].notifications
    assert (notification.payload, notification.missing) == ("1\t1\t2", ("builds:2",))
