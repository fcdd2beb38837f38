"""The reference dispatcher as a process, driven from outside, on a real PostgreSQL."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hydra_notify_sim import errors, history
from hydra_notify_sim.checks import judge
from hydra_notify_sim.contract import channels
from hydra_notify_sim.database import Database
from hydra_notify_sim.dispatcher import core
from hydra_notify_sim.known_bad import KNOWN_BAD
from hydra_notify_sim.recorders.journal import Journal
from hydra_notify_sim.recorders.recorder import Behaviour
from hydra_notify_sim.targets.points import Armed
from hydra_notify_sim.targets.process import ProcessTarget
from hydra_notify_sim.targets.process_clock import ProcessClock
from hydra_notify_sim.targets.programs import Program

HOOKS = {"alpha": ("build_finished", "build_queued"), "beta": ("build_finished",)}


class Play:
    """A target, its history, and a person with SQL in place of Hydra."""

    def __init__(self, database: Database, make: Callable[..., ProcessTarget]) -> None:
        self.database = database
        self.clock = ProcessClock()
        self.connection = database.connect("hydra-notify-sim harness")
        self.written = history.History(history.Header(name="test", in_process=False, plugins=HOOKS))
        self.journal = Journal(self.written, self.clock, self.connection)
        self.target = make(self.journal, database.dsn, clock=self.clock, keep=lambda: {database.control_pid})
        self.behaviours = {name: Behaviour(hooks=hooks) for name, hooks in HOOKS.items()}
        self.connection.execute(
            "INSERT INTO users (username, emailaddress, password) VALUES ('u', '', '!');"
            "INSERT INTO projects (name, displayname, owner) VALUES ('p', 'p', 'u');"
            "INSERT INTO jobsets (name, project, emailoverride, nixexprinput, nixexprpath) VALUES ('j', 'p', '', 'i', 'p')"
        )

    def start(self) -> None:
        self.target.start(self.behaviours)

    def build(self) -> int:
        row = self.connection.execute(
            "INSERT INTO builds (finished, timestamp, jobset_id, job, drvpath, system)"
            " SELECT 0, 1, id, 'job', '/nix/store/x.drv', 'x86_64-linux' FROM jobsets WHERE name = 'j' RETURNING id"
        ).fetchone()
        assert row is not None
        id_ = int(row[0])
        self.commit(rows=[history.RowChange("inserted", "builds", str(id_))])
        return id_

    def finish(self, build: int, *, notify: bool = True, settle: bool = True) -> None:
        now = int(self.clock.now())
        self.connection.execute(
            "UPDATE builds SET finished = 1, buildstatus = 0, starttime = %s, stoptime = %s, iscachedbuild = 0,"
            " notificationpendingsince = %s WHERE id = %s",
            [now, now, now, build],
        )
        self.commit(outcomes=[history.Outcome(build, 0, now, now, pending=True)])
        if notify:
            self.notify("build_finished", str(build))
        if settle:
            self.target.settle()

    def notify(self, channel: str, payload: str) -> None:
        self.commit(
            notifications=[history.Notification(channel, payload)],
            statement=("SELECT pg_notify(%s, %s)", [channel, payload]),
        )

    def commit(
        self,
        *,
        notifications: list[history.Notification] | None = None,
        outcomes: list[history.Outcome] | None = None,
        rows: list[history.RowChange] | None = None,
        statement: tuple[str, list[Any]] | None = None,
    ) -> None:
        number = self.journal.record(
            history.Commit(
                t=self.clock.now(),
                actor="queue_runner",
                action="test",
                notifications=tuple(notifications or ()),
                outcomes=tuple(outcomes or ()),
                rows=tuple(rows or ()),
                busy=self.target.inside,
            )
        )
        if statement is not None:
            self.connection.execute(*statement)
        self.journal.record(history.Committed(t=self.clock.now(), commit=number))

    def arm(self, name: str, which: str | int | None, action: Callable[[], None]) -> Armed:
        return self.target.points.arm(Armed(name, which, action))

    def kinds(self, *kinds: type[history.Record]) -> list[history.AnyRecord]:
        return [record for record in self.written if isinstance(record, kinds)]

    def calls(self, plugin: str, hook: str = "build_finished") -> int:
        return sum(
            isinstance(r, history.Called) and r.plugin == plugin and r.hook == hook for r in self.written
        )

    def marks(self) -> list[int]:
        rows = self.connection.execute("SELECT id FROM builds WHERE notificationpendingsince IS NOT NULL")
        return [id_ for (id_,) in rows]

    def verdict(self, promise: str) -> str:
        found = {v.promise: v for v in judge(self.written).verdicts}
        return found[promise].verdict

    def violated(self) -> list[str]:
        simulated = "Q-"
        verdicts = judge(self.written).verdicts
        return [
            f"{v.promise}: {v.explanation}"
            for v in verdicts
            if v.verdict == "violated" and not v.promise.startswith(simulated)
        ]


@pytest.fixture
def play(database: Database) -> Iterator[Play]:
    yield from playing(database, ProcessTarget.reference)


def playing(database: Database, make: Callable[..., ProcessTarget]) -> Iterator[Play]:
    made = Play(database, make)
    try:
        yield made
    finally:
        made.target.close()
        made.connection.close()


def raises_first(times: int) -> Callable[[str, Mapping[str, Any], int], str | None]:
    return lambda _hook, _args, count: "the service said no" if count <= times else None


def test_it_comes_up_and_settles(play: Play) -> None:
    play.start()
    ours = [type(record) for record in play.kinds(history.Starting, history.Up, history.Settled)]
    assert ours == [history.Starting, history.Up, history.Settled]
    assert play.target.alive
    assert not play.target.inside


def test_an_event_reaches_every_plugin_and_its_mark_is_cleared(play: Play) -> None:
    play.start()
    build = play.build()
    play.finish(build)
    called = [r for r in play.written if isinstance(r, history.Called)]
    assert [c.plugin for c in called] == ["alpha", "beta"]
    assert called[0].args["build"]["id"] == build
    assert called[0].args["dependents"] == []
    assert play.marks() == []
    assert play.verdict("B-live") == "held"
    assert play.verdict("B-clear") == "held"
    assert play.violated() == []


def test_what_finished_while_it_was_down_is_recovered(play: Play) -> None:
    build = play.build()
    play.finish(build)
    assert play.calls("alpha") == 0
    play.start()
    assert play.calls("alpha") == play.calls("beta") == 1
    assert play.marks() == []
    assert play.verdict("B-recover") == "held"


def test_a_failed_call_is_stored_and_retried_when_its_time_has_come(play: Play) -> None:
    play.behaviours["alpha"].raises = raises_first(2)
    play.start()
    play.finish(play.build())
    assert [(t.plugin, t.attempts) for t in play.journal.tasks] == [("alpha", 1)]
    for expected in (2, 3):
        due = play.target.next_due()
        assert due is not None
        play.target.move_time(due - play.clock.now())
        play.target.settle()
        assert play.calls("alpha") == expected
    assert play.journal.tasks == ()
    assert play.calls("beta") == 1
    assert play.verdict("R-backoff") == play.verdict("R-delete") == play.verdict("R-stored") == "held"
    assert play.violated() == []


def test_a_crash_inside_a_call_is_made_good_by_the_next_start(play: Play) -> None:
    play.start()
    build = play.build()
    play.arm("inside_call", "beta", play.target.crash)
    play.finish(build)
    assert not play.target.alive
    assert play.kinds(history.CutOff)
    assert play.marks() == [build]
    play.start()
    assert play.calls("beta") == 2
    assert play.marks() == []
    assert play.verdict("B-at-least-once") == "held"
    assert play.violated() == []


def test_a_crash_after_the_last_call_comes_before_the_mark_is_cleared(play: Play) -> None:
    play.start()
    build = play.build()
    armed = play.arm("before_clear", None, play.target.crash)
    play.finish(build)
    assert armed.reached
    assert not play.kinds(history.CutOff, history.PointMissed)
    assert play.marks() == [build]
    play.start()
    assert play.calls("alpha") == play.calls("beta") == 2
    assert play.violated() == []


def test_a_crash_before_a_failure_is_stored_stores_nothing(play: Play) -> None:
    play.behaviours["alpha"].raises = raises_first(1)
    play.start()
    build = play.build()
    play.arm("before_store", None, play.target.crash)
    play.finish(build)
    assert play.connection.execute("SELECT count(*) FROM taskretries").fetchone() == (0,)
    assert play.marks() == [build]
    play.start()
    assert play.calls("alpha") == 2
    assert play.violated() == []


def test_a_crash_before_the_failure_of_a_missing_row_is_stored_stores_nothing(play: Play) -> None:
    play.start()
    armed = play.arm("before_store", None, play.target.crash)
    play.commit(
        notifications=[history.Notification("build_queued", "99", raw=True, missing=("builds:99",))],
        statement=("SELECT pg_notify('build_queued', '99')", []),
    )
    play.target.settle()
    assert armed.reached
    assert not play.target.alive
    assert play.calls("alpha", "build_queued") == 0
    assert play.connection.execute("SELECT count(*) FROM taskretries").fetchone() == (0,)
    assert play.violated() == []


@pytest.mark.parametrize("point", ["after_clear", "after_store"])
def test_a_crash_after_it_wrote_finds_what_it_wrote(play: Play, point: str) -> None:
    play.behaviours["beta"].raises = raises_first(1)
    play.start()
    build = play.build()
    armed = play.arm(point, None, play.target.crash)
    play.finish(build)
    assert armed.reached
    assert play.connection.execute("SELECT count(*) FROM taskretries").fetchone() == (1,)
    assert point != "after_clear" or play.marks() == []


def test_a_frozen_one_stands_still_until_it_is_thawed_or_killed(play: Play) -> None:
    play.start()
    life = play.target._life
    assert life is not None
    build = play.build()
    play.target.freeze()
    state = Path(f"/proc/{life.child.pid}/stat")
    assert state.read_text().rpartition(")")[2].split()[0] == "T"
    play.finish(build)
    assert play.calls("alpha") == 0
    play.target.thaw()
    play.target.settle()
    assert play.calls("alpha") == play.calls("beta") == 1
    assert play.verdict("L-no-stall") == "held"
    play.target.freeze()
    play.target.stop()
    assert play.target.alive
    play.target.thaw()
    play.target.settle()
    assert play.verdict("L-stop") == "held"
    play.start()
    play.target.freeze()
    play.target.crash()
    assert not play.target.alive
    assert play.violated() == []


def test_after_it_has_stored_a_failure_it_is_held_before_it_clears_the_mark(play: Play) -> None:
    play.behaviours["beta"].raises = raises_first(1)
    play.start()
    build = play.build()

    def crash_once_it_waits() -> None:
        until = time.monotonic() + 30
        while not play.target.backends.wait_for_lock():
            assert time.monotonic() < until
        play.target.crash()

    play.arm("after_store", None, crash_once_it_waits)
    play.finish(build)
    assert play.marks() == [build]
    assert [(task.plugin, task.attempts) for task in play.journal.tasks] == [("beta", 1)]


def test_whoever_writes_while_it_is_held_after_a_failure_waits_for_no_lock_of_ours(play: Play) -> None:
    play.behaviours["beta"].raises = raises_first(1)
    play.start()
    build, other = play.build(), play.build()

    def write() -> None:
        play.target.release_rows()
        play.connection.execute("SET lock_timeout = '10s'; UPDATE builds SET priority = 1 WHERE finished = 1")
        play.finish(other)

    play.arm("after_store", None, write)
    play.finish(build)
    assert play.calls("alpha") == play.calls("beta") == 2


def test_after_one_call_and_before_the_next_the_mark_is_still_there(play: Play) -> None:
    play.start()
    build = play.build()
    play.arm("after_call", 1, play.target.crash)
    play.finish(build)
    assert (play.calls("alpha"), play.calls("beta")) == (1, 0)
    assert play.marks() == [build]
    play.start()
    assert play.calls("beta") == 1


def test_a_dispatcher_that_clears_after_the_first_plugin_is_found(database: Database) -> None:
    bad = next(b.dispatcher for b in KNOWN_BAD.values() if b.breaks[0] == "B-clear-after")

    def make(*args: Any, **kwargs: Any) -> ProcessTarget:
        return ProcessTarget.reference(*args, dispatcher=bad, **kwargs)

    for play in playing(database, make):
        play.start()
        build = play.build()
        play.arm("after_call", 1, play.target.crash)
        play.finish(build)
        assert play.marks() == []
        play.start()
        assert play.verdict("B-clear-after") == "violated"


def test_an_outcome_that_commits_after_the_call_keeps_its_mark(play: Play) -> None:
    play.start()
    build = play.build()

    def again() -> None:
        play.connection.execute("UPDATE builds SET finished = 0 WHERE id = %s", [build])
        play.target.move_time(1)
        play.finish(build)

    play.arm("before_clear", None, again)
    play.finish(build)
    assert play.calls("alpha") == play.calls("beta") == 2
    assert play.marks() == []


def test_sigterm_in_a_call_finishes_the_event_and_ends_with_0(play: Play) -> None:
    play.start()
    first, second = play.build(), play.build()

    def stop_and_one_more() -> None:
        play.target.stop()
        assert play.target.alive
        play.finish(second)

    play.arm("inside_call", "alpha", stop_and_one_more)
    play.finish(first)
    stopped = play.kinds(history.Stopped)
    assert [(s.exit_status, s.in_time) for s in stopped if isinstance(s, history.Stopped)] == [(0, True)]
    assert play.calls("beta") == 1
    assert play.marks() == [second]
    assert play.verdict("L-stop") == "held"
    assert play.violated() == []


def test_sigterm_while_it_rests_ends_it_at_once(play: Play) -> None:
    play.start()
    play.target.stop()
    assert not play.target.alive
    assert play.verdict("L-stop") == "held"


def test_a_held_call_lets_the_story_go_on(play: Play) -> None:
    play.behaviours["alpha"].holds = True
    seen: list[bool] = []
    play.start()
    first, second = play.build(), play.build()

    def on_hold(plugin: str) -> None:
        seen.append(play.target.inside)
        play.finish(second)
        play.behaviours[plugin].holds = False

    play.target.on_hold = on_hold
    play.finish(first)
    assert seen == [True]
    assert play.calls("alpha") == play.calls("beta") == 2
    assert play.verdict("L-no-stall") == "held"
    assert play.kinds(history.Settled)
    assert play.violated() == []


def test_what_arrives_while_it_is_busy_is_delivered_without_a_kick(play: Play) -> None:
    play.start()
    first, second = play.build(), play.build()
    kicks = len(play.kinds(history.Kicked))
    play.arm("inside_call", "beta", lambda: play.finish(second))
    play.finish(first)
    assert len(play.kinds(history.Kicked)) == kicks
    assert play.verdict("L-no-stall") == "held"
    play.notify("build_queued", str(first))
    play.target.settle(kick=False)
    assert play.calls("alpha", "build_queued") == 1
    assert len(play.kinds(history.Kicked)) == kicks


class Stalls(core.Dispatcher):
    """Looks at what arrived while it was busy only when something new arrives."""

    stalled: tuple[Any, ...] = ()

    def handle(self, item: Any) -> None:
        self.waiting.extend(self.stalled)
        self.stalled = ()
        super().handle(item)
        if getattr(item, "channel", "") == "build_finished":
            self.stalled = tuple(self.inbox.receive(0.2))


@pytest.mark.slow
@pytest.mark.parametrize("kick", [True, False])
def test_a_dispatcher_that_stalls_is_found(database: Database, kick: bool, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)

    def make(*args: Any, **kwargs: Any) -> ProcessTarget:
        target = ProcessTarget.reference(*args, **kwargs)
        target._program = Program(
            tuple(
                "test_process_target:Stalls" if word.endswith("core:Dispatcher") else word
                for word in target._program.command
            )
        )
        return target

    for play in playing(database, make):
        play.start()
        first, second = play.build(), play.build()
        play.arm("inside_call", "beta", lambda: play.finish(second))  # noqa: B023  # called within this turn of the loop
        play.finish(first, settle=False)
        play.target.settle(kick=kick)
        assert play.verdict("L-no-stall") == "violated"
        assert play.calls("alpha") == (2 if kick else 1)


class OnlyWhenWoken(core.Dispatcher):
    """Looks for stored tasks only when something arrives."""

    def _patience(self, patience: float) -> float:
        del patience
        return 3600.0


@pytest.mark.slow
def test_a_dispatcher_that_retries_only_when_woken_is_found(database: Database, monkeypatch: Any) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)

    def make(*args: Any, **kwargs: Any) -> ProcessTarget:
        target = ProcessTarget.reference(*args, patience=0.3, **kwargs)
        words = target._program.command
        target._program = Program(
            tuple("test_process_target:OnlyWhenWoken" if w.endswith("core:Dispatcher") else w for w in words)
        )
        return target

    for play in playing(database, make):
        play.behaviours["alpha"].raises = raises_first(1)
        play.start()
        play.notify("build_queued", str(play.build()))
        play.target.settle()
        play.target.wait_out(3)
        assert play.calls("alpha", "build_queued") == 1
        assert play.verdict("R-backoff") == "violated"
        play.target.settle()
        assert play.calls("alpha", "build_queued") == 2


def test_a_task_stays_parked_however_long_the_harness_takes(play: Play) -> None:
    """Three seconds of real time pass between the failure and the story's next step; the story's clock stands still."""
    play.behaviours["alpha"].raises = raises_first(1)
    play.start()
    play.notify("build_queued", str(play.build()))
    play.target.settle()
    (before,) = play.journal.tasks
    until = time.monotonic() + 3
    while time.monotonic() < until:
        play.target.settle()
    assert play.journal.tasks == (before,)
    assert play.calls("alpha", "build_queued") == 1
    assert before.due - play.clock.now() == 2
    play.target.move_time(2)
    play.target.settle()
    assert play.calls("alpha", "build_queued") == 2
    assert play.violated() == []


@pytest.mark.slow
def test_a_task_stays_parked_while_a_point_is_waited_for_that_does_not_come(database: Database) -> None:
    def make(*args: Any, **kwargs: Any) -> ProcessTarget:
        return ProcessTarget.reference(*args, dispatcher=KNOWN_BAD["never-clears"].dispatcher, **kwargs)

    for play in playing(database, make):
        play.behaviours["beta"].raises = raises_first(1)
        play.start()
        armed = play.arm("after_clear", None, lambda: None)
        play.finish(play.build())
        assert not armed.reached
        assert play.calls("beta") == 1
        assert [task.due - play.clock.now() for task in play.journal.tasks] == [2]


def test_after_its_backends_are_terminated_it_listens_and_scans_again(play: Play) -> None:
    play.start()
    build = play.build()
    play.finish(build, notify=False)
    assert play.calls("alpha") == 0
    play.target.lose_connection()
    assert play.calls("alpha") == 1
    play.finish(play.build())
    assert play.calls("alpha") == 2
    assert play.verdict("L-reconnect") == "held"
    assert play.violated() == []


def test_it_outlives_a_restart_of_the_server(play: Play, database: Database) -> None:
    if not database.server.own:
        pytest.skip("the server belongs to somebody")
    play.start()
    play.target.server_closing()
    play.connection.close()
    database.close()
    database.server.restart()
    play.connection = database.connect("hydra-notify-sim harness")
    play.journal.connection = play.connection
    play.target.server_opened()
    play.finish(play.build())
    assert play.calls("beta") == 1
    assert play.verdict("L-reconnect") == "held"


def test_the_task_of_a_plugin_that_is_gone_is_dropped_and_no_processor_burnt(play: Play) -> None:
    play.connection.execute(
        "INSERT INTO taskretries (channel, pluginname, payload, attempts, retry_at) VALUES ('build_queued', 'gone', '1', 1, 1)"
    )
    play.start()
    assert play.journal.tasks == ()
    assert play.verdict("R-gone-plugin") == "held"


def test_a_call_may_take_its_time(play: Play) -> None:
    play.behaviours["alpha"].takes = 60
    play.start()
    before = play.clock.now()
    play.finish(play.build())
    assert 60 <= play.clock.now() - before < 90
    assert play.violated() == []


def test_a_point_that_a_process_cannot_be_held_at_says_so(play: Play) -> None:
    assert "between_listen_and_scan" in play.target.points.cannot
    assert "point" in play.target.points.cannot


def test_an_unknown_end_is_an_end_of_its_own(play: Play) -> None:
    play.start()
    life = play.target._life
    assert life is not None
    os.kill(life.child.pid, signal.SIGKILL)
    play.target.settle()
    assert [r.exit_status for r in play.kinds(history.Ended) if isinstance(r, history.Ended)] == [-9]
    assert play.verdict("L-lives") == "violated"
    assert not play.target.alive


def test_closing_leaves_nothing(play: Play, lives: Callable[[int], bool]) -> None:
    play.start()
    life = play.target._life
    assert life is not None
    directory = play.target._directory
    play.target.close()
    assert not lives(life.child.pid)
    assert not directory.exists()
    assert play.target.backends.others() == []


def test_malformed_payloads_stop_nothing(play: Play) -> None:
    play.start()
    play.notify("build_finished", "rubbish")
    play.notify("build_queued", f"{channels.BEYOND_ANY_ID}")
    play.finish(play.build())
    assert play.calls("alpha") == 1
    assert any("malformed" in line for line in play.target.log())


def test_evaluations_of_the_scenario_are_told_from_the_harness_own(play: Play) -> None:
    play.behaviours["alpha"] = Behaviour(hooks=("eval_started",))
    play.start()
    row = play.connection.execute("SELECT id FROM jobsets WHERE name = 'j'").fetchone()
    assert row is not None
    play.notify("eval_started", f"7000\t{row[0]}")
    play.target.settle()
    called = [r for r in play.written if isinstance(r, history.Called)]
    assert [(c.plugin, c.args["trace_id"]) for c in called] == [("alpha", "7000")]
    assert play.violated() == []


def test_starting_twice_is_refused(play: Play) -> None:
    play.start()
    with pytest.raises(errors.UsageError, match="running"):
        play.start()
