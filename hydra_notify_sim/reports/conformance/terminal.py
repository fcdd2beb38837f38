"""A conformance run for people: progress while it plays, then the table of promises and what each verdict rests on."""

import textwrap
from collections.abc import Iterator
from typing import TextIO

from hydra_notify_sim.checks.verdicts import Judgement
from hydra_notify_sim.conformance.leniencies import WORDS
from hydra_notify_sim.contract import promises
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import failure, safe, screen, words
from hydra_notify_sim.reports.conformance.tally import Finding, Result, Tally, outcome
from hydra_notify_sim.reports.failure import Role, Row
from hydra_notify_sim.reports.summary import Summary, gone_text

_ROLES: dict[Judgement, Role] = {
    "held": "good",
    "violated": "bad",
    "known": "known",
    "not_exercised": "known",
}
_FINDINGS = 2
"""Scenarios that are shown for a broken promise; `-v` shows all."""
_INDENT = 18
"""Columns before a promise's text in the table, of which one line is shown; `-v` shows all of it."""
_WIDTH = 100
"""Columns of the table where nobody says how wide a line may be."""


class ConformanceTerminal:
    """Prints a conformance run."""

    def __init__(self, tally: Tally, stream: TextIO | None = None, *, verbose: bool = False) -> None:
        """Write to a stream; ``tally`` is fed by whoever owns it, before this report."""
        self.tally = tally
        self.screen = screen.Screen(stream)
        self.progress = screen.Progress(self.screen)
        self.verbose = verbose

    @property
    def summary(self) -> Summary:
        """What the run came to, with its exit code."""
        return self.tally.summary

    def take(self, event: events.Event) -> None:
        """Take the next event, which the tally has taken in before."""
        match event:
            case events.RunStarted():
                self._started(event)
            case events.ScenarioStarted():
                broken = len(self.tally.of("violated"))
                bad = f"{words.plural(broken, 'promise')} violated" if broken else ""
                self.progress.show(f"{self.tally.played}/{self.tally.total}", event.name, bad)
            case events.RunFinished():
                self.progress.close()
                self.screen.rows(self._report())
            case _:
                pass

    def close(self) -> None:
        """Take the progress line away."""
        self.progress.close()

    def _started(self, event: events.RunStarted) -> None:
        self.screen.row(Row(words.one_line(f"Conformance of {event.dispatcher}"), "heading"))
        made = f" and {event.generated} generated" if event.generated else ""
        said = (
            f"{words.plural(event.scenarios, 'scenario')}{made}, profile {event.profile}, seed {event.seed}"
        )
        self.screen.row(Row(words.one_line(safe.mask(f"{said}, {event.server}")), "dim"))
        self.progress.start()

    def _report(self) -> Iterator[Row]:
        yield from self._table()
        for result in self.tally.of("violated"):
            yield from self._broken(result)
        if self.verbose:
            for result in self.tally.of("known"):
                yield from self._broken(result)
        yield from self._beside()
        yield from _not_claimed(self.tally)
        yield from _lenient(self.tally)
        yield from self._totals()

    # The table

    def _table(self) -> Iterator[Row]:
        width = max((len(one) for one in self.tally.results), default=0)
        room = (self.screen.console.width if self.screen.interactive else _WIDTH) - _INDENT
        family = ""
        for result in self.tally.results.values():
            if result.promise.family != family:
                family = result.promise.family
                yield Row("")
                yield Row(f"{result.promise.id[0]}  {FAMILY_WORDS[family]}", "heading")
            role: Role = _ROLES[result.judgement] if result.judged else "dim"
            head = f"{result.verdict:13} {result.promise.id:{width}}  "
            yield Row(f"{head}{result.proof}", role, 2, hang=len(head))
            whole = words.one_line(result.text)
            text = whole if self.verbose else textwrap.shorten(whole, max(30, room), placeholder=" …")
            yield Row(text, "dim", _INDENT, hang=0)

    # What was broken

    def _broken(self, result: Result) -> Iterator[Row]:
        yield Row("")
        known = result.judgement == "known"
        heading = f"{result.promise.id} is known to be broken" if known else f"{result.promise.id} was broken"
        yield Row(heading, "known" if known else "bad")
        yield Row(words.one_line(result.text), "quote", 2, hang=0)
        shown = [one for one in result.findings if one.judgement == result.judgement]
        for place, one in enumerate(shown if self.verbose else shown[:_FINDINGS]):
            yield from _finding(one)
            if self.verbose or place == 0:
                yield from _again(one.command)
        if len(shown) > _FINDINGS and not self.verbose:
            more = words.listed([one.scenario for one in shown[_FINDINGS:]], 4)
            yield Row(f"and in {more}; -v shows each", "dim", 2)

    def _beside(self) -> Iterator[Row]:
        tally = self.tally
        if tally.unmet:
            yield Row("")
            yield Row("Expectations of a story that were not met, though no promise was broken", "bad")
            for event in tally.unmet:
                for one in event.verdict.unmet:
                    found = f"; found: {words.one_line(one.found)}" if one.found else ""
                    yield Row(f"{failure.place(event, one)}: {words.one_line(one.text)}{found}", "plain", 2)
                yield from _again(event.command)
        if tally.summary.errors:
            yield Row("")
            yield Row("Scenarios that could not be played", "bad")
            for failed in tally.summary.errors:
                yield Row(f"{words.one_line(failed.name)}", "plain", 2)
                yield Row(failure.error_text(failed.error), "bad", 4, hang=0)
        if tally.unplayed:
            yield Row("")
            yield Row(
                "Stories that could not be forced on this dispatcher; others put their promises to the test",
                "heading",
            )
            for name, reasons in tally.unplayed.items():
                yield Row(f"{words.one_line(name)}: {words.one_line(reasons[0])}", "plain", 2)

    # Totals

    def _totals(self) -> Iterator[Row]:
        tally = self.tally
        yield Row("")
        played = f"{words.plural(tally.played, 'scenario')} played in {words.duration(tally.summary.seconds)}"
        unclaimed = len(tally.summary.not_claimed)
        left = tally.total - tally.played - unclaimed
        played += f", {unclaimed} not claimed" if unclaimed else ""
        yield Row(played + (f", {left} not played" if left > 0 else ""), "heading")
        if left > 0 and len(tally.summary.errors) == tally.played:
            yield Row(f"The run was ended: none of the first {tally.played} could be played.", "bad")
        counts = [f"{len(tally.of('held'))} held", f"{len(tally.of('violated'))} violated"]
        counts += [f"{len(tally.of('known'))} known to be broken"] if tally.of("known") else []
        counts += [f"{len(tally.of('not_exercised'))} not exercised"]
        unjudged = sum(not one.judged for one in tally.results.values())
        counts += [f"{unjudged} not judged under this profile"] if unjudged else []
        yield Row(f"Promises: {', '.join(counts)}", "heading")
        yield from _allowed(tally)
        if tally.beside:
            found = ", ".join(f"{one} (--section {one[0]})" for one in sorted(tally.beside))
            yield Row(f"Seen beside, in other sections, and not judged here: violations of {found}", "known")
        for one in tally.summary.outlived:
            yield Row(gone_text(one), "bad")
        code = tally.exit_code
        yield Row(f"{words.one_line(outcome(tally))}.", "good" if code == 0 else "bad")
        yield Row(f"Exit status {code}: {tally.summary.ending}.", "good" if code == 0 else "bad")


FAMILY_WORDS: dict[str, str] = {
    "payloads": "Payloads",
    "ephemeral": "Ephemeral channels",
    "cached": "Cached builds",
    "build_finished": "build_finished",
    "plugins": "Plugins and retries",
    "life": "Life of the dispatcher",
    "simulator": "What the simulator itself must keep",
}
"""Family to its heading."""
assert set(FAMILY_WORDS) == set(promises.FAMILIES.values())


def _finding(one: Finding) -> Iterator[Row]:
    records = f" (records {', '.join(map(str, one.records[:6]))}{'…' if len(one.records) > 6 else ''})"
    deviation = f" [{one.deviation}]" if one.deviation else ""
    yield Row(f"in {one.scenario}{deviation}: {one.explanation}{records if one.records else ''}", "plain", 2)


def _again(command: str) -> Iterator[Row]:
    if command:
        yield Row(safe.clean(safe.mask(command)), "command", 4)


def _not_claimed(tally: Tally) -> Iterator[Row]:
    if tally.summary.not_claimed:
        yield Row("")
        yield Row("Stories that this dispatcher does not claim, which were not played", "heading")
        for name, reason in sorted(tally.summary.not_claimed.items()):
            yield Row(f"{words.one_line(name)}: {words.one_line(reason)}", "plain", 2)


def _lenient(tally: Tally) -> Iterator[Row]:
    found = tally.lenient()
    if not found:
        return
    yield Row("")
    yield Row("Payloads that the manual leaves open: reported, not judged", "heading")
    for kind, how, shown in found:
        payloads = words.listed(dict.fromkeys(repr(one.payload) for one in shown), 3)
        yield Row(f"{kind:24} {WORDS[how]} ({payloads})", "plain", 2, hang=25)


def _allowed(tally: Tally) -> Iterator[Row]:
    for kind in ("lost", "repeated"):
        counts = {p: n for (one, p), n in sorted(tally.summary.allowed.items()) if one == kind}
        if counts:
            each = ", ".join(f"{promise} {count}" for promise, count in counts.items())
            yield Row(f"The contract allowed to be {kind}: {sum(counts.values())} ({each})", "plain")
