"""What Hypothesis's examples covered: each action, each fault at each point, each promise, and how often."""

import textwrap
from collections.abc import Iterator, Sequence

import hypothesis

from hydra_notify_sim import history
from hydra_notify_sim.checks.verdicts import Judgements
from hydra_notify_sim.contract import promises
from hydra_notify_sim.exploration.campaigns import outcomes, tasks
from hydra_notify_sim.exploration.campaigns.tally import Tally
from hydra_notify_sim.scenario.steps import StepBase

WIDTH = 110

_ran: dict[str, str] = {}


def count(
    tally: Tally, story: Sequence[StepBase], records: history.Source, judgements: Judgements, *, missed: int
) -> tuple[str, ...]:
    """Count an example in, tell Hypothesis's statistics, and return what it covered."""
    features = outcomes.covered(story, records, judgements)
    tally.take(
        0,
        tasks.Outcome(
            index=tally.scenarios,
            features=features,
            violated=tuple(one.promise for one in judgements.verdicts if one.verdict == "violated"),
            called=any(isinstance(record, history.Called) for record in records),
            missed=missed,
            actions=sum(1 for step in story if outcomes.is_action(step)),
        ),
    )
    if hypothesis.currently_in_test_context():
        for feature in features:
            hypothesis.event(feature)
    return features


def text(tally: Tally) -> str:
    """Return an account for people: examples, actions, faults at points, promises, each with the number of examples."""
    return "\n".join(_lines(tally))


def _lines(tally: Tally) -> Iterator[str]:
    actions = tally.actions / tally.scenarios if tally.scenarios else 0.0
    yield f"{tally.scenarios} examples, {actions:.1f} actions each, {tally.missed} with a point that was never reached"
    played = {what: count for what, count in tally.of_kind("action").items() if " x " not in what}
    yield from _wrapped("actions", played)
    yield from _wrapped("faults x points", tally.faults_at_points)
    found: dict[str, int] = {}
    for what, number in tally.of_kind("promise").items():
        promise = what.partition(" ")[0]
        found[promise] = found.get(promise, 0) + number
    yield from _wrapped("promises", found)
    yield from _wrapped("broken", tally.violations)
    missing = [one.id for one in promises.PROMISES if one.id not in found]
    if missing:
        yield from _indented(f"not exercised: {', '.join(missing)}")


def _wrapped(title: str, counts: dict[str, int]) -> list[str]:
    return (
        _indented(f"{title}: {', '.join(f'{what} {number}' for what, number in counts.items())}")
        if counts
        else []
    )


def _indented(line: str) -> list[str]:
    return textwrap.wrap(
        line,
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def ran(what: str, tally: Tally) -> None:
    """Keep an account for the end of pytest's run; a later one of the same takes its place."""
    _ran[what] = text(tally)


def collect() -> dict[str, str]:
    """Return the accounts since the last time: what ran to its text."""
    collected = dict(_ran)
    _ran.clear()
    return collected
