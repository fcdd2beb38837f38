"""A machine as a test case: a seed that is told, counter-examples in files, an account, and no success of nothing."""

import random
import sys
import unittest
from typing import Any, ClassVar

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from hydra_notify_sim.exploration.campaigns.tally import Tally
from hydra_notify_sim.strategies import broken, coverage, grounds

__tracebackhide__ = True
"""Pytest shows what was broken, not our frames."""

STEPS = 13
"""Rules of one example at most, the two by which all is given among them: about ten actions."""

PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
"""All but two: the one that names lines of code, which would be ours, and not the dispatcher's; and the one that climbs
towards high targets, which varies half of its examples a little, finds no more, and takes a quarter longer (decision 35)."""


class NothingTestedError(AssertionError):
    """No example called a plugin or put a promise to the test, so that none failed means nothing."""


def settings_of(examples: int | None = None, steps: int = STEPS) -> settings:
    """Return the settings that suit the machine; what they do not say is as in the profile that is loaded.

    Args:
        examples: how many, if not as many as the profile says.
        steps: rules of one example at most.

    """
    more: dict[str, Any] = {} if examples is None else {"max_examples": examples}
    return settings(
        stateful_step_count=steps,
        deadline=None,
        phases=PHASES,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        **more,
    )


class MachineTestCase(unittest.TestCase):
    """The test of one machine, for pytest and unittest."""

    settings: ClassVar[settings]
    """How Hypothesis runs it."""

    def runTest(self) -> None:  # noqa: N802  # unittest's name
        """Run the machine."""
        raise NotImplementedError


class TestCaseProperty:
    """In place of Hypothesis's ``TestCase``: one that does `run_as_test`."""

    def __get__(self, machine: object, owner: Any) -> type[MachineTestCase]:
        """Return the test case of a machine, the same each time."""
        made: type[MachineTestCase] | None = owner.__dict__.get("_test_case")
        if made is None:
            made = owner._test_case = _test_case(owner)  # noqa: SLF001  # kept where it belongs
        return made


def _test_case(owner: Any) -> type[MachineTestCase]:
    class Case(MachineTestCase):
        settings = settings_of()

        def runTest(self) -> None:  # noqa: N802  # unittest's name
            run_as_test(owner, self.settings)

    # As Hypothesis marks its own, so that pytest shows the statistics.
    Case.runTest.is_hypothesis_test = True  # type: ignore[attr-defined]  # see above
    Case.runTest._hypothesis_state_machine_class = owner  # type: ignore[attr-defined]  # noqa: SLF001  # see above
    Case.__name__ = f"{owner.__name__}.TestCase"
    Case.__qualname__ = f"{owner.__qualname__}.TestCase"
    Case.__module__ = owner.__module__
    Case.__doc__ = owner.__doc__
    return Case


def run_as_test(owner: Any, chosen: settings) -> None:
    """Run a machine: with a seed that is told, and so that counter-examples are written and nothing passes by not happening.

    Raises:
        PromiseBroken: a promise was broken.
        NothingTestedError: no example put anything to the test.
        EnvironmentFailedError: there is no server, or the dispatcher's program failed.

    """
    before = owner.tally.scenarios
    _seed(owner, chosen)
    owner.climbs = Phase.target in chosen.phases
    try:
        with (
            grounds.on_its_processor(owner.options.dispatcher),
            grounds.quiet(),
            broken.written_down(owner.directory),
        ):
            run_state_machine_as_test(owner, settings=chosen)
    finally:
        if owner.tally.scenarios:
            coverage.ran(f"the machine against {owner.options.dispatcher}", owner.tally)
    _has_tested(owner, owner.tally.scenarios - before)


def _seed(owner: Any, chosen: settings) -> None:
    """Choose the seed of a run, and note it for the counter-examples."""
    by_us = getattr(owner, "_seeded_by_us", False)
    seed = owner.seed
    if seed is None and not by_us:
        seed = getattr(owner, "_hypothesis_internal_use_seed", None)  # of a decorator, @hypothesis.seed
    if seed is None:
        seed = sys.modules["hypothesis.core"].__dict__.get("global_force_seed")  # of --hypothesis-seed
    if seed is None and not chosen.derandomize:
        seed = random.SystemRandom().randrange(2**32)
        owner._seeded_by_us = True  # noqa: SLF001  # kept where it belongs
    if seed is None:
        owner.made_by = "the Hypothesis machine, derandomized"
        return
    hypothesis.seed(seed)(owner)
    owner.made_by = f"the Hypothesis machine, seed {seed}"


def _has_tested(owner: Any, examples: int) -> None:
    tally: Tally = owner.tally
    if examples and tally.called and tally.promises:
        return
    raise NothingTestedError(
        f"{examples} examples were played against {owner.options.dispatcher}, and no plugin was called or no promise was put to the "
        "test: that none failed means nothing. Does the dispatcher load the plugins that it is given? Are there "
        "enough examples?"
    )
