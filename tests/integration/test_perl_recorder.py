"""The Perl recorder under perl itself, with a stand-in host: what it says, which hooks it has, how it ends."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hydra_notify_sim import errors
from hydra_notify_sim.recorders import perl
from hydra_notify_sim.recorders.protocol import ArrivedCall, Exchange
from hydra_notify_sim.targets import registry

HERE = Path(__file__).parent / "perl"
SECONDS = 20.0

pytestmark = pytest.mark.skipif(shutil.which("perl") is None, reason="there is no perl on PATH")


class Host:
    """The stand-in host with its recorders, and the harness's end."""

    def __init__(self, directory: Path, hooks: dict[str, tuple[str, ...]], perl_options: str = "") -> None:
        self.exchange = Exchange(directory)
        self.exchange.expect(hooks)
        # As packaged Hydra does: a wrapper that puts its own directory ahead of ours.
        wrapper = directory / "wrapper"
        wrapper.write_text(
            f'#!/bin/sh\nPERL5LIB="{HERE}:$PERL5LIB" exec perl {perl_options} "{HERE}/host.pl"\n'
        )
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
        base = {**os.environ, "HYDRA_NOTIFY_SIM_SOCKET": str(self.exchange.path)}
        self.process = subprocess.Popen(
            [str(wrapper)],
            env=perl.environment(base, list(hooks), directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        while set(self.exchange.hellos) != set(hooks):
            assert self.process.poll() is None
            self.exchange.pump(SECONDS)
        self.plugins = [self.line() for _ in hooks]

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def call(self, plugin: str, method: str) -> ArrivedCall:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{perl.package(plugin)} {method}\n")
        self.process.stdin.flush()
        while not self.exchange.pump(SECONDS):
            assert self.process.poll() is None
        return self.exchange.take()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(SECONDS) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.exchange.close()


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    directory = tmp_path_factory.mktemp("p")
    started = Host(
        directory,
        {
            "alpha": ("build_finished", "step_finished", "eval_added"),
            "b-2": (),
            "sentinel": ("eval_started",),
        },
    )
    yield started
    started.close()


def test_each_recorder_is_a_plugin_with_just_the_hooks_it_was_handed(host: Host) -> None:
    assert host.plugins == [
        "Hydra::Plugin::HydraNotifySim_alpha inherits buildFinished stepFinished evalAdded",
        "Hydra::Plugin::HydraNotifySim_b_2d_2 inherits",
        "Hydra::Plugin::HydraNotifySim_sentinel inherits evalStarted",
    ]
    hello = host.exchange.hellos["b-2"]
    assert hello.task_name == "Hydra::Plugin::HydraNotifySim_b_2d_2"
    assert hello.pid == host.process.pid


@pytest.mark.parametrize(
    ("month", "reads"), [("", None), ("august", ("2026-08",)), ("september", ("2026-09",))]
)
def test_it_says_which_payloads_the_hosts_own_parser_reads(
    tmp_path_factory: pytest.TempPathFactory, month: str, reads: tuple[str, ...] | None
) -> None:
    options = f"-I {HERE / month} -MHydra::Event::EvalAdded" if month else ""
    host = Host(tmp_path_factory.mktemp("p"), {"alpha": ("eval_added",)}, options)
    try:
        assert host.exchange.hellos["alpha"].payloads == reads
    finally:
        host.close()


def test_rows_go_over_as_objects_with_numbers_as_numbers(host: Host) -> None:
    arrived = host.call("alpha", "buildFinished")
    build: dict[str, Any] = {
        "id": 7,
        "finished": 1,
        "buildstatus": None,
        "nixname": "héllo-1",
        "iscachedbuild": "0",
    }
    assert arrived.call.hook == "build_finished"
    assert arrived.call.args == {"build": build, "dependents": [build, {"id": 8, "finished": 0}]}
    host.exchange.answer(arrived, None)
    assert host.line() == "returned"
    arrived = host.call("alpha", "stepFinished")
    assert arrived.call.args == {"step": {"build": 7, "stepnr": 2, "status": 0}, "log_path": None}
    host.exchange.answer(arrived, None)
    assert host.line() == "returned"
    arrived = host.call("alpha", "evalAdded")
    assert arrived.call.args == {
        "trace_id": "12345.678.4242",
        "jobset": {"id": 3, "project": "p", "name": "7"},
        "evaluation": {"id": 9, "jobset_id": 3},
    }
    host.exchange.answer(arrived, None)
    assert host.line() == "returned"


def test_it_dies_as_it_is_told(host: Host) -> None:
    host.exchange.answer(host.call("alpha", "stepFinished"), "403 rate limited")
    assert host.line() == "died: 403 rate limited"


def test_hung_up_on_in_a_call_it_dies_and_before_the_next_it_connects_again(host: Host) -> None:
    arrived = host.call("alpha", "stepFinished")
    host.exchange._close(arrived.connection)
    assert host.line() == "died: recorder alpha: the harness is gone"
    again = host.call("alpha", "stepFinished")
    assert again.call.call == 1
    host.exchange.answer(again, None)
    assert host.line() == "returned"


def test_modules_of_an_earlier_life_are_gone(tmp_path: Path) -> None:
    perl.environment({}, ["alpha", "sentinel"], tmp_path)
    environment = perl.environment({"PERL5LIB": "/elsewhere"}, ["sentinel"], tmp_path)
    assert [path.name for path in tmp_path.rglob("*.pm")] == ["HydraNotifySim_sentinel.pm"]
    assert environment["PERL5LIB"].split(os.pathsep)[0] == "/elsewhere"


def test_a_checkout_finds_its_own_modules(tmp_path: Path) -> None:
    script = tmp_path / "script" / "hydra-notify"
    script.parent.mkdir()
    script.touch()
    (tmp_path / "lib" / "Hydra").mkdir(parents=True)
    program = registry.choose(f"hydra-notify:{script}").program
    assert program is not None
    assert program.command[-1] == str(script)
    prepared = program.prepare({}, ["sentinel"], tmp_path)
    assert prepared["PERL5LIB"].split(os.pathsep)[-1] == str(tmp_path / "lib")


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.EnvironmentFailedError, match=r"no hydra-notify on PATH.*Install Hydra"):
        registry.choose("hydra-notify")
    with pytest.raises(errors.UsageError, match="no such file"):
        registry.choose(f"hydra-notify:{tmp_path}/nothing")
    script = tmp_path / "hydra-notify.pl"
    script.touch()
    with pytest.raises(errors.EnvironmentFailedError, match="Install Perl 5"):
        registry.choose(f"hydra-notify:{script}")
