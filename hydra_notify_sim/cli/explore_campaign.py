"""``explore`` without a mode: a campaign of generated scenarios; and ``explore --merge``, which adds shards up."""

import re
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from hydra_notify_sim import engine, errors, scenario
from hydra_notify_sim.cli import ending, interruption, running
from hydra_notify_sim.exploration import counter_examples, shrinking
from hydra_notify_sim.exploration.campaigns import campaign, making, pool, state, tally, tasks
from hydra_notify_sim.reports import campaign as report
from hydra_notify_sim.reports import json_report, words
from hydra_notify_sim.targets import registry

OWN = {
    "budget": "--budget",
    "scenarios": "--scenarios",
    "shard": "--shard",
    "dask": "--dask",
    "state_directory": "--state",
    "sources": "--merge",
    "show": "--show",
    "stop_at_first": "-x",
    "schema": "--schema",
}


def options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of a campaign to a command."""
    directory = click.Path(file_okay=False, path_type=Path)
    for option in (
        click.option(
            "--schema",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Campaigns: a Hydra checkout's hydra.sql, instead of our tables.",
        ),
        click.option(
            "-x", "stop_at_first", is_flag=True, help="End with the first scenario that breaks a promise."
        ),
        click.option(
            "--show", type=click.IntRange(0), metavar="I", help="Print scenario number I of the seed."
        ),
        click.option(
            "--merge",
            "sources",
            type=directory,
            multiple=True,
            metavar="DIR",
            help="Add the states of several campaigns up in --state: --merge DIR DIR…",
        ),
        click.option(
            "--state",
            "state_directory",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Keep what a campaign found there, and go on from it.",
        ),
        click.option("--dask", metavar="ADDRESS", help="Let the workers of a Dask scheduler play."),
        click.option("--shard", metavar="I/N", help="Play the I-th of N parts, as in a CI matrix."),
        click.option(
            "--scenarios", type=click.IntRange(1), metavar="N", help="End a campaign after N scenarios."
        ),
        click.option("--budget", metavar="TIME", help="End a campaign after this time: 90s, 10m, 1.5h."),
    ):
        command = option(command)
    return command


def run(
    shared: dict[str, Any],
    *,
    sources: tuple[Path, ...],
    show: int | None,
    state_directory: Path | None,
    **own: Any,
) -> int:
    """Run a campaign, merge some, or print a scenario; return the exit code.

    Raises:
        UsageError: an argument cannot be meant.
        EnvironmentFailedError: no server, no workers, or a directory that cannot be written.

    """
    if shared["expression"] or (shared["paths"] and not sources):
        raise errors.UsageError("a campaign makes its scenarios up; files are for --sweep, or for `replay`.")
    if show is not None:
        sys.stdout.write(text_of(shared["options"].seed, show))
        return 0
    if sources:
        # As a shell writes them, `--merge shard-*`: the first is the option's, the others follow it.
        return merge((*sources, *shared["paths"]), state_directory, shared["json_name"])
    return campaign_of(
        shared["options"],
        state_directory=state_directory,
        workers=shared["workers"],
        json_name=shared["json_name"],
        **own,
    )


def campaign_of(
    options: engine.Options,
    *,
    budget: str | None,
    scenarios: int | None,
    workers: int,
    shard: str | None,
    dask: str | None,
    state_directory: Path | None,
    stop_at_first: bool,
    schema: Path | None,
    json_name: str | None,
) -> int:
    """Run a campaign and return the exit code (docs/exploration.md)."""
    in_process = registry.choose(options.dispatcher).kind == "in process"
    number, of = _shard(shard)
    plan = tasks.Plan(
        dispatcher=options.dispatcher,
        profile=options.profile,
        known=options.known,
        known_file=options.known_file,
        reads=options.reads,
        patience=options.patience,
        seed=options.seed,
        shard=number,
        shards=of,
        dsn=options.dsn,
        schema=schema,
        directory=state_directory or Path(),
    )
    limits = campaign.Limits(
        scenarios=scenarios,
        seconds=_seconds(budget),
        stop_at_first=stop_at_first,
        shrinking_plays=shrinking.budget(in_process=in_process),
    )
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


def text_of(seed: int, index: int) -> str:
    """Return scenario number ``index`` of a seed as the text of its file."""
    return scenario.to_yaml(making.scenario(tasks.Plan(seed=seed), index))


def _exit_code(result: campaign.Result) -> int:
    if result.exit_code == 130 and ending.asked_to_end():
        return 143
    return result.exit_code


def _executor(plan: tasks.Plan, workers: int, dask: str | None) -> pool.Executor:
    if dask is not None:
        from hydra_notify_sim.exploration.campaigns import cluster  # noqa: PLC0415  # an extra

        return cluster.Cluster(plan, dask)
    return pool.Pool(plan, workers)


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


def _what(limits: campaign.Limits, dask: str | None, workers: int) -> str:
    until = []
    if limits.scenarios is not None:
        until.append(words.plural(limits.scenarios, "scenario"))
    if limits.seconds is not None:
        until.append(f"{limits.seconds:g} s")
    where = f"on the Dask cluster {dask}" if dask else words.plural(workers, "worker")
    return f"{' or '.join(until) or 'until Ctrl-C'}, {where}"
