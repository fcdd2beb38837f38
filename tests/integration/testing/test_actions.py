"""The actions of ``hydra``: they settle before they return, and say what happened."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_notify_sim.engine import events
from hydra_notify_sim.errors import UsageError
from hydra_notify_sim.scenario import load
from hydra_notify_sim.simulator import Evaluator, QueueRunner, World
from hydra_notify_sim.testing import Hydra, HydraDatabase, call, retry
from hydra_notify_sim.testing.dispatcher import PointNotReachedError
from hydra_notify_sim.testing.told import NotTellableError

Play = Callable[..., events.ScenarioFinished]


class Chat:
    """A plugin of an author's own."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def build_started(self, build: object) -> None:
        self.told.append(("started", build.job))

    def build_finished(self, build: object, _dependents: list[object]) -> None:
        self.told.append((build.project, build.jobset, build.job, str(build.buildstatus)))


def test_a_plugin_of_ones_own_is_handed_rows_with_their_columns_and_joins(hydra: Hydra) -> None:
    chat = Chat()
    plugin = hydra.install(chat)
    iso = hydra.build(hydra.queue("iso.x86_64-linux", jobset="nixos:release"), status="timed_out")
    assert chat.told == [("started", "iso.x86_64-linux"), ("nixos", "release", "iso.x86_64-linux", "7")]
    assert hydra.calls(plugin) == [call.build_started(iso), call.build_finished(iso, status="timed_out")]
    assert (iso.job, iso.jobset, iso.finished, iso.status) == (
        "iso.x86_64-linux",
        "nixos:release",
        True,
        "timed_out",
    )


def test_each_action_settles_before_it_returns(hydra: Hydra) -> None:
    log = hydra.install(hydra.plugin("log"))
    kernel = hydra.job("kernel", steps=2)
    iso = hydra.job("iso", needs=[kernel])
    evaluation = hydra.evaluate(new=[kernel, iso])
    assert evaluation is not None
    assert evaluation.builds == (kernel, iso)
    assert hydra.calls(log) == [
        call.eval_started(jobset="nixpkgs:trunk"),
        call.build_queued(kernel),
        call.build_queued(iso),
        call.eval_added(evaluation),
    ]
    hydra.start(kernel)
    assert hydra.calls(log)[-1] == call.build_started(kernel, status=None)
    hydra.step(kernel)
    assert hydra.calls(log)[-1] == call.step_finished(kernel, step=1, status="succeeded")
    hydra.start(kernel)
    hydra.finish(kernel, status="failed")
    assert hydra.calls(log)[-1] == call.build_finished(kernel, status="failed", dependents=[kernel, iso])
    assert iso.status == "dependency_failed"
    hydra.evaluate(cached=[kernel])
    assert hydra.calls(log, "cached_build_finished") == [call.cached_build_finished(kernel, status="failed")]
    hydra.restart(kernel)
    hydra.cancel(kernel)
    assert kernel.status == "cancelled"
    hydra.evaluate(fails="syntax error")
    assert hydra.calls(log)[-1] == call.eval_failed()
    hydra.notify("build_queued", iso)
    assert hydra.calls(log)[-1] == call.build_queued(iso, plugin=log, ended="returned")
    assert hydra.marks() == []
    assert hydra.retries() == []


def test_a_dispatcher_that_is_down_is_not_waited_for_and_catches_up(hydra: Hydra) -> None:
    log = hydra.install(hydra.plugin("log", hooks=["build_finished"]))
    hydra.dispatcher.stop()
    iso = hydra.build(hydra.queue("iso"))
    assert hydra.calls() == []
    assert hydra.marks() == [iso]
    assert not hydra.dispatcher.running
    hydra.dispatcher.start()
    assert hydra.calls(log) == [call.build_finished(iso, status="succeeded")]
    hydra.dispatcher.lose_connection()
    hydra.dispatcher.crash()
    hydra.dispatcher.start()
    assert hydra.marks() == []


def test_failures_are_stored_and_made_again(hydra: Hydra) -> None:
    flaky = hydra.install(
        hydra.plugin("flaky", hooks=["build_finished"], raises={"first": 2, "message": "502"})
    )
    iso = hydra.build(hydra.queue("iso"))
    assert hydra.retries() == [retry(flaky, "build_finished", attempts=1, due_in=2, build=iso)]
    hydra.advance(2)
    assert hydra.retries() == [retry("flaky", "build_finished", attempts=2, due_in=4)]
    hydra.advance("until due")
    assert hydra.retries() == []
    assert [(c.ended, c.message) for c in hydra.calls()] == [
        ("raised", "502"),
        ("raised", "502"),
        ("returned", ""),
    ]


@pytest.mark.parametrize("when", ["always", 1, {"for": "iso"}])
def test_recorders_fail_in_the_words_of_the_scenario_language(hydra: Hydra, when: object) -> None:
    iso = hydra.job("iso")
    raises = {"for": iso} if isinstance(when, dict) else when
    hydra.install(hydra.plugin("flaky", hooks=["build_finished"], raises=raises, takes="3s"))
    before = hydra.now
    hydra.evaluate(new=[iso])
    hydra.build(iso)
    assert hydra.calls() == [call.build_finished(iso, ended="raised")]
    assert hydra.now == before + 1 + 3


def test_a_held_call_stays_open_while_the_test_goes_on(hydra: Hydra) -> None:
    slow = hydra.install(hydra.plugin("slow", hooks=["build_finished"], holds=True))
    iso = hydra.build(hydra.queue("iso"))
    assert hydra.calls(slow) == [call.build_finished(iso, ended="open")]
    other = hydra.build(hydra.queue("other"))
    assert len(hydra.calls(slow)) == 1
    hydra.release(slow)
    assert hydra.calls(slow) == [
        call.build_finished(iso, ended="returned"),
        call.build_finished(other, ended="returned"),
    ]


def test_a_call_that_is_never_released_ends_with_the_test(hydra: Hydra) -> None:
    slow = hydra.install(hydra.plugin("slow", hooks=["build_finished"], holds=True))
    iso = hydra.build(hydra.queue())
    assert hydra.calls(slow) == [call.build_finished(iso, ended="open")]
    hydra.end()  # as after every test
    assert hydra.calls(slow) == [call.build_finished(iso, ended="returned")]


def test_something_happens_at_a_point_of_the_dispatchers_work(hydra: Hydra) -> None:
    chat = hydra.install(hydra.plugin("chat", hooks=["build_finished"]))
    iso = hydra.queue("iso")
    with hydra.at("inside_call", chat).do(lambda: hydra.restart(iso)):
        hydra.build(iso, status="failed")
    assert not iso.finished
    with hydra.at("before_clear").crash():
        hydra.build(iso)
    assert not hydra.dispatcher.running
    with hydra.at("between_listen_and_scan").lose_connection():
        hydra.dispatcher.start()
    assert hydra.calls(chat)[-1] == call.build_finished(iso, status="succeeded")


def test_a_point_that_is_never_reached_fails_the_test(hydra: Hydra) -> None:
    hydra.install(hydra.plugin("chat", hooks=["build_finished"]))
    with pytest.raises(PointNotReachedError, match="after_call 2"), hydra.at("after_call", 2).crash():
        hydra.build(hydra.queue())
    with pytest.raises(UsageError, match="say what"), hydra.at("before_clear"):
        pass


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda hydra: hydra.build(hydra.queue(), status="exploded"), "'exploded' is not a status"),
        (lambda hydra: hydra.at("after_cal"), "Did you mean 'after_call'"),
        (lambda hydra: hydra.plugin("x", hooks=["build_finish"]), "Did you mean 'build_finished'"),
        (lambda hydra: hydra.plugin("no name"), "cannot be the name of a plugin"),
        (lambda hydra: hydra.build(7), "7 is no build of this hydra"),
        (lambda hydra: hydra.build(), "name at least one build"),
        (lambda hydra: hydra.calls("nobody"), "there is no plugin 'nobody'"),
        (lambda hydra: hydra.calls(hook="buildFinished"), "there is no hook"),
        (lambda hydra: hydra.install(Chat), "is a class"),
        (lambda hydra: hydra.install(object()), "has no hook"),
        (lambda hydra: [hydra.install(Chat()) for _ in range(2)], "there is a plugin 'Chat' already"),
        (lambda hydra: hydra.release("nobody"), "no plugin 'nobody'"),
        (lambda _: call.build_finished(status="exploded"), "is not a status"),
        (lambda _: call.build_queued(step=1), "call.build_queued has no 'step'"),
        (lambda _: retry("chat", "buildFinished"), "there is no hook"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(hydra: Hydra, wrong: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wrong(hydra)


@pytest.mark.hydra(
    dispatcher="known-bad:clears-after-the-first-plugin", violated=["B-clear-after", "B-at-least-once"]
)
def test_a_broken_promise_is_told_with_its_story(hydra: Hydra) -> None:
    hydra.install(hydra.plugin("first", hooks=["build_finished"]))
    hydra.install(hydra.plugin("second", hooks=["build_finished"]))
    with hydra.at("after_call", 1, hook="build_finished").crash():
        hydra.build(hydra.queue("iso"))
    hydra.dispatcher.start()
    judgements = hydra.check()
    assert {v.promise for v in judgements.verdicts if v.verdict == "violated"} == {
        "B-clear-after",
        "B-at-least-once",
    }


def test_what_a_test_did_can_be_saved_as_a_scenario(hydra: Hydra, tmp_path: Path) -> None:
    chat = hydra.install(Chat())
    slow = hydra.install(
        hydra.plugin("slow", hooks=["build_finished"], raises={"first": 1, "message": "502"})
    )
    kernel = hydra.queue("kernel", steps=2)
    iso = hydra.queue("iso", needs=[kernel])
    with hydra.at("after_call", 1, hook="build_finished").crash():
        hydra.build(kernel, status="failed")
    hydra.dispatcher.start()
    hydra.restart(iso, kernel)
    hydra.advance(minutes=1)
    hydra.settle()
    hydra.finish(kernel)
    saved = load(hydra.save(tmp_path / "saved.yaml"))
    assert list(saved.given.builds) == ["kernel", "iso"]
    assert list(saved.given.plugins) == [chat.name, slow.name]
    assert [step.verb for step in saved.story] == [
        *["dispatcher", "evaluate", "evaluate", "build", "dispatcher"],
        *["restart", "advance", "settle", "finish"],
    ]
    assert str(saved.story[3].at) == "after_call 1 of build_finished"
    assert saved.scenario == "What a test did can be saved as a scenario"
    assert "B-recover" in saved.exercises


def test_a_story_that_the_language_cannot_tell_is_not_written(hydra: Hydra, tmp_path: Path) -> None:
    with pytest.raises(NotTellableError, match="did nothing yet"):
        hydra.save(tmp_path / "nothing.yaml")
    hydra.queue(jobset="nixpkgs:other")
    with pytest.raises(NotTellableError, match="two jobsets"):
        hydra.save(tmp_path / "two.yaml")


def test_the_same_test_saved_and_played_gives_the_same_calls(
    hydra: Hydra, tmp_path: Path, play: Play
) -> None:
    chat = hydra.install(hydra.plugin("chat", raises={"first": 1}))
    iso = hydra.build(hydra.queue("iso"), status="failed")
    hydra.restart(iso)
    hydra.advance(10)
    hydra.build(iso)
    finished = play(hydra.save(tmp_path / "again.yaml"))
    assert finished.passed
    played = [record for record in finished.history if type(record).__name__ == "Called"]
    assert [(record.plugin, record.hook) for record in played] == [
        (c.plugin, c.hook) for c in hydra.calls(chat)
    ]


@pytest.mark.hydra(payloads="2026-09", jobset="nixos:release")
def test_a_marker_sets_payloads_and_jobset(hydra: Hydra) -> None:
    log = hydra.install(hydra.plugin("log", hooks=["eval_added"]))
    hydra.evaluate(error_changed=True)
    assert hydra.calls(log) == [call.eval_added(jobset="nixos:release", error_changed=1)]


def test_the_parts_alone_write_rows_and_notify(
    hydra_database: HydraDatabase,
    hydra_queue_runner: QueueRunner,
    hydra_evaluator: Evaluator,
    hydra_world: World,
) -> None:
    listening = hydra_database.connect()
    listening.execute("LISTEN build_started")
    iso = hydra_world.build("iso")
    hydra_evaluator.evaluate(new=[iso])
    hydra_queue_runner.start(iso)
    (notified,) = listening.notifies(timeout=10, stop_after=1)
    assert (notified.channel, notified.payload) == ("build_started", str(iso.id))
    row = hydra_database.connection.execute("SELECT finished FROM builds WHERE id = %s", [iso.id]).fetchone()
    assert row == (0,)


def test_the_parts_go_with_the_whole(
    hydra: Hydra, hydra_database: HydraDatabase, hydra_queue_runner: QueueRunner
) -> None:
    chat = hydra.install(hydra.plugin("chat", hooks=["build_finished"]))
    hydra.queue("iso")
    (build,) = hydra.world.builds
    hydra_queue_runner.start(build)
    hydra_queue_runner.finish(build)
    hydra.settle()
    assert hydra.calls(chat) == [call.build_finished(hydra.builds["iso"], status="succeeded")]
    row = hydra_database.connection.execute(
        "SELECT finished FROM builds WHERE id = %s", [build.id]
    ).fetchone()
    assert row == (1,)


@pytest.mark.hydra(dispatcher="reference-process")
def test_a_dispatcher_that_is_a_process_calls_the_tests_own_plugin(hydra: Hydra) -> None:
    chat = Chat()
    plugin = hydra.install(chat)
    iso = hydra.queue("iso")
    hydra.dispatcher.crash()
    hydra.build(iso)
    assert hydra.calls(plugin) == []
    hydra.dispatcher.start()
    assert hydra.calls(plugin) == [call.build_finished(iso, status="succeeded")]
    assert chat.told == [("nixpkgs", "trunk", "iso", "0")]


def test_the_server_is_stopped_and_comes_back(hydra: Hydra) -> None:
    chat = hydra.install(hydra.plugin("chat", hooks=["build_finished"]))
    iso = hydra.queue("iso")
    hydra.mark_only(iso)
    hydra.server.stop()
    with pytest.raises(UsageError, match="the server is stopped, so there can be no 'evaluate' here"):
        hydra.queue("hello")
    hydra.advance(minutes=10)
    hydra.server.start()
    assert hydra.calls(chat) == [call.build_finished(iso)]


def test_a_server_that_is_read_only_migrated_and_set_otherwise_is_saved_as_a_story(
    hydra: Hydra, tmp_path: Path, play: Play
) -> None:
    chat = hydra.install(hydra.plugin("chat", hooks=["build_finished"]))
    iso = hydra.queue("iso")
    hydra.server.settings(lock_timeout="2s", isolation="serializable")
    hydra.server.read_only()
    hydra.mark_only(iso)
    hydra.server.writable()
    hydra.server.migrate(drop="keep")
    assert hydra.calls(chat) == [call.build_finished(iso)]
    assert play(hydra.save(tmp_path / "again.yaml")).passed


@pytest.mark.hydra(dispatcher="reference-process")
def test_somebody_keeps_a_row_locked(hydra: Hydra) -> None:
    chat = hydra.install(hydra.plugin("chat", hooks=["build_finished"]))
    iso = hydra.queue("iso")
    with hydra.at("inside_call", chat).do(lambda: hydra.server.lock(iso, "20s")):
        hydra.build(iso)
    assert hydra.marks() == [iso]
    hydra.advance(30)
    assert hydra.marks() == []
