"""Emissions against calls: each emission is answered, each call has a cause, each failure is stored.

The promises E-*, C-*, B-live, P-arguments, P-malformed, P-missing-row, L-no-stall, L-split, R-isolated, R-stored.
"""

from dataclasses import dataclass
from typing import Any

from hydra_notify_sim import history
from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.checks.ledger import Booking, Emission, Ledger
from hydra_notify_sim.checks.verdicts import Allowed
from hydra_notify_sim.checks.world import World, called_event
from hydra_notify_sim.contract import channels


def live_promise(channel: str) -> str:
    """Return the promise that an event emitted while up is delivered."""
    if channel == "build_finished":
        return "B-live"
    return "C-live" if channel in channels.CACHED_CHANNELS else "E-live"


def gone_promise(channel: str) -> str:
    """Return the promise that an event emitted while nobody listened is never delivered."""
    return "C-gone" if channel in channels.CACHED_CHANNELS else "E-gone"


def once_promise(channel: str) -> str:
    """Return the promise that forbids a further call."""
    if channel == "build_finished":
        return "E-no-phantom"
    return "C-at-most-once" if channel in channels.CACHED_CHANNELS else "E-once"


@dataclass(slots=True)
class OpenCall:
    """A call that has not ended."""

    record: int
    plugin: str
    hook: str
    event: channels.Event | None
    booking: Booking


@dataclass(slots=True)
class _Malformed:
    record: int
    notification: history.Notification
    counted_before: float


@dataclass(slots=True)
class _Unstored:
    """A failure that must be stored before the dispatcher goes on (R-stored)."""

    raised: int
    tasks_before: tuple[history.Task, ...]
    last_attempt: bool


@dataclass(slots=True)
class Surplus:
    """A call without a cause, to be explained by a second look at the history."""

    record: int
    plugin: str
    event: channels.Event


@dataclass(slots=True)
class _Order:
    newest: int = 0
    record: int = -1
    calls: int = 0


class Deliveries:
    """Judges that each emission is answered, and each call has a cause."""

    def __init__(self, world: World, findings: Findings) -> None:
        self.world = world
        self.findings = findings
        self.ledger = Ledger(world)
        self.calls: dict[int, OpenCall] = {}
        self.surplus: list[Surplus] = []
        self._malformed: list[_Malformed] = []
        self._order: dict[str, _Order] = {}
        self._unstored: dict[tuple[str, channels.Event], _Unstored] = {}
        self._gone: list[tuple[int, str]] = []
        self._commits: dict[int, list[Emission]] = {}
        self._kicked = False
        self._answered: dict[str, int] = {}
        """Promise to the first call since the last settled moment that puts it to the test."""

    # Emissions

    def commit(self, number: int, record: history.Commit) -> None:
        """Book the notifications of a transaction."""
        emissions = [self._emit(number, record, notification) for notification in record.notifications]
        mains = [
            e.event.build for e in emissions if e is not None and isinstance(e.event, channels.BuildFinished)
        ]
        for emission in emissions:
            if emission is not None:
                event = emission.event
                emission.split = isinstance(event, channels.BuildFinished) and mains.count(event.build) > 1
        if self.world.phase == "starting":
            # A mark that appears before the scan is found by it.
            self.ledger.marks_allow_calls(outcome.build for outcome in record.outcomes if outcome.pending)
        self._commits[number] = [emission for emission in emissions if emission is not None]
        self._rows_changed(record)

    def _emit(
        self, number: int, record: history.Commit, notification: history.Notification
    ) -> Emission | None:
        world = self.world
        if notification.channel not in channels.CHANNELS:
            return None
        lenient = False
        try:
            event = channels.parse(notification.channel, notification.payload, world.header.payloads)
            written = channels.format_payload(event, world.header.payloads)
            lenient = written != notification.payload and channels.BEYOND_ANY_ID not in fields_of(event)
        except channels.MalformedPayloadError:
            trimmed = notification.payload.rstrip("\t\n")
            try:
                event = channels.parse(notification.channel, trimmed, world.header.payloads)
                lenient = trimmed != notification.payload
            except channels.MalformedPayloadError:
                if world.phase in {"up", "starting"}:
                    counted = world.counters.get("malformed", 0.0)
                    self._malformed.append(_Malformed(number, notification, counted))
                return None
        emission = Emission(
            record=number,
            order=self.ledger.next_order(),
            event=event,
            owed=world.phase == "up" and not lenient,
            allowed=world.phase in {"up", "starting"},
            busy=record.busy,
            lenient=lenient,
            missing=set(notification.missing),
            unfinished=isinstance(event, channels.BuildFinished) and event.build in world.unfinished,
            after_reconnect=world.reconnected,
        )
        if emission.allowed:
            self.ledger.emit(emission)
        else:
            self._nobody_listened(number, event)
        return emission

    def _nobody_listened(self, number: int, event: channels.Event) -> None:
        if event.channel == "build_finished":
            return
        hooked = [plugin for plugin, hooks in self.world.header.plugins.items() if event.channel in hooks]
        if not hooked:
            return
        promise = gone_promise(event.channel)
        self._gone.append((number, promise))
        what = f"{self.world.event(event)} for {', '.join(hooked)}: nobody listened; {promise} allows it"
        self.findings.allow(
            Allowed("lost", what, promise, (number,), hook=event.channel, build=getattr(event, "build", None))
        )

    def committed(self, record: history.Committed) -> None:
        """Take back what a refused transaction would have sent; allow what came up while it committed."""
        for emission in self._commits.pop(record.commit, []):
            if not record.ok:
                account = self.ledger.accounts.get(emission.event)
                if account is not None and emission in account.emissions:
                    account.emissions.remove(emission)
                continue
            if self.world.phase != "up":
                emission.owed = False
            if not emission.allowed and self.world.phase in {"up", "starting"}:
                emission.allowed = True
                self.ledger.emit(emission)

    def _rows_changed(self, record: history.Commit) -> None:
        changed = {f"{row.table}:{row.id}": row.change for row in record.rows if row.change != "updated"}
        if not changed and not record.restarted:
            return
        for emission in self.ledger.open_emissions():
            if emission.record >= 0 and emission.event.channel == "build_finished":
                emission.unfinished |= getattr(emission.event, "build", None) in record.restarted
            for row in rows_named(emission.event):
                if changed.get(row) == "inserted":
                    emission.missing.discard(row)
                elif changed.get(row) == "deleted":
                    emission.missing.add(row)

    # Calls

    def called(self, number: int, record: history.Called) -> None:
        """Book a call, and judge its cause."""
        self._goes_on(number)
        event = called_event(record.hook, record.args)
        if event is None:
            self.calls[record.call] = OpenCall(number, record.plugin, record.hook, None, Booking("surplus"))
            self.findings.violate(
                "P-arguments",
                f"{record.plugin}'s {record.hook} should be called with the rows that the payload names; "
                f"it was called with {', '.join(record.args) or 'nothing'}, from which no event can be read.",
                [number],
            )
            return
        booking = self.ledger.call(record.plugin, event)
        self.calls[record.call] = OpenCall(number, record.plugin, record.hook, event, booking)
        match booking.cause:
            case "emission":
                self._answers(number, record, booking)
            case "surplus":
                self._without_cause(number, record, event)
            case "retry":
                self._retries(number, record, event, booking)
            case _:
                pass
        self._tested("E-no-phantom", number)

    def _answers(self, number: int, record: history.Called, booking: Booking) -> None:
        emission = booking.emission
        assert emission is not None
        self._tested("P-arguments", number)
        self._tested(once_promise(record.hook), number)
        if emission.lenient:
            self.findings.report(
                f"delivered, though the manual leaves open whether it must be: {self.world.event(emission.event)} (record {number})"
            )
        if emission.missing:
            self.findings.violate(
                "P-missing-row",
                f"{self.world.event(emission.event)} names {', '.join(sorted(emission.missing))}, which does not exist: no plugin "
                f"should be called with a part of the arguments; {record.plugin} was called.",
                [emission.record, number],
            )
        order = self._order.setdefault(record.plugin, _Order())
        if booking.certain:
            if order.calls and emission.order < order.newest:
                self.findings.violate(
                    "E-order",
                    f"{record.plugin} should be called in commit order; {self.world.event(emission.event)} was committed before "
                    "the event of the previous call, and came after it.",
                    [emission.record, order.record, number],
                )
            order.calls += 1
            if emission.order > order.newest:
                order.newest, order.record = emission.order, number
            if order.calls > 1:
                self._tested("E-order", number)

    def _retries(self, number: int, record: history.Called, event: channels.Event, booking: Booking) -> None:
        if booking.repeat:
            promise = "R-delete" if event.channel == "build_finished" else once_promise(event.channel)
            what = (
                f"{self.world.event(event)} for {record.plugin}: its task was still stored when the dispatcher was lost; "
                f"{promise} allows it"
            )
            self.findings.allow(
                Allowed(
                    "repeated",
                    what,
                    promise,
                    (number,),
                    event.channel,
                    getattr(event, "build", None),
                    record.plugin,
                )
            )
        tasks = self.world.tasks_of.get((record.plugin, event))
        if tasks:
            due = min(task.due for task in tasks)
            self.findings.exercise("R-backoff", number)
            if record.t < due - 1:
                self.findings.violate(
                    "R-backoff",
                    f"the retry of {self.world.event(event)} for {record.plugin} was due {due - record.t:.0f} s later; "
                    "it should not be tried before that.",
                    [self.world.last_observed, number],
                )

    def _without_cause(self, number: int, record: history.Called, event: channels.Event) -> None:
        world = self.world
        alike = self.ledger.resembling(record.plugin, event)
        if alike:
            self._wrong_arguments(number, record, event, alike)
            return
        for malformed in self._malformed:
            if malformed.notification.channel == record.hook:
                self.findings.violate(
                    "P-malformed",
                    f"the payload {malformed.notification.payload!r} on {record.hook} is malformed and should reach no plugin; "
                    f"{record.plugin} was called for it.",
                    [malformed.record, number],
                )
                return
        if self.ledger.retried_by_others(record.plugin, event):
            self.findings.violate(
                "R-backoff",
                f"a retry of {world.event(event)} should call only the plugin that failed; {record.plugin}, which had not, was called too.",
                [number],
            )
        self.surplus.append(Surplus(number, record.plugin, event))

    def _wrong_arguments(
        self, number: int, record: history.Called, event: channels.Event, alike: list[Emission]
    ) -> None:
        world = self.world
        emission = alike[0]
        emission.answered.add(record.plugin)
        explanation = (
            f"{record.plugin} should be called with what the payload names, {world.event(emission.event)}; "
            f"it was called with {world.event(event)}."
        )
        proof = [emission.record, number]
        self.findings.violate("P-arguments", explanation, proof)
        if isinstance(event, channels.BuildFinished):
            self.findings.violate("B-dependents", explanation, proof)
            if emission.split:
                for part in alike:
                    part.answered.add(record.plugin)
                self.findings.violate("L-split", explanation, proof)
        if emission.missing:
            self.findings.violate(
                "P-missing-row",
                f"{world.event(emission.event)} names {', '.join(sorted(emission.missing))}, which does not exist: no plugin should "
                f"be called with a part of the arguments; {record.plugin} was called with {world.event(event)}.",
                proof,
            )

    def returned(self, record: history.Returned) -> OpenCall | None:
        """Book a success; the call is closed and returned."""
        call = self.calls.pop(record.call, None)
        if call is not None and call.event is not None:
            self.ledger.returned(call.plugin, call.event, call.booking)
        return call

    def raised(self, number: int, record: history.Raised) -> OpenCall | None:
        """Book a failure; it must be stored before the dispatcher goes on."""
        call = self.calls.pop(record.call, None)
        if call is not None and call.event is not None and call.booking.cause != "surplus":
            self.ledger.raised(call.plugin, call.event, call.booking, record.t, number)
            key = (call.plugin, call.event)
            before = tuple(self.world.tasks_of.get(key, ()))
            last = call.booking.cause == "retry" and any(task.attempts >= 101 for task in before)
            self._unstored[key] = _Unstored(number, before, last)
        return call

    def cut_off(self, record: history.CutOff) -> OpenCall | None:
        """Close a call that was cut off."""
        return self.calls.pop(record.call, None)

    # The dispatcher goes on, or is lost

    def _goes_on(self, number: int) -> None:
        for key, failure in self._unstored.items():
            self.findings.exercise("R-stored", number)
            if self._was_stored(key, failure):
                continue
            plugin, event = key
            self.findings.violate(
                "R-stored",
                f"the failure of {plugin} on {self.world.event(event)} should be stored in taskretries before the dispatcher goes on; "
                "it went on, and no task says so.",
                [failure.raised, self.world.last_observed, number],
            )
        self._unstored.clear()

    def _was_stored(self, key: tuple[str, channels.Event], failure: _Unstored) -> bool:
        tasks = self.world.tasks_of.get(key, ())
        if failure.last_attempt:
            return len(tasks) < len(failure.tasks_before)
        before = {task.id: task.attempts for task in failure.tasks_before}
        return any(task.attempts > before.get(task.id, 0) for task in tasks)

    def lost(self, number: int, record: history.AnyRecord) -> None:
        """Settle accounts at the end of a life or of a connection: what was under way is owed no more."""
        if isinstance(record, history.Stopped):
            self._goes_on(number)
        for key, failure in self._unstored.items():
            if self._was_stored(key, failure):
                self.findings.exercise("R-stored", failure.raised)
        self._unstored.clear()
        self._order.clear()
        self._answered.clear()
        self._malformed.clear()
        for emission in self.ledger.open_emissions():
            self._lost_on_the_way(number, emission)
            emission.owed = False

    def _lost_on_the_way(self, number: int, emission: Emission) -> None:
        event = emission.event
        if event.channel == "build_finished" or not emission.owed:
            return
        missed = [p for p in self.world.interested(event.channel) if p not in emission.answered]
        if missed:
            promise = live_promise(event.channel)
            what = (
                f"{self.world.event(event)} for {', '.join(missed)}: the dispatcher was lost before it had settled; "
                f"{promise} allows it"
            )
            self.findings.allow(
                Allowed(
                    "lost",
                    what,
                    promise,
                    (emission.record, number),
                    event.channel,
                    getattr(event, "build", None),
                )
            )

    def begins(self, record: history.AnyRecord) -> None:
        """Allow what a start, or a reconnection, has a cause for."""
        del record
        self.ledger.stored_tasks_allow_calls()
        self.ledger.marks_allow_calls(self.world.marks)

    def kicked(self) -> None:
        """Remember that the harness woke the dispatcher: no stall can be seen any more."""
        self._kicked = True

    # Settled

    def settled(self, number: int, *, in_time: bool) -> None:
        """Judge every open emission: answered, its failure stored, or given up."""
        if self.world.phase == "up":
            self._goes_on(number)
            for emission in self.ledger.open_emissions():
                if emission.owed:
                    self._judge(number, emission)
            self._judge_failures(number)
            if in_time:
                self._judge_malformed(number)
        if in_time and self.world.phase == "up":
            for promise, first in self._answered.items():
                self.findings.exercise(promise, first)
            self._answered.clear()
            for commit, promise in self._gone:
                self.findings.exercise(promise, commit)
            self._gone.clear()
            self.ledger.close_settled()
            self._kicked = False

    def _judge(self, number: int, emission: Emission) -> None:
        event = emission.event
        interested = self.world.interested(event.channel)
        if not interested:
            return
        if event.channel == "build_finished" and emission.unfinished:
            return
        missed = [p for p in interested if p not in emission.answered and not self._stored(p, emission)]
        promises = self._promises(emission, interested)
        for promise in promises:
            self.findings.exercise(promise, emission.record)
        if not missed:
            return
        what = self.world.event(event)
        explanation = (
            f"{what} was emitted while the dispatcher was up, and it has settled since: "
            f"{', '.join(missed)} should have been called, and was not."
        )
        proof = [emission.record, number]
        if emission.missing:
            explanation = (
                f"{what} names {', '.join(sorted(emission.missing))}, which does not exist: a failed execution should be stored for "
                f"{', '.join(missed)} as for every interested plugin; it is not."
            )
        for promise in promises:
            if promise != "R-isolated" or emission.failed:
                self.findings.violate(promise, explanation, proof)
        for malformed in self._malformed:
            if malformed.record <= emission.record:
                self.findings.violate(
                    "P-malformed",
                    f"a malformed payload should stop nothing; after {malformed.notification.payload!r}, {what} was not delivered.",
                    [malformed.record, *proof],
                )

    def _stored(self, plugin: str, emission: Emission) -> bool:
        account = self.ledger.accounts[emission.event]
        balance = account.balance(plugin)
        return self.ledger.tasks((plugin, emission.event)) > balance.failed

    def _promises(self, emission: Emission, interested: list[str]) -> list[str]:
        promises = [live_promise(emission.event.channel)]
        if emission.missing:
            promises.append("P-missing-row")
        if emission.split:
            promises.append("L-split")
        if emission.busy and not self._kicked:
            promises.append("L-no-stall")
        if emission.after_reconnect:
            promises.append("L-reconnect")
        if emission.failed and len(interested) > 1:
            promises.append("R-isolated")
        if isinstance(emission.event, channels.BuildFinished) and emission.event.dependents:
            promises.append("B-dependents")
        return promises

    def _judge_failures(self, number: int) -> None:
        for account in self.ledger.accounts.values():
            for plugin, balance in account.plugins.items():
                key = (plugin, account.event)
                if balance.failed > self.ledger.tasks(key) and self.world.has_hook(
                    plugin, account.event.channel
                ):
                    for promise in (live_promise(account.event.channel), "R-stored"):
                        self.findings.violate(
                            promise,
                            f"{plugin} failed on {self.world.event(account.event)} and has not succeeded since: a task should be stored "
                            "for it; none is.",
                            [balance.last_record, self.world.last_observed, number],
                        )

    def _judge_malformed(self, number: int) -> None:
        counted = self.world.counters.get("malformed", 0.0)
        for malformed in self._malformed:
            self.findings.exercise("P-malformed", malformed.record)
        if self._malformed and self.world.header.in_process:
            expected = self._malformed[0].counted_before + len(self._malformed)
            if counted < expected:
                self.findings.violate(
                    "P-malformed",
                    f"{len(self._malformed)} malformed notifications should have been counted; "
                    f"{counted - self._malformed[0].counted_before:.0f} were.",
                    [*(malformed.record for malformed in self._malformed), number],
                )
        self._malformed.clear()

    def _tested(self, promise: str, number: int) -> None:
        self._answered.setdefault(promise, number)


def fields_of(event: channels.Event) -> list[Any]:
    """Return an event's fields, the dependents one by one."""
    match event:
        case channels.BuildFinished(build, dependents):
            return [build, *dependents]
        case _:
            return [getattr(event, name) for name in event.__dataclass_fields__]


def rows_named(event: channels.Event) -> list[str]:
    """Return the rows that an event names, as ``table:id``."""
    match event:
        case channels.BuildFinished(build, dependents):
            return [f"builds:{id_}" for id_ in (build, *dependents)]
        case channels.BuildQueued(build) | channels.BuildStarted(build):
            return [f"builds:{build}"]
        case channels.StepFinished(build, step, _):
            return [f"buildsteps:{build}/{step}"]
        case channels.CachedBuildFinished(evaluation, build) | channels.CachedBuildQueued(evaluation, build):
            return [f"jobsetevals:{evaluation}", f"builds:{build}"]
        case channels.EvalAdded(_, jobset, evaluation) | channels.EvalCached(_, jobset, evaluation):
            return [f"jobsets:{jobset}", f"jobsetevals:{evaluation}"]
        case channels.EvalStarted(_, jobset) | channels.EvalFailed(_, jobset):
            return [f"jobsets:{jobset}"]
