"""The life of the dispatcher: the promises L-lives, L-reconnect, L-stop."""

from hydra_notify_sim import history
from hydra_notify_sim.checks.deliveries import Deliveries, OpenCall
from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.checks.outcomes import Outcomes
from hydra_notify_sim.checks.world import World
from hydra_notify_sim.contract import channels


class Life:
    """Judges how lives begin, go on, and end."""

    def __init__(
        self, world: World, findings: Findings, deliveries: Deliveries, outcomes: Outcomes
    ) -> None:
        self.world = world
        self.findings = findings
        self.deliveries = deliveries
        self.outcomes = outcomes
        self._stopping = -1
        self._in_hand: channels.Event | None = None
        self._hand_known = False
        self._current: channels.Event | None = None
        self._current_called: set[str] = set()
        self._disconnected = -1

    def begins(self, number: int, record: history.AnyRecord) -> None:
        """Take in a start or a reconnection."""
        self._current = None
        self._current_called = set()
        if isinstance(record, history.Starting):
            self._stopping = self._disconnected = -1

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
        if self._stopping >= 0 and self._hand_known and call.event != self._in_hand:
            what = self.world.event(call.event) if call.event is not None else call.hook
            self.findings.exercise("L-stop", self._stopping)
            self.findings.violate(
                "L-stop",
                f"asked to stop, the dispatcher should finish the event in hand and begin no other; it began {what}.",
                [self._stopping, number],
            )
        if call.event != self._current:
            self._current, self._current_called = call.event, set()
        self._current_called.add(call.plugin)

    def stopping(self, number: int, record: history.Stopping) -> None:
        """Take in which event is in hand."""
        self._stopping = number
        open_calls = list(self.deliveries.calls.values())
        self._in_hand = None
        self._hand_known = True
        if open_calls:
            self._in_hand = open_calls[-1].event
        elif record.busy:
            # Held between two calls: the event of the last one, if its plugins have not all been called.
            self._in_hand = self._current
            self._hand_known = self._current is not None

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
        self._judge_in_hand(number, proof)

    def _judge_in_hand(self, number: int, proof: list[int]) -> None:
        event = self._in_hand
        if event is None or event != self._current:
            return
        account = self.deliveries.ledger.accounts.get(event)
        if account is None or not account.emissions:
            return
        missed = [p for p in self.world.interested(event.channel) if p not in self._current_called]
        left = self.outcomes.marks_left(event)
        if missed or left or self.deliveries.calls:
            rest = [
                f"{', '.join(missed)} had not been called" if missed else "",
                f"the mark of {', '.join(map(self.world.build, left))} was not cleared" if left else "",
                "a call was cut off" if self.deliveries.calls else "",
            ]
            self.findings.violate(
                "L-stop",
                f"asked to stop, the dispatcher should finish the event in hand ({self.world.event(event)}), with all its plugins, storing "
                f"and clearing; when it ended, {' and '.join(part for part in rest if part)}.",
                proof,
            )

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
        if self._disconnected >= 0:
            self.findings.exercise("L-reconnect", self._disconnected)
            self._disconnected = -1

    def not_settled(self, number: int, record: history.NotSettled) -> None:
        """Judge a dispatcher that never settles."""
        self._never_again(number, record.reason)
        if self.world.phase != "up" and self._disconnected < 0:
            self.findings.violate(
                "L-lives",
                f"the dispatcher should come up after its start; it has not: {record.reason}.",
                [self.world.start_record, number],
            )
        if record.busy:
            self.findings.violate(
                "R-gone-plugin",
                f"with nothing to do, the dispatcher should rest; it burns its processor: {record.reason}.",
                [self.world.last_observed, number],
            )

    def _never_again(self, number: int, why: str) -> None:
        if self._disconnected >= 0:
            self.findings.violate(
                "L-reconnect",
                f"after losing its connections the dispatcher should connect, listen and scan again, and settle; it has not: {why}.",
                [self._disconnected, number],
            )
