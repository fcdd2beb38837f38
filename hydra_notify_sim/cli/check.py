"""``check``: judges saved histories again, without a database."""

import json
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from hydra_notify_sim import checks, errors, history
from hydra_notify_sim.checks.verdicts import Judgements
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

    A verdict depends on the history alone; expectations are shown as they were found when it was played.
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
            judged = checks.judge(source, profiles.named(profile) if profile else None)
        except Exception as error:  # noqa: BLE001 - reported as the harness's fault, told apart from the dispatcher's
            yield events.ScenarioFailed(name, file, sentence, error, again)
            continue
        yield _finished(file, source, judged, time.monotonic() - started, again)
    yield events.RunFinished(interrupted=False, seconds=time.monotonic() - begun)


def _finished(
    file: Path, source: history.SavedHistory, judged: Judgements, seconds: float, again: str
) -> events.ScenarioFinished:
    header = source.header
    expectations, nicknames = _as_played(file.parent / directory.VERDICTS)
    reasons = [
        f"{one.promise}: {one.explanation}"
        for one in judged.verdicts
        if one.promise in header.exercises and one.verdict == "not_exercised"
    ]
    reasons += [
        f"{record.point}: {record.reason}" for record in source if isinstance(record, history.PointMissed)
    ]
    violated = any(one.verdict == "violated" for one in judged.verdicts)
    deviates = any(one.verdict == "known" for one in judged.verdicts)
    return events.ScenarioFinished(
        name=header.name,
        file=file,
        sentence=header.scenario,
        # Reports read a history by iterating; one in a file is read anew each time and never whole in memory.
        history=source,
        judgements=judged,
        expectations=expectations,
        not_exercised=tuple(reasons),
        passed=not violated and (deviates or (not reasons and all(one.met for one in expectations))),
        seconds=seconds,
        command=again,
        nicknames=nicknames,
    )


def _as_played(file: Path) -> tuple[tuple[events.Expectation, ...], dict[int, str]]:
    """Return what `replay --out` wrote beside the history: the expectations and the nicknames, if it did."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        expectations = tuple(
            events.Expectation(str(one["text"]), bool(one["met"]), str(one["found"]), int(one["line"]))
            for one in value["expectations"]
        )
        nicknames = {int(number): str(name) for number, name in value["nicknames"].items()}
    except FileNotFoundError:
        return (), {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        ending.say(
            f"{file}: is not what `replay --out` writes ({type(error).__name__}); its expectations are left out."
        )
        return (), {}
    return expectations, nicknames


def _header(file: Path) -> history.Header | None:
    try:
        return history.SavedHistory(file).header
    except errors.HydraNotifySimError:
        return None  # said when it is this file's turn


def _common(values: Sequence[str]) -> str:
    return values[0] if len(set(values)) == 1 else "several"
