"""Reads a history once and gives a verdict for every promise, under a profile."""

import bisect
import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from hydra_notify_sim import history
from hydra_notify_sim.checks.circumstances import Circumstances
from hydra_notify_sim.checks.deliveries import Deliveries, Surplus, gone_promise, once_promise
from hydra_notify_sim.checks.events import read
from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.checks.life import Life
from hydra_notify_sim.checks.outcomes import Outcomes
from hydra_notify_sim.checks.retries import Retries
from hydra_notify_sim.checks.simulated import Simulated
from hydra_notify_sim.checks.tapped import Tapped
from hydra_notify_sim.checks.verdicts import Judgements, Verdict
from hydra_notify_sim.checks.world import LISTENING, World
from hydra_notify_sim.contract import channels, deviations, profiles, promises

HELD_MOST = 10_000
"""Records that are held back, at most, until it is known whether a transaction was refused."""


def judge(source: history.Source, profile: profiles.Profile | None = None) -> Judgements:
    """Judge a history; ``profile`` overrides the one its header names.

    Time and memory: linear in the records, and flat beyond what is open. Only calls without a cause make it
    look at the history a second time.

    Raises:
        UnknownProfileError: the header names a profile that does not exist.
        HistoryFileError: the history is in a file, and that is damaged.

    """
    chosen = profile or profiles.named(source.header.profile)
    if source.header.tap:
        return _judgements(source.header, chosen, _tapped(source))
    reader = Reader(source.header, chosen)
    for number, record in that_happened(source):
        reader.read(number, record)
    return reader.judgements(source)


def _tapped(source: history.Source) -> Findings:
    findings = Findings()
    reader = Tapped(source.header, findings)
    for number, record in enumerate(source):
        reader.read(number, record)
    reader.end()
    return findings


def that_happened(records: Iterable[history.AnyRecord]) -> Iterator[tuple[int, history.AnyRecord]]:
    """Yield the records with their numbers, without the transactions that the server refused.

    What follows on a COMMIT is held back until it has returned; a COMMIT that never does counts as having
    happened, as does one that is still under way after `HELD_MOST` records.
    """
    held = HeldBack()
    for number, record in enumerate(records):
        yield from held.take(number, record)
    yield from held.rest()


Numbered = tuple[int, history.AnyRecord]


class HeldBack:
    """What is held back of a history: each record that is put in brings out those that are known to have happened."""

    def __init__(self) -> None:
        self._held: deque[Numbered] = deque()
        self._open: set[int] = set()
        self._refused: set[int] = set()

    def take(self, number: int, record: history.AnyRecord) -> Iterable[Numbered]:
        """Take a record in, and return what is let go."""
        if isinstance(record, history.Commit):
            self._open.add(number)
        elif isinstance(record, history.Committed):
            self._open.discard(record.commit)
            if not record.ok:
                self._refused.add(record.commit)
        elif not self._held:
            return ((number, record),)
        self._held.append((number, record))
        if self._open and len(self._held) <= HELD_MOST:
            return ()
        self._open.clear()
        return self.rest()

    def rest(self) -> Iterable[Numbered]:
        """Let all go."""
        held, self._held = self._held, deque()
        return _without(self._refused, held) if self._refused else held


def _without(refused: set[int], held: Iterable[Numbered]) -> Iterator[Numbered]:
    for number, record in held:
        if number in refused or (isinstance(record, history.Committed) and record.commit in refused):
            continue
        yield number, record


class Reader:
    """Shows each record to every family of checks, in the order in which they build on each other."""

    def __init__(self, header: history.Header, profile: profiles.Profile) -> None:
        self.findings = Findings()
        self._header = header
        self._profile = profile
        self.world = World(header)
        self.deliveries = Deliveries(self.world, self.findings)
        self.outcomes = Outcomes(self.world, self.findings, profile)
        self.retries = Retries(self.world, self.findings, self.deliveries, self.outcomes.given_up)
        self.life = Life(self.world, self.findings, self.deliveries, self.outcomes)
        self.simulated = Simulated(self.world, self.findings)
        self._circumstances = Circumstances(self.world) if profile == "upstream" else None
        self._readers: dict[type, Callable[[int, Any], None]] = {
            history.Called: self._called,
            history.Returned: self._returned,
            history.Raised: self._raised,
            history.CutOff: self._cut_off,
            history.Commit: self._commit,
            history.Committed: self._committed,
            history.Observed: self._observed,
            history.Settled: self._settled,
            history.NotSettled: self._settled,
            history.Kicked: self._kicked,
            history.Starting: self._starting,
            history.ServerOpened: self._starting,
            history.Up: self._up,
            history.Crashed: self._lost,
            history.Stopping: self._stopping,
            history.Stopped: self._stopped,
            history.Ended: self._ended,
            history.Disconnected: self._disconnected,
        }

    def read(self, number: int, record: history.AnyRecord) -> None:
        """Take one record in."""
        self.world.now = record.t
        self._readers.get(type(record), self._other)(number, record)
        if self._circumstances is not None:
            self._circumstances.take(record)

    def _other(self, number: int, record: history.AnyRecord) -> None:
        self.world.update(number, record)

    def _called(self, number: int, record: history.Called) -> None:
        call = self.deliveries.called(number, record)
        self.outcomes.called(number, record, call)
        self.life.called(number, call)

    def _returned(self, number: int, record: history.Returned) -> None:
        call = self.deliveries.returned(record)
        if call is not None:
            self.outcomes.returned(number, record, call)
            self.retries.returned(number, call)

    def _raised(self, number: int, record: history.Raised) -> None:
        call = self.deliveries.raised(number, record)
        if call is not None:
            self.outcomes.raised(number, record, call)
            self.retries.raised(number, record, call)

    def _cut_off(self, number: int, record: history.CutOff) -> None:
        self.life.cut_off()
        self.outcomes.cut_off(number, record, self.deliveries.cut_off(record))

    def _commit(self, number: int, record: history.Commit) -> None:
        self.retries.commit(record)
        self.world.update(number, record)
        self.simulated.commit(number, record)
        self.outcomes.commit(number, record)
        self.deliveries.commit(number, record)

    def _committed(self, number: int, record: history.Committed) -> None:
        commit = self.world.in_flight.get(record.commit)
        self.world.update(number, record)
        if commit is not None:
            self.outcomes.committed(number, commit, record.commit)
            self.deliveries.committed(number, record)

    def _observed(self, number: int, record: history.Observed) -> None:
        self.world.update(number, record)
        self.retries.observed(number)
        self.deliveries.failures.observed(number)
        self.outcomes.observed(number)

    def _kicked(self, number: int, record: history.Kicked) -> None:
        del record
        self.deliveries.kicked(number)

    def _settled(self, number: int, record: history.Settled | history.NotSettled) -> None:
        in_time = isinstance(record, history.Settled)
        if isinstance(record, history.NotSettled):
            self.life.not_settled(number, record)
        self.deliveries.settled(number, in_time=in_time)
        self.retries.settled(number, in_time=in_time)
        if in_time and self.world.phase == "up":
            self.outcomes.settled(number)
            self.life.settled(number)

    def _starting(self, number: int, record: history.Starting | history.ServerOpened) -> None:
        self.world.update(number, record)
        if self.world.phase == "starting":
            self._begins(number, record)

    def _up(self, number: int, record: history.Up) -> None:
        self.world.update(number, record)
        self.life.came_up()

    def _stopping(self, number: int, record: history.Stopping) -> None:
        del record
        self.life.stopping(number)

    def _stopped(self, number: int, record: history.Stopped) -> None:
        self.life.stopped(number, record)
        self._lost(number, record)

    def _ended(self, number: int, record: history.Ended) -> None:
        self.life.ended(number, record)
        self.retries.ended(number)
        self._lost(number, record)

    def _disconnected(self, number: int, record: history.Disconnected) -> None:
        self.life.disconnected(number, record)
        self._lost(number, record)
        if not record.server_closed:
            self._begins(number, record)

    def _lost(self, number: int, record: history.AnyRecord) -> None:
        self.deliveries.lost(number, record)
        self.outcomes.lost()
        self.world.update(number, record)

    def _begins(self, number: int, record: history.AnyRecord) -> None:
        self.deliveries.begins(self.outcomes.marked | self.world.marks.keys())
        self.outcomes.begins(number)
        self.retries.begins(record)
        self.life.begins(number, record)

    def judgements(self, source: history.Source) -> Judgements:
        """Return the verdicts on all that was read; ``source`` is where that stands, to be looked at again."""
        self.explain_surplus(source)
        return _judgements(self._header, self._profile, self.findings, self._circumstances)

    def explain_surplus(self, source: history.Source) -> None:
        """Look again for what each call without a cause repeats, or what it should not have been told."""
        if not self.deliveries.surplus:
            return
        emitted: dict[channels.Event, list[tuple[int, bool]]] = {s.event: [] for s in self.deliveries.surplus}
        world = World(source.header)
        for number, record in that_happened(source):
            if isinstance(record, history.Commit):
                for notification in record.notifications:
                    event = read(notification.channel, notification.payload, source.header.payloads)[0]
                    if event in emitted:
                        emitted[event].append((number, world.phase in LISTENING))
            elif not isinstance(record, history.Observed):
                world.update(number, record)
        for surplus in self.deliveries.surplus:
            found = emitted[surplus.event]
            count = bisect.bisect_left(found, (surplus.record, False))
            self._explain(surplus, count, found[max(0, count - 3) : count])

    def _explain(self, surplus: Surplus, count: int, latest: Sequence[tuple[int, bool]]) -> None:
        what = self.world.event(surplus.event)
        channel = surplus.event.channel
        proof = [*(number for number, _ in latest), surplus.record]
        if not latest and surplus.malformed is not None:
            record, payload = surplus.malformed
            promise = "P-malformed"
            explanation = f"the payload {payload!r} on {channel} is malformed and should reach no plugin; {surplus.plugin} was called for it."
            proof.append(record)
        elif not latest:
            promise = "E-no-phantom"
            explanation = f"{surplus.plugin} should be called only for a cause; it was called with {what}, which nobody had emitted."
        elif channel != "build_finished" and not latest[-1][1]:
            promise = gone_promise(channel)
            explanation = f"{what} was emitted while no dispatcher was up or starting and should never be delivered; {surplus.plugin} was called for it."
        else:
            promise = once_promise(channel)
            explanation = (
                f"{what} was emitted {'once' if count == 1 else f'{count} times'}, and every call that this allows {surplus.plugin} had "
                "been made; it was called once more."
            )
        self.findings.exercise(promise, surplus.record)
        self.findings.violate(promise, explanation, proof)


def _judgements(
    header: history.Header,
    profile: profiles.Profile,
    findings: Findings,
    circumstances: Circumstances | None = None,
) -> Judgements:
    known_as = functools.partial(_known_as, header, profile, circumstances)
    not_judged = (
        f"{promise}, not judged under profile {profile}: {violations[0][0]}"
        for promise, violations in findings.violations.items()
        if not profiles.judged(profile, promise)
    )
    return Judgements(
        tuple(_verdict(promise, findings, profile, known_as) for promise in promises.PROMISES),
        tuple(findings.allowed),
        (*findings.reported, *not_judged),
        profile,
    )


def _verdict(
    promise: promises.Promise,
    findings: Findings,
    profile: profiles.Profile,
    known_as: Callable[[str], tuple[str, ...]],
) -> Verdict:
    violations = findings.violations.get(promise.id, [])
    count, first = findings.exercised.get(promise.id, (0, -1))
    if violations and profiles.judged(profile, promise.id):
        explanation, records = violations[0]
        more = len(violations) - 1 + findings.further.get(promise.id, 0)
        if more:
            explanation += f" ({more} more of this kind.)"
            records = tuple(sorted({number for _, proof in violations for number in proof}))
        quirk, *others = known_as(promise.id) or ("",)
        if others:
            explanation += f" ({quirk} explains it, and so would {' or '.join(others)}.)"
        return Verdict(
            promise.id,
            "known" if quirk else "violated",
            explanation,
            records,
            quirk,
            max(count, 1),
            also=tuple(others),
        )
    if count:
        times = "once" if count == 1 else f"{count} times"
        note = f" Broken, and not judged under profile {profile}: {violations[0][0]}" if violations else ""
        return Verdict(
            promise.id,
            "held",
            f"put to the test {times}.{note}",
            (first,),
            exercised=count,
            reported=bool(violations),
        )
    return Verdict(promise.id, "not_exercised", "nothing in this run put it to the test.", ())


def _known_as(
    header: history.Header, profile: profiles.Profile, circumstances: Circumstances | None, promise: str
) -> tuple[str, ...]:
    """Return the ids of the known deviations that a violation may be, or nothing.

    Under profile ``upstream`` the quirks that the scenario itself names come first; then what the maintainer
    knows; then all quirks that break the promise and can have been at work in this history.
    """
    mine = deviations.explaining(promise, header.name, header.deviations)
    if profile != "upstream":
        return mine
    named = tuple(
        dict.fromkeys(
            quirk
            for known in (header.known, header.may_break)
            for quirk, broken in known.items()
            if promise in broken
        )
    )
    at_work = (
        one for one in deviations.UPSTREAM if circumstances is not None and circumstances.met(one.id, promise)
    )
    return named or mine or deviations.explaining(promise, header.name, at_work)
