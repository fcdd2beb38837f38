"""``--markdown`` and ``--github``: a conformance run as a page to publish, and as a workflow of GitHub shows it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from hydra_notify_sim import __version__
from hydra_notify_sim.conformance.leniencies import WORDS
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import failure, json_report, report, safe, words
from hydra_notify_sim.reports.conformance.tally import Result, Tally, outcome
from hydra_notify_sim.reports.conformance.terminal import FAMILY_WORDS
from hydra_notify_sim.reports.summary import gone_text

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable in which GitHub names the file whose markdown it shows on the run's page."""
_MOST_SUMMARY_BYTES = 1_000_000
"""GitHub takes a mebibyte and drops a summary that is longer."""
_SIGNS = {"held": "✅", "violated": "❌", "known": "⚠️", "not exercised": "⬜", "not judged": "⬜"}


class ConformanceGitHub:
    """Prints workflow commands, and adds the page to the step's summary."""

    def __init__(self, tally: Tally, stream: TextIO, environment: Mapping[str, str] | None = None) -> None:
        """Write to a stream; ``tally`` is fed by whoever owns it, before this report.

        Raises:
            ReportNotWrittenError: the step's summary cannot be written; said before anything is played.

        """
        self.tally = tally
        self.stream = stream
        summary = (os.environ if environment is None else environment).get(STEP_SUMMARY, "")
        self.summary = Path(summary) if summary else None
        if self.summary is not None:
            json_report.check_writable(self.summary)

    def take(self, event: events.Event) -> None:
        """Take the next event."""
        if not isinstance(event, events.RunFinished):
            return
        self.stream.write("".join(f"{line}\n" for line in annotations(self.tally)))
        self.stream.flush()
        if self.summary is None:
            return
        try:
            with self.summary.open("ab") as file:
                file.write(_cut(page(self.tally)))
        except OSError as error:
            raise report.not_written(str(self.summary), error) from error


def annotations(tally: Tally) -> Iterator[str]:
    """Yield a workflow command for each thing that a person should look at, the gravest first."""
    for one in tally.of("violated"):
        yield _command("error", f"{one.promise.id} violated", f"{one.findings[0].explanation} ({one.proof})")
    for failed in tally.summary.errors:
        yield _command("error", f"{failed.name} could not be played", failure.error_text(failed.error))
    for event in tally.unmet:
        texts = [one.text for one in event.verdict.unmet]
        yield _command("error", f"{event.name}: expectation not met", "; ".join(texts))
    for issue in tally.summary.outlived:
        yield _command("error", f"known issue {issue.id}", gone_text(issue))
    for one in tally.missing():
        yield _command("warning", f"{one.promise.id} not exercised", one.proof)
    for one in tally.of("known"):
        yield _command("notice", f"{one.promise.id} known to be broken", one.proof)


def _command(kind: str, title: str, message: str) -> str:
    """Return a workflow command, with what GitHub's syntax needs escaped."""

    def escaped(text: str, more: str = "") -> str:
        for sign in "%\r\n" + more:
            text = text.replace(sign, f"%{ord(sign):02X}")
        return text

    title, message = safe.clean(safe.mask(title)), safe.clean(safe.mask(message))
    return f"::{kind} title={escaped(title, ':,')}::{escaped(message)}"


def page(tally: Tally) -> str:
    """Return the page."""
    return "\n".join(_lines(tally)) + "\n"


def _lines(tally: Tally) -> Iterator[str]:
    run, summary = tally.run, tally.summary
    good = tally.exit_code == 0
    yield f"# {'✅' if good else '❌'} {plain(outcome(tally))}"
    yield ""
    if run is not None:
        yield (
            f"hydra-notify-sim {__version__}, dispatcher {code(run.dispatcher)}, profile {run.profile}, seed {run.seed}, "
            f"{plain(safe.mask(run.server))}: {words.plural(tally.played, 'scenario')} in {words.duration(summary.seconds)}, "
            f"exit status {tally.exit_code}."
        )
        yield ""
    if summary.interrupted:
        yield "**The run was interrupted: what it shows is what had been played until then.**"
        yield ""
    family = ""
    for one in tally.results.values():
        if one.promise.family != family:
            yield from ([""] if family else [])
            family = one.promise.family
            yield f"## {FAMILY_WORDS[family]}"
            yield ""
            yield "| promise | verdict | proof | what it says |"
            yield "|---|---|---|---|"
        sign = _SIGNS.get(one.verdict, "")
        yield f"| {one.promise.id} | {sign} {one.verdict} | {plain(one.proof)} | {cell(one.text)} |"
    yield from _broken("Broken promises", tally.of("violated"))
    yield from _broken("Known deviations", tally.of("known"))
    yield from _beside(tally)


def _broken(title: str, results: list[Result]) -> Iterator[str]:
    if not results:
        return
    yield ""
    yield f"## {title}"
    for one in results:
        yield ""
        yield f"### {one.promise.id}"
        yield ""
        for found in one.findings:
            if found.judgement != one.judgement:
                continue
            deviation = f" [{plain(found.deviation)}]" if found.deviation else ""
            yield f"- **{plain(found.scenario)}**{deviation}: {plain(found.explanation)}  "
            yield f"  {code(safe.mask(found.command))}"


def _beside(tally: Tally) -> Iterator[str]:
    found = tally.lenient()
    if found:
        yield ""
        yield "## Payloads that the manual leaves open"
        yield ""
        yield "Reported, not judged."
        yield ""
        yield "| payload with | what the dispatcher did | seen with |"
        yield "|---|---|---|"
        for kind, how, shown in found:
            payloads = dict.fromkeys(f"{one.channel} {one.payload!r}" for one in shown)
            yield f"| {kind} | {WORDS[how]} | {', '.join(code(one) for one in list(payloads)[:3])} |"
    if tally.summary.not_claimed:
        yield ""
        yield "## Stories that are not claimed"
        yield ""
        for name, reason in sorted(tally.summary.not_claimed.items()):
            yield f"- {plain(name)}: {plain(reason)}"
    if tally.unplayed or tally.summary.errors or tally.unmet:
        yield ""
        yield "## Stories that did not go as told"
        yield ""
        for name, reasons in tally.unplayed.items():
            yield f"- {plain(name)}: could not be forced on this dispatcher: {plain(reasons[0])}"
        for failed in tally.summary.errors:
            yield f"- {plain(failed.name)}: could not be played: {plain(failure.error_text(failed.error))}"
        for event in tally.unmet:
            texts = "; ".join(words.one_line(one.text) for one in event.verdict.unmet)
            yield f"- {plain(event.name)}: an expectation was not met: {plain(texts)}"


def plain(text: str) -> str:
    """Return a text on one line in which markdown finds nothing to do."""
    line = words.one_line(safe.mask(text))
    for sign in "\\`*_[]<>|":
        line = line.replace(sign, f"\\{sign}")
    return line


def cell(text: str) -> str:
    """Return a text of ours, which may hold markdown, for a cell of a table."""
    return words.one_line(text).replace("|", "\\|")


def code(text: str) -> str:
    """Return a text as code, whatever it holds."""
    line = words.one_line(text).replace("|", "\\|")
    return f"`{line}`" if "`" not in line else f"`` {line} ``"


def _cut(text: str) -> bytes:
    data = safe.SURROGATES.sub("�", text).encode()
    if len(data) <= _MOST_SUMMARY_BYTES:
        return data
    return (
        data[:_MOST_SUMMARY_BYTES].decode(errors="ignore").encode() + "\n\n… the rest is left out.\n".encode()
    )
