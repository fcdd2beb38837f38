"""The life of the dispatcher: the promises L-lives, L-reconnect, L-stop."""

from hydra_notify_sim import history
from hydra_notify_sim.checks.deliveries import Deliveries, OpenCall
from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.checks.outcomes import Outcomes
from hydra_notify_sim.checks.world import World
from hydra_notify_sim.contract import channels


class Life:
    """Judges how lives begin, go on, and end."""

    def __init__(self, world: World, findings: Findings, deliveries: Deliveries, outcomes: Outcomes) -> None:
        self.world = world
        self.findings = findings
        self.deliveries = deliveries
        self.outcomes = outcomes
        self._disconnected = -1
        self._came_up = False
        self._stopping = -1
        self._may_begin = 0
        """How many events may still begin after it was asked to stop."""
        self._cut_off = False
        self._current: channels.Event | None = None
        """The event of the last call, its calls, and whether it may be a retry, which calls one plugin only."""
        self._called: set[str] = set()
        self._maybe_retry = False
        self._concurrent = False
        """It works on several events at once: which one is in hand cannot be told."""

    def begins(self, number: int, record: history.AnyRecord) -> None:
        """Take in a start or a reconnection."""
        del number
        if isinstance(record, history.Starting):
            self._current = None
            self._called = set()
            self._stopping = self._disconnected = -1
            self._came_up = self._concurrent = self._cut_off = False

    def came_up(self) -> None:
        """Take in that it is up."""
        self._came_up = True

    def disconnected(self, number: int, record: history.Disconnected) -> None:
        """Judge who cut the connections."""
        self._disconnected = number
        if record.by == "dispatcher":
            self.findings.exercise("L-lives", number)
            self.findings.violate(
                "L-lives",
                "the dispatcher should lose connections only when the scenario makes it; it lost them by itself.",
                [number],
            )

    def called(self, number: int, call: OpenCall) -> None:
        """Take in which event is in hand; none may begin once it was asked to stop."""
        self._concurrent = self._concurrent or len(self.deliveries.calls) > 1
        begins = call.event != self._current or call.plugin in self._called
        if begins:
            self._current, self._called, self._maybe_retry = call.event, set(), False
        self._called.add(call.plugin)
        self._maybe_retry = self._maybe_retry or call.booking.maybe_retry
        if self._stopping < 0 or self._concurrent:
            return
        if begins and not self._may_begin:
            what = self.world.event(call.event) if call.event is not None else call.hook
            self.findings.exercise("L-stop", self._stopping)
            self.findings.violate(
                "L-stop",
                f"asked to stop, the dispatcher should finish the event in hand and begin no other; it began {what}.",
                [self._stopping, number],
            )
        # Either the event of the last call was in hand, or one whose first call is this one.
        self._may_begin = 0

    def cut_off(self) -> None:
        """Take in that a call was cut off."""
        self._cut_off = self._stopping >= 0

    def stopping(self, number: int) -> None:
        """Take in which event is in hand: that of the open call, or one that nobody was called for yet."""
        self._stopping = number
        self._cut_off = False
        self._may_begin = 0 if self.deliveries.calls else 1

    def stopped(self, number: int, record: history.Stopped) -> None:
        """Judge how it stopped."""
        self.findings.exercise("L-stop", number)
        proof = [self._stopping, number]
        if not record.in_time:
            self.findings.violate(
                "L-stop",
                "asked to stop, the dispatcher should end within the deadline; it did not, and was killed.",
                proof,
            )
        elif record.exit_status != 0:
            self.findings.violate(
                "L-stop",
                f"asked to stop, the dispatcher should end with exit status 0; it ended with {record.exit_status}.",
                proof,
            )
        self._judge_in_hand(proof)

    def _judge_in_hand(self, proof: list[int]) -> None:
        event = self._current
        if event is None or self._concurrent or self.world.reconnecting or self.world.row_locked:
            return
        missed: list[str] = []
        if not self._maybe_retry and not self._main_is_unfinished(event):
            missed = [p for p in self.world.interested(event.channel) if p not in self._called]
        left = [] if self._maybe_retry else self.outcomes.marks_left(event)
        cut = self._cut_off or bool(self.deliveries.calls)
        if missed or left or cut:
            rest = [
                f"{', '.join(missed)} had not been called" if missed else "",
                f"the mark of {', '.join(map(self.world.build, left))} was not cleared" if left else "",
                "a call was cut off" if cut else "",
            ]
            self.findings.violate(
                "L-stop",
                f"asked to stop, the dispatcher should finish the event in hand ({self.world.event(event)}), with all its plugins, storing "
                f"and clearing; when it ended, {' and '.join(part for part in rest if part)}.",
                proof,
            )

    def _main_is_unfinished(self, event: channels.Event) -> bool:
        return isinstance(event, channels.BuildFinished) and event.build in self.world.unfinished

    def ended(self, number: int, record: history.Ended) -> None:
        """Judge an end that nobody asked for."""
        self.findings.exercise("L-lives", number)
        how = f"exit status {record.exit_status}" if record.exit_status is not None else "unknown exit status"
        self.findings.violate(
            "L-lives",
            f"the dispatcher should end only when the scenario makes it; it ended by itself ({how}): {record.message or 'no message'}.",
            [number],
        )
        self._never_again(number, "it ended by itself")

    def settled(self, number: int) -> None:
        """Take in that it lives, and is well."""
        self.findings.exercise("L-lives", number)
        self._current = None
        self._called = set()
        if self._disconnected >= 0:
            self.findings.exercise("L-reconnect", self._disconnected)
            self._disconnected = -1

    def not_settled(self, number: int, record: history.NotSettled) -> None:
        """Judge a dispatcher that never settles."""
        self._never_again(number, record.reason)
        if not self._came_up and self._disconnected < 0:
            self.findings.exercise("L-lives", number)
            self.findings.violate(
                "L-lives",
                f"the dispatcher should come up after its start; it has not: {record.reason}.",
                [self.world.start_record, number],
            )
        if record.busy:
            self.findings.exercise("R-gone-plugin", number)
            self.findings.violate(
                "R-gone-plugin",
                f"with nothing to do, the dispatcher should rest; it burns its processor: {record.reason}.",
                [self.world.last_observed, number],
            )

    def _never_again(self, number: int, why: str) -> None:
        if self._disconnected >= 0:
            self.findings.exercise("L-reconnect", self._disconnected)
            self.findings.violate(
                "L-reconnect",
                f"after losing its connections the dispatcher should connect, listen and scan again, and settle; it has not: {why}.",
                [self._disconnected, number],
            )
