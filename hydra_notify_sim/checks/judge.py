"""Reads a history once and gives a verdict for every promise, under a profile."""

from collections.abc import Sequence

from hydra_notify_sim import history
from hydra_notify_sim.checks.deliveries import Deliveries, OpenCall, Surplus, gone_promise, once_promise
from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.checks.life import Life
from hydra_notify_sim.checks.outcomes import Outcomes
from hydra_notify_sim.checks.retries import Retries
from hydra_notify_sim.checks.simulated import Simulated
from hydra_notify_sim.checks.verdicts import Judgements, Verdict
from hydra_notify_sim.checks.world import World
from hydra_notify_sim.contract import channels, profiles, promises, quirks


def judge(source: history.Source, profile: profiles.Profile | None = None) -> Judgements:
    """Judge a history; ``profile`` overrides the one its header names.

    Time and memory: linear in the records, and flat beyond what is open. Only calls without a cause make it
    look at the history a second time.
    """
    chosen = profile or profiles.named(source.header.profile)
    reader = Reader(source.header)
    for number, record in enumerate(source):
        reader.read(number, record)
    reader.explain_surplus(source)
    findings = reader.findings
    return Judgements(
        verdicts=tuple(_verdict(promise, findings, source.header, chosen) for promise in promises.PROMISES),
        allowed=tuple(findings.allowed),
        reported=tuple(findings.reported),
    )


class Reader:
    """Shows each record to every family of checks, in the order in which they build on each other."""

    def __init__(self, header: history.Header) -> None:
        self.findings = Findings()
        self.world = World(header)
        self.deliveries = Deliveries(self.world, self.findings)
        self.outcomes = Outcomes(self.world, self.findings)
        self.retries = Retries(self.world, self.findings, self.deliveries, self._given_up)
        self.life = Life(self.world, self.findings, self.deliveries, self.outcomes)
        self.simulated = Simulated(self.world, self.findings)

    def _given_up(self, plugin: str, event: channels.Event) -> None:
        self.deliveries.ledger.given_up(plugin, event)
        self.outcomes.given_up(plugin, event)

    def read(self, number: int, record: history.AnyRecord) -> None:
        """Take one record in."""
        match record:
            case history.Called():
                self.world.update(number, record)
                self.deliveries.called(number, record)
                call = self.deliveries.calls[record.call]
                self.outcomes.called(number, record, call)
                self.life.called(number, call)
            case history.Returned() | history.Raised() | history.CutOff():
                self.world.update(number, record)
                self._call_ended(number, record)
            case history.Commit():
                self.world.update(number, record)
                self.simulated.commit(number, record)
                self.outcomes.commit(number, record)
                self.deliveries.commit(number, record)
                self.retries.commit(record)
            case history.Committed():
                self.world.update(number, record)
                self.deliveries.committed(record)
            case history.Observed():
                self.world.update(number, record)
                self.outcomes.observed(number)
                self.retries.observed(number)
            case history.Settled() | history.NotSettled():
                self._settled(number, record)
            case history.Kicked():
                self.deliveries.kicked()
            case _:
                self._life(number, record)

    def _call_ended(self, number: int, record: history.Returned | history.Raised | history.CutOff) -> None:
        call: OpenCall | None
        match record:
            case history.Returned():
                call = self.deliveries.returned(record)
                if call is not None:
                    self.outcomes.returned(number, record, call)
                    self.retries.returned(number, call)
            case history.Raised():
                call = self.deliveries.raised(number, record)
                if call is not None:
                    self.outcomes.raised(record, call)
                    self.retries.raised(number, call)
            case history.CutOff():
                self.deliveries.cut_off(record)
                self.outcomes.cut_off(record)

    def _settled(self, number: int, record: history.Settled | history.NotSettled) -> None:
        in_time = isinstance(record, history.Settled)
        if isinstance(record, history.NotSettled):
            self.life.not_settled(number, record)
        self.deliveries.settled(number, in_time=in_time)
        self.retries.settled(number)
        if in_time and self.world.phase == "up":
            self.outcomes.settled(number)
            self.life.settled(number)
        self.world.update(number, record)

    def _life(self, number: int, record: history.AnyRecord) -> None:
        match record:
            case history.Starting() | history.ServerOpened():
                self.world.update(number, record)
                self._begins(number, record)
            case history.Stopping():
                self.world.update(number, record)
                self.life.stopping(number, record)
            case history.Crashed() | history.Stopped() | history.Ended() | history.Disconnected():
                if isinstance(record, history.Stopped):
                    self.life.stopped(number, record)
                elif isinstance(record, history.Ended):
                    self.life.ended(number, record)
                elif isinstance(record, history.Disconnected):
                    self.life.disconnected(number, record)
                self.deliveries.lost(number, record)
                self.outcomes.lost()
                self.world.update(number, record)
                if isinstance(record, history.Disconnected) and not record.server_closed:
                    self._begins(number, record)
            case _:
                self.world.update(number, record)

    def _begins(self, number: int, record: history.AnyRecord) -> None:
        self.deliveries.begins(record)
        self.outcomes.begins(number)
        self.retries.begins(record)
        self.life.begins(number, record)

    def explain_surplus(self, source: history.Source) -> None:
        """Look again for what each call without a cause repeats, or what it should not have been told."""
        if not self.deliveries.surplus:
            return
        wanted: dict[channels.Event, list[tuple[int, bool]]] = {s.event: [] for s in self.deliveries.surplus}
        phase = World(source.header)
        for number, record in enumerate(source):
            if isinstance(record, history.Commit):
                for notification in record.notifications:
                    try:
                        event = channels.parse(
                            notification.channel, notification.payload, source.header.payloads
                        )
                    except channels.MalformedPayloadError:
                        continue
                    if event in wanted:
                        wanted[event].append((number, phase.phase in {"up", "starting"}))
            phase.update(number, record)
        for surplus in self.deliveries.surplus:
            self._explain(surplus, [found for found in wanted[surplus.event] if found[0] < surplus.record])

    def _explain(self, surplus: Surplus, emitted: Sequence[tuple[int, bool]]) -> None:
        what = self.world.event(surplus.event)
        channel = surplus.event.channel
        proof = [*(number for number, _ in emitted[-3:]), surplus.record]
        if not emitted:
            promise = "E-no-phantom"
            explanation = f"{surplus.plugin} should be called only for a cause; it was called with {what}, which nobody had emitted."
        elif channel != "build_finished" and not any(heard for _, heard in emitted):
            promise = gone_promise(channel)
            explanation = (
                f"{what} was emitted while no dispatcher was up or starting and should never be delivered; {surplus.plugin} was called for it."
            )
        else:
            promise = once_promise(channel)
            explanation = (
                f"{what} was emitted {len(emitted)} times, and every call that this allows {surplus.plugin} had been made; "
                "it was called once more."
            )
        self.findings.exercise(promise, surplus.record)
        self.findings.violate(promise, explanation, proof)


def _verdict(
    promise: promises.Promise, findings: Findings, header: history.Header, profile: profiles.Profile
) -> Verdict:
    violations = findings.violations.get(promise.id, [])
    if violations and profiles.judged(profile, promise.id):
        explanation, records = violations[0]
        more = len(violations) - 1 + findings.further.get(promise.id, 0)
        if more:
            explanation += f" ({more} more of this kind.)"
            records = tuple(sorted({number for _, proof in violations for number in proof}))
        quirk = _explaining_quirk(promise.id, header) if profile == "upstream" else ""
        return Verdict(promise.id, "known" if quirk else "violated", explanation, records, quirk)
    if promise.id in findings.exercised:
        count, first = findings.exercised[promise.id]
        times = "once" if count == 1 else f"{count} times"
        note = f" Broken, and not judged under profile {profile}: {violations[0][0]}" if violations else ""
        return Verdict(promise.id, "held", f"put to the test {times}.{note}", (first,))
    return Verdict(promise.id, "not_exercised", "nothing in this run put it to the test.", ())


def _explaining_quirk(promise: str, header: history.Header) -> str:
    named = [quirk for quirk, broken in header.known.items() if promise in broken]
    if named:
        return named[0]
    return next((quirk.id for quirk in quirks.QUIRKS if promise in quirk.breaks and quirk.by == "hydra-notify"), "")
