"""A conformance run: all scenarios, and generated ones, against one dispatcher, several at a time, as the events of a run."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from hydra_notify_sim import errors
from hydra_notify_sim.conformance import generated
from hydra_notify_sim.conformance.playing import Job, Stage, whole
from hydra_notify_sim.contract import profiles
from hydra_notify_sim.engine import events
from hydra_notify_sim.engine.run import Loaded, Options
from hydra_notify_sim.exploration.playing import violated
from hydra_notify_sim.scenario.model import Scenario
from hydra_notify_sim.targets import registry

LONG_WHERE_BROKEN = frozenset({"R-poison", "R-gone-plugin"})
"""A dispatcher that breaks one of these does not settle, and its deadlines pass one after the other."""
GIVES_UP_AFTER = 3
"""Scenarios after which a run ends in which none could be played: the next ones could not be either."""


def play_all(
    scenarios: Sequence[Loaded], options: Options, workers: int, source: generated.Source | None = None
) -> Iterator[events.Event]:
    """Play scenarios and yield typed events, in the order in which the scenarios end; then what is generated.

    Raises:
        UsageError: the dispatcher, the profile or the database is not one that can be used.
        EnvironmentFailedError: there is no server, a process of ours was lost, or a finding cannot be written.

    """
    profiles.named(options.profile)
    source = source or generated.Source()
    in_process = registry.choose(options.dispatcher).kind == "in process"
    written = len(scenarios)
    scenarios = [*scenarios, *generated.stories(source, options.seed, in_process=in_process)]
    begun = time.monotonic()
    interrupted = False
    jobs = [Job(number) for number in _longest_first([one for _, one, _ in scenarios[:written]])]
    jobs += [Job(number) for number in range(written, len(scenarios))]
    with ExitStack() as put_away:
        stage = Stage(scenarios, options, workers=workers, reduce=whole, put_away=put_away)
        yield events.RunStarted(
            written,
            options.dispatcher,
            options.profile,
            options.seed,
            stage.server,
            options.command,
            generated=len(scenarios) - written,
        )
        findings = generated.Findings(source, options, stage.environment)
        try:
            yield from _findings(_events(stage, scenarios, jobs), findings, scenarios[written:])
        except KeyboardInterrupt:
            interrupted = True
        yield events.RunFinished(interrupted, time.monotonic() - begun)


def _findings(
    played: Iterator[events.Event], findings: generated.Findings, made: Sequence[Loaded]
) -> Iterator[events.Event]:
    """Pass events on; keep the generated stories that broke a promise, and shrink them in the end."""
    stories = {path.stem: (path, story) for path, story, _ in made}
    found_by_others: set[str] = set()
    for event in played:
        if isinstance(event, events.ScenarioFailed) and _cannot_happen(event):
            continue
        if not isinstance(event, events.ScenarioFinished):
            yield event
        elif generated.is_generated(event):
            findings.keep(*stories[event.name], event)
            yield generated.judged(event)
        else:
            found_by_others.update(violated(event))
            yield event
    for shrunk in findings.shrunk(found_by_others):
        yield events.ScenarioStarted(shrunk.name, shrunk.file, shrunk.sentence, 0)
        yield shrunk


def _cannot_happen(event: events.ScenarioFailed) -> bool:
    """Tell whether a generated story says what cannot happen: whoever made it up lost count, and nobody failed."""
    return generated.is_generated(event) and isinstance(event.error, errors.UsageError)


def _events(
    stage: Stage[events.Ended],
    scenarios: Sequence[Loaded],
    jobs: Sequence[Job],
) -> Iterator[events.Event]:
    """Play all; once more, when all else is done, the stories whose moment may have passed on a busy machine."""
    failed = ended = 0
    again: list[Job] = []
    for job, event in stage.play(jobs):
        path, scenario, _ = scenarios[job.scenario]
        if event is None:
            yield events.ScenarioStarted(path.stem, path, scenario.scenario, len(scenario.story))
        elif _only_unmet(event):
            again.append(job)
        else:
            yield event
        if event is not None:
            ended += 1
            failed += _environment_failed(event)
            if failed == ended == GIVES_UP_AFTER:
                return
    for _, event in stage.play(again, alone=True):
        if event is not None:
            yield event


def _only_unmet(event: events.Event) -> bool:
    """Tell whether a process's story broke no promise and yet did not come out as told.

    An expectation is about a moment: that a retry is due in two seconds is so no more if the machine has taken three.
    """
    return (
        isinstance(event, events.ScenarioFinished)
        and not event.history.header.in_process
        and event.verdict.unmet != ()
        and not (event.verdict.violated or event.verdict.explained)
    )


def _longest_first(scenarios: Sequence[Scenario]) -> list[int]:
    """Return the scenarios' places, those first that take long with a dispatcher that fails them: nobody waits for one at the end."""
    return sorted(
        range(len(scenarios)), key=lambda number: LONG_WHERE_BROKEN.isdisjoint(scenarios[number].exercises)
    )


def _environment_failed(event: events.Event) -> bool:
    return isinstance(event, events.ScenarioFailed) and isinstance(event.error, errors.EnvironmentFailedError)
