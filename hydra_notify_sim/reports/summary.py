"""The events of a run folded to totals and to the exit code."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from hydra_notify_sim import errors, history
from hydra_notify_sim.checks.verdicts import Allowed, Judgement, Verdict
from hydra_notify_sim.contract import deviations
from hydra_notify_sim.contract.deviations import Deviation
from hydra_notify_sim.engine import events

JUDGEMENTS: tuple[Judgement, ...] = ("held", "violated", "known", "not_exercised")

EXIT_WORDS = {
    0: "every promise that was exercised held",
    1: "a promise or an expectation was broken",
    2: "wrong usage or a wrong file",
    3: "the environment failed: no server, a dispatcher that did not come up, or a report that could not be written",
    4: "nothing was exercised, or a scenario did not exercise what it is there for",
    5: "a fault in the harness itself",
    130: "interrupted",
    143: "asked to end",
}
"""Exit code to what it means."""

_STRONGER: dict[Judgement, int] = {"not_exercised": 0, "held": 1, "known": 2, "violated": 3}


def judgement_words(judgement: Judgement) -> str:
    """Return a judgement as people read it."""
    return judgement.replace("_", " ")


@dataclass(slots=True)
class Summary:
    """What a run came to so far; feed it every event with `take`."""

    required: tuple[str, ...] | None = None
    """Promises each of which some scenario must put to the test, where the run is about promises (`conformance`); None
    where it is about scenarios, each of which must exercise what it is there for."""
    passed: int = 0
    failed: int = 0
    broken: int = 0
    """Scenarios in which a promise or an expectation was broken."""
    unexercised: int = 0
    """Scenarios that are not passed only because they did not exercise what they are there for."""
    calls: bool = False
    """Whether any plugin was called in the run."""
    promises: dict[str, Judgement] = field(default_factory=dict)
    """Promise to its judgement over the whole run, in the order of the contract."""
    allowed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(lost or repeated, promise) to how often the contract allowed it."""
    errors: list[events.ScenarioFailed] = field(default_factory=list)
    interrupted: bool = False
    terminated: bool = False
    """Whether the interruption was SIGTERM."""
    sought: dict[Deviation, bool] = field(default_factory=dict)
    """Known deviation that does not depend on timing, and was put to the test, to whether it was found."""
    unwritten: bool = False
    """Whether a report that was asked for could not be written."""
    seconds: float = 0.0

    @property
    def scenarios(self) -> int:
        """How many scenarios came to an end, passed or failed."""
        return self.passed + self.failed

    def take(self, event: events.Event) -> None:
        """Count an event in."""
        match event:
            case events.ScenarioFinished():
                self._finished(event)
            case events.ScenarioFailed():
                self.failed += 1
                self.errors.append(event)
            case events.RunFinished(interrupted=interrupted, seconds=seconds):
                self.interrupted = self.interrupted or interrupted
                self.seconds = seconds
            case _:
                pass

    def _finished(self, event: events.ScenarioFinished) -> None:
        if event.passed:
            self.passed += 1
        else:
            self.failed += 1
            if is_broken(event):
                self.broken += 1
            else:
                self.unexercised += 1
        # A tap sees no calls: what was emitted is what it has to show.
        shows = history.Heard if event.history.header.tap else history.Called
        self.calls = self.calls or any(isinstance(record, shows) for record in event.history)
        for verdict in event.judgements.verdicts:
            before = self.promises.get(verdict.promise, "not_exercised")
            stronger = _STRONGER[verdict.verdict] >= _STRONGER[before]
            self.promises[verdict.promise] = verdict.verdict if stronger else before
            self._seek(event, verdict)
        self.allowed.update((one.kind, one.promise) for one in event.judgements.allowed)

    def _seek(self, event: events.ScenarioFinished, verdict: Verdict) -> None:
        if verdict.verdict == "not_exercised":
            return
        for one in _sought_in(event):
            if one.covers(verdict.promise, event.name):
                found = verdict.verdict == "known" and verdict.quirk == one.id
                self.sought[one] = self.sought.get(one, False) or found

    @property
    def outlived(self) -> list[Deviation]:
        """Known deviations that were put to the test and not found any more."""
        return [one for one, found in self.sought.items() if not found]

    def count(self, judgement: Judgement) -> int:
        """Return how many promises got this judgement over the run."""
        return sum(one == judgement for one in self.promises.values())

    def having(self, judgement: Judgement) -> list[str]:
        """Return the promises that got this judgement over the run, in the order of the contract."""
        return [promise for promise, one in self.promises.items() if one == judgement]

    @property
    def exit_code(self) -> int:
        """The first that applies of 2, 5, 3, 1, 130 or 143, 4, 0 (docs/reference/report.md).

        An interrupted run held nothing, for it did not come to its end; what it broke until then, it broke.
        """
        codes = [
            one.error.exit_code if isinstance(one.error, errors.HydraNotifySimError) else 5
            for one in self.errors
        ]
        codes += [3] if self.unwritten else []
        for code in (2, 5, 3):
            if code in codes:
                return code
        if self.broken or (self.outlived and not self.interrupted):
            return 1
        if self.interrupted:
            return 143 if self.terminated else 130
        return 4 if self.nothing_exercised else 0

    @property
    def nothing_exercised(self) -> str:
        """Why the run proves nothing, or an empty text: nothing passes by not happening."""
        if not self.scenarios:
            return "no scenario was played"
        if self.unexercised and self.required is None:
            return "not every scenario exercised what it is there for"
        if not self.calls:
            return "no plugin was called in the whole run"
        if self.count("not_exercised") == len(self.promises):
            return "no promise was exercised"
        missing = [
            one for one in self.required or () if self.promises.get(one, "not_exercised") == "not_exercised"
        ]
        return f"{', '.join(missing)} never put to the test" if missing else ""


def _sought_in(event: events.ScenarioFinished) -> Iterator[Deviation]:
    """Yield the known deviations that are to be found where they are put to the test."""
    header = event.history.header
    known = list(header.deviations)
    if event.judgements.profile == "upstream":
        known += deviations.named_by(header.name, header.known)
    return (one for one in known if not one.timing and not header.known_lenient)


def is_broken(event: events.ScenarioFinished) -> bool:
    """Whether a scenario that is not passed broke a promise or an expectation, rather than exercised too little."""
    if event.passed:
        return False
    return (
        any(verdict.verdict == "violated" for verdict in event.judgements.verdicts)
        or any(not expectation.met for expectation in event.expectations)
        or not event.not_exercised
    )


def allowed_text(one: Allowed) -> str:
    """Return what was lost or repeated with the promise that allows it, as a sentence for people."""
    what = one.what.rstrip(". ")
    tail = "" if f"{one.promise} allows" in what else f"; {one.promise} allows it"
    head = "" if what.lower().startswith(one.kind) else f"{one.kind}: "
    return f"{head}{what}{tail}"
