"""The core against ports in memory: what no scenario can show, for it is about how the core itself behaves."""

from collections.abc import Iterator
from typing import Any

import pytest

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, metrics, ports, rows


class Ports:
    """Inbox, store and clock in one, for one finished build with a mark."""

    def __init__(self) -> None:
        self.arriving: list[ports.Received] = []
        self.done: list[tuple[Any, ...]] = []
        self.task: ports.Task | None = None
        self.due: int | None = None
        self.lost = False
        self.refused: dict[str, list[Exception]] = {}
        """What the next calls of a port raise, by its name."""
        self.marked: list[int] = []
        self.status = 0
        self.time = 100.0

    def refuse(self, name: str) -> None:
        if self.refused.get(name):
            raise self.refused[name].pop(0)

    def connect(self) -> None:
        self.done.append(("connect",))

    def listen(self, names: Any) -> None:
        self.done.append(("listen", *names))

    def receive(self, timeout: float) -> list[ports.Received]:
        if self.lost:
            self.lost = False
            raise ports.ConnectionLostError("cut")
        arrived, self.arriving = self.arriving, []
        return arrived

    def marked_builds(self) -> list[int]:
        self.refuse("marked_builds")
        self.done.append(("scan",))
        return self.marked

    def load(self, event: channels.Event) -> ports.Loaded:
        self.refuse("load")
        build = rows.Build(
            {
                "id": event.build if isinstance(event, channels.BuildFinished) else 1,
                "finished": 1,
                "buildstatus": self.status,
                "starttime": 3,
                "stoptime": 5,
                "notificationpendingsince": 5,
            }
        )
        if isinstance(event, channels.BuildFinished):
            return ports.Loaded({"build": build, "dependents": []}, (build,))
        return ports.Loaded({"build": build})

    def clear_marks(self, builds: Any, wait: bool = True) -> None:
        self.refuse("clear_marks")
        self.done.append(("clear", [build.id for build in builds]))

    def new_task_id(self) -> int:
        self.refuse("new_task_id")
        return 1

    def store_retry(self, task: ports.Task, due: int) -> None:
        self.refuse("store_retry")
        self.done.append(("store", task.plugin, due))

    def requeue(self, task: ports.Task, attempts: int, due: int) -> None:
        self.refuse("requeue")
        self.done.append(("requeue", attempts, due))
        self.task = self.due = None

    def delete_task(self, task: ports.Task) -> None:
        self.refuse("delete_task")
        self.done.append(("delete", task.id))
        self.task = self.due = None

    def due_task(self, now: int) -> ports.Task | None:
        return self.task

    def next_due(self) -> int | None:
        return self.due

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.done.append(("sleep", seconds))
        self.time += seconds


class Plugin:
    def __init__(self, name: str, error: BaseException | None = None) -> None:
        self.name = name
        self.hooks = frozenset({"build_started", "build_finished"})
        self.error = error
        self.calls: list[str] = []

    def call(self, hook: str, arguments: dict[str, Any]) -> None:
        self.calls.append(hook)
        if self.error is not None:
            raise self.error


@pytest.fixture
def world() -> Ports:
    return Ports()


def make(world: Ports, *plugins: Plugin) -> core.Dispatcher:
    return core.Dispatcher(inbox=world, store=world, clock=world, plugins=plugins, metrics=metrics.Metrics())


def settle(dispatcher: core.Dispatcher) -> Iterator[None]:
    while dispatcher.turn():
        yield


def work(dispatcher: core.Dispatcher) -> None:
    for number, _ in enumerate(settle(dispatcher)):
        assert number < 100


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), GeneratorExit(), AssertionError()])
def test_whatever_a_plugin_raises_is_its_own_failure(world: Ports, error: BaseException) -> None:
    bad, good = Plugin("bad", error), Plugin("good")
    world.arriving = [ports.Received("build_finished", "1")]
    work(make(world, bad, good))
    assert good.calls == ["build_finished"]
    assert world.done[-2:] == [("store", "bad", 102), ("clear", [1])]


def test_what_a_plugin_writes_to_its_rows_nobody_else_sees(world: Ports) -> None:
    class Vandal(Plugin):
        def call(self, hook: str, arguments: dict[str, Any]) -> None:
            arguments["build"].finished = arguments["build"].id = 0
            arguments["dependents"].append("mine")
            arguments.clear()

    class Witness(Plugin):
        def call(self, hook: str, arguments: dict[str, Any]) -> None:
            seen.append((arguments["build"].id, arguments["build"].finished, arguments["dependents"]))

    seen: list[tuple[Any, ...]] = []
    world.arriving = [ports.Received("build_finished", "1")]
    work(make(world, Vandal("first"), Witness("second")))
    assert seen == [(1, 1, [])]
    assert world.done[-1] == ("clear", [1])


def test_ctrl_c_in_a_plugin_ends_the_dispatcher(world: Ports) -> None:
    world.arriving = [ports.Received("build_finished", "1")]
    dispatcher = make(world, Plugin("busy", KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        work(dispatcher)
    assert ("clear", [1]) not in world.done


def test_it_listens_before_it_scans(world: Ports) -> None:
    work(make(world, Plugin("a")))
    names = [done[0] for done in world.done]
    assert names == ["sleep", "connect", "listen", "scan"]


def test_a_lost_connection_is_opened_again_and_scanned(world: Ports) -> None:
    dispatcher = make(world, Plugin("a"))
    work(dispatcher)
    world.done.clear()
    world.lost = True
    work(dispatcher)
    assert [done[0] for done in world.done] == ["sleep", "connect", "listen", "scan"]
    assert dispatcher.up


def test_asked_to_stop_it_begins_nothing_more(world: Ports) -> None:
    plugin = Plugin("a")
    dispatcher = make(world, plugin)
    work(dispatcher)
    world.arriving = [ports.Received("build_started", "1")]
    dispatcher.stop()
    dispatcher.run()
    assert plugin.calls == []


def test_a_stream_of_events_does_not_starve_a_retry(world: Ports) -> None:
    plugin = Plugin("a")
    dispatcher = make(world, plugin)
    work(dispatcher)
    world.task, world.due = ports.Task(7, "build_finished", "a", "1", 1), 50
    world.arriving = [ports.Received("build_started", "1")] * 3
    dispatcher.turn()
    dispatcher.wake()
    work(dispatcher)
    assert ("delete", 7) in world.done
    assert plugin.calls.count("build_started") == 3


LOST = ports.ConnectionLostError("cut")
LOCKED = ports.NotNowError("somebody holds a lock")


def go_on(world: Ports, dispatcher: core.Dispatcher) -> None:
    """Work, and let the time pass that it waits for."""
    for _ in range(10):
        work(dispatcher)
        world.time += 10.0


@pytest.mark.parametrize("refusal", [[LOCKED], [LOCKED] * 5, [LOST], [LOST, LOCKED, LOST]])
@pytest.mark.parametrize("at", ["load", "new_task_id", "store_retry", "clear_marks"])
def test_what_the_database_refuses_is_done_later_and_nobody_is_told_twice(
    world: Ports, at: str, refusal: list[Exception]
) -> None:
    bad, good = Plugin("bad", ValueError("x")), Plugin("good")
    dispatcher = make(world, bad, good)
    work(dispatcher)
    world.refused = {at: list(refusal)}
    world.marked = [1]
    world.arriving = [ports.Received("build_finished", "1")]
    go_on(world, dispatcher)
    assert bad.calls == good.calls == ["build_finished"]
    assert sum(done[0] == "store" for done in world.done) == 1
    assert ("clear", [1]) in world.done


@pytest.mark.parametrize("refusal", [LOCKED, LOST])
@pytest.mark.parametrize(("at", "error"), [("delete_task", None), ("requeue", ValueError("x"))])
def test_a_retry_whose_task_cannot_be_written_is_not_called_again(
    world: Ports, at: str, error: Exception | None, refusal: Exception
) -> None:
    plugin = Plugin("a", error)
    dispatcher = make(world, plugin)
    work(dispatcher)
    world.refused = {at: [refusal] * 3}
    world.task, world.due = ports.Task(7, "build_started", "a", "1", 1), 50
    dispatcher.wake()
    go_on(world, dispatcher)
    assert plugin.calls == ["build_started"]
    assert sum(done[0] in {"delete", "requeue"} for done in world.done) == 1


def test_a_later_outcome_is_told_though_an_older_one_was_only_not_acknowledged(world: Ports) -> None:
    plugin = Plugin("a")
    dispatcher = make(world, plugin)
    work(dispatcher)
    world.refused = {"clear_marks": [LOST]}
    world.marked = [1]
    world.arriving = [ports.Received("build_finished", "1")]
    dispatcher.turn()
    world.status = 1
    go_on(world, dispatcher)
    assert plugin.calls == ["build_finished"] * 2


def test_a_mark_that_cannot_be_cleared_holds_no_event_up(world: Ports) -> None:
    plugin = Plugin("a")
    dispatcher = make(world, plugin)
    work(dispatcher)
    world.refused = {"clear_marks": [LOCKED] * 3}
    world.arriving = [ports.Received("build_finished", "1"), ports.Received("build_started", "1")]
    work(dispatcher)
    assert plugin.calls == ["build_finished", "build_started"]
    assert ("clear", [1]) not in world.done
    go_on(world, dispatcher)
    assert ("clear", [1]) in world.done


def test_events_that_have_arrived_outlive_a_refusal(world: Ports) -> None:
    plugin = Plugin("a")
    dispatcher = make(world, plugin)
    work(dispatcher)
    world.refused = {"load": [LOCKED] * 4}
    world.arriving = [ports.Received("build_started", "1"), ports.Received("build_finished", "1")]
    go_on(world, dispatcher)
    assert plugin.calls == ["build_started", "build_finished"]


def test_an_outage_is_said_once_and_then_every_minute(world: Ports, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", core.LOG.name)
    dispatcher = make(world, Plugin("a"))
    world.refused = {"marked_builds": [LOST] * 40}
    work(dispatcher)
    said = [record.event for record in caplog.records]  # type: ignore[attr-defined]  # given as extra
    assert said == ["connection_lost", "not_yet", "not_yet", "recovered"]
    pauses = [done[1] for done in world.done if done[0] == "sleep"]
    assert pauses[:6] == list(core.PAUSES)
    assert set(pauses[6:-1]) == {5.0}


def test_live_events_and_marked_builds_take_turns(world: Ports) -> None:
    plugin = Plugin("a")
    world.marked = [1, 2, 3, 4]
    dispatcher = make(world, plugin)
    dispatcher.turn()
    world.arriving = [ports.Received("build_started", "1")] * 2
    work(dispatcher)
    assert plugin.calls == ["build_finished", "build_started"] * 2 + ["build_finished"] * 2


def test_asked_to_stop_it_still_stores_what_is_in_hand(world: Ports) -> None:
    plugin = Plugin("a", ValueError("x"))
    dispatcher = make(world, plugin)
    work(dispatcher)
    world.refused = {"store_retry": [LOCKED] * 3}
    world.arriving = [ports.Received("build_started", "1"), ports.Received("build_started", "1")]
    dispatcher.turn()
    dispatcher.stop()
    dispatcher.run()
    assert sum(done[0] == "store" for done in world.done) == 1
    assert plugin.calls == ["build_started"]


def test_what_a_plugin_did_that_returned_long_after_the_stop_is_stored(world: Ports) -> None:
    class Slow(Plugin):
        def call(self, hook: str, arguments: dict[str, Any]) -> None:
            dispatcher.stop()
            world.time += 300.0
            super().call(hook, arguments)

    dispatcher = make(world, Slow("a", ValueError("x")))
    work(dispatcher)
    world.refused = {"store_retry": [LOCKED] * 3}
    world.arriving = [ports.Received("build_started", "1")]
    dispatcher.run()
    assert sum(done[0] == "store" for done in world.done) == 1


def test_asked_to_stop_it_gives_up_what_the_database_never_takes(
    world: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = make(world, Plugin("a", ValueError("x")))
    work(dispatcher)
    world.refused = {"store_retry": [LOCKED] * 100}
    world.arriving = [ports.Received("build_started", "1")]
    dispatcher.turn()
    began = world.time
    dispatcher.stop()
    dispatcher.run()
    assert world.time - began <= core.STOP_WITHIN + core.PAUSES[-1]
    assert caplog.records[-1].event == "left_undone"  # type: ignore[attr-defined]  # given as extra


def test_the_metrics_can_be_written_whatever_a_stored_task_is_called(
    world: Ports, capsys: pytest.CaptureFixture[str]
) -> None:
    dispatcher = make(world, Plugin("a"))
    work(dispatcher)
    world.task, world.due = ports.Task(7, "build_\udcff", "gone\udcff", "1", 1), 50
    dispatcher.wake()
    work(dispatcher)
    dispatcher.metrics.dump()
    assert 'plugin="gone\\\\udcff"' in capsys.readouterr().err


def test_what_is_no_text_can_be_logged(world: Ports, caplog: pytest.LogCaptureFixture) -> None:
    """One line that cannot be encoded ends a worker of pytest-xdist, and with it every test that was to come."""
    dispatcher = make(world, Plugin("a", ValueError("no branch b\udcff")))
    world.arriving = [ports.Received("build_started", "1"), ports.Received("build_started", "\udcff")]
    work(dispatcher)
    assert "malformed" in {record.event for record in caplog.records}  # type: ignore[attr-defined]  # given as extra
    assert "no branch b\\udcff" in caplog.text
    assert caplog.text.encode()


def test_the_metrics_have_hydra_notify_s_names(world: Ports, capsys: pytest.CaptureFixture[str]) -> None:
    world.arriving = [
        ports.Received("build_started", "1"),
        ports.Received("build_started", "x"),
        ports.Received(channels.DUMP_METRICS, ""),
    ]
    work(make(world, Plugin("a", ValueError("x"))))
    dumped = capsys.readouterr().err
    for name in (
        'notify_event{channel="build_started"} 2.0',
        'notify_event_error{channel="build_started"} 1.0',
        'notify_plugin_executions{channel="build_started",plugin="a"} 1.0',
        'notify_plugin_error{channel="build_started",plugin="a"} 1.0',
        'notify_plugin_requeue{channel="build_started",plugin="a"} 1.0',
    ):
        assert name in dumped
