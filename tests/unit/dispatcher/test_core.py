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
        self.done.append(("scan",))
        return []

    def load(self, event: channels.Event) -> ports.Loaded:
        build = rows.Build({"id": 1, "finished": 1, "buildstatus": 0, "notificationpendingsince": 5})
        if isinstance(event, channels.BuildFinished):
            return ports.Loaded({"build": build, "dependents": []}, (build,))
        return ports.Loaded({"build": build})

    def clear_marks(self, builds: Any, wait: bool = True) -> None:
        self.done.append(("clear", [build.id for build in builds]))

    def new_task_id(self) -> int:
        return 1

    def store_retry(self, task: ports.Task, due: int) -> None:
        self.done.append(("store", task.plugin, due))

    def requeue(self, task: ports.Task, attempts: int, due: int) -> None:
        self.done.append(("requeue", attempts, due))

    def delete_task(self, task: ports.Task) -> None:
        self.done.append(("delete", task.id))
        self.task = self.due = None

    def due_task(self, now: int) -> ports.Task | None:
        return self.task

    def next_due(self) -> int | None:
        return self.due

    def now(self) -> float:
        return 100.0

    def sleep(self, seconds: float) -> None:
        self.done.append(("sleep", seconds))


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
