"""What the judge says of a test so far, and the failure that a broken promise makes of it."""

from collections.abc import Callable

from hydra_notify_sim.engine import events

Tell = Callable[[events.ScenarioFinished], str]
"""From what was played and judged to the text that a person reads."""


class PromiseBrokenError(AssertionError):
    """A promise was broken, or one that was to be broken was not; the message is the story."""


class NotExercisedError(AssertionError):
    """An action of the test could not be done here, so what the test is about did not happen; the message says why."""


def complain(event: events.ScenarioFinished, tell: Tell) -> str:
    """Return what is wrong with a run, empty if nothing is."""
    if event.passed:
        return ""
    if not event.verdict.unbroken:
        return tell(event)
    return (
        f"The test is marked to break {', '.join(event.verdict.unbroken)}, and nothing broke it. Did the dispatcher get "
        f"better, or does the test no longer do what it should?\n\n{tell(event)}"
    )


def exercised(event: events.ScenarioFinished) -> tuple[str, ...]:
    """Return the promises that were put to the test: what a scenario of it exercises."""
    return tuple(one.promise for one in event.judgements.verdicts if one.verdict != "not_exercised")
