"""Whole scenarios that Hypothesis makes up, and how a test plays one."""

from pathlib import Path
from typing import NoReturn

import hypothesis
from hypothesis import strategies as st

from hydra_notify_sim import errors
from hydra_notify_sim.contract import profiles
from hydra_notify_sim.engine import Options, events
from hydra_notify_sim.exploration.campaigns import stories
from hydra_notify_sim.exploration.campaigns.tally import Tally
from hydra_notify_sim.scenario import Scenario
from hydra_notify_sim.strategies import broken, coverage, grounds
from hydra_notify_sim.strategies.drawing import drawn

__tracebackhide__ = True
"""Pytest shows what was broken, not our frames."""

_tallies: dict[Options, Tally] = {}


def scenarios() -> st.SearchStrategy[Scenario]:
    """Return whole scenarios: what a campaign (``hydra-notify-sim explore``) tells, chosen and shrunk by Hypothesis."""
    return drawn(stories.scenario)


def play(
    scenario: Scenario,
    dispatcher: str = "reference",
    *,
    profile: str = profiles.DEFAULT_PROFILE,
    known: str | Path | None = None,
    dsn: str | None = None,
    schema: Path | None = None,
    patience: float = 1.0,
) -> events.ScenarioFinished:
    """Play a scenario from a clean database, judge it, and return what happened.

    In a Hypothesis test a story that cannot go on (it counts on something that this dispatcher did not do) is no
    example, and `hypothesis.reject` says so.

    Args:
        scenario: the story.
        dispatcher: as for ``hydra-notify-sim replay``.
        profile: which promises are judged.
        known: a file of known deviations, as for ``replay --known``: what it names is not complained of.
        dsn: a server of yours; None: one of our own, which is kept for the tests that follow.
        schema: a schema of Hydra's in place of ours.
        patience: what every deadline of a dispatcher in a process is multiplied with.

    Raises:
        PromiseBroken: it broke a promise.
        UsageError: there is no such dispatcher or profile, or ``known`` is wrong; or, outside a Hypothesis test, the story cannot be.
        EnvironmentFailedError: there is no server, or the dispatcher's program failed.

    """
    options = grounds.options_of(
        dispatcher, profile=profile, known=known, dsn=dsn, schema=schema, patience=patience
    )
    ground = _ground(options)
    with grounds.quiet():
        event = ground.stage.play(scenario)
    if not isinstance(event, events.ScenarioFinished):
        _failed(event.error)
    tally = _tallies.setdefault(options, Tally())
    coverage.count(
        tally, scenario.story, event.history, event.judgements, missed=len(event.verdict.not_exercised)
    )
    coverage.ran(f"scenarios against {dispatcher}", tally)
    if broken.broken(event.judgements):
        broken.complain(event.judgements, lambda _promise: scenario, ground, "Hypothesis")
    return event


def _ground(options: Options) -> grounds.Ground:
    try:
        return grounds.of(options)
    except errors.HydraNotifySimError as error:
        if hypothesis.currently_in_test_context():
            raise grounds.EnvironmentGone(error) from error
        raise


def _failed(error: Exception) -> NoReturn:
    """Raise what went wrong; Hypothesis shall not look for a smaller example of it."""
    if not hypothesis.currently_in_test_context():
        raise error
    if isinstance(error, errors.UsageError):
        hypothesis.reject()
    raise grounds.EnvironmentGone(error) from error
