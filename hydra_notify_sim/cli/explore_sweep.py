"""``explore --sweep``: every crash point, lost connection or order of events of written stories."""

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from hydra_notify_sim import __version__, engine, errors, scenario
from hydra_notify_sim.cli import ending, running, selection
from hydra_notify_sim.engine import claims
from hydra_notify_sim.exploration import sweeps
from hydra_notify_sim.exploration.sweeps import counter_example
from hydra_notify_sim.reports import screen, words
from hydra_notify_sim.targets import registry

OWN = {"kind": "--sweep", "twice": "--twice", "bound": "--bound", "keep": "--counter-examples"}
MOST_WRITTEN = 10
"""Counter-examples of one sweep: one for each scenario and set of broken promises, and no more than this."""

Named = tuple[Path, scenario.Scenario]


def options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of a sweep to a command."""
    for option in (
        click.option(
            "--sweep", "kind", type=click.Choice(sweeps.KINDS), help="What is tried at every point."
        ),
        click.option("--twice", is_flag=True, help="Crashes: every pair, too."),
        click.option(
            "--bound",
            type=click.IntRange(1, 5),
            default=1,
            show_default=True,
            help="Interleavings: how many steps are moved at most.",
        ),
        click.option(
            "--counter-examples",
            "keep",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path("counter-examples"),
            show_default=True,
            metavar="DIR",
            help="Where variants that break a promise are written.",
        ),
    ):
        command = option(command)
    return command


def run(shared: dict[str, Any], *, kind: str | None, twice: bool, bound: int, keep: Path) -> int:
    """Sweep, print the matrix, and return the exit code.

    Raises:
        UsageError: contradictory options, or scenarios that cannot be read.
        EnvironmentFailedError: there is no server, or a worker was lost.

    """
    if kind is None:
        raise errors.UsageError("--twice, --bound and --counter-examples belong to a sweep: give --sweep too")
    if twice and kind != "crash":
        raise errors.UsageError(f"--twice is for --sweep crash, not for --sweep {kind}")
    if bound != 1 and kind != "interleave":
        raise errors.UsageError(f"--bound is for --sweep interleave, not for --sweep {kind}")
    if not shared["paths"]:
        raise errors.UsageError("name scenarios to be swept: files, or directories of them")
    chosen, left_out = _choose(shared["paths"], shared["expression"])
    chosen, not_claimed = _claimed(chosen, shared["options"])
    if not chosen:
        ending.say("No scenario is left that could be swept.")
    settings = sweeps.Settings(
        kind=next(one for one in sweeps.KINDS if one == kind),
        bound=2 if twice else bound,
        workers=shared["workers"],
        options=shared["options"],
    )
    out = screen.Screen(running.terminal_stream(shared["json_name"]))
    sheet = Sheet(chosen, settings, left_out=left_out, not_claimed=not_claimed, keep=keep, out=out)
    sheet.take(sweeps.sweep(chosen, settings) if chosen else iter(()))
    sheet.show()
    if shared["json_name"]:
        _write(shared["json_name"], sheet.document())
    return sheet.exit_code


def _choose(paths: Sequence[Path], expression: str | None) -> tuple[list[Named], list[str]]:
    """Return the scenarios to sweep, and the names of those that need a process, which has no numbered points."""
    matches = selection.matcher(expression) if expression is not None else None
    loaded = [
        (path, one) for path, one, _ in scenario.load_all(paths) if matches is None or matches(path.stem)
    ]
    scenario.refuse_open_places(loaded)
    return (
        [(path, one) for path, one in loaded if one.given.dispatcher == "in process"],
        [path.stem for path, one in loaded if one.given.dispatcher == "process"],
    )


def _claimed(chosen: Sequence[Named], options: engine.Options) -> tuple[list[Named], dict[str, str]]:
    """Return the scenarios that the dispatcher claims, and the others by name with the reason."""
    reads = options.reads or registry.choose(options.dispatcher).reads
    claimed: list[Named] = []
    others: dict[str, str] = {}
    for path, one in chosen:
        try:
            claims.as_read(one, reads)
        except claims.NotClaimedError as error:
            others[path.stem] = str(error)
        else:
            claimed.append((path, one))
    return claimed, others


class Sheet:
    """What a sweep found so far, and how it is told."""

    def __init__(
        self,
        scenarios: Sequence[Named],
        settings: sweeps.Settings,
        *,
        left_out: Sequence[str],
        not_claimed: Mapping[str, str],
        keep: Path,
        out: screen.Screen,
    ) -> None:
        self.scenarios = scenarios
        self.left_out = left_out
        self.not_claimed = not_claimed
        self.settings = settings
        self.keep = keep
        self.screen = out
        self.console = out.console
        self.matrix = sweeps.Matrix()
        self.interrupted = False
        self.seconds = 0.0
        self.written: dict[tuple[int, tuple[str, ...]], Path] = {}
        self.examples: list[sweeps.Tried] = []

    def take(self, results: Iterator[sweeps.Tried]) -> None:
        """Count all results; Ctrl-C ends the sweep with the variants in hand."""
        begun = time.monotonic()
        progress = screen.Progress(self.screen)
        progress.start()
        done, known = 0, len(self.scenarios)
        try:
            for tried in results:
                self.matrix.add(tried)
                done, known = done + 1, known + tried.further
                bad = f"{self.matrix.violated} broke a promise" if self.matrix.violated else ""
                progress.show(f"{done}/{known}", self._told(tried), bad)
                if tried.broken:
                    self._keep(tried)
                elif not tried.held and len(self.examples) < MOST_WRITTEN:
                    self.examples.append(tried)
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            progress.close()
            close = getattr(results, "close", None)
            if close:
                close()
        self.seconds = time.monotonic() - begun

    def _keep(self, tried: sweeps.Tried) -> None:
        key = (tried.variant.scenario, tried.broken)
        if key in self.written or len(self.written) >= MOST_WRITTEN:
            return
        path, one = self.scenarios[tried.variant.scenario]
        story = sweeps.bare(one, interleaved=self.settings.kind == "interleave")
        self.written[key] = counter_example.write(self.keep, path, story, tried, self.settings.options)

    @property
    def exit_code(self) -> int:
        """Return the status, the first that applies, as everywhere (`hydra_notify_sim.cli.app`)."""
        found = self.matrix
        if found.errors:
            return 5
        if found.violated:
            return 1
        if self.interrupted:
            return 143 if ending.asked_to_end() else 130
        return 4 if found.unreached or found.stopped or not found.tried else 0

    def covered(self) -> str:
        """Return what was covered, in plain words."""
        found = self.matrix
        scenarios = words.plural(len(found.scenarios), "scenario")
        what = {
            "crash": "pairs and single crashes" if self.settings.bound == 2 else "crash points",
            "disconnect": "lost connections and lost answers",
            "interleave": f"schedules with up to {words.plural(self.settings.bound, 'moved step')}",
        }[self.settings.kind]
        all_ = "" if self.interrupted else "all "
        text = f"Tried {all_}{found.tried} {what} of {scenarios}: {found.violated} broke a promise."
        if found.played < found.tried:
            text += (
                f" {found.played} were played: where nothing was written, called or asked between two points, "
                "one play stands for both."
            )
        if found.pruned:
            text += f" {found.pruned} further schedules were not played: neighbours in them touch nothing in common."
        return text

    def show(self) -> None:
        """Print the matrix and what it means."""
        found = self.matrix
        actions = sorted({action for action, _ in found.cells})
        table = Table()
        table.add_column("point")
        for action in actions:
            table.add_column(action)
        for kind in sorted({kind for _, kind in found.cells}):
            table.add_row(kind or "-", *(self._cell(found.cells.get((action, kind))) for action in actions))
        self.console.print(table)
        self._say(self.covered())
        if found.astray:
            self._say(
                f"In {found.astray} the story took another way: a point of its own was not reached, or a step had "
                "become impossible. What did happen was judged."
            )
        for count, text in (
            (found.stopped, "stopped, for the story asked for what cannot be"),
            (found.unreached, "never reached their point"),
            (found.errors, "could not be played or judged: a fault of the harness"),
        ):
            if count:
                self._say(f"{count} {text}.")
        self._show_failures()
        if self.left_out:
            self._say(f"Not swept, for they need a process: {', '.join(self.left_out)}.")
        for name, reason in self.not_claimed.items():
            self._say(f"Not claimed: {name}: {reason}.")
        if self.interrupted:
            self._say("Interrupted: the rest was not tried.")
        self._say(f"{self.seconds:.1f} s, {self.settings.workers} at a time.")

    def _show_failures(self) -> None:
        found = self.matrix
        for tried in self.examples:
            self._say(f"  {self._told(tried)}: {tried.error or 'the point was never reached'}")
        for promise, count in found.broken.most_common():
            self._say(f"{promise} was broken {words.plural(count, 'time')}.")
        for path in self.written.values():
            self._say(f"Play it again: {self.settings.options.command} {shlex.quote(str(path))}")

    def _cell(self, cell: Any) -> str:
        if cell is None:
            return ""
        if not cell.failed:
            return f"{cell.tried} held"
        broken = ", ".join(cell.first.broken) or ("not reached" if cell.first.unreached else "not played")
        return f"{cell.failed} of {cell.tried}: {broken}, first {self._told(cell.first)}"

    def _told(self, tried: sweeps.Tried) -> str:
        points = " and ".join(str(move.point) for move in tried.variant.moves)
        return self.scenarios[tried.variant.scenario][0].stem + (f" at {points}" if points else "")

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def document(self) -> dict[str, Any]:
        """Return the JSON report."""
        found = self.matrix
        return {
            "versions": {"hydra_notify_sim": __version__},
            "sweep": self.settings.kind,
            "bound": self.settings.bound,
            "dispatcher": self.settings.options.dispatcher,
            "profile": self.settings.options.profile,
            "seed": self.settings.options.seed,
            "covered": self.covered(),
            "scenarios": [self.scenarios[number][0].stem for number in sorted(found.scenarios)],
            "not_swept": list(self.left_out),
            "not_claimed": dict(self.not_claimed),
            "tried": found.tried,
            "played": found.played,
            "pruned": found.pruned,
            "violated": found.violated,
            "broken": dict(found.broken),
            "astray": found.astray,
            "stopped": found.stopped,
            "unreached": found.unreached,
            "errors": found.errors,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "exit_status": self.exit_code,
            "counter_examples": [str(path) for path in self.written.values()],
            "cells": [
                {
                    "action": action,
                    "point": kind,
                    "tried": cell.tried,
                    "astray": cell.astray,
                    "failed": cell.failed,
                    "first": None
                    if cell.first is None
                    else {
                        "scenario": self.scenarios[cell.first.variant.scenario][0].stem,
                        "moves": [asdict(move) for move in cell.first.variant.moves],
                        "broken": list(cell.first.broken),
                        "error": cell.first.error,
                    },
                }
                for (action, kind), cell in sorted(found.cells.items())
            ],
        }


def _write(name: str, document: dict[str, Any]) -> None:
    target = running.json_target(name)
    text = json.dumps(document, indent=2) + "\n"
    if isinstance(target, Path):
        try:
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise errors.EnvironmentFailedError(f"{target} cannot be written: {error.strerror}") from error
    else:
        target.write(text)
