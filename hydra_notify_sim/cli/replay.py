"""``replay``: plays scenarios against a dispatcher and judges what happened."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from hydra_notify_sim import engine, scenario
from hydra_notify_sim.cli import ending, options, running, selection
from hydra_notify_sim.contract import channels
from hydra_notify_sim.reports import directory, junit, safe, terminal, words
from hydra_notify_sim.reports.report import Report
from hydra_notify_sim.scenario import deviations

Loaded = tuple[Path, scenario.Scenario, str]


@click.command("replay")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-k", "expression", metavar="EXPR", help="Only scenarios whose names match: parts of names, and, or, not."
)
@options.dispatcher
@options.profile
@options.known
@options.known_lenient
@options.reads
@options.patience
@options.seed
@options.dsn
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A Hydra checkout's hydra.sql, instead of our tables.",
)
@click.option("--wipe", metavar="NAME", help="Allow the database of this name to be emptied.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Write histories and verdicts there."
)
@options.json_name
@options.junit_path
@click.option("--dry-run", is_flag=True, help="Read the files and list what would be played.")
@click.option("-x", "stop_at_first", is_flag=True, help="Stop at the first scenario that does not pass.")
@click.option(
    "-v", "verbose", is_flag=True, help="Print whole timelines, all verdicts, and what was allowed."
)
def command(
    *,
    paths: tuple[Path, ...],
    expression: str | None,
    dispatcher: str,
    profile: str,
    known: Path | None,
    known_lenient: bool,
    reads: tuple[channels.PayloadVersion, ...],
    patience: float,
    seed: int,
    dsn: str | None,
    schema: Path | None,
    wipe: str | None,
    out: Path | None,
    json_name: str | None,
    junit_path: Path | None,
    dry_run: bool,
    stop_at_first: bool,
    verbose: bool,
) -> int:
    """Play the scenarios of files and directories against a dispatcher on a real PostgreSQL.

    Every promise of the contract gets a verdict; `explain ID` tells what one means.
    """
    matches = selection.matcher(expression) if expression is not None else None
    loaded = scenario.load_all(list(paths))
    selected = [one for one in loaded if matches is None or matches(one[0].stem)]
    scenario.refuse_open_places((path, one) for path, one, _ in selected)
    if dry_run:
        return _look(selected, len(loaded))
    chosen = engine.Options(
        dispatcher=dispatcher,
        profile=profile,
        known=deviations.read(known, lenient=known_lenient) if known else (),
        known_file=known,
        known_lenient=known_lenient,
        reads=reads or None,
        patience=patience,
        seed=seed,
        dsn=dsn or None,
        schema=schema,
        wipe=wipe,
        stop_at_first=stop_at_first,
    )
    chosen = replace(chosen, command=again(chosen))
    reports: list[Report] = []
    if out is not None:
        reports.append(directory.DirectoryReport(out))
    reports += running.json_reports(json_name)
    if junit_path is not None:
        reports.append(junit.JUnitReport(junit_path))
    if not selected:
        ending.say(_nothing(len(loaded)))
    screen = terminal.TerminalReport(running.terminal_stream(json_name), verbose=verbose)
    return running.Delivery(reports, screen).play(engine.play_all(selected, chosen))


def again(chosen: engine.Options) -> str:
    """Return the command line that plays this again on the same database, without its paths.

    The DSN only if it was given as an option and not by the environment; one with a password is left out, for the
    command is shown.
    """
    words = [*ending.program(), "replay", *chosen.words]
    dsn = options.dsn_of_the_command_line(chosen.dsn)
    words += ["--dsn", dsn] if dsn and not safe.has_password(dsn) else []
    words += ["--schema", str(chosen.schema)] if chosen.schema else []
    words += ["--wipe", chosen.wipe] if chosen.wipe else []
    return shlex.join(words)


def _look(selected: Sequence[Loaded], loaded: int) -> int:
    """List what would be played."""
    for path, one, _ in selected:
        sys.stdout.write(safe.clean(f"{path}: {words.one_line(one.scenario)}\n"))
    if not selected:
        ending.say(_nothing(loaded))
        return 4
    ending.say(f"{words.plural(len(selected), 'scenario')} would be played.")
    return 0


def _nothing(loaded: int) -> str:
    if not loaded:
        return "No scenario was found."
    return f"No scenario is left: -k matched none of {words.plural(loaded, 'name')}. `replay --dry-run` lists them."
