"""What a person does at the web page and at psql: what changes, what is sent, what the record says of it."""

from typing import Any

import psycopg
import pytest

from hydra_notify_sim import errors
from hydra_notify_sim.history import Commit, Committed, Outcome, RowChange
from hydra_notify_sim.simulator import (
    ImpossibleActionError,
    RefusedValueError,
    UnwritableTextError,
    World,
    WriteFailedError,
)

T0 = 1_790_000_000
TRIGGERED = ("builds_restarted", "builds_cancelled", "builds_bumped", "builds_deleted")


def test_a_restart_changes_two_columns(stage: Any) -> None:
    tests = stage.world.build("tests")
    docs = stage.world.build("docs", needs=[tests])
    stage.queue(tests, docs)
    stage.queue_runner.substitute(tests)
    before = stage.row("SELECT * FROM builds WHERE id=1")
    steps = stage.rows("SELECT * FROM buildsteps")
    for channel in TRIGGERED:
        stage.voice.execute(f"LISTEN {channel}")
    stage.person.restart([tests])
    after = stage.row("SELECT * FROM builds WHERE id=1")
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [(1, 0), (1, 0)]
    assert stage.rows("SELECT * FROM buildsteps") == steps
    assert stage.heard[-1] == ("restarted", [])
    (commit,) = stage.commits("restarted")
    assert commit.restarted == (1,)
    assert commit.rows == (RowChange("updated", "builds", "1", "tests", ("finished", "iscachedbuild")),)
    triggered = [n.channel for n in stage.voice.notifies(timeout=10, stop_after=1)]
    assert triggered == ["builds_restarted"]
    stage.queue_runner.finish(tests, "failed")
    assert stage.heard[-1] == ("announce_finished", [("build_finished", "1\t1\t2")])


def test_several_builds_are_restarted_in_one_transaction(stage: Any) -> None:
    builds = stage.builds("a", "b", "c")
    stage.queue_runner.finish(builds[0])
    stage.queue_runner.finish(builds[2], "failed")
    stage.person.restart([builds[2], builds[0]])
    assert sorted(stage.commits("restarted")[0].restarted) == [1, 3]
    assert stage.rows("SELECT finished FROM builds") == [(0,)] * 3


def test_only_what_is_finished_is_restarted(stage: Any) -> None:
    done, open_ = stage.builds("done", "open")
    stage.queue_runner.finish(done)
    with pytest.raises(ImpossibleActionError, match="open: restart is impossible, it is not finished"):
        stage.person.restart([done, open_])
    assert stage.rows("SELECT finished FROM builds ORDER BY id") == [(1,), (0,)]


def test_a_cancelled_build_is_finished_and_nobody_hears_of_it(stage: Any) -> None:
    (hello,) = stage.builds("hello")
    for channel in TRIGGERED:
        stage.voice.execute(f"LISTEN {channel}")
    stage.person.cancel([hello])
    assert stage.heard == [("cancelled", [])]
    assert stage.row(
        "SELECT finished,buildstatus,starttime,stoptime,iscachedbuild,notificationpendingsince FROM builds"
    ) == (1, 4, T0, T0, 0, None)
    assert stage.commits("cancelled")[0].outcomes == (Outcome(1, 4, T0, T0, pending=False),)
    assert [n.channel for n in stage.voice.notifies(timeout=10, stop_after=1)] == ["builds_cancelled"]
    with pytest.raises(ImpossibleActionError, match=r"finished already \(cancelled\)"):
        stage.person.cancel([hello])


def test_a_stale_mark_under_a_cancelled_build_is_seen(stage: Any) -> None:
    cleared, kept = stage.builds("cleared", "kept")
    for build in (cleared, kept):
        stage.queue_runner.finish(build)
    stage.person.restart([cleared, kept])
    stage.voice.execute("UPDATE builds SET notificationpendingsince=NULL WHERE id=1")
    stage.person.cancel([cleared, kept])
    assert [o.pending for o in stage.commits("cancelled")[0].outcomes] == [False, True]


def test_a_bump_gives_priority_and_nothing_else(stage: Any) -> None:
    (hello,) = stage.builds("hello")
    stage.person.bump([hello])
    assert stage.row("SELECT globalpriority,finished FROM builds") == (T0, 0)
    (commit,) = stage.commits("bumped")
    assert commit.rows == (RowChange("updated", "builds", "1", "hello", ("globalpriority",)),)
    assert (commit.outcomes, commit.restarted) == ((), ())


def test_notifications_by_hand_in_their_own_transactions(stage: Any) -> None:
    stage.builds("hello")
    stage.person.notify("build_queued", "1", times=3)
    assert stage.heard == [("notify", [("build_queued", "1")])] * 3
    assert all(n.raw for commit in stage.commits("notify") for n in commit.notifications)


def test_equal_notifications_of_one_transaction_are_one(stage: Any) -> None:
    stage.builds("hello")
    stage.person.notify("build_queued", "1", times=3, how="same transaction")
    assert stage.heard == [("notify", [("build_queued", "1")])]


def test_a_notification_that_is_rolled_back_is_not_sent(stage: Any) -> None:
    stage.builds("hello")
    stage.person.notify("build_queued", "1", times=2, how="rolled back")
    assert stage.heard == [("notify", [])]
    (commit,) = stage.commits("notify")
    assert (commit.fault, commit.notifications) == ("rolled back", ())


@pytest.mark.parametrize(
    ("channel", "payload", "missing"),
    [
        ("build_finished", "1\t99\t1\t98", ("builds:99", "builds:98")),
        ("build_started", "1", ()),
        ("build_started", "99999999999999999999", (f"builds:{2**63 - 1}",)),
        ("build_started", "2147483648", ("builds:2147483648",)),
        ("cached_build_finished", "3\t1", ("jobsetevals:3",)),
        ("cached_build_queued", "1\t1", ()),
        ("step_finished", "1\t2\t-", ("buildsteps:1/2",)),
        ("step_finished", "1\t1\t-", ()),
        ("eval_started", "1.2.3\t4", ("jobsets:4",)),
        ("eval_added", "1.2.3\t1\t7", ("jobsetevals:7",)),
        ("build_started", "one", ()),
        ("build_started", "1\t", ()),
        ("weather", "rain", ()),
    ],
)
def test_what_a_hand_sent_payload_names_and_does_not_exist(
    stage: Any, channel: str, payload: str, missing: tuple[str, ...]
) -> None:
    (hello,) = stage.builds("hello")
    stage.queue_runner.start(hello)
    stage.voice.execute("LISTEN weather")
    stage.ear.execute("LISTEN weather")
    stage.person.notify(channel, payload)
    (notification,) = stage.commits("notify")[0].notifications
    assert (notification.channel, notification.payload) == (channel, payload)
    assert (notification.missing, notification.raw) == (missing, True)


def test_text_that_needs_quoting_arrives_as_it_is(stage: Any) -> None:
    for payload in ("it's", 'a "b" c', "back\\slash'", "ä·😀", "", "{nickname} $1 %s"):
        stage.person.notify("eval_failed", payload)
        assert stage.heard[-1] == ("notify", [("eval_failed", payload)])


def test_a_channel_with_capitals_is_not_folded(stage: Any) -> None:
    stage.ear.execute('LISTEN "Build_Queued"')
    stage.person.notify("Build_Queued", "1")
    assert stage.heard == [("notify", [("Build_Queued", "1")])]


def test_eight_thousand_bytes_are_refused(stage: Any) -> None:
    stage.person.notify("eval_failed", "x" * 7_999)
    records = len(stage.history)
    with pytest.raises(RefusedValueError, match="payload string too long") as refused:
        stage.person.notify("eval_failed", "x" * 8_000)
    assert isinstance(refused.value, errors.UsageError)
    assert len(stage.history) == records
    stage.person.notify("eval_failed", "still here")
    assert stage.heard[-1] == ("notify", [("eval_failed", "still here")])


def test_text_that_no_database_holds_is_refused(stage: Any) -> None:
    with pytest.raises(UnwritableTextError, match="NUL"):
        stage.person.notify("eval_failed", "a\0b")
    with pytest.raises(UnwritableTextError, match="surrogates"):
        stage.person.notify("eval_failed", "\ud800")
    stage.person.notify("eval_failed", "still here")


def test_a_deleted_build_takes_its_rows_along(stage: Any) -> None:
    kernel = stage.world.build("kernel")
    iso = stage.world.build("iso", needs=[kernel])
    stage.queue(kernel, iso)
    stage.queue_runner.finish(kernel, "failed")
    stage.person.delete_build(kernel)
    assert stage.rows("SELECT id FROM builds") == [(2,)]
    assert stage.rows("SELECT * FROM buildsteps") == []
    (commit,) = stage.commits("delete")
    assert [(row.change, row.table, row.id) for row in commit.rows] == [
        ("deleted", "builds", "1"),
        ("deleted", "buildsteps", "1/1"),
        ("deleted", "buildsteps", "2/1"),
    ]
    stage.person.restart([iso])
    stage.queue_runner.finish(iso)
    assert stage.rows("SELECT build,stepnr FROM buildsteps") == [(2, 1)]
    stage.person.insert_builds([kernel])
    assert stage.row("SELECT finished,buildstatus FROM builds WHERE id=1") == (0, None)


def test_a_deleted_evaluation_leaves_its_builds(stage: Any) -> None:
    hello = stage.world.build("hello")
    evaluation = stage.evaluator.evaluate([hello], name="e1")
    stage.person.delete_evaluation(evaluation)
    assert stage.rows("SELECT id FROM jobsetevals") == []
    assert stage.rows("SELECT id FROM builds") == [(1,)]
    assert stage.commits("delete")[0].rows == (RowChange("deleted", "jobsetevals", "1", "e1"),)
    with pytest.raises(ImpossibleActionError, match="e1: delete is impossible"):
        stage.person.delete_evaluation(evaluation)


def test_a_deleted_jobset_takes_its_evaluations_and_builds_along(stage: Any) -> None:
    (other,) = stage.builds("other", jobset="nixos:small")
    kernel, iso = (stage.world.build(name, jobset="pr:4711") for name in ("kernel", "iso"))
    first = stage.evaluator.evaluate([kernel, iso], name="first")
    stage.queue_runner.start(kernel)
    stage.forget()
    stage.person.delete_jobset(kernel.jobset)
    assert stage.heard == [("delete", [])]
    assert [(row.table, row.id) for row in stage.commits("delete")[0].rows] == [
        ("jobsetevals", str(first.id)),
        ("builds", str(kernel.id)),
        ("builds", str(iso.id)),
        ("buildsteps", f"{kernel.id}/1"),
        ("jobsets", str(kernel.jobset.id)),
    ]
    assert stage.rows("SELECT project,name FROM jobsets") == [("nixos", "small")]
    assert stage.rows("SELECT id FROM builds") == [(other.id,)]
    assert stage.rows("SELECT name FROM projects ORDER BY 1") == [("nixos",), ("pr",)]
    with pytest.raises(ImpossibleActionError, match="there is no row of it"):
        stage.queue_runner.finish(kernel)
    with pytest.raises(ImpossibleActionError, match="pr:4711: it cannot be evaluated, it was deleted"):
        stage.evaluator.evaluate(jobset=kernel.jobset)
    with pytest.raises(ImpossibleActionError, match="pr:4711: there is no row of it"):
        stage.person.delete_jobset(kernel.jobset)


def test_a_deleted_project_takes_its_jobsets_along(stage: Any) -> None:
    (other,) = stage.builds("other", jobset="nixos:small")
    one, two = (stage.world.build(name, jobset=f"pr:{name}") for name in ("12", "13"))
    stage.queue(one)
    stage.queue(two)
    stage.person.delete_project("pr")
    assert [(row.table, row.id) for row in stage.commits("delete")[0].rows if row.table != "builds"] == [
        ("jobsetevals", "2"),
        ("jobsetevals", "3"),
        ("jobsets", str(one.jobset.id)),
        ("jobsets", str(two.jobset.id)),
        ("projects", "pr"),
    ]
    assert stage.rows("SELECT name FROM projects") == [("nixos",)]
    assert stage.rows("SELECT id FROM builds") == [(other.id,)]
    assert not one.exists
    with pytest.raises(ImpossibleActionError, match="there is no jobset of this project"):
        stage.person.delete_project("pr")


def test_a_failure_that_came_from_a_deleted_jobset_goes_with_it(stage: Any) -> None:
    (kernel,) = stage.builds("kernel", jobset="pr:4711")
    (iso,) = stage.builds("iso", needs=[kernel])
    stage.queue_runner.finish(kernel, "failed")
    assert stage.rows(f"SELECT stepnr FROM buildsteps WHERE build={iso.id}") == [(1,)]
    stage.person.delete_jobset(kernel.jobset)
    assert stage.rows(f"SELECT stepnr FROM buildsteps WHERE build={iso.id}") == []
    assert RowChange("deleted", "buildsteps", f"{iso.id}/1") in stage.commits("delete")[0].rows
    assert iso.step_numbers == []


def test_a_jobset_is_renamed_hidden_and_disabled(stage: Any) -> None:
    (hello,) = stage.builds("hello", jobset="iohk:75")
    jobset = hello.jobset
    stage.person.edit_jobset(jobset, name="75-merged", hidden=True, enabled="disabled")
    assert stage.row("SELECT name,hidden,enabled FROM jobsets") == ("75-merged", 1, 0)
    assert stage.world.jobset("iohk:75-merged") is jobset
    (commit,) = stage.commits("jobset_edited")
    assert commit.rows == (
        RowChange("updated", "jobsets", str(jobset.id), "iohk:75", ("name", "hidden", "enabled")),
    )
    with pytest.raises(ImpossibleActionError, match="iohk:75-merged: it is disabled"):
        stage.evaluator.evaluate(cached=[hello])
    stage.queue_runner.finish(hello)
    assert stage.row("SELECT finished FROM builds") == (1,)
    stage.person.edit_jobset(jobset, hidden=False, enabled="one_shot")
    stage.evaluator.evaluate(cached=[hello])
    assert stage.row("SELECT hidden,enabled FROM jobsets") == (0, 0)
    with pytest.raises(ImpossibleActionError, match="it is disabled"):
        stage.evaluator.evaluate(cached=[hello])


def test_a_jobset_takes_no_name_that_is_taken(stage: Any) -> None:
    one = stage.world.jobset("iohk:75")
    stage.world.jobset("iohk:76")
    with pytest.raises(ImpossibleActionError, match="there is a jobset iohk:76"):
        stage.person.edit_jobset(one, name="76")
    with pytest.raises(ImpossibleActionError, match="nothing is changed"):
        stage.person.edit_jobset(one)


def test_builds_that_were_there_before_come_from_an_evaluation(stage: Any) -> None:
    hello = stage.world.build("hello", jobset="iohk:75")
    stage.person.insert_builds([hello], finished="succeeded", actor="harness")
    stage.person.insert_evaluation([hello], "before", actor="harness")
    assert stage.rows("SELECT eval,build,isnew FROM jobsetevalmembers") == [(1, 1, 1)]
    assert stage.rows(
        "SELECT hasnewbuilds,nrbuilds,errormsg FROM jobsetevals JOIN evaluationerrors e ON e.id=evaluationerror_id"
    ) == [(1, 1, "")]
    stage.forget()
    stage.evaluator.evaluate(cached=[hello])
    assert stage.heard[-1][1][0] == ("cached_build_finished", f"2\t{hello.id}")
    stage.evaluator.unchanged(jobset=hello.jobset)


def test_a_deleted_step(stage: Any) -> None:
    (hello,) = stage.builds("hello")
    stage.queue_runner.finish(hello)
    stage.person.delete_step(hello, 1)
    assert stage.rows("SELECT * FROM buildsteps") == []
    with pytest.raises(ImpossibleActionError, match="it has no step 1"):
        stage.person.delete_step(hello, 1)


def test_tasks_are_written_and_deleted(stage: Any) -> None:
    first = stage.person.insert_task("github", "build_finished", "1", attempts=3, due_in=8)
    second = stage.person.insert_task("slack", "no such channel", "'; --", due_in=0)
    assert stage.rows(
        "SELECT id,pluginname,channel,payload,attempts,retry_at FROM taskretries ORDER BY id"
    ) == [
        (first, "github", "build_finished", "1", 3, T0 + 8),
        (second, "slack", "no such channel", "'; --", 1, T0),
    ]
    assert stage.commits("insert")[0].rows == (RowChange("inserted", "taskretries", str(first)),)
    assert stage.person.delete_tasks(plugin="github", channel="build_queued") == ()
    assert stage.person.delete_tasks(plugin="slack", payload="'; --") == (second,)
    assert stage.commits("delete")[-1].rows == (RowChange("deleted", "taskretries", str(second)),)
    assert stage.person.delete_tasks() == (first,)


def test_builds_that_were_there_before_the_story(stage: Any) -> None:
    done = [stage.world.build(name, products=1) for name in ("a", "b")]
    waiting = stage.world.build("waiting")
    stage.person.insert_builds(done, finished="succeeded", pending=True, actor="harness")
    stage.person.insert_builds([waiting], actor="harness")
    assert stage.rows("SELECT id,finished,buildstatus,notificationpendingsince FROM builds ORDER BY id") == [
        (1, 1, 0, T0),
        (2, 1, 0, T0),
        (3, 0, None, None),
    ]
    assert stage.rows("SELECT build,stepnr,status FROM buildsteps ORDER BY build") == [(1, 1, 0), (2, 1, 0)]
    given = stage.commits("insert")[1]
    assert given.actor == "harness"
    assert given.outcomes == tuple(Outcome(id_, 0, T0, T0, pending=True) for id_ in (1, 2))
    with pytest.raises(ImpossibleActionError, match="a: insert is impossible, its row exists"):
        stage.person.insert_builds(done)
    with pytest.raises(ImpossibleActionError, match="only a step"):
        stage.person.insert_builds([stage.world.build("odd")], finished="cached_failure")
    with pytest.raises(ImpossibleActionError, match="cannot be pending"):
        stage.person.insert_builds([stage.world.build("even")], pending=True)
    stage.queue_runner.finish(waiting)
    stage.person.restart([done[0]])
    assert stage.row("SELECT finished FROM builds WHERE id=1") == (0,)


def test_a_build_that_comes_later_has_its_id_before(stage: Any) -> None:
    later = stage.world.build("later")
    (hello,) = stage.builds("hello")
    assert (later.id, hello.id) == (1, 2)
    stage.person.notify("build_queued", str(later.id))
    assert stage.commits("notify")[0].notifications[0].missing == ("builds:1",)
    stage.person.insert_builds([later])
    assert stage.rows("SELECT id FROM builds ORDER BY id") == [(1,), (2,)]


def test_every_commit_is_recorded_before_and_after(stage: Any) -> None:
    busy = False
    stage.world.busy = lambda: busy
    (hello,) = stage.builds("hello")
    busy = True
    stage.queue_runner.finish(hello)
    stage.person.restart([hello])
    records = list(stage.history)
    assert all(isinstance(record, Commit) for record in records[::2])
    assert [record.commit for record in records[1::2]] == list(range(0, len(records), 2))
    assert [commit.busy for commit in stage.commits()] == [False] * 4 + [True] * 6


def test_a_failed_transaction_is_recorded_as_not_happened(stage: Any) -> None:
    hello = stage.world.build("hello")
    stage.voice.execute("SELECT setval('builds_id_seq',1)")
    stage.voice.execute(
        "INSERT INTO builds (id,finished,timestamp,jobset_id,job,drvpath,system) VALUES (1,0,1,1,'x','y','z')"
    )
    with pytest.raises(WriteFailedError, match="evaluation 1: hello could not be written"):
        stage.evaluator.evaluate([hello])
    last = stage.history[len(stage.history) - 1]
    assert isinstance(last, Committed)
    assert not last.ok
    assert not hello.exists


def test_a_lost_connection_is_the_environments_failure(stage: Any) -> None:
    (hello,) = stage.builds("hello")
    stage.voice.execute("SELECT pg_terminate_backend(%s)", [stage.connection.info.backend_pid])
    with pytest.raises(WriteFailedError, match=r"insert_step hello could not be written"):
        stage.queue_runner.finish(hello)
    replacement = stage.database.connect("simulator again")
    stage.world.use(replacement)
    stage.connection.close()
    stage.connection = replacement
    stage.queue_runner.finish(hello)
    assert stage.heard[-1] == ("announce_finished", [("build_finished", "1")])


def test_the_connection_has_to_be_in_autocommit_mode(plain: psycopg.Connection[Any]) -> None:
    plain.autocommit = False
    with pytest.raises(errors.UsageError, match="autocommit"):
        World(plain, lambda _: 0, None)


def test_a_jobset_needs_a_project(stage: Any) -> None:
    with pytest.raises(errors.UsageError, match="write project:name"):
        stage.world.jobset("trunk")
