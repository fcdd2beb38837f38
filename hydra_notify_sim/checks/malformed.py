"""Malformed payloads: the promise P-malformed."""

from collections.abc import Iterable
from dataclasses import dataclass

from hydra_notify_sim import history
from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.checks.world import World


@dataclass(slots=True)
class _Malformed:
    record: int
    notification: history.Notification
    heard: bool
    """Emitted while up; while starting it may fall into the time before it listens."""


class Malformed:
    """Judges that a malformed payload reaches nobody, stops nothing, and is counted."""

    def __init__(self, world: World, findings: Findings) -> None:
        self.world = world
        self.findings = findings
        self._open: list[_Malformed] = []
        self._counted_before = 0.0

    def emitted(self, number: int, notification: history.Notification) -> None:
        """Take a malformed notification in."""
        if not self._open:
            self._counted_before = self.world.counters.get("malformed", 0.0)
        self._open.append(_Malformed(number, notification, heard=self.world.phase == "up"))

    def committed(self, commit: int) -> None:
        """Take in that a COMMIT returned: what is lost meanwhile was not heard."""
        for malformed in self._open:
            if malformed.record == commit and self.world.phase != "up":
                malformed.heard = False

    def on(self, hook: str) -> tuple[int, str] | None:
        """Return record and payload of the first open one on a hook's channel."""
        for malformed in self._open:
            if malformed.notification.channel == hook:
                return malformed.record, malformed.notification.payload
        return None

    def stopped_delivery(self, emitted: int, what: str, proof: Iterable[int]) -> None:
        """Say that an event that came with or after a malformed one was not delivered."""
        for malformed in self._open[:1]:
            if malformed.record <= emitted:
                self.findings.violate(
                    "P-malformed",
                    f"a malformed payload should stop nothing; after {malformed.notification.payload!r}, {what} was not delivered.",
                    [malformed.record, *proof],
                )

    def lost(self, number: int, *, by_itself: bool) -> None:
        """Excuse what was under way when the dispatcher was lost, unless it ended by itself."""
        heard = [malformed for malformed in self._open if malformed.heard]
        if by_itself and heard:
            self.findings.exercise("P-malformed", heard[-1].record)
            self.findings.violate(
                "P-malformed",
                f"a malformed payload should stop nothing; after {heard[-1].notification.payload!r} on "
                f"{heard[-1].notification.channel} the dispatcher ended.",
                [heard[-1].record, number],
            )
        self._open.clear()

    def settled(self, number: int) -> None:
        """Judge that all were counted."""
        flying = [malformed for malformed in self._open if malformed.record in self.world.in_flight]
        heard = [m for m in self._open if m.heard and m not in flying]
        for malformed in heard:
            self.findings.exercise("P-malformed", malformed.record)
        counted = self.world.counters.get("malformed", 0.0) - self._counted_before
        if heard and self.world.header.in_process and counted < len(heard):
            self.findings.violate(
                "P-malformed",
                f"{len(heard)} malformed notifications should have been counted; {counted:.0f} were.",
                [*(malformed.record for malformed in heard), number],
            )
        self._open = flying
        self._counted_before = self.world.counters.get("malformed", 0.0)
