"""What every known-good dispatcher says of itself, and by which names it is put to the test."""

import pytest

from hydra_notify_sim.contract import promises
from hydra_notify_sim.dispatcher import core
from hydra_notify_sim.known_bad import KNOWN_BAD
from hydra_notify_sim.known_good import KNOWN_GOOD
from hydra_notify_sim.targets import registry

IDS = {promise.id for promise in promises.PROMISES}


def test_there_are_enough_and_each_says_what_it_does_and_what_leaves_it_free_to() -> None:
    assert len(KNOWN_GOOD) >= 20
    for name, good in KNOWN_GOOD.items():
        assert good.name == name
        assert issubclass(good.dispatcher, core.Dispatcher)
        assert good.dispatcher is not core.Dispatcher
        assert good.freedom in IDS or good.freedom.startswith("recorder.md, ")
        assert good.story.endswith(".")
        assert len(good.story) > 40


def test_no_two_dispatchers_share_a_story() -> None:
    stories = [one.story for one in (*KNOWN_GOOD.values(), *KNOWN_BAD.values())]
    assert len(set(stories)) == len(stories)


@pytest.mark.parametrize(
    ("name", "kind", "dispatcher"),
    [
        ("reference", "in process", core.Dispatcher),
        ("reference-process", "process", core.Dispatcher),
        ("known-good:polls", "in process", KNOWN_GOOD["polls"].dispatcher),
        ("known-good-process:polls", "process", KNOWN_GOOD["polls"].dispatcher),
        ("known-bad:never-clears", "in process", KNOWN_BAD["never-clears"].dispatcher),
        ("known-bad-process:never-clears", "process", KNOWN_BAD["never-clears"].dispatcher),
        ("known-bad:ignores-sigterm", "process", KNOWN_BAD["ignores-sigterm"].dispatcher),
    ],
)
def test_each_of_ours_can_be_played_in_this_process_and_as_one_of_its_own(
    name: str, kind: str, dispatcher: type[core.Dispatcher]
) -> None:
    choice = registry.choose(name)
    assert (choice.name, choice.kind, choice.dispatcher) == (name, kind, dispatcher)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("known-good:poll", "known-good:polls"),
        ("polls", "known-good:polls"),
        ("never-clear", "known-bad:never-clears"),
        ("reference:polls", "reference-process"),
        ("reference-process:", "reference-process"),
    ],
)
def test_a_name_that_does_not_exist_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(registry.UnknownDispatcherError, match=f"Did you mean '{hint}'"):
        registry.choose(name)
