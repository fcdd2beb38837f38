"""A campaign for people: one line while it runs, and what it came to; and the same as one JSON document."""

import json
import time
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hydra_notify_sim.contract import promises
from hydra_notify_sim.exploration import counter_examples
from hydra_notify_sim.exploration.campaigns.campaign import Result
from hydra_notify_sim.exploration.campaigns.state import State
from hydra_notify_sim.exploration.campaigns.tasks import Plan
from hydra_notify_sim.reports import words
from hydra_notify_sim.reports.summary import EXIT_WORDS, all_well

VERSION = 1

_REFRESH = 0.25
_FAULTS_SHOWN = 1


class CampaignScreen:
    """Prints a campaign; live on a terminal, plain lines elsewhere."""

    def __init__(self, stream: TextIO, plan: Plan) -> None:
        self.console = _Console(file=stream, highlight=False, markup=False, emoji=False)
        self._plan = plan
        self._live: Live | None = None
        self._drawn = 0.0

    def begin(self, what: str) -> None:
        """Say what is about to be done."""
        plan = self._plan
        self.console.print(
            Text(f"Campaign against {plan.dispatcher}, profile {plan.profile}, {plan.strand}: {what}"),
            soft_wrap=True,
        )
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()

    def show(self, result: Result) -> None:
        """Draw the line that tells how far it is."""
        now = time.monotonic()
        if self._live is None or now - self._drawn < _REFRESH:
            return
        self._drawn = now
        self._live.update(Text(progress(result)), refresh=True)

    def close(self) -> None:
        """Take the line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def end(self, result: Result, examples: str, exit_code: int) -> None:
        """Print what it came to."""
        self.close()
        self._replayed(result)
        for promise, count in result.tally.violations.items():
            first = result.tally.first[promise]
            self._say(
                f"{promise} was broken in {words.plural(count, 'scenario')}, first in scenario {first.index}.",
                "bold red",
            )
        for found in result.found:
            where = f"{examples}/{found.name}.yaml"
            size = words.plural(found.actions, "action")
            self._say(f"  {where}: {size}, breaks {', '.join(found.violated)}", "cyan")
        for index, trace in result.faults[:_FAULTS_SHOWN]:
            self._say(f"Scenario {index} could not be played: a fault in the harness.\n{trace}", "bold red")
        for first in result.flaky:
            self._say(
                f"Scenario {first.index} broke a promise, and did not when it was played again: the harness is at fault.",
                "bold red",
            )
        self._table(result)
        self._say(progress(result))
        ending = EXIT_WORDS[exit_code] if exit_code else all_well(known=result.tally.known)
        self._say(f"{ending} (exit status {exit_code})", "green" if exit_code == 0 else "bold")

    def _replayed(self, result: Result) -> None:
        for one in result.replayed:
            if one.error:
                self._say(f"{one.name}: could not be played again: {one.error}", "yellow")
            elif one.violated:
                self._say(f"{one.name}: still breaks {', '.join(one.violated)}", "bold red")
            else:
                self._say(f"{one.name}: breaks nothing any more", "green")

    def _table(self, result: Result) -> None:
        covered = result.tally.faults_at_points
        if not covered:
            return
        # Points are many and have long names, faults are few: so it fits on a screen.
        faults = sorted({key.partition(" x ")[0] for key in covered})
        table = Table(title="How often each fault met each point", title_justify="left")
        table.add_column("point", no_wrap=True)
        for fault in faults:
            table.add_column(fault, justify="right")
        for point in sorted({key.partition(" x ")[2] for key in covered}):
            table.add_row(point, *(str(covered.get(f"{fault} x {point}", "")) for fault in faults))
        self.console.print(table)
        missing = [one.id for one in promises.PROMISES if one.id not in result.tally.promises]
        if missing:
            self._say(f"Not exercised: {', '.join(missing)}")

    def _say(self, text: str, style: str = "") -> None:
        # A terminal would break lines in the middle of words; a file gets them whole.
        self.console.print(Text(text, style=style), soft_wrap=not self.console.is_terminal)


class _Console(Console):
    """A console that leaves a closed pipe to its caller instead of ending the program by itself."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def progress(result: Result) -> str:
    """Return how far a campaign is, on one line."""
    tally = result.tally
    broken = sum(tally.violations.values())
    return (
        f"{words.plural(tally.scenarios, 'scenario')} in {words.duration(result.seconds)} ({result.rate:.{0 if result.rate >= 10 else 2}f}/s), "
        f"{len(tally.promises)} of {len(promises.PROMISES)} promises exercised, "
        f"{len(tally.faults_at_points)} faults x points, about {result.stories} distinct {'story' if result.stories == 1 else 'stories'}, "
        f"{words.plural(broken, 'violation')}"
    )


def merged(state: State, stories: int) -> Result:
    """Return merged campaigns as one result, to be reported as such."""
    return Result(tally=state.tally, stories=stories, seconds=state.seconds)


def document(plan: Plan, result: Result, exit_code: int) -> str:
    """Return a campaign as a JSON document (docs/exploration.md)."""
    tally = result.tally
    value: dict[str, Any] = {
        "version": VERSION,
        "dispatcher": plan.dispatcher,
        "profile": plan.profile,
        "seed": plan.seed,
        "shard": f"{plan.shard}/{plan.shards}",
        "exit_status": exit_code,
        "interrupted": result.interrupted,
        "seconds": round(result.seconds, 3),
        "scenarios": tally.scenarios,
        "scenarios_per_second": round(result.rate, 1),
        "actions": tally.actions,
        "distinct_stories": result.stories,
        "points_missed": tally.missed,
        "actions_played": tally.of_kind("action"),
        "faults_at_points": tally.faults_at_points,
        "promises": _promises(result),
        "allowed": tally.of_kind("allowed"),
        "violations": [
            {"promise": promise, "scenarios": count, "first": tally.first[promise].index}
            for promise, count in tally.violations.items()
        ],
        "counter_examples": [
            {
                "file": f"{counter_examples.DIRECTORY}/{one.name}.yaml",
                "promise": one.promise,
                "violated": list(one.violated),
                "actions": one.actions,
                "scenario": one.index,
                "shape": one.signature,
            }
            for one in result.found
        ],
        "replayed": [
            {"name": one.name, "violated": list(one.violated), "error": one.error} for one in result.replayed
        ],
        "faults": [{"scenario": index, "traceback": trace} for index, trace in result.faults],
    }
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _promises(result: Result) -> dict[str, dict[str, int]]:
    """Return for each promise how many scenarios gave which verdict; nothing for one that was never exercised."""
    found: dict[str, dict[str, int]] = {one.id: {} for one in promises.PROMISES}
    for what, count in result.tally.of_kind("promise").items():
        promise, _, verdict = what.partition(" ")
        found[promise][verdict] = count
    return found
