"""``explore --fill``: what happened in the open places of a story, found by trying."""

import json
import math
import shlex
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from hydra_notify_sim import __version__, engine, errors, scenario
from hydra_notify_sim.cli import ending, files, interruption, replay, running
from hydra_notify_sim.contract import profiles
from hydra_notify_sim.engine import events
from hydra_notify_sim.engine.environment import opened
from hydra_notify_sim.exploration import counter_examples, filling, playing, plugin_orders
from hydra_notify_sim.reports import json_report, safe, words
from hydra_notify_sim.targets import registry

OWN = {"fill": "--fill", "filled": "--out", "tries": "--tries", "overwrite": "--overwrite"}


def options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of filling to a command."""
    for option in (
        click.option("--overwrite", is_flag=True, help="Allow the filled scenario's file to be replaced."),
        click.option(
            "--tries",
            type=click.IntRange(1),
            default=filling.TRIES,
            show_default=True,
            metavar="N",
            help="Try so many possibilities at most.",
        ),
        click.option(
            "--out",
            "filled",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Where the filled scenario is written.  [default: beside it, NAME-filled.yaml]",
        ),
        click.option(
            "--fill",
            type=click.Path(path_type=Path),
            metavar="SCENARIO",
            help="Try what happened in the open places of a story until what was seen comes of it.",
        ),
    ):
        command = option(command)
    return command


def run(
    shared: dict[str, Any], *, fill: Path | None, filled: Path | None, tries: int, overwrite: bool
) -> int:
    """Fill a story; return 0 if it was filled, 1 if nothing that was tried gives what was seen.

    Raises:
        UsageError: an argument cannot be meant, or the story has no open place.
        EnvironmentFailedError: there is no server, or a file cannot be written.

    """
    if fill is None:
        raise errors.UsageError("--out, --tries and --overwrite belong to --fill: give the story too")
    if shared["paths"] or shared["expression"]:
        raise errors.UsageError("--fill takes one story, and no other scenarios beside it")
    if shared["workers"] != 1:
        raise errors.UsageError(
            "--workers is for campaigns and sweeps: possibilities are tried one after the other"
        )
    options: engine.Options = shared["options"]
    profiles.named(options.profile)
    one = scenario.load(fill)
    target = filled or fill.with_name(f"{fill.stem}-filled.yaml")
    if target.exists() and not overwrite:
        raise errors.UsageError(
            f"{target} exists, and was left as it is. Name another with --out, or say --overwrite."
        )
    registry.choose(options.dispatcher)
    if not scenario.open_places(one):
        raise filling.NothingOpenError(
            f"{fill} has no open place, so there is nothing to fill; `replay` plays it"
        )
    begun = time.monotonic()
    with ExitStack() as put_away:
        asked = put_away.enter_context(interruption.interruptions())
        environment = put_away.enter_context(opened(options.dsn, options.schema, options.wipe))
        orders = plugin_orders.stages(environment, options, one, interrupted=asked)
        filler = filling.Filler(orders, one, tries=tries, interrupted=asked)
        found = filler.fill()
        if found is not None:
            options = found.stage.options
            text = _head(fill, target, options, filler.count) + scenario.to_yaml(found.scenario)
            files.write(target, text, overwrite=overwrite)
            _see_that_it_replays(found.stage, target, text)
    screen = running.terminal_stream(shared["json_name"])
    code = _exit_code(found, interrupted=asked.asked)
    lines = [*_told(found, filler), f"{time.monotonic() - begun:.1f} s."]
    if found is not None:
        lines.append(f"Play it: {replay.again(options)} {shlex.quote(str(target))}")
    screen.write(safe.clean("\n".join(lines)) + "\n")
    if shared["json_name"]:
        document = _document(fill, options, found, filler)
        document |= {"file": str(target) if found else None, "exit_status": code}
        json_report.write(running.json_target(shared["json_name"]), json.dumps(document, indent=2) + "\n")
    return code


def _exit_code(found: filling.Fill | None, *, interrupted: bool) -> int:
    if found is not None:
        return 0
    if interrupted:
        return 143 if ending.asked_to_end() else 130
    return 1


def _see_that_it_replays(stage: playing.Stage, target: Path, text: str) -> None:
    """Play what was written, for it is to be kept."""
    event = stage.play(scenario.load_text(text, target))
    if isinstance(event, events.ScenarioFinished) and event.passed:
        return
    said = f"{target} was written, and does not replay: the dispatcher does not do the same each time."
    if registry.choose(stage.options.dispatcher).kind == "process":
        raise errors.EnvironmentFailedError(
            f"{said} What a process does depends on the time that it takes; --patience gives it more."
        )
    raise errors.HydraNotifySimError(said)


def _told(found: filling.Fill | None, filler: filling.Filler) -> list[str]:
    count = filler.count
    orders = len(filler.stages)
    tried = (
        f"Tried{f', with {orders} orders of the plugins' if orders > 1 else ''}: the story as it is, "
        f"{words.plural(count.singles, 'thing')} alone and {words.plural(count.pairs, 'pair')}."
        f" {count.unreached} never reached their point, in {count.otherwise} something else came of it than was seen, in "
        f"{count.held} that came of it with every promise kept."
    )
    lines = [tried]
    if count.errors:
        lines.append(f"{len(count.errors)} could not be played, the first: {count.errors[0]}")
    if found is None:
        lines.append(
            "It was ended before all had been tried."
            if count.ended_early
            else "Nothing that was tried gives what was seen: another dispatcher, or another cause? (Not tried: three "
            "things in one story, two in one step, and what people did meanwhile.)"
        )
        if 1 < orders < math.factorial(len(filler.scenario.given.plugins)):
            lines.append("Other orders of the plugins were not tried: another --seed may give some.")
        return lines
    lines.append("What was seen comes about like this:")
    happenings = [happening.told(filler.closed) for happening in found.happenings]
    lines += [f"  {text}" for text in happenings or ["as it is, without a fault"]]
    if found.violated:
        lines.append(f"Broken: {', '.join(found.violated)}.")
    lines += [f"Lost, as the contract allows: {text}." for text in found.lost]
    return lines


def _head(source: Path, target: Path, options: engine.Options, count: filling.Count) -> str:
    lines = [
        f"{source.name}, filled with dispatcher {options.dispatcher}, profile {options.profile}, seed {options.seed},",
        f"by hydra-notify-sim {__version__}, after {words.plural(count.tried, 'play')}.",
        f"Again: {counter_examples.command(options, str(target))}",
        "The last two steps say what was seen and what it broke. To keep the file as a regression test where that is a",
        "promise, delete them: what is left passes from the day on which the promise is kept.",
    ]
    return "".join(f"# {' '.join(line.split())}\n" for line in lines)


def _document(
    source: Path, options: engine.Options, found: filling.Fill | None, filler: filling.Filler
) -> dict[str, Any]:
    count = filler.count
    return {
        "versions": {"hydra_notify_sim": __version__},
        "story": str(source),
        "dispatcher": options.dispatcher,
        "profile": options.profile,
        "seed": options.seed,
        "orders": len(filler.stages),
        "singles": count.singles,
        "pairs": count.pairs,
        "unreached": count.unreached,
        "otherwise": count.otherwise,
        "held": count.held,
        "errors": count.errors,
        "ended_early": count.ended_early,
        "happened": [happening.told(filler.closed) for happening in found.happenings] if found else [],
        "violated": list(found.violated) if found else [],
        "lost": list(found.lost) if found else [],
    }
