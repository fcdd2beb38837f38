"""Both ends of the recorder protocol, the plugin in a thread of its own."""

import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from hydra_notify_sim import errors
from hydra_notify_sim.dispatcher import plugins
from hydra_notify_sim.dispatcher.rows import Build
from hydra_notify_sim.recorders import python_plugin
from hydra_notify_sim.recorders.messages import ProtocolError
from hydra_notify_sim.recorders.protocol import ArrivedCall, Exchange

HOOKS = {"alpha": ("build_finished", "eval_failed"), "sentinel": ("eval_started",)}


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    # A short path, whatever pytest's own is.
    with TemporaryDirectory(prefix="hns-") as directory:
        made = Exchange(Path(directory))
        made.expect(HOOKS)
        yield made
        made.close()


class InThread:
    """Runs something that talks to the exchange while the test serves it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._work()
        except Exception as error:  # noqa: BLE001  # the test looks at it
            self.error = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> Any:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.result


Connect = Callable[[], python_plugin.Recorder]


@pytest.fixture
def connect(exchange: Exchange) -> Iterator[Connect]:
    """Makes recorders called alpha that are connected."""
    with ExitStack() as opened:

        def make() -> python_plugin.Recorder:
            work = InThread(lambda: python_plugin.Recorder("alpha", str(exchange.path)))
            serve(exchange, lambda: not work.running)
            recorder = work.join()
            assert isinstance(recorder, python_plugin.Recorder)
            opened.callback(recorder.close)
            return recorder

        yield make


def serve(exchange: Exchange, done: Callable[[], bool]) -> None:
    while not done():
        exchange.pump(0.01)


def serve_for_ever(exchange: Exchange) -> None:
    while True:
        exchange.pump(30)


def taken(exchange: Exchange) -> ArrivedCall:
    serve(exchange, lambda: bool(exchange.arrived))
    return exchange.take()


def test_the_socket_is_private(exchange: Exchange) -> None:
    assert stat.S_IMODE(exchange.path.stat().st_mode) == 0o600


def test_a_recorder_is_told_its_hooks(connect: Connect) -> None:
    recorder = connect()
    assert recorder.hooks == {"build_finished", "eval_failed"}
    assert hasattr(recorder, "build_finished")
    assert not hasattr(recorder, "build_queued")
    assert plugins.PythonPlugin(recorder).hooks == recorder.hooks


def test_a_call_waits_for_its_answer(exchange: Exchange, connect: Connect) -> None:
    recorder = connect()
    work = InThread(lambda: recorder.build_finished(Build({"id": 5, "finished": 1}), [Build({"id": 6})]))
    arrived = taken(exchange)
    assert (arrived.plugin, arrived.call.call, arrived.call.hook) == ("alpha", 1, "build_finished")
    assert arrived.call.args == {"build": {"id": 5, "finished": 1}, "dependents": [{"id": 6}]}
    assert not exchange.pump(0)
    exchange.answer(arrived, None)
    work.join()
    assert work.error is None


def test_a_call_fails_with_the_message_it_is_given(exchange: Exchange, connect: Connect) -> None:
    recorder = connect()
    work = InThread(lambda: recorder.eval_failed("t", {"id": 1}))
    arrived = taken(exchange)
    assert arrived.call.args == {"trace_id": "t", "jobset": {"id": 1}}
    exchange.answer(arrived, "403 rate limited")
    work.join()
    assert isinstance(work.error, python_plugin.RecorderFailure)
    assert str(work.error) == "403 rate limited"


def test_newer_payloads_have_one_argument_more(exchange: Exchange, connect: Connect) -> None:
    recorder = connect()
    work = InThread(lambda: recorder.eval_failed("t", {"id": 1}, 1))
    arrived = taken(exchange)
    assert arrived.call.args["error_changed"] == 1
    exchange.answer(arrived, None)
    work.join()


def test_megabytes_pass(exchange: Exchange, connect: Connect) -> None:
    recorder = connect()
    builds = [{"id": number, "description": "x" * 1000} for number in range(3000)]
    work = InThread(lambda: recorder.build_finished({"id": 1}, builds))
    arrived = taken(exchange)
    assert arrived.call.args["dependents"] == builds
    exchange.answer(arrived, "y" * 3_000_000)
    while len(arrived.connection.unsent):
        exchange.pump(0.01)
    work.join()
    assert len(str(work.error)) == 3_000_000


def test_a_connection_closed_between_calls_is_opened_again(exchange: Exchange, connect: Connect) -> None:
    recorder = connect()
    exchange.expect(HOOKS)
    work = InThread(lambda: recorder.eval_failed("t", {"id": 1}))
    arrived = taken(exchange)
    assert arrived.call.call == 1
    exchange.answer(arrived, None)
    work.join()
    assert work.error is None


def test_a_connection_closed_in_a_call_fails_the_hook(exchange: Exchange, connect: Connect) -> None:
    recorder = connect()
    work = InThread(lambda: recorder.eval_failed("t", {"id": 1}))
    serve(exchange, lambda: bool(exchange.arrived))
    exchange.drop()
    assert not exchange.arrived
    work.join()
    assert isinstance(work.error, python_plugin.RecorderFailure)


def test_an_answer_to_one_that_is_gone_is_nothing(exchange: Exchange, connect: Connect) -> None:
    recorder = connect()
    work = InThread(lambda: recorder.eval_failed("t", {"id": 1}))
    arrived = taken(exchange)
    exchange.drop()
    work.join()
    exchange.answer(arrived, None)
    assert arrived.connection.closed


def test_two_connections_of_one_plugin_count_their_own_calls(exchange: Exchange, connect: Connect) -> None:
    first, second = connect(), connect()
    for recorder in (first, second, first):
        work = InThread(lambda: recorder.eval_failed("t", {"id": 1}))  # noqa: B023  # called within this turn of the loop
        exchange.answer(taken(exchange), None)
        work.join()
        assert work.error is None


def test_a_second_call_before_the_answer_is_refused(exchange: Exchange) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(exchange.path))
        call = b'{"call": %d, "hook": "build_finished", "args": {}}\n'
        connection.sendall(b'{"hello": 1, "plugin": "alpha", "pid": 1}\n' + call % 1 + call % 2)
        with pytest.raises(ProtocolError, match="one call open at a time"):
            serve_for_ever(exchange)
        said = connection.makefile().read()
    assert '"error"' in said


def test_an_unknown_recorder_is_told_why_and_hung_up_on(exchange: Exchange) -> None:
    work = InThread(lambda: python_plugin.Recorder("gamma", str(exchange.path)))
    with pytest.raises(ProtocolError, match="names alpha, sentinel"):
        serve_for_ever(exchange)
    work.join()
    assert isinstance(work.error, errors.EnvironmentFailedError)
    assert "calls itself 'gamma'" in str(work.error)


def test_a_long_path_is_said_to_be_too_long(tmp_path: Path) -> None:
    with pytest.raises(errors.EnvironmentFailedError, match="too long for a Unix socket"):
        Exchange(tmp_path / ("x" * 120))


def test_a_recorder_without_a_harness_says_so(tmp_path: Path) -> None:
    with pytest.raises(errors.EnvironmentFailedError, match="no harness answers"):
        python_plugin.Recorder("alpha", str(tmp_path / "none"))


def test_without_a_harness_no_names_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_NOTIFY_SIM_PLUGINS", raising=False)
    with pytest.raises(errors.UsageError, match="HYDRA_NOTIFY_SIM_PLUGINS is not set"):
        python_plugin.load_all()


def test_recorders_can_be_loaded_like_any_plugin(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_NOTIFY_SIM_PLUGINS", "alpha,sentinel")
    monkeypatch.setenv("HYDRA_NOTIFY_SIM_SOCKET", str(exchange.path))
    work = InThread(lambda: plugins.load("hydra_notify_sim.recorders.python_plugin:alpha"))
    serve(exchange, lambda: not work.running)
    loaded = work.join()
    loaded.plugin.close()
    assert (loaded.name, loaded.hooks) == ("alpha", {"build_finished", "eval_failed"})
    with pytest.raises(plugins.PluginError, match="has no 'beta'"):
        plugins.load("hydra_notify_sim.recorders.python_plugin:beta")


def test_arguments_that_cannot_be_written_are_told_to_the_harness_and_are_no_failed_call(
    exchange: Exchange, connect: Connect
) -> None:
    recorder = connect()
    work = InThread(lambda: recorder.build_finished({("a", "key"): 1}, []))
    with pytest.raises(ProtocolError, match="the arguments of build_finished cannot be written as JSON"):
        taken(exchange)
    work.join()
