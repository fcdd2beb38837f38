"""Tests that would pass by testing nothing: what they asked for and did not happen fails them."""

from collections.abc import Callable

import pytest

# Runs within this process forget what they import; what is there already stays, and is quick.
from hydra_notify_sim import pytest_fixtures  # noqa: F401  # see above
from hydra_notify_sim.errors import UsageError
from hydra_notify_sim.testing import Hydra, NotExercisedError, call

IN_VAIN = """
import pytest

def finish(hydra):
    return hydra.build(hydra.queue("iso"))

def test_point_without_with(hydra):
    hydra.at("after_clear").crash()
    finish(hydra)
    hydra.dispatcher.restart()

def test_point_without_with_that_fails_by_itself(hydra):
    hydra.at("after_clear").crash()
    assert hydra.marks() == [finish(hydra)]

def test_failure_that_never_comes(hydra):
    hydra.install(hydra.plugin("mail", hooks=["eval_failed"], raises=1))
    finish(hydra)

def test_failure_of_another_build(hydra):
    other = hydra.queue("other")
    hydra.install(hydra.plugin("mail", raises={"for": other}))
    finish(hydra)

def test_call_that_is_never_held(hydra):
    hydra.install(hydra.plugin("slow", hooks=["eval_failed"], holds=True))
    finish(hydra)

def test_plugin_that_is_not_installed(hydra):
    hydra.plugin("mail")
    finish(hydra)
"""


def test_what_was_asked_for_and_did_not_happen_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=IN_VAIN)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(failed=6)
    result.stdout.fnmatch_lines(
        [
            "The test asked for what did not happen:",
            "  the point after_clear: hydra.at('after_clear', …) does nothing by itself*Write `with hydra.at('after_clear', …).crash():`*",
            "*what never happened*",
            "the point after_clear: hydra.at('after_clear', …) does nothing by itself*",
            "  the plugin mail was to fail (raises=…), and it was never called, *",
            "  the plugin mail was to fail (raises=…), and none of its calls did, *",
            "  the plugin slow was to hold its call (holds=True), and it was never called*",
            "  the plugin mail was made and never installed*",
        ]
    )
    assert "hydra_notify_sim/testing" not in result.stdout.str()


def test_what_a_test_asked_for_is_looked_at_when_it_ends(hydra: Hydra) -> None:
    mail = hydra.install(hydra.plugin("mail", hooks=["build_finished"], raises=1))
    iso = hydra.queue("iso")
    with pytest.raises(NotExercisedError, match="mail was to fail"):
        hydra.end()
    with hydra.at("after_clear", hook="build_finished").crash():
        hydra.build(iso)
    hydra.dispatcher.start()
    assert hydra.calls(mail) == [call.build_finished(iso, ended="raised")]
    hydra.end()


def _settle_while_down(hydra: Hydra) -> None:
    hydra.dispatcher.stop()
    hydra.settle()


def _settle_after_a_crash(hydra: Hydra) -> None:
    hydra.queue("iso")
    hydra.dispatcher.crash()
    hydra.settle()


def _release_twice(hydra: Hydra) -> None:
    hydra.install(hydra.plugin("slow", hooks=["build_queued"], holds=True))
    hydra.queue("iso")
    hydra.release("slow")
    hydra.release("slow")


def _release_before_it_holds(hydra: Hydra) -> None:
    hydra.install(hydra.plugin("slow", hooks=["build_finished"], holds=True))
    iso = hydra.queue("iso")
    try:
        hydra.release("slow")
    finally:
        hydra.build(iso)


def _release_what_never_holds(hydra: Hydra) -> None:
    hydra.install(hydra.plugin("mail"))
    hydra.release("mail")


def _calls_of_a_hook_that_it_lacks(hydra: Hydra) -> None:
    hydra.install(hydra.plugin("mail", hooks=["build_finished"]))
    assert hydra.calls("mail", hook="build_started") == []


def _calls_of_a_hook_that_all_lack(hydra: Hydra) -> None:
    hydra.install(hydra.plugin("mail", hooks=["build_finished"]))
    assert hydra.calls(hook="build_started") == []


def _misspelt_hook(hydra: Hydra) -> None:
    hydra.install(hydra.plugin("mail", hooks=["build_finish"]))


def _hook_of_a_wait(hydra: Hydra) -> None:
    hydra.at("before_wait", hook="build_finished")


def _hook_of_a_clear(hydra: Hydra) -> None:
    hydra.at("before_clear", hook="step_finished")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (_settle_while_down, r"the dispatcher is down.*hydra\.dispatcher\.start\(\) first"),
        (_settle_after_a_crash, "the dispatcher is down"),
        (_release_twice, "slow holds no call now"),
        (_release_before_it_holds, "slow holds no call now.*nothing has called it yet"),
        (_release_what_never_holds, "mail holds no call.*holds=True"),
        (_calls_of_a_hook_that_it_lacks, "mail does not have the hook build_started"),
        (_calls_of_a_hook_that_all_lack, r"no plugin \(mail\) has the hook build_started"),
        (_misspelt_hook, "Did you mean 'build_finished'"),
        (_hook_of_a_wait, "before_wait takes no hook"),
        (_hook_of_a_clear, "only build_finished has marks"),
    ],
)
def test_what_would_test_nothing_is_refused(hydra: Hydra, wrong: Callable[[Hydra], None], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        wrong(hydra)


@pytest.mark.parametrize("point", ["before_clear", "after_clear", "before_store", "after_store"])
@pytest.mark.parametrize(
    "dispatcher",
    [
        pytest.param("reference", marks=pytest.mark.hydra(dispatcher="reference")),
        pytest.param("a process", marks=pytest.mark.hydra(dispatcher="reference-process")),
    ],
)
def test_a_hook_is_matched_where_marks_are_cleared_and_failures_stored(
    hydra: Hydra, dispatcher: str, point: str
) -> None:
    hydra.install(hydra.plugin("mail", hooks=["build_started", "build_finished"], raises="always"))
    iso = hydra.queue("iso")
    there = []
    with hydra.at(point, hook="build_finished").do(lambda: there.append([c.hook for c in hydra.calls()])):
        hydra.build(iso)
    assert there == [["build_started", "build_finished"]]
