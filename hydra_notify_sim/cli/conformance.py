"""``conformance``: says of every promise of the contract whether a dispatcher keeps it; and whether our checks would notice."""

from dataclasses import replace
from pathlib import Path

import click

from hydra_notify_sim import engine, errors
from hydra_notify_sim.cli import conformance_list, options, replay, running
from hydra_notify_sim.cli import kill_matrix as matrix
from hydra_notify_sim.conformance import generated, run, sections
from hydra_notify_sim.contract import channels, profiles
from hydra_notify_sim.contract.promises.model import FAMILIES
from hydra_notify_sim.exploration import counter_examples
from hydra_notify_sim.reports.conformance import documents, markdown, tally, terminal
from hydra_notify_sim.reports.report import Report
from hydra_notify_sim.scenario import deviations, shipped
from hydra_notify_sim.targets import registry

WORKERS = 4
"""Most processes that play at a time if a dispatcher is a process: much of that is waiting."""


@click.command("conformance")
@options.dispatcher
@options.profile
@options.known
@options.known_lenient
@click.option(
    "--section",
    "letters",
    multiple=True,
    metavar="LETTER",
    help=f"Only promises of this family: {', '.join(FAMILIES)}. May be given several times.",
)
@click.option(
    "--list", "only_list", is_flag=True, help="List promises and their scenarios, and play nothing."
)
@click.option(
    "--kill-matrix", is_flag=True, help="Play against every known-bad dispatcher instead: is each one caught?"
)
@click.option(
    "--generated",
    "count",
    type=click.IntRange(0, 1_000_000),
    metavar="N",
    help=f"Stories that are made up and played besides; 0 for none.  [default: {generated.IN_A_PROCESS}; "
    f"{generated.IN_PROCESS} for a dispatcher in this process; 0 with --section]",
)
@click.option(
    "--out",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(counter_examples.DIRECTORY),
    show_default=True,
    metavar="DIR",
    help="Where generated stories that break a promise are written.",
)
@options.json_name
@options.junit_path
@click.option(
    "--markdown", "page", type=click.Path(path_type=Path), metavar="FILE", help="Write a page to publish."
)
@click.option(
    "--github", is_flag=True, help="Print annotations for GitHub Actions, and add to the step's summary."
)
@options.reads
@options.patience
@options.seed
@options.dsn
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    metavar="N",
    help=f"Processes that play at a time.  [default: {WORKERS}; as many as there are cores for the kill matrix; 1 for a "
    "dispatcher in this process]",
)
@click.option("-v", "verbose", is_flag=True, help="Print whole texts, and every finding.")
def command(
    *,
    dispatcher: str,
    profile: str,
    known: Path | None,
    known_lenient: bool,
    letters: tuple[str, ...],
    only_list: bool,
    kill_matrix: bool,
    count: int | None,
    directory: Path,
    json_name: str | None,
    junit_path: Path | None,
    page: Path | None,
    github: bool,
    reads: tuple[channels.PayloadVersion, ...],
    patience: float,
    seed: int,
    dsn: str | None,
    workers: int | None,
    verbose: bool,
) -> int:
    """Play the scenarios that come with this program, and some that are made up, against a dispatcher; say promise by promise what it keeps.

    A promise is held if some scenario put it to the test and none found it broken. One that is claimed and was never put
    to the test fails the run (exit status 4); --known names what a dispatcher does not claim.
    """
    wanted = sections.of(_letters(letters))
    if only_list:
        return conformance_list.show(wanted, json_name)
    if kill_matrix:
        _refuse_for_the_matrix()
        chosen = engine.Options(seed=seed, dsn=dsn or None)
        return matrix.show(chosen, workers, json_name=json_name, page=page, verbose=verbose)
    baseline = deviations.read(known, lenient=known_lenient) if known else ()
    chosen = engine.Options(
        dispatcher=dispatcher,
        profile=profile,
        known=baseline,
        known_file=known,
        known_lenient=known_lenient,
        reads=reads or None,
        patience=patience,
        seed=seed,
        dsn=dsn or None,
    )
    chosen = replace(chosen, command=replay.again(chosen))
    result = tally.Tally(wanted, profiles.named(profile), baseline)
    stream = running.terminal_stream(json_name)
    screen = terminal.ConformanceTerminal(result, stream, verbose=verbose)
    reports: list[Report] = []
    if json_name:
        reports.append(documents.ConformanceJson(running.json_target(json_name), result))
    if junit_path is not None:
        reports.append(documents.ConformanceFile(junit_path, result, documents.junit))
    if page is not None:
        reports.append(documents.ConformanceFile(page, result, markdown.page))
    if github:
        reports.append(markdown.ConformanceGitHub(result, stream))
    scenarios = sections.scenarios(shipped.load(), wanted)
    in_process = registry.choose(dispatcher).kind == "in process"
    if count is None:
        count = 0 if letters else generated.default(in_process=in_process)
    source = generated.Source(count, directory, frozenset(result.results))
    events = run.play_all(scenarios, chosen, workers or (1 if in_process else WORKERS), source)
    return running.Delivery([result, *reports], screen).play(events)


def _letters(given: tuple[str, ...]) -> tuple[str, ...]:
    families = {
        **{letter: letter for letter in FAMILIES},
        **{name.upper(): one for one, name in FAMILIES.items()},
    }
    for one in given:
        if one.upper() not in families:
            known = ", ".join(f"{letter} ({name})" for letter, name in FAMILIES.items())
            raise errors.UsageError(
                f"--section {one[:40]}: there is no such family of promises; there are {known}."
            )
    return tuple(families[one.upper()] for one in given)


def _refuse_for_the_matrix() -> None:
    """Refuse options that mean nothing where every known-bad dispatcher is played against."""
    context = click.get_current_context()
    given = {
        "dispatcher": "--dispatcher",
        "profile": "--profile",
        "known": "--known",
        "known_lenient": "--known-lenient",
        "letters": "--section",
        "count": "--generated",
        "directory": "--out",
        "reads": "--payloads",
        "junit_path": "--junit",
        "github": "--github",
        "patience": "--patience",
    }
    source = click.core.ParameterSource.COMMANDLINE
    wrong = [option for name, option in given.items() if context.get_parameter_source(name) is source]
    if wrong:
        raise errors.UsageError(
            f"{' and '.join(wrong)} cannot be combined with --kill-matrix, which plays against the known-bad dispatchers, "
            "profile strict; it takes --json, --markdown, --seed, --dsn, --workers and -v."
        )
