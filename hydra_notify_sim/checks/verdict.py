"""Decides whether a played story passed, from its history alone: the only place that does.

`replay`, `check`, `conformance`, the pytest fixtures and every report ask `decide`; so one history never has two verdicts.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import msgspec

from hydra_notify_sim import history
from hydra_notify_sim.checks.judge import judge
from hydra_notify_sim.checks.verdicts import Judgements, Verdict
from hydra_notify_sim.contract import profiles, quirks
from hydra_notify_sim.contract.deviations import Deviation

Outcome = Literal["passed", "broken", "not_exercised"]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the scenario said, and whether it was so."""

    text: str
    met: bool
    found: str = ""
    """What was there instead, where it was not met."""
    line: int = 0
    """Line of the scenario's file, from 1; 0: not from a file."""


@dataclass(frozen=True, slots=True)
class KnownIssue:
    """A known issue that a run is to find where it is exercised, or it is gone."""

    id: str
    promise: str = ""
    """The promise that an entry of a --known file is about; empty for a quirk of the profile, which may break several."""
    scenario: str = ""
    """The only scenario that the entry is about, if it says so."""

    @property
    def of_profile(self) -> bool:
        """Whether it comes with profile ``upstream`` and not from a --known file."""
        return not self.promise


@dataclass(frozen=True)
class StoryVerdict:
    """What one history came to."""

    judgements: Judgements
    expectations: tuple[Expectation, ...] = ()
    unplayed: tuple[str, ...] = ()
    """Why the story did not go as told: points that were not reached, or at which nobody can be held."""
    exercises: tuple[str, ...] = ()
    """Promises that the story exists for."""
    to_be_violated: frozenset[str] = frozenset()
    """Promises that the story, or a test's marker, expects to be broken."""
    sought: Mapping[KnownIssue, bool] = field(default_factory=dict)
    """Known issues that the story looked for or found, to whether it found them."""
    broken_elsewhere: tuple[str, ...] = ()
    """Promises that were broken and that this verdict is not about (`about`)."""

    @cached_property
    def violated(self) -> tuple[str, ...]:
        """Promises that were violated, in the order of the contract."""
        return tuple(one.promise for one in self.judgements.verdicts if one.verdict == "violated")

    @cached_property
    def unexpected(self) -> tuple[str, ...]:
        """Promises that were violated though nobody expected it."""
        return tuple(one for one in self.violated if one not in self.to_be_violated)

    @cached_property
    def unbroken(self) -> tuple[str, ...]:
        """Promises that were to be violated and were not."""
        return tuple(sorted(self.to_be_violated.difference(self.violated)))

    @cached_property
    def unmet(self) -> tuple[Expectation, ...]:
        """Expectations that were not met."""
        return tuple(one for one in self.expectations if not one.met)

    @cached_property
    def unexercised(self) -> tuple[str, ...]:
        """Promises that the story exists for and did not put to the test."""
        verdicts = {one.promise: one.verdict for one in self.judgements.verdicts}
        return tuple(one for one in self.exercises if verdicts.get(one) == "not_exercised")

    @cached_property
    def not_exercised(self) -> tuple[str, ...]:
        """Why the story does not count as exercised, in sentences."""
        promises = (
            f"{promise} stands under `exercises`, and nothing in the run put it to the test"
            for promise in self.unexercised
        )
        return (*self.unplayed, *promises)

    @property
    def explained(self) -> bool:
        """Whether a broken promise that fails nothing explains what else is not as told.

        What a story expects follows from the contract: where a known issue was met, or a promise was broken that the
        profile does not judge, it may not come true.
        """
        verdicts = self.judgements.verdicts
        return bool(self.broken_elsewhere) or any(one.verdict == "known" or one.reported for one in verdicts)

    @property
    def outcome(self) -> Outcome:
        """What the story came to: passed, broken (a promise or an expectation), or not exercised."""
        if self.unexpected:
            return "broken"
        if self.explained:
            return "passed"
        if self.unmet:
            return "broken"
        return "not_exercised" if self.not_exercised else "passed"

    @property
    def passed(self) -> bool:
        """Whether nothing was broken that should not be, and all was exercised that should be."""
        return self.outcome == "passed"

    def about(self, promises: Collection[str]) -> "StoryVerdict":
        """Return the verdict as far as these promises go.

        An expectation that was not met is left out where a promise was broken, which says it already.
        """
        inside = tuple(one for one in self.judgements.verdicts if one.promise in promises)
        narrowed = replace(
            self,
            judgements=msgspec.structs.replace(self.judgements, verdicts=inside),
            broken_elsewhere=tuple(one for one in self.violated if one not in promises),
        )
        says_it = narrowed.explained or narrowed.violated
        return replace(narrowed, expectations=()) if says_it else narrowed


def decide(source: history.Source, profile: profiles.Profile | None = None) -> StoryVerdict:
    """Judge a history and decide what it came to; ``profile`` overrides the one that its header names.

    A history of version 1 holds no expectations: its promises and its points alone are looked at.

    Raises:
        UnknownProfileError: the header names a profile that does not exist.
        HistoryFileError: the history is in a file, and that is damaged.

    """
    header = source.header
    judgements = judge(source, profile)
    violated = [one.promise for one in judgements.verdicts if one.verdict == "violated"]
    expectations: list[Expectation] = []
    missed: list[str] = []
    to_be_violated: set[str] = set()
    for record in () if header.tap else source:
        match record:
            case history.Expected(text=text, met=met, found=found, line=line):
                expectations.append(Expectation(text, met, found, line))
            case history.ViolationsExpected(promises=promises, line=line):
                to_be_violated.update(promises)
                expectations += (_to_be_violated(promise, violated, line) for promise in promises)
            case history.PointMissed(diverged=False) | history.StoryEnded(diverged=False):
                missed.append(record.reason)
            case _:
                pass
    return StoryVerdict(
        judgements,
        tuple(expectations),
        tuple(missed),
        header.exercises,
        frozenset(to_be_violated),
        dict(_sought(header, judgements)),
    )


def _to_be_violated(promise: str, violated: Collection[str], line: int) -> Expectation:
    is_so = promise in violated
    return Expectation(
        f"violated: {promise}", is_so, "" if is_so else f"broken: {', '.join(violated) or 'none'}", line
    )


def _sought(header: history.Header, judgements: Judgements) -> Iterator[tuple[KnownIssue, bool]]:
    """Yield the known issues that were looked for or found.

    An entry of a --known file is looked for where its promise is exercised and it counts; what depends on timing
    never is. A quirk of the profile is one issue, whatever it breaks: it is looked for by a story that names it, and found by
    any story in which something is known as it.
    """
    exercised = [one for one in judgements.verdicts if one.verdict != "not_exercised"]
    if not header.known_lenient:
        for entry in header.deviations:
            covered = [one for one in exercised if entry.covers(one.promise, header.name)]
            if covered and not entry.timing:
                yield _issue(entry), any(one.verdict == "known" for one in covered)
    if judgements.profile == "upstream":
        for quirk in quirks.QUIRKS:
            found = any(_is_found(quirk.id, one, header) for one in exercised)
            named = header.known.get(quirk.id, ())
            looked_for = not (quirk.timing or header.known_lenient) and any(
                one.promise in named for one in exercised
            )
            if found or looked_for:
                yield KnownIssue(quirk.id), found


def _issue(entry: Deviation) -> KnownIssue:
    return KnownIssue(entry.id, entry.promise, entry.scenario)


def _is_found(quirk: str, verdict: Verdict, header: history.Header) -> bool:
    if verdict.verdict != "known":
        return False
    named = (*header.known.get(quirk, ()), *header.may_break.get(quirk, ()))
    return quirk in {verdict.quirk, *verdict.also} or verdict.promise in named
