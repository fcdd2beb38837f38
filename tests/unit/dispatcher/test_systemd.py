"""What systemd is told, read from a socket of ours."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hydra_notify_sim.dispatcher import systemd


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10.0)
        yield listening


def environment(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname(), **more}


def test_it_is_ready_once(manager: socket.socket) -> None:
    service = systemd.Systemd(environment(manager))
    service.ready()
    service.ready()
    service.stopping()
    assert manager.recv(1000).startswith(b"READY=1\n")
    assert manager.recv(1000) == b"STOPPING=1"


def test_the_watchdog_is_given_a_sign_twice_in_its_time(manager: socket.socket) -> None:
    service = systemd.Systemd(environment(manager, WATCHDOG_USEC="20000000", WATCHDOG_PID=str(os.getpid())))
    assert service.interval == 10.0
    service.alive()
    service.alive()
    service.waiting("for the primary")
    assert manager.recv(1000) == b"WATCHDOG=1"
    assert manager.recv(1000).startswith(b"STATUS=Waiting: for the primary\n")


def test_the_watchdog_of_another_process_is_none_of_its_business(manager: socket.socket) -> None:
    assert systemd.Systemd(environment(manager, WATCHDOG_USEC="20000000", WATCHDOG_PID="1")).interval is None


def test_without_systemd_nothing_is_said() -> None:
    service = systemd.Systemd({})
    service.ready()
    service.alive()
    service.stopping()
