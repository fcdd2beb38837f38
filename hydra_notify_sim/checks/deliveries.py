"""Emissions against calls: each emission is answered, and each call has a cause.

The promises E-*, C-*, B-live, P-arguments, P-missing-row, L-no-stall, L-split, R-isolated.
"""

from dataclasses import dataclass

from hydra_notify_sim import history
from hydra_notify_sim.checks.events import called_event, read_leniently
from hydra_notify_sim.checks.failures import Failures
from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.checks.ledger import SURPLUS, Booking, Emission, Ledger
from hydra_notify_sim.checks.malformed import Malformed
from hydra_notify_sim.checks.verdicts import Allowed
from hydra_notify_sim.checks.world import LISTENING, World, row_id
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
class Surplus:
    """A call without a cause, to be explained by a second look at the history."""

    record: int
    plugin: str
    event: channels.Event
    malformed: tuple[int, str] | None = None
    """Record and payload of a malformed notification that may be what it was called for."""


@dataclass(slots=True)
class _Order:
    newest: Emission | None = None
    call: int = -1
    calls: int = 0


class Deliveries:
    """Judges that each emission is answered, and each call has a cause."""

    def __init__(self, world: World, findings: Findings) -> None:
        self.world = world
        self.findings = findings
        self.ledger = Ledger(world)
        self.failures = Failures(world, findings)
        self.malformed = Malformed(world, findings)
        self.calls: dict[int, OpenCall] = {}
        self.surplus: list[Surplus] = []
        self._unexplained: list[Surplus] = []
        """Those since all was last settled."""
        self._order: dict[str, _Order] = {}
        self._gone: list[tuple[int, str]] = []
        self._commits: dict[int, list[Emission]] = {}
        """Number of the record in which the harness last woke the dispatcher."""
        self._answered: dict[str, int] = {}
        """Promise to the first call since the last settled moment that puts it to the test."""

    # Emissions

    def commit(self, number: int, record: history.Commit) -> None:
        """Book the notifications of a transaction."""
        emissions: list[Emission] = []
        for notification in dict.fromkeys(record.notifications):
            if notification.channel in channels.CHANNELS:
                emission = self._emit(number, record, notification)
                if emission is not None:
                    emission.place = len(emissions)
                    emissions.append(emission)
        if len(emissions) > 1:
            mains = [e.event.build for e in emissions if isinstance(e.event, channels.BuildFinished)]
            for emission in emissions if len(set(mains)) < len(mains) else ():
                event = emission.event
                emission.split = isinstance(event, channels.BuildFinished) and mains.count(event.build) > 1
        if self.world.phase == "starting":
            # A mark that appears before the scan is found by it.
            self.ledger.marks_allow_calls(outcome.build for outcome in record.outcomes if outcome.pending)
        self._commits[number] = emissions
        if record.rows or record.restarted:
            self._rows_changed(record)

    def _emit(
        self, number: int, record: history.Commit, notification: history.Notification
    ) -> Emission | None:
        world = self.world
        event, lenient = read_leniently(notification.channel, notification.payload, world.header.payloads)
        if event is None:
            if world.phase in LISTENING:
                self.malformed.emitted(number, notification)
            return None
        missing = frozenset(_row(text) for text in notification.missing)
        emission = Emission(
            record=number,
            event=event,
            owed=world.phase == "up" and not lenient,
            allowed=world.phase in LISTENING,
            busy=record.busy,
            lenient=lenient,
            missing=missing,
            never_there=missing,
            unfinished=isinstance(event, channels.BuildFinished) and self._may_be_unfinished(number, event),
            after_reconnect=world.reconnected,
        )
        if emission.allowed:
            self.ledger.emit(emission)
        else:
            self._nobody_listened(number, event)
        return emission

    def _may_be_unfinished(self, number: int, event: channels.BuildFinished) -> bool:
        if event.build in self.world.unfinished:
            return True
        return len(self.world.in_flight) > 1 and any(
            outcome.build == event.build
            for commit, flying in self.world.in_flight.items()
            if commit != number
            for outcome in flying.outcomes
        )

    def _nobody_listened(self, number: int, event: channels.Event) -> None:
        if event.channel == "build_finished":
            return
        plugins = self.world.header.plugins or self.world.plugins
        hooked = [plugin for plugin, hooks in plugins.items() if event.channel in hooks]
        if not hooked:
            return
        promise = gone_promise(event.channel)
        self._gone.append((number, promise))
        self._allow_loss(event, hooked, "nobody listened", promise, (number,))

    def committed(self, number: int, record: history.Committed) -> None:
        """Owe nothing that the dispatcher was lost in, and allow what came up while the transaction committed."""
        self.malformed.committed(record.commit)
        for emission in self._commits.pop(record.commit, ()):
            emission.done = number
            if self.world.phase != "up":
                emission.owed = False
            if not emission.allowed and self.world.phase in LISTENING:
                emission.allowed = True
                self.ledger.emit(emission)

    def _rows_changed(self, record: history.Commit) -> None:
        for build in record.restarted:
            for emission in self.ledger.naming("builds", str(build)):
                if emission.is_about(build):
                    emission.unfinished = True
        finished = {outcome.build for outcome in record.outcomes}
        for changed in record.rows:
            if changed.change == "inserted":
                row = frozenset({(changed.table, changed.id)})
                for emission in self.ledger.missing(changed.table, changed.id):
                    emission.missing -= row
                    emission.never_there -= row
                    build_id = row_id(changed) if changed.table == "builds" else None
                    if build_id is not None and build_id not in finished and emission.is_about(build_id):
                        emission.unfinished = True
            elif changed.change == "deleted":
                self.ledger.went_missing(changed.table, changed.id)

    # Calls

    def called(self, number: int, record: history.Called) -> OpenCall:
        """Book a call, and judge its cause."""
        event = called_event(record.hook, record.args)
        if event is None:
            self.failures.goes_on(number)
            call = self.calls[record.call] = OpenCall(number, record.plugin, record.hook, None, SURPLUS)
            self.findings.exercise("P-arguments", number)
            self.findings.violate(
                "P-arguments",
                f"{record.plugin}'s {record.hook} should be called with the rows that the payload names; "
                f"it was called with {', '.join(record.args) or 'nothing'}, from which no event can be read.",
                [number],
            )
            return call
        self.failures.goes_on(number, (record.plugin, event))
        booking = self.ledger.call(record.plugin, event)
        call = self.calls[record.call] = OpenCall(number, record.plugin, record.hook, event, booking)
        match booking.cause:
            case "emission":
                self._answers(number, record, booking)
            case "surplus":
                self._without_cause(number, record.plugin, event)
            case "retry":
                if booking.repeat:
                    self._repeats(number, record.plugin, event)
                if booking.certain:
                    self._retries(number, record, event)
            case _:
                pass
        self._tested("E-no-phantom", number)
        return call

    def _answers(self, number: int, record: history.Called, booking: Booking) -> None:
        emission = booking.emission
        assert emission is not None
        self._tested("P-arguments", number)
        self._tested(once_promise(record.hook), number)
        if emission.lenient:
            self.findings.report(
                f"delivered, though the manual leaves open whether it must be: {self.world.event(emission.event)} (record {number})"
            )
        if emission.never_there:
            self._partly(number, emission, record.plugin, emission.event)
        if booking.certain:
            self._judge_order(number, record.plugin, emission)

    def _judge_order(self, number: int, plugin: str, emission: Emission) -> None:
        order = self._order.setdefault(plugin, _Order())
        newest = order.newest
        order.calls += 1
        if order.calls > 1:
            self._tested("E-order", number)
        if newest is not None and newest.record > emission.record:
            # Transactions that were under way at the same time may have committed in either order.
            if emission.done is not None and emission.done < newest.record:
                self.findings.violate(
                    "E-order",
                    f"{plugin} should be called in commit order; {self.world.event(emission.event)} was committed before "
                    f"{self.world.event(newest.event)}, and came after it.",
                    [emission.record, newest.record, order.call, number],
                )
        elif newest is not None and newest.record == emission.record and emission.place < newest.place:
            self.findings.violate(
                "E-order",
                f"{plugin} should be called in the order of the transaction's notifications; "
                f"{self.world.event(emission.event)} stands before {self.world.event(newest.event)}, and came after it.",
                [emission.record, order.call, number],
            )
        else:
            order.newest, order.call = emission, number

    def _repeats(self, number: int, plugin: str, event: channels.Event) -> None:
        promise = "R-delete" if event.channel == "build_finished" else once_promise(event.channel)
        what = (
            f"{self.world.event(event)} for {plugin}: its task was still stored when the dispatcher was lost; "
            f"{promise} allows it"
        )
        self.findings.allow(
            Allowed(
                "repeated", what, promise, (number,), event.channel, getattr(event, "build", None), plugin
            )
        )

    def _retries(self, number: int, record: history.Called, event: channels.Event) -> None:
        tasks = self.world.tasks_of.get((record.plugin, event))
        if not tasks:
            return
        due = min(task.due for task in tasks.values())
        self.findings.exercise("R-backoff", number)
        if record.t < due - 1:
            self.findings.violate(
                "R-backoff",
                f"the retry of {self.world.event(event)} for {record.plugin} was due {due - record.t:.0f} s later; "
                "it should not be tried before that.",
                [self.world.last_observed, number],
            )

    def _without_cause(self, number: int, plugin: str, event: channels.Event) -> None:
        alike = self.ledger.resembling(plugin, event)
        if alike:
            self._wrong_arguments(number, plugin, event, alike)
            return
        if self.ledger.retried_by_others(plugin, event):
            self.findings.exercise("R-backoff", number)
            self.findings.violate(
                "R-backoff",
                f"a retry of {self.world.event(event)} should call only the plugin that failed; {plugin}, which had not, was called too.",
                [number],
            )
        surplus = Surplus(number, plugin, event, self.malformed.on(event.channel))
        self.surplus.append(surplus)
        self._unexplained.append(surplus)

    def _wrong_arguments(
        self, number: int, plugin: str, event: channels.Event, alike: list[Emission]
    ) -> None:
        emission = alike[0]
        emission.answered.add(plugin)
        explanation = (
            f"{plugin} should be called with what the payload names, {self.world.event(emission.event)}; "
            f"it was called with {self.world.event(event)}."
        )
        broken = ["P-arguments"]
        if isinstance(event, channels.BuildFinished):
            broken.append("B-dependents")
            if emission.split:
                for part in alike:
                    part.answered.add(plugin)
                broken.append("L-split")
        for promise in broken:
            self.findings.exercise(promise, number)
            self.findings.violate(promise, explanation, [emission.record, number])
        if emission.missing:
            self._partly(number, emission, plugin, event)

    def _partly(self, number: int, emission: Emission, plugin: str, event: channels.Event) -> None:
        missing = ", ".join(f"{table}:{id_}" for table, id_ in sorted(emission.missing))
        self.findings.exercise("P-missing-row", number)
        self.findings.violate(
            "P-missing-row",
            f"{self.world.event(emission.event)} names {missing}, which does not exist: no plugin should be called with a part of "
            f"the arguments; {plugin} was called with {self.world.event(event)}.",
            [emission.record, number],
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
            # While it has not noticed that its connections are gone it cannot store anything.
            owed = not self.world.reconnecting
            self.ledger.raised(call.plugin, call.event, call.booking, number, owed=owed)
            retried = call.booking.maybe_retry
            self.failures.failed(number, (call.plugin, call.event), retried=retried)
        return call

    def cut_off(self, record: history.CutOff) -> OpenCall | None:
        """Close a call that was cut off."""
        return self.calls.pop(record.call, None)

    def deleted_by_person(self, plugin: str, event: channels.Event, *, retried: bool, inserted: bool) -> None:
        """Take in that a person has deleted a task.

        ``retried``: a call that has returned may have been its retry; ``inserted``: a person had inserted it, too.
        """
        # A task whose retry has begun is the cause of that call, and answers for no emission beside it.
        begun = retried or any(
            (call.plugin, call.event, call.booking.cause) == (plugin, event, "retry")
            for call in self.calls.values()
        )
        if not begun:
            self.ledger.given_up(plugin, event, inserted=inserted)
        self.failures.deleted_by_person((plugin, event))

    # The dispatcher is lost, or begins

    def lost(self, number: int, record: history.AnyRecord) -> None:
        """Settle accounts at the end of a life or of a connection: what was under way is owed no more."""
        if isinstance(record, history.Stopped) and record.exit_status == 0:
            # One that the signal has killed did not go on: it counts as crashed, and L-stop says so.
            self.failures.goes_on(number)
        self.failures.lost()
        self.malformed.lost(number, by_itself=isinstance(record, history.Ended))
        self._order.clear()
        self._answered.clear()
        for emission in self.ledger.owed():
            missed = [p for p in self.world.interested(emission.event.channel) if p not in emission.answered]
            if missed and emission.event.channel != "build_finished":
                why = "the dispatcher was lost before it had settled"
                promise = live_promise(emission.event.channel)
                self._allow_loss(emission.event, missed, why, promise, (emission.record, number))
            emission.owed = False

    def _allow_loss(
        self, event: channels.Event, plugins: list[str], why: str, promise: str, proof: tuple[int, ...]
    ) -> None:
        what = f"{self.world.event(event)} for {', '.join(plugins)}: {why}; {promise} allows it"
        build = getattr(event, "build", None)
        self.findings.allow(Allowed("lost", what, promise, proof, event.channel, build))

    def begins(self, marks: set[int]) -> None:
        """Allow what a start, or a reconnection, has a cause for: stored tasks, and the builds with marks."""
        self.ledger.stored_tasks_allow_calls()
        self.ledger.marks_allow_calls(sorted(marks))

    def kicked(self, number: int) -> None:
        """Remember that the harness woke the dispatcher: of what is delivered only now, no stall can be seen."""
        self.ledger.kicked = number

    # Settled

    def settled(self, number: int, *, in_time: bool) -> None:
        """Judge every open emission: answered, its failure stored, or given up.

        When the deadline passed before the dispatcher settled, what it has not done by then is judged all the
        same, unless a plugin keeps it waiting.
        """
        if self.world.phase != "up" or (self.calls and not in_time):
            return
        if in_time:
            self.failures.goes_on(number)
        for emission in self.ledger.owed():
            if emission.record not in self.world.in_flight:
                self._judge(number, emission)
        for plugin, event, balance in list(self.ledger.unstored()):
            if self.world.has_hook(plugin, event.channel):
                promise = live_promise(event.channel)
                self.failures.never_stored(number, (plugin, event), balance, promise)
        if not in_time:
            return
        self.malformed.settled(number)
        self.failures.settled()
        for promise, first in self._answered.items():
            self.findings.exercise(promise, first)
        self._answered.clear()
        for commit, promise in self._gone:
            self.findings.exercise(promise, commit)
        self._gone.clear()
        self._unexplained.clear()
        self.ledger.close_settled()

    def _judge(self, number: int, emission: Emission) -> None:
        event = emission.event
        interested = self.world.interested(event.channel)
        if not interested or emission.unfinished:
            return
        missed = [p for p in interested if p not in emission.answered and not self._stored(p, emission)]
        for promise in self._promises(emission, interested, missed):
            self.findings.exercise(promise, emission.record)
            if missed and (promise != "R-isolated" or emission.failed):
                self._missed(promise, number, emission, missed)
        if missed:
            self._called_otherwise(emission, missed)
            self.malformed.stopped_delivery(
                emission.record, self.world.event(event), [emission.record, number]
            )

    def _called_otherwise(self, emission: Emission, missed: list[str]) -> None:
        """Take a call that nothing caused for the one that is missing: it was made with the arguments of no event."""
        for plugin in missed:
            for place, surplus in enumerate(self._unexplained):
                if surplus.plugin == plugin and surplus.event.channel == emission.event.channel:
                    del self._unexplained[place]
                    self.findings.exercise("P-arguments", surplus.record)
                    self.findings.violate(
                        "P-arguments",
                        f"{plugin} should be called with what the payload names, {self.world.event(emission.event)}; "
                        f"it was called with {self.world.event(surplus.event)}.",
                        [emission.record, surplus.record],
                    )
                    break

    def _missed(self, promise: str, number: int, emission: Emission, missed: list[str]) -> None:
        what = self.world.event(emission.event)
        explanation = f"{what} was emitted while the dispatcher was up: by now {', '.join(missed)} should have been called, and was not."
        if emission.missing:
            rows = ", ".join(f"{table}:{id_}" for table, id_ in sorted(emission.missing))
            explanation = (
                f"{what} names {rows}, which does not exist: a failed execution should be stored for "
                f"{', '.join(missed)} as for every interested plugin; it is not."
            )
        self.findings.violate(promise, explanation, [emission.record, number])

    def _stored(self, plugin: str, emission: Emission) -> bool:
        balance = self.ledger.accounts[emission.event].balance(plugin)
        return self.ledger.tasks((plugin, emission.event)) > balance.failed

    def _promises(self, emission: Emission, interested: list[str], missed: list[str]) -> list[str]:
        promises = [live_promise(emission.event.channel)]
        if emission.missing:
            promises.append("P-missing-row")
        if emission.split:
            promises.append("L-split")
        if emission.busy and not (emission.kicked or (missed and emission.record < self.ledger.kicked)):
            promises.append("L-no-stall")
        if emission.after_reconnect:
            promises.append("L-reconnect")
        if emission.failed and len(interested) > 1:
            promises.append("R-isolated")
        if isinstance(emission.event, channels.BuildFinished) and emission.event.dependents:
            promises.append("B-dependents")
        return promises

    def _tested(self, promise: str, number: int) -> None:
        if promise not in self._answered:
            self._answered[promise] = number


def _row(text: str) -> tuple[str, str]:
    table, _, id_ = text.partition(":")
    return table, id_
