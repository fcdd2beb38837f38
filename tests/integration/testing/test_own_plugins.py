"""Plugins of an author's own that exit, write to their rows, or have methods that are no hooks."""

import sys

import pytest

from hydra_notify_sim.dispatcher.plugins import PluginError
from hydra_notify_sim.dispatcher.rows import Build as BuildRow
from hydra_notify_sim.testing import Hydra, call, retry


class Leaves:
    name = "leaves"

    def build_finished(self, build: BuildRow, dependents: list[BuildRow]) -> None:
        sys.exit(3)


@pytest.mark.parametrize(
    "dispatcher",
    [
        pytest.param("reference", marks=pytest.mark.hydra(dispatcher="reference")),
        pytest.param("a process", marks=pytest.mark.hydra(dispatcher="reference-process")),
    ],
)
def test_a_plugin_that_exits_is_one_whose_call_failed(hydra: Hydra, dispatcher: str) -> None:
    leaves = hydra.install(Leaves())
    iso = hydra.build(hydra.queue("iso"))
    assert hydra.calls(leaves) == [call.build_finished(iso, ended="raised", message="exited: sys.exit(3)")]
    assert hydra.retries() == [retry(leaves, "build_finished", attempts=1)]


def test_what_a_plugin_writes_to_its_rows_changes_nothing_for_others(hydra: Hydra) -> None:
    class Vandal:
        def build_finished(self, build: BuildRow, dependents: list[BuildRow]) -> None:
            build.buildstatus, build.job, build.stoptime = 7, "changed", 1
            dependents.clear()

    seen = []

    class Witness:
        def build_finished(self, build: BuildRow, dependents: list[BuildRow]) -> None:
            seen.append((build.buildstatus, build.job, len(dependents)))

    hydra.install(Vandal())
    hydra.install(Witness())
    hydra.build(hydra.queue("iso"), status="failed")
    assert seen == [(1, "iso", 1)]
    assert hydra.marks() == []


async def _post(_build: object, _dependents: object) -> None:
    """Say something."""


class Asynchronous:
    build_finished = staticmethod(_post)


class Misspelt:
    def build_started(self, build: object) -> None:
        """Have one good hook."""

    def build_finish(self, build: object, dependents: object) -> None:
        """Have one that is never called."""


@pytest.mark.parametrize(
    ("plugin", "says"),
    [(Asynchronous(), "`async def`.*asyncio.run"), (Misspelt(), "Did you mean 'build_finished'")],
)
def test_methods_that_would_do_nothing_are_refused_when_they_are_installed(
    hydra: Hydra, plugin: object, says: str
) -> None:
    with pytest.raises(PluginError, match=says):
        hydra.install(plugin)


def test_what_the_test_itself_says_in_a_hook_is_the_tests_own_failure(hydra: Hydra) -> None:
    class Checks:
        def build_finished(self, build: BuildRow, dependents: list[BuildRow]) -> None:
            pytest.fail("the wrong build was told")

    hydra.install(Checks())
    iso = hydra.queue("iso")
    with pytest.raises(pytest.fail.Exception, match="the wrong build"):
        hydra.build(iso)
