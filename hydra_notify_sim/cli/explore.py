"""``explore``: plays what nobody wrote: sweeps of written stories, and more as its modes say."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from hydra_notify_sim import engine, errors
from hydra_notify_sim.cli import explore_campaign, explore_fill, explore_sweep, replay
from hydra_notify_sim.cli import options as shared_options
from hydra_notify_sim.scenario import deviations

MODES: Sequence[ModuleType] = (explore_campaign, explore_sweep, explore_fill)
"""Modules with ``options`` (a decorator), ``OWN`` (parameter to the option that asks for the mode or belongs to it)
and ``run(shared, **own)``, which returns an exit code."""

DEFAULT: ModuleType | None = explore_campaign
"""The mode if none of the options of any was given."""

Command = Callable[..., int]


def _options(command: Command) -> Command:
    for mode in reversed(MODES):
        command = mode.options(command)
    return command


@click.command("explore")
@click.argument("paths", metavar="[SCENARIO]...", nargs=-1, type=click.Path(path_type=Path))
@_options
@click.option(
    "-k", "expression", metavar="EXPR", help="Only scenarios whose names match: parts of names, and, or, not."
)
@shared_options.dispatcher
@shared_options.profile
@shared_options.known
@shared_options.reads
@shared_options.patience
@shared_options.seed
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes, each with a server of its own; with --dsn, a database of its own.",
)
@shared_options.dsn
@shared_options.json_name
def command(
    *,
    paths: tuple[Path, ...],
    expression: str | None,
    json_name: str | None,
    known: Path | None,
    **given: Any,
) -> int:
    """Find what no scripted scenario does.

    A campaign plays scenarios that are made up, shrinks those that break a promise, and writes them to
    counter-examples/. With --sweep, written scenarios are played again and again instead, each time with one more
    fault or another order of events, until every point has had its turn. With --fill, what may have happened in the
    open places of a captured story is tried until what was seen comes of it.
    """
    mode = _mode()
    options = engine.Options(
        dispatcher=given["dispatcher"],
        profile=given["profile"],
        # Whether one is still needed is for `replay` to say: a story that was made up need not come by it.
        known=deviations.read(known, lenient=True) if known else (),
        known_file=known,
        seed=given["seed"],
        dsn=given["dsn"] or None,
        reads=given["reads"] or None,
        patience=given["patience"],
    )
    options = replace(options, command=replay.again(options))
    shared = {
        "paths": list(paths),
        "expression": expression,
        "workers": given["workers"],
        "json_name": json_name,
        "options": options,
    }
    own = {name: given[name] for name in mode.OWN}
    code: int = mode.run(shared, **own)
    return code


def _mode() -> ModuleType:
    """Return the mode whose options were given; options of two are a contradiction."""
    context = click.get_current_context()
    asked = {
        mode: option
        for mode in MODES
        for name, option in mode.OWN.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    if len(asked) > 1:
        raise errors.UsageError(f"{' and '.join(asked.values())} belong to different explorations: give one")
    if not asked and DEFAULT is None:
        raise errors.UsageError("say what is to be explored")
    found = next(iter(asked), DEFAULT)
    assert found is not None
    return found
