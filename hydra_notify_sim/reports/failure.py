"""What a person needs to read of a scenario that did not pass, as rows of text with a meaning each."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hydra_notify_sim import errors
from hydra_notify_sim.checks.verdict import Expectation
from hydra_notify_sim.checks.verdicts import Verdict
from hydra_notify_sim.contract import promises
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import safe, timeline, words

Role = Literal["heading", "plain", "quote", "proof", "dim", "bad", "known", "good", "command"]

SHOWN_VIOLATIONS = 5
"""Broken promises whose text is shown; further ones of the same scenario are told in a line each."""

UNPROVEN = 15
"""Lines of the story that are shown, its last ones, where an expectation is not met and nothing else is wrong."""

Proof = dict[int, list[str]]
"""Number of a record to the broken promises that it proves."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a report."""

    text: str
    role: Role = "plain"
    indent: int = 0
    hang: int = 2
    """How much further in a line goes on that a terminal is too narrow for."""

    def __str__(self) -> str:
        return f"{' ' * self.indent}{self.text}"


def rows_of(event: events.ScenarioFinished, *, whole: bool = False) -> Iterator[Row]:
    """Yield the rows for a scenario that broke something or exercised too little.

    ``whole``: the whole timeline once, instead of the part that matters to each violation.
    """
    names = words.Names(event.nicknames)
    for record in event.history:
        names.learn(record)
    if event.sentence:
        yield Row(words.one_line(event.sentence), "plain", 2)
    violated = [one for one in event.judgements.verdicts if one.verdict == "violated"]
    for verdict in violated[:SHOWN_VIOLATIONS]:
        yield from _violation(verdict, names)
    for verdict in violated[SHOWN_VIOLATIONS:]:
        yield Row(f"{verdict.promise} was broken too: {_explained(verdict, names)}", "bad", 2)
    if violated or whole or event.verdict.unmet:
        yield from _story(event, violated, names, whole=whole)
    yield from _expectations(event)
    for reason in event.verdict.not_exercised:
        yield Row(f"Not exercised: {words.one_line(names.explain(reason))}", "known", 2)
    yield from log_rows(event.log)
    if event.command:
        yield Row("Play it again:", "plain", 2)
        yield Row(safe.clean(safe.mask(event.command)), "command", 4)


def _story(
    event: events.ScenarioFinished, violated: Sequence[Verdict], names: words.Names, *, whole: bool
) -> Iterator[Row]:
    proof: Proof = {}
    for verdict in violated:
        for number in verdict.records:
            proof.setdefault(number, []).append(verdict.promise)
    told = timeline.lines(event.history, names.builds)
    if whole:
        yield Row("The story", "heading", 2)
        yield from timeline_rows(timeline.fold(told, proof), proof)
        return
    yield Row(f"The story so far{' (> marks what proves it)' if proof else ''}", "heading", 2)
    kept = [one for one in told if not one.minor or not proof.keys().isdisjoint(one.records)]
    if len(violated) == 1:
        proof = {number: [] for number in proof}  # there is no doubt about what it proves
    yield from timeline_rows(timeline.relevant(timeline.fold(kept, proof), proof, tail=UNPROVEN), proof)


def _violation(verdict: Verdict, names: words.Names) -> Iterator[Row]:
    yield Row(f"{verdict.promise} was broken", "bad", 2)
    text = promise_text(verdict.promise)
    if text:
        yield Row(text, "quote", 4)
    yield Row(_explained(verdict, names), "plain", 4)


def _explained(verdict: Verdict, names: words.Names) -> str:
    return safe.clean(names.explain(verdict.explanation)).strip()


def promise_text(promise: str) -> str:
    """Return the promise's words; empty for an id that a newer contract no longer has."""
    return next((one.text for one in promises.PROMISES if one.id == promise), "")


def _expectations(event: events.ScenarioFinished) -> Iterator[Row]:
    for one in event.verdict.unmet:
        yield Row(f"Expectation not met, {place(event, one)}", "bad", 2)
        yield Row(f"expected: {words.one_line(one.text)}", "plain", 4)
        if one.found:
            yield Row(f"found:    {words.one_line(one.found)}", "plain", 4)


def place(event: events.ScenarioFinished, one: Expectation) -> str:
    """Return where an expectation stands: file and line of the scenario, also where a saved history was judged."""
    told = event.history.header.file
    if not one.line:
        return safe.clean(str(event.file))
    if not told or told == str(event.file):
        return safe.clean(f"{event.file}:{one.line}")
    return safe.clean(f"line {one.line} of the scenario, {told}")


def log_rows(log: Iterable[str], last: int = 15) -> Iterator[Row]:
    """Yield the last lines that the dispatcher logged."""
    logged = [
        words.one_line(safe.mask(line), 200) + (f" ({times} times)" if times > 1 else "")
        for line, times in ((line, sum(1 for _ in same)) for line, same in itertools.groupby(log))
    ]
    if not logged:
        return
    shown = logged[-last:]
    more = f", the last {last} of {len(logged)} lines" if len(logged) > last else ""
    yield Row(f"What the dispatcher logged{more}", "dim", 2)
    yield from (Row(line, "dim", 4) for line in shown)


def timeline_rows(
    story: Iterable[timeline.Line | timeline.Gap],
    proof: Mapping[int, Sequence[str]] | None = None,
    indent: int = 4,
) -> Iterator[Row]:
    """Yield a timeline as rows: record number, seconds, who, what."""
    story = list(story)
    proof = proof or {}
    told = [line for line in story if isinstance(line, timeline.Line)]
    who = min(20, max((len(line.who) for line in told), default=0))
    width = max((len(f"#{line.records[0]}") for line in told), default=0)
    moments = max((len(_moment(line)) for line in told), default=0)
    for line in story:
        if isinstance(line, timeline.Gap):
            yield Row(
                f"  {'':{width}} {'':{moments}} … {words.plural(line.lines, 'line')} left out", "dim", indent
            )
            continue
        proves = any(number in proof for number in line.records)
        broken = sorted({promise for number in line.records for promise in proof.get(number, ())})
        after = f" ({line.times} times)" if line.times > 1 else ""
        after += f" [{', '.join(broken)}]" if broken else ""
        head = (
            f"{'>' if proves else ' '} {f'#{line.records[0]}':>{width}} {_moment(line):>{moments}} "
            f"{line.who:{who}} {'  ' * min(line.depth, 6)}"
        )
        hang = len(head) + 2
        yield Row(f"{head}{line.text}{after}", "proof" if proves else _role(line), indent, hang)


def _moment(line: timeline.Line) -> str:
    return f"+{words.duration(line.seconds)}"


def _role(line: timeline.Line) -> Role:
    roles: dict[timeline.Tone, Role] = {"bad": "bad", "fault": "known", "rows": "dim", "settled": "dim"}
    return roles.get(line.tone, "plain")


def error_rows(event: events.ScenarioFailed) -> Iterator[Row]:
    """Yield the rows for a scenario that could not be played to its end."""
    if event.sentence:
        yield Row(words.one_line(event.sentence), "plain", 2)
    yield Row(error_text(event.error), "bad", 2)
    if event.command:
        yield Row("Play it again:", "plain", 2)
        yield Row(safe.clean(safe.mask(event.command)), "command", 4)


def error_text(error: BaseException) -> str:
    """Return an error as a person reads it: the message of ours, kind and message of any other; no password."""
    text = str(error)
    if not isinstance(error, errors.HydraNotifySimError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return safe.clean(safe.mask(text))


def headline(event: events.ScenarioFinished) -> str:
    """Return in a few words why a scenario is not passed."""
    verdict = event.verdict
    parts = [f"{words.listed(verdict.violated)} violated"] if verdict.violated else []
    if verdict.unmet:
        parts.append(f"{words.plural(len(verdict.unmet), 'expectation')} not met")
    if verdict.outcome == "not_exercised":
        parts.append("not exercised")
    return ", ".join(parts) or "not passed"
