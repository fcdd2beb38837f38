"""What a person sees: progress while scenarios are played, what broke and why, and what it came to."""

from collections.abc import Iterator
from typing import TextIO

from hydra_notify_sim import errors
from hydra_notify_sim.checks.verdicts import Judgement
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import failure, safe, screen, timeline, words
from hydra_notify_sim.reports.failure import Role, Row
from hydra_notify_sim.reports.summary import Summary, allowed_text, gone_text, judgement_words

_JUDGEMENT_ROLES: dict[Judgement, Role] = {
    "held": "good",
    "violated": "bad",
    "known": "known",
    "not_exercised": "dim",
}
_LISTED = 12
"""So many promises that were not exercised are named; a single scenario leaves out most of them."""


class TerminalReport:
    """Prints a run; live on a terminal, plain lines without control characters elsewhere."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        verbose: bool = False,
        verb: str = "played",
        width: int | None = None,
    ) -> None:
        """Write to a stream, standard output where none is given.

        ``verb`` says what was done with the scenarios: ``played``, or ``judged`` for saved histories.
        """
        self.screen = screen.Screen(stream, width)
        self.progress = screen.Progress(self.screen)
        self.verbose = verbose
        self.verb = verb
        self.summary = Summary()
        self.total = 0
        self.begun = 0

    def take(self, event: events.Event) -> None:
        """Take the next event."""
        self.summary.take(event)
        match event:
            case events.RunStarted():
                self._started(event)
            case events.ScenarioStarted():
                self.begun += 1
                failed = f"{self.summary.failed} failed" if self.summary.failed else ""
                self.progress.show(f"{self.begun}/{self.total}", event.name, failed)
            case events.ScenarioFinished():
                self._finished(event)
            case events.ScenarioFailed():
                self._failed(event)
            case events.ScenarioNotClaimed():
                self.screen.row(
                    Row(
                        f"skipped {words.one_line(event.name)}: not claimed: {words.one_line(event.reason)}",
                        "dim",
                    )
                )
            case events.RunFinished():
                self._end()

    def close(self) -> None:
        """Take the progress line away; nothing is printed. May be called again."""
        self.progress.close()

    def _started(self, event: events.RunStarted) -> None:
        self.total = event.scenarios
        said = [words.plural(event.scenarios, "scenario"), f"dispatcher {event.dispatcher}"]
        said += [f"profile {event.profile}"] if event.profile else []
        if self.verb == "played":
            said.append(f"seed {event.seed}")
        self.screen.row(Row(words.one_line(", ".join(said)), "heading"))
        if event.server:
            self.screen.row(Row(words.one_line(safe.mask(event.server)), "dim"))
        self.progress.start()

    def _finished(self, event: events.ScenarioFinished) -> None:
        name = words.one_line(event.name)
        took = f"({event.seconds:.2f} s)"
        if event.passed:
            # On a terminal the progress line has said it already; a person asks for more with -v.
            if not self.screen.interactive or self.verbose:
                self.screen.row(Row(f"passed  {name} {took}", "good"))
        else:
            self.screen.row(Row(f"FAILED  {name}: {failure.headline(event)} {took}", "bad"))
        if not event.passed:
            self.screen.rows(failure.rows_of(event, whole=self.verbose))
        elif self.verbose:
            self.screen.rows(_story(event))
        if self.verbose:
            self.screen.rows(_verdicts(event))
        if self.verbose or not event.passed or self.total == 1:
            self.screen.rows(
                Row(words.one_line(_named(event, allowed_text(one))), "dim", 2)
                for one in event.judgements.allowed
            )
            self.screen.rows(
                Row(f"noticed: {words.one_line(one)}", "dim", 2) for one in event.judgements.reported
            )
        if not event.passed or self.verbose:
            self.screen.row(Row(""))

    def _failed(self, event: events.ScenarioFailed) -> None:
        ours = isinstance(event.error, errors.HydraNotifySimError)
        why = f"could not be {self.verb}" if ours else "a fault in the harness itself"
        self.screen.row(Row(f"ERROR   {words.one_line(event.name)}: {why}", "bad"))
        self.screen.rows(failure.error_rows(event))
        self.screen.row(Row(""))

    def _end(self) -> None:
        self.close()
        self.screen.rows(self._totals())

    def _totals(self) -> Iterator[Row]:
        total = self.summary
        done = f"{words.plural(total.scenarios, 'scenario')} {self.verb}: {total.passed} passed, {total.failed} failed"
        unclaimed = len(total.not_claimed)
        left = f", {unclaimed} not claimed" if unclaimed else ""
        unplayed = self.total - total.scenarios - unclaimed
        left += f", {unplayed} not {self.verb}" if unplayed > 0 else ""
        yield Row(f"{done}{left} ({words.duration(total.seconds)})", "bad" if total.failed else "heading")
        counts = ", ".join(f"{total.count(one)} {judgement_words(one)}" for one in _JUDGEMENT_ROLES)
        yield Row(f"Promises: {counts}", "heading")
        shown: tuple[Judgement, ...] = ("violated", "known", "not_exercised")
        for judgement in shown:
            having = total.having(judgement)
            if len(having) > _LISTED and judgement == "not_exercised" and not self.verbose:
                yield Row(f"not exercised: {len(having)} promises; -v lists them", "dim", 2)
            elif having:
                text = f"{judgement_words(judgement)}: {', '.join(having)}"
                yield Row(text, _JUDGEMENT_ROLES[judgement], 2)
        yield from self._allowed()
        for one in total.outlived:
            yield Row(gone_text(one), "bad")
        code = total.exit_code
        yield Row(f"Exit status {code}: {total.ending}.", "good" if code == 0 else "bad")

    def _allowed(self) -> Iterator[Row]:
        for kind in ("lost", "repeated"):
            by_promise = {
                promise: count
                for (one, promise), count in sorted(self.summary.allowed.items())
                if one == kind
            }
            if by_promise:
                each = ", ".join(f"{promise} {count}" for promise, count in by_promise.items())
                more = "" if self.verbose or self.total == 1 else "; -v shows each"
                yield Row(
                    f"The contract allowed to be {kind}: {sum(by_promise.values())} ({each}{more})", "plain"
                )


def _story(event: events.ScenarioFinished) -> Iterator[Row]:
    if event.sentence:
        yield Row(words.one_line(event.sentence), "plain", 2)
    yield Row("The story", "heading", 2)
    yield from failure.timeline_rows(timeline.fold(timeline.lines(event.history, event.nicknames)))


def _verdicts(event: events.ScenarioFinished) -> Iterator[Row]:
    yield Row("Verdicts", "heading", 2)
    for one in event.judgements.verdicts:
        quirk = f" ({one.quirk})" if one.quirk else ""
        explanation = words.one_line(_named(event, one.explanation))
        yield Row(
            f"{judgement_words(one.verdict):13} {one.promise}{quirk}: {explanation}",
            _JUDGEMENT_ROLES[one.verdict],
            4,
        )
    expected, unmet = len(event.verdict.expectations), len(event.verdict.unmet)
    if expected:
        yield Row(f"Expectations: {expected - unmet} of {expected} met", "bad" if unmet else "good", 2)


def _named(event: events.ScenarioFinished, text: str) -> str:
    return words.Names(event.nicknames).explain(text)
