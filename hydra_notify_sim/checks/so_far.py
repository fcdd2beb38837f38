"""Judges a history that is still being written: reads what is new each time, and tells at once what was broken.

What is broken stays broken: each record is read once, and all that a verdict needs of it is kept. So looking after
every step costs what looking once at the end does.
"""

from hydra_notify_sim import history
from hydra_notify_sim.checks.judge import HeldBack, Reader
from hydra_notify_sim.checks.verdicts import Judgements
from hydra_notify_sim.contract import profiles


class SoFar:
    """The checks on a history as far as it goes."""

    def __init__(self, written: history.History) -> None:
        """Begin with its first record.

        Raises:
            UnknownProfileError: the header names a profile that does not exist.

        """
        self._written = written
        self._profile = profiles.named(written.header.profile)
        self._reader = Reader(written.header, self._profile)
        self._held = HeldBack()
        self._next = 0

    def read(self) -> None:
        """Read what was written since the last time."""
        records = self._written.records
        for number in range(self._next, len(records)):
            for happened in self._held.take(number, records[number]):
                self._reader.read(*happened)
        self._next = len(records)

    @property
    def suspicious(self) -> bool:
        """Whether something was broken; it may still be a deviation that is known, which `checks.judge` tells."""
        broken = (
            promise for promise in self._reader.findings.violations if profiles.judged(self._profile, promise)
        )
        return bool(self._reader.deliveries.surplus) or any(broken)

    def judgements(self) -> Judgements:
        """Return the verdicts, for good: nothing is read after this."""
        self.read()
        for happened in self._held.rest():
            self._reader.read(*happened)
        return self._reader.judgements(self._written)
