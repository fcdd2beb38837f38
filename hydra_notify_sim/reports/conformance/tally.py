"""The events of a conformance run folded to one result a promise: verdict, how often exercised, where broken."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra_notify_sim.checks.verdicts import Judgement, Verdict
from hydra_notify_sim.conformance import generated, leniencies, sections
from hydra_notify_sim.contract import profiles, promises
from hydra_notify_sim.contract.deviations import Deviation
from hydra_notify_sim.contract.promises.model import Promise
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import words
from hydra_notify_sim.reports.summary import Summary


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that a scenario found broken."""

    scenario: str
    file: Path
    judgement: Judgement
    """``violated`` or ``known``; ``held`` where the profile does not judge it."""
    explanation: str
    """What should have happened and what did, builds by their nicknames."""
    records: tuple[int, ...]
    deviation: str
    command: str
    """The command line that plays the scenario again."""


@dataclass(slots=True)
class Result:
    """What is known of one promise."""

    promise: Promise
    profile: profiles.Profile
    known: bool = False
    """Whether ``--known`` says that the dispatcher does not keep it."""
    times: int = 0
    """How often all scenarios together put it to the test."""
    scenarios: list[str] = field(default_factory=list)
    """The scenarios that put it to the test."""
    findings: list[Finding] = field(default_factory=list)
    unplayed: dict[str, str] = field(default_factory=dict)
    """Scenario that exists for it and did not put it to the test, to the reason if one is known."""
    not_claimed: dict[str, str] = field(default_factory=dict)
    """Scenario that exists for it and is about payloads that the dispatcher does not read, to the reason."""
    beside: list[str] = field(default_factory=list)
    """Findings that the profile does not judge, in words."""

    @property
    def text(self) -> str:
        """Return the promise's words under the run's profile."""
        return self.promise.text_under(self.profile)

    @property
    def judged(self) -> bool:
        """Whether a violation counts under the profile."""
        return profiles.judged(self.profile, self.promise)

    @property
    def claimed(self) -> bool:
        """Whether the dispatcher is held to it: a person did not take it out, nor do its payloads."""
        beyond = bool(self.not_claimed) and not self.unplayed and not self.times
        return not self.known and not beyond

    @property
    def required(self) -> bool:
        """Whether the run proves nothing if this was never put to the test."""
        return self.judged and self.claimed

    @property
    def judgement(self) -> Judgement:
        """Return the verdict over all scenarios."""
        found = {one.judgement for one in self.findings}
        if "violated" in found:
            return "violated"
        if "known" in found:
            return "known"
        return "held" if self.times else "not_exercised"

    @property
    def verdict(self) -> str:
        """Return the verdict as people read it."""
        if not self.judged:
            return "not judged"
        return self.judgement.replace("_", " ")

    @property
    def proof(self) -> str:
        """Return on one line what the verdict rests on."""
        tested = (
            f"put to the test {words.times(self.times)} in {words.plural(len(self.scenarios), 'scenario')}"
        )
        if self.judgement in {"violated", "known"}:
            where = [one.scenario for one in self.findings if one.judgement == self.judgement]
            ids = dict.fromkeys(one.deviation for one in self.findings if one.judgement == self.judgement)
            what = f"broken in {len(where)} of {words.plural(len(self.scenarios), 'scenario')}: {words.listed(where, 3)}"
            return f"{what} ({words.listed(filter(None, ids), 3)})" if any(ids) else what
        if not self.times:
            return self.why_not
        return f"{tested}; {self.beside[0]}" if self.beside else tested

    @property
    def why_not(self) -> str:
        """Return why it was never put to the test."""
        if self.known:
            return "nothing put it to the test, and --known says that it is not claimed"
        if not self.claimed:
            reason = next(iter(self.not_claimed.values()))
            return f"not claimed: {reason} ({words.listed(self.not_claimed, 3)})"
        if not self.unplayed:
            return "nothing in this run put it to the test"
        stories = "the story" if len(self.unplayed) == 1 else f"the {len(self.unplayed)} stories"
        text = f"not put to the test by {stories} that exist{'s' if len(self.unplayed) == 1 else ''} for it: "
        text += words.listed(self.unplayed, 3)
        reason = next(filter(None, self.unplayed.values()), "")
        return f"{text} ({reason})" if reason else text


class Tally:
    """Takes the events of a run in; what a report shows is read from it."""

    def __init__(
        self, wanted: Sequence[Promise], profile: profiles.Profile, known: Sequence[Deviation] = ()
    ) -> None:
        """Expect verdicts on these promises; those that ``known`` names for any scenario need not have been put to the test."""
        unclaimed = {one.promise for one in known if not one.scenario}
        self.results = {one.id: Result(one, profile, known=one.id in unclaimed) for one in wanted}
        self.run: events.RunStarted | None = None
        self.summary = Summary(required=self._required())
        self.leniencies: list[leniencies.Leniency] = []
        self.unmet: list[events.ScenarioFinished] = []
        """Scenarios in which an expectation was not met, and no promise broken."""
        self.unplayed: dict[str, tuple[str, ...]] = {}
        """Scenario that could not be played as told, to the reasons."""
        self.beside: dict[str, list[str]] = {}
        """Promise of another section to the scenarios that broke it."""
        self.played = 0

    def take(self, event: events.Event) -> None:
        """Take the next event."""
        match event:
            case events.RunStarted():
                self.run = event
                self.summary.take(event)
            case events.ScenarioFinished():
                self.played += 1
                self._finished(event)
            case events.ScenarioFailed():
                self.played += 1
                self.summary.take(event)
            case events.ScenarioNotClaimed():
                self.summary.take(event)
                for promise in set(event.exercises) & self.results.keys():
                    self.results[promise].not_claimed[event.name] = event.reason
            case events.RunFinished():
                self.summary.take(event)
                self.summary.required = self._required()
                self._sort()
            case _:
                pass

    def _required(self) -> tuple[str, ...]:
        return tuple(id_ for id_, one in self.results.items() if one.required)

    def _finished(self, event: events.ScenarioFinished) -> None:
        exists_for = set(event.verdict.exercises)
        points = tuple(map(words.one_line, event.verdict.unplayed))
        if points:
            self.unplayed[event.name] = points
        event = sections.only(event, self.results.keys())
        self.summary.take(event)
        for promise in event.verdict.broken_elsewhere:
            self.beside.setdefault(promise, []).append(event.name)
        names = words.Names(event.nicknames)
        for verdict in event.judgements.verdicts:
            self._verdict(event, verdict, names)
        for promise in exists_for & self.results.keys():
            if event.name not in self.results[promise].scenarios:
                self.results[promise].unplayed[event.name] = points[0] if points else ""
        if event.verdict.unmet:
            self.unmet.append(event)
        if not generated.is_generated(event):  # there, a plugin may not be called for other reasons
            self.leniencies += leniencies.found(event.history)

    def _verdict(self, event: events.ScenarioFinished, verdict: Verdict, names: words.Names) -> None:
        result = self.results[verdict.promise]
        if verdict.verdict == "not_exercised":
            return
        result.times += verdict.exercised
        result.scenarios.append(event.name)
        if verdict.verdict in {"violated", "known"}:
            result.findings.append(
                Finding(
                    event.name,
                    event.file,
                    verdict.verdict,
                    words.one_line(names.explain(verdict.explanation)),
                    verdict.records,
                    verdict.quirk,
                    event.command,
                )
            )
        elif verdict.reported:
            result.beside.append(f"broken in {event.name}, which profile {result.profile} only reports")

    def _sort(self) -> None:
        """Bring what came in any order into one."""
        for result in self.results.values():
            result.scenarios.sort()
            result.findings.sort(key=lambda one: (one.judgement != "violated", one.scenario))
            result.unplayed = dict(sorted(result.unplayed.items()))
        self.unplayed = dict(sorted(self.unplayed.items()))
        self.unmet.sort(key=lambda one: one.name)
        self.leniencies.sort(key=lambda one: (leniencies.KINDS.index(one.kind), one.scenario, one.payload))

    @property
    def total(self) -> int:
        """How many stories there are to play, those that are generated among them."""
        return self.run.scenarios + self.run.generated if self.run else 0

    @property
    def exit_code(self) -> int:
        """The run's exit code, as everywhere; 4 if a promise that is claimed was never put to the test."""
        return self.summary.exit_code

    def of(self, *judgements: Judgement) -> list[Result]:
        """Return the results with one of these verdicts that the profile judges, in the contract's order."""
        return [one for one in self.results.values() if one.judged and one.judgement in judgements]

    @property
    def sections(self) -> list[str]:
        """The letters of the families that the run is about."""
        return list(dict.fromkeys(one[0] for one in self.results))

    def missing(self) -> list[Result]:
        """Return the promises that were claimed and never put to the test: such a run proves nothing of them."""
        return [one for one in self.results.values() if one.required and not one.times]

    def lenient(self) -> list[tuple[leniencies.Kind, leniencies.Outcome, list[leniencies.Leniency]]]:
        """Return each kind of leniency with each of its outcomes and the payloads that showed it."""
        found: dict[tuple[leniencies.Kind, leniencies.Outcome], list[leniencies.Leniency]] = {}
        for one in self.leniencies:
            found.setdefault((one.kind, one.outcome), []).append(one)
        return [(kind, outcome, shown) for (kind, outcome), shown in found.items()]


def outcome(tally: Tally) -> str:
    """Return in one sentence what the run came to."""
    count = len(tally.of("violated"))
    run = tally.run.dispatcher if tally.run else "the dispatcher"
    code = tally.exit_code
    part = (
        "" if len(tally.results) == len(promises.PROMISES) else f" as far as {'/'.join(tally.sections)} goes"
    )
    if code == 0:
        known = len(tally.of("known"))
        held = words.plural(len(tally.of("held")), "promise")
        return f"{run} conforms{part}: {held} held" + (f", {known} known to be broken" if known else "")
    if count:
        return f"{run} does not conform: {words.plural(count, 'promise')} violated"
    if code == 4:
        return f"{run} was not fully put to the test: {tally.summary.nothing_exercised}"
    if code in {130, 143}:
        return "the run was interrupted"
    return f"{run} could not be shown to conform"
