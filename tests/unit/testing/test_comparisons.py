"""Calls and retries compare with what a test says of them, and differences are told in words."""

import pytest

from hydra_notify_sim import testing
from hydra_notify_sim.errors import UsageError
from hydra_notify_sim.testing import call, retry
from hydra_notify_sim.testing.comparisons import Call, StoredRetry, explain
from hydra_notify_sim.testing.handles import Build, Evaluation, Plugin

ISO, DOCS = Build(1, "iso"), Build(2, "docs")


def made(hook: str = "build_finished", number: int = 1, **facts: object) -> Call:
    return Call("chat", hook, **{"build": ISO, "ended": "returned", "number": number, **facts})


def test_handles_are_equal_if_they_are_of_the_same_row() -> None:
    assert Build(1, "iso") == Build(1, "another word")
    assert Build(1, "iso") != Build(2, "iso")
    assert Build(1, "iso") != Evaluation(1, "iso")
    assert len({Build(1, "iso"), Build(1, "iso"), Plugin("iso", ())}) == 2


def test_what_is_not_said_is_not_compared() -> None:
    found = made(status="failed", dependents=(ISO, DOCS))
    assert found == call.build_finished(ISO)
    assert found == call.build_finished(
        status="failed", dependents=[ISO, DOCS], plugin="chat", ended="returned"
    )
    assert found != call.build_finished(DOCS)
    assert found != call.build_finished(ISO, status="succeeded")
    assert found != call.build_finished(ISO, dependents=[DOCS])
    assert found != call.build_queued(ISO)
    assert found != made(number=2)


def test_a_retry_compares_by_plugin_hook_and_what_is_said() -> None:
    found = StoredRetry("chat", "build_finished", 1, 2.0, ISO, "1")
    assert found == retry(Plugin("chat", ()), "build_finished", attempts=1, due_in=2)
    assert found == retry("chat", "build_finished", build=ISO)
    assert [due for due in (-1, 0, 2, 3, 4) if found == retry("chat", "build_finished", due_in=due)] == [
        0,
        2,
        3,
    ]
    assert found != retry("chat", "build_finished", attempts=2)
    assert found != retry("mail", "build_finished")
    assert [found] == [retry("chat", "build_finished")]


def test_the_difference_of_two_lists_names_what_is_missing_and_what_is_too_much() -> None:
    found = [made("build_queued"), made(number=2, status="failed"), made("build_started", 3)]
    told = explain(found, [call.build_queued(ISO), call.build_finished(ISO, status="succeeded")])
    assert told is not None
    assert told[0] == "the calls are not those expected: 3 found, 2 expected"
    assert told[2:] == [
        "    chat: build_queued(iso) [returned]",
        "  - call.build_finished(iso, status='succeeded')",
        "  + chat: build_finished(iso, status='failed') [returned]",
        "      status 'failed', not 'succeeded'",
        "  + chat: build_started(iso) [returned]",
    ]


@pytest.mark.parametrize(
    ("left", "right", "told"),
    [
        ([], [call.build_queued(ISO)], "  - call.build_queued(iso)"),
        ([made()], [], "  + chat: build_finished(iso) [returned]"),
        (made(), call.build_queued(ISO), "      build_finished, not build_queued"),
        (call.build_finished(DOCS), made(), "      build iso, not docs"),
        (
            [StoredRetry("chat", "build_finished", 1, 2.0, ISO)],
            [retry("chat", "build_finished", attempts=2)],
            "      attempts 1, not 2",
        ),
    ],
)
def test_every_kind_of_difference_is_told(left: object, right: object, told: str) -> None:
    assert told in (explain(left, right) or [])


def test_what_is_about_neither_is_left_to_pytest() -> None:
    assert explain([1], [2]) is None
    assert explain("a", "b") is None
    assert explain([], []) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: call.build_finished(ISO, state="failed"), "has no 'state'; it has dependents, ended"),
        (lambda: call.build_finished(ISO, status="fail"), "'fail' is not a status"),
        (lambda: call.build_finished(ISO, ended="crashed"), "a call has ended as returned"),
        (lambda: call.build_finished("iso"), "is no build"),
        (lambda: retry("chat", "build_done"), "there is no hook 'build_done'"),
    ],
)
def test_a_word_that_means_nothing_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wrong()


def test_the_room_gives_what_it_names() -> None:
    assert {getattr(testing, name) for name in testing.__all__}
    with pytest.raises(AttributeError, match="no attribute 'Hydro'"):
        testing.Hydro  # noqa: B018  # that is the test
