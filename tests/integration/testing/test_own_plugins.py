"""Plugins of an author's own that exit, write to their rows, or have methods that are no hooks."""

import sys

import pytest

from hydra_notify_sim.dispatcher.plugins import PluginError
from hydra_notify_sim.dispatcher.rows import Build as BuildRow
from hydra_notify_sim.testing import Hydra, HydraDatabase, call, retry


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


class Meddles:
    """A plugin that runs statements of its own on Hydra's tables."""

    name = "meddles"

    def __init__(self, database: HydraDatabase, statement: str) -> None:
        self.connection = database.connect("meddles")
        self.statement = statement

    def build_finished(self, build: BuildRow, dependents: list[BuildRow]) -> None:
        self.connection.execute(self.statement)


TASK = (
    "INSERT INTO taskretries (channel, pluginname, payload, attempts, retry_at)"
    " VALUES ('build_finished', 'log', '1', 3, 1)"
)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE builds SET finished = 0",
        "UPDATE builds SET notificationpendingsince = NULL",
        "UPDATE builds SET notificationpendingsince = 7",
        "UPDATE builds SET buildstatus = 1, stoptime = stoptime + 5",
        "UPDATE builds SET finished = 0, notificationpendingsince = NULL",
        "DELETE FROM builds",
        "UPDATE taskretries SET attempts = 50, retry_at = 1",
        "DELETE FROM taskretries",
        TASK,
        "UPDATE builds SET keep = 1",
    ],
)
@pytest.mark.parametrize(
    "dispatcher",
    [
        pytest.param("reference", marks=pytest.mark.hydra(dispatcher="reference")),
        pytest.param("a process", marks=pytest.mark.hydra(dispatcher="reference-process")),
    ],
)
@pytest.mark.filterwarnings("ignore:the plugin meddles")
def test_what_a_plugin_writes_to_the_database_is_not_held_against_the_dispatcher(
    hydra: Hydra, hydra_database: HydraDatabase, statement: str, dispatcher: str
) -> None:
    hydra.install(hydra.plugin("first", hooks=["build_finished"], raises=1))
    hydra.install(Meddles(hydra_database, statement))
    hydra.install(hydra.plugin("log", hooks=["build_finished"]))
    hydra.build(hydra.queue("iso"))
    hydra.advance(seconds=10)
    hydra.dispatcher.restart()
    hydra.check()


@pytest.mark.filterwarnings("ignore:the plugin meddles")
@pytest.mark.hydra(
    dispatcher="known-bad:clears-after-the-first-plugin", violated=["B-clear-after", "B-at-least-once"]
)
def test_what_the_dispatcher_did_beside_it_is_still_found(
    hydra: Hydra, hydra_database: HydraDatabase
) -> None:
    hydra.install(Meddles(hydra_database, "UPDATE builds SET finished = 0 WHERE job = 'other'"))
    hydra.install(hydra.plugin("log", hooks=["build_finished"]))
    hydra.build(hydra.queue("other"))
    with hydra.at("after_call", 1, hook="build_finished").crash():
        hydra.build(hydra.queue("iso"))
    hydra.dispatcher.start()
    judgements = hydra.check()
    assert "B-clear-after" in {v.promise for v in judgements.verdicts if v.verdict == "violated"}


@pytest.mark.filterwarnings("ignore:the plugin meddles")
def test_the_plugin_that_wrote_is_named(hydra: Hydra, hydra_database: HydraDatabase) -> None:
    hydra.install(Meddles(hydra_database, "UPDATE builds SET finished = 0"))
    hydra.build(hydra.queue("iso"))
    with pytest.warns(UserWarning, match="the plugin meddles wrote to Hydra's rows by itself.*iso"):
        hydra.end()
