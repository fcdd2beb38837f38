"""From a played scenario to what a campaign keeps of it: what it covered, what it broke, the shape of its story."""

import hashlib
import traceback
from collections.abc import Iterable, Sequence

from hydra_notify_sim import errors, history
from hydra_notify_sim.checks.verdicts import Judgements
from hydra_notify_sim.engine import events
from hydra_notify_sim.exploration import counter_examples, playing
from hydra_notify_sim.exploration.campaigns import tasks
from hydra_notify_sim.scenario import Scenario, StepBase
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.names import walk

FAULTS = (verbs.Dispatcher, verbs.Connection, verbs.Postgres, verbs.Settings, verbs.Lock, verbs.Migrate)
"""Steps that are something going wrong, or the dispatcher's life."""


def outcome(index: int, scenario: Scenario, event: events.Ended) -> tasks.Outcome:
    """Return what is kept of a scenario that was played."""
    if isinstance(event, events.ScenarioFailed):
        if isinstance(event.error, errors.EnvironmentFailedError):
            return tasks.Outcome(index=index, lost=str(event.error))
        if isinstance(event.error, errors.UsageError):
            # The teller lost count of what can happen: no story, and nobody's fault but its own.
            return tasks.Outcome(index=index, missed=1)
        return tasks.Outcome(index=index, fault="".join(traceback.format_exception(event.error)))
    if isinstance(event, events.ScenarioNotClaimed):
        return tasks.Outcome(index=index, missed=1)
    return tasks.Outcome(
        index=index,
        story=digest(counter_examples.shape_of(scenario)),
        features=features(scenario, event),
        violated=playing.violated(event),
        called=any(isinstance(record, history.Called) for record in event.history),
        missed=len(event.verdict.not_exercised),
        actions=sum(1 for _, step in walk(scenario.story) if is_action(step)),
    )


def digest(text: str) -> int:
    """Return 64 bits that are the same for equal texts, on any machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def features(scenario: Scenario, event: events.ScenarioFinished) -> tuple[str, ...]:
    """Return what a scenario covered."""
    return covered(scenario.story, event.history, event.judgements)


def covered(
    story: Sequence[StepBase], records: Iterable[history.AnyRecord], judgements: Judgements
) -> tuple[str, ...]:
    """Return what a story covered: ``action: …``, ``fault: … x point``, ``promise: … verdict``, ``allowed: …``."""
    missed = {record.point.split(" ")[0] for record in records if isinstance(record, history.PointMissed)}
    found: dict[str, None] = {}
    for _, step in walk(story):
        if is_action(step):
            found[f"action: {step.verb}"] = None
        if step.at is None or step.at.name in missed:
            continue
        for inner in step.do:
            kind = "fault" if isinstance(inner, FAULTS) else "action"
            found[f"{kind}: {_name(inner)} x {step.at.name}"] = None
    for verdict in judgements.verdicts:
        if verdict.verdict != "not_exercised":
            found[f"promise: {verdict.promise} {verdict.verdict}"] = None
    for allowed in judgements.allowed:
        found[f"allowed: {allowed.kind} by {allowed.promise}"] = None
    return tuple(found)


def is_action(step: StepBase) -> bool:
    """Whether a step does something: it does not only wait, look or repeat."""
    return not isinstance(step, verbs.Settle | verbs.ExpectStep | verbs.Repeat)


def _name(step: StepBase) -> str:
    match step:
        case verbs.Dispatcher():
            return f"dispatcher {step.dispatcher}"
        case verbs.Connection():
            return f"connection {step.connection}" + (", reply lost" if step.reply_lost else "")
        case verbs.Postgres():
            return f"postgres {step.postgres}"
        case _:
            return step.verb
