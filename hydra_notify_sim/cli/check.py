"""``check``: judges saved histories again, without a database."""

import json
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from hydra_notify_sim import checks, errors, history
from hydra_notify_sim.cli import ending, running
from hydra_notify_sim.contract import profiles
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import directory, terminal


@click.command("check")
@click.argument("paths", metavar="HISTORY...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--profile",
    type=click.Choice(profiles.PROFILES),
    help="Judge by this profile.  [default: the one it was played with]",
)
@click.option("--json", "json_name", metavar="FILE", help="Write a JSON report; - is standard output.")
@click.option(
    "-v", "verbose", is_flag=True, help="Print whole timelines, all verdicts, and what was allowed."
)
def command(paths: tuple[Path, ...], profile: str | None, json_name: str | None, verbose: bool) -> int:
    """Judge saved histories again: history.jsonl files, or directories that `replay --out` wrote.

    A verdict depends on the history alone: what was expected, and whether it was so, stands in it too.
    """
    files = [file for path in paths for file in directory.histories(path)]
    screen = terminal.TerminalReport(running.terminal_stream(json_name), verbose=verbose, verb="judged")
    delivery = running.Delivery(running.json_reports(json_name), screen)
    parts = [*ending.program(), "check", *map(str, paths), *(["--profile", profile] if profile else [])]
    return delivery.play(judge_all(files, profile, shlex.join(parts)))


def judge_all(files: Sequence[Path], profile: str | None, command_line: str = "") -> Iterator[events.Event]:
    """Judge histories one after another, as the events of a run.

    A history that cannot be read ends its own judging only; the others are judged all the same.
    """
    begun = time.monotonic()
    headers = [_header(file) for file in files]
    known = [one for one in headers if one]
    if old := sum(one.version < history.VERSION and not one.tap for one in known):
        ending.say(
            f"{old} of {len(files)} histories were written by an older version of this program, which recorded no "
            "expectations: of these, promises and points alone are judged."
        )
    yield events.RunStarted(
        scenarios=len(files),
        dispatcher=_common([one.dispatcher for one in known]),
        profile=profile or _common([one.profile for one in known]),
        seed=known[0].seed if known else 0,
        server="",
        command=command_line,
    )
    for file, header in zip(files, headers, strict=True):
        name = header.name if header else file.parent.name
        sentence = header.scenario if header else ""
        yield events.ScenarioStarted(name, file, sentence, 0)
        again = shlex.join(
            [*ending.program(), "check", str(file), *(["--profile", profile] if profile else [])]
        )
        started = time.monotonic()
        try:
            source = history.SavedHistory(file)
            verdict = checks.decide(source, profiles.named(profile) if profile else None)
        except Exception as error:  # noqa: BLE001 - reported as the harness's fault, told apart from the dispatcher's
            yield events.ScenarioFailed(name, file, sentence, error, again)
            continue
        yield events.ScenarioFinished(
            name=source.header.name,
            file=file,
            sentence=source.header.scenario,
            # Reports read a history by iterating; one in a file is read anew each time and never whole in memory.
            history=source,
            verdict=verdict,
            seconds=time.monotonic() - started,
            command=again,
            nicknames=_nicknames(file.parent / directory.VERDICTS),
        )
    yield events.RunFinished(interrupted=False, seconds=time.monotonic() - begun)


def _nicknames(file: Path) -> dict[int, str]:
    """Return the nicknames of builds that `replay --out` wrote beside the history, if it did."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        return {int(number): str(name) for number, name in value["nicknames"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        ending.say(
            f"{file}: is not what `replay --out` writes ({type(error).__name__}); its nicknames are left out."
        )
        return {}


def _header(file: Path) -> history.Header | None:
    try:
        return history.SavedHistory(file).header
    except errors.HydraNotifySimError:
        return None  # said when it is this file's turn


def _common(values: Sequence[str]) -> str:
    return values[0] if len(set(values)) == 1 else "several"
