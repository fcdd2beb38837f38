"""The events of a run folded to totals and to the exit code."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from hydra_notify_sim import errors, history
from hydra_notify_sim.checks.verdict import KnownIssue
from hydra_notify_sim.checks.verdicts import Allowed, Judgement
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import words

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
"""Exit code to what it means; of a run that came to its end `Summary.ending` says more."""

GONE = "a known issue was looked for, and no story found it"


def all_well(*, violated: Sequence[str] = (), known: Sequence[str] = (), unjudged: Sequence[str] = ()) -> str:
    """Return how a run ended that failed nothing: what was broken all the same, and that nothing else was.

    Args:
        violated: promises that were violated, as stories expected.
        known: promises that are known to be broken.
        unjudged: promises that were broken and that the profile does not judge.

    """
    parts = [f"{', '.join(violated)} violated, as the stories expect"] if violated else []
    parts += [f"{words.plural(len(known), 'promise')} known to be broken"] if known else []
    parts += [f"{', '.join(unjudged)} broken, which the profile does not judge"] if unjudged else []
    return f"{'; '.join(parts)}; every other promise that was exercised held" if parts else EXIT_WORDS[0]


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
    not_claimed: dict[str, str] = field(default_factory=dict)
    """Scenario that the dispatcher does not claim to the reason; it was not played, and counts nowhere."""
    errors: list[events.ScenarioFailed] = field(default_factory=list)
    interrupted: bool = False
    terminated: bool = False
    """Whether the interruption was SIGTERM."""
    sought: dict[KnownIssue, bool] = field(default_factory=dict)
    """Known issue that a story looked for or found, to whether any story found it."""
    unjudged: dict[str, None] = field(default_factory=dict)
    """Promises that were broken and that the profile does not judge, in the order in which they were found."""
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
            case events.ScenarioNotClaimed():
                self.not_claimed[event.name] = event.reason
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
            if event.verdict.outcome == "broken":
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
            if verdict.reported:
                self.unjudged[verdict.promise] = None
        for issue, found in event.verdict.sought.items():
            self.sought[issue] = self.sought.get(issue, False) or found
        self.allowed.update((one.kind, one.promise) for one in event.judgements.allowed)

    @property
    def outlived(self) -> list[KnownIssue]:
        """Known issues that were looked for and found by no story."""
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
        if self._fails:
            return 1
        if self.interrupted:
            return 143 if self.terminated else 130
        return 4 if self.nothing_exercised else 0

    @property
    def _fails(self) -> bool:
        # A run about promises is not content with a violation because a story expects it.
        about_promises = self.required is not None and self.count("violated") > 0
        return bool(self.broken or about_promises or (self.outlived and not self.interrupted))

    @property
    def ending(self) -> str:
        """Return in words how the run ended, for its exit code."""
        code = self.exit_code
        if code == 4:
            return self.nothing_exercised
        if code == 1 and not self.broken and not self.count("violated"):
            return GONE
        if code == 0:
            return all_well(
                violated=self.having("violated"), known=self.having("known"), unjudged=list(self.unjudged)
            )
        return EXIT_WORDS[code]

    @property
    def nothing_exercised(self) -> str:
        """Why the run proves nothing, or an empty text: nothing passes by not happening."""
        if not self.scenarios:
            return f"no scenario was played{', for the dispatcher claims none' if self.not_claimed else ''}"
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


def gone_text(one: KnownIssue) -> str:
    """Return that a known issue was not found, and what to do, as sentences for people."""
    name = words.one_line(one.id)
    if one.of_profile:
        return (
            f"Known issue {name} of Hydra: stories that exercise it ran, and none found it. Has this hydra-notify mended "
            "it? Then judge it by --profile strict; --known-lenient looks for none."
        )
    where = f" in {words.one_line(one.scenario)}" if one.scenario else ""
    return (
        f"Known issue {name}: {one.promise} was put to the test{where}, and no story found it broken. Take it out of the "
        "--known file, or say --known-lenient if it depends on timing."
    )


def allowed_text(one: Allowed) -> str:
    """Return what was lost or repeated with the promise that allows it, as a sentence for people."""
    what = one.what.rstrip(". ")
    tail = "" if f"{one.promise} allows" in what else f"; {one.promise} allows it"
    head = "" if what.lower().startswith(one.kind) else f"{one.kind}: "
    return f"{head}{what}{tail}"
