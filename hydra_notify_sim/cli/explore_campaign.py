"""``explore`` without a mode: a campaign of generated scenarios; and ``explore --merge``, which adds shards up."""

import os
import re
from contextlib import closing
from pathlib import Path

from hydra_notify_sim import errors, scenario
from hydra_notify_sim.cli import ending, interruption, running
from hydra_notify_sim.exploration import counter_examples
from hydra_notify_sim.exploration.campaigns import campaign, making, pool, state, tally, tasks
from hydra_notify_sim.reports import campaign as report
from hydra_notify_sim.reports import json_report
from hydra_notify_sim.targets import registry

MOST_WORKERS = 64


def run(
    *,
    dispatcher: str,
    profile: str,
    seed: int,
    budget: str | None,
    scenarios: int | None,
    workers: int | None,
    shard: str | None,
    dask: str | None,
    state_directory: Path | None,
    stop_at_first: bool,
    dsn: str | None,
    schema: Path | None,
    json_name: str | None,
) -> int:
    """Run a campaign and return the exit code (docs/exploration.md).

    Raises:
        UsageError: an argument cannot be meant.
        EnvironmentFailedError: no server, no workers, or a directory that cannot be written.

    """
    registry.choose(dispatcher)
    number, of = _shard(shard)
    plan = tasks.Plan(
        dispatcher=dispatcher, profile=profile, seed=seed, shard=number, shards=of, dsn=dsn, schema=schema
    )
    limits = campaign.Limits(scenarios=scenarios, seconds=_seconds(budget), stop_at_first=stop_at_first)
    target = running.json_target(json_name) if json_name else None
    if isinstance(target, Path):
        json_report.check_writable(target)
    screen = report.CampaignScreen(running.terminal_stream(json_name), plan)
    with interruption.interruptions() as interrupted, closing(state.Directory(state_directory, plan)) as kept:
        with closing(_executor(plan, workers, dask)) as executor:
            current = campaign.Campaign(plan, limits, executor, kept, interrupted)
            screen.begin(_what(limits, dask, workers))
            try:
                for result in current.run():
                    screen.show(result)
            finally:
                screen.close()
                if target is not None:
                    code = _exit_code(current.result)
                    json_report.write(target, report.document(plan, current.result, code))
        code = _exit_code(current.result)
        screen.end(current.result, str(kept.examples), code)
    return code


def merge(sources: tuple[Path, ...], state_directory: Path | None, json_name: str | None) -> int:
    """Add the states of several campaigns up in ``state_directory``, and report as one campaign.

    Raises:
        UsageError: there is no directory to write to, or the sources do not belong together.
        EnvironmentFailedError: something cannot be read or written.

    """
    if state_directory is None:
        raise errors.UsageError(
            "--merge needs --state DIR: the directory that the merged state is written to."
        )
    joined = state.merge(sources, state_directory)
    plan = tasks.Plan(dispatcher=joined.dispatcher, profile=joined.profile)
    stories = tally.Stories((state_directory / state.STORIES).read_bytes())
    result = report.merged(joined, len(stories))
    code = _exit_code(result)
    if json_name:
        json_report.write(running.json_target(json_name), report.document(plan, result, code))
    screen = report.CampaignScreen(running.terminal_stream(json_name), plan)
    for name, known in joined.counter_examples.items():
        result.found.append(
            tasks.Found(known.index, known.promise, name, "", known.violated, known.signature, known.actions)
        )
    screen.end(result, str(state_directory / counter_examples.DIRECTORY), code)
    return code


def show(seed: int, index: int) -> str:
    """Return scenario number ``index`` of a seed as the text of its file."""
    return scenario.to_yaml(making.scenario(tasks.Plan(seed=seed), index))


def _exit_code(result: campaign.Result) -> int:
    if result.exit_code == 130 and ending.asked_to_end():
        return 143
    return result.exit_code


def _executor(plan: tasks.Plan, workers: int | None, dask: str | None) -> pool.Executor:
    if dask is not None:
        if workers is not None:
            raise errors.UsageError("--workers is of no use with --dask: the cluster has its own workers.")
        from hydra_notify_sim.exploration.campaigns import cluster  # noqa: PLC0415  # an extra

        return cluster.Cluster(plan, dask)
    return pool.Pool(plan, min(workers or os.cpu_count() or 1, MOST_WORKERS))


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise errors.UsageError(f"--shard {text}: write I/N, such as 2/4, with I from 1 to N.")
    return int(found[1]), int(found[2])


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = scenario.parse_duration(text)
    except ValueError as error:
        raise errors.UsageError(f"--budget {text}: write a duration such as 90s, 10m or 1.5h.") from error
    if seconds <= 0:
        raise errors.UsageError(f"--budget {text}: that is no time at all.")
    return seconds


def _what(limits: campaign.Limits, dask: str | None, workers: int | None) -> str:
    until = []
    if limits.scenarios is not None:
        until.append(f"{limits.scenarios} scenarios")
    if limits.seconds is not None:
        until.append(f"{limits.seconds:g} s")
    where = f"on the Dask cluster {dask}" if dask else f"{workers or os.cpu_count()} workers"
    return f"{' or '.join(until) or 'until Ctrl-C'}, {where}"
