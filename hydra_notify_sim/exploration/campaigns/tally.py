"""What a campaign has counted; tallies of shards add up to that of the whole."""

import math
from typing import Self

import msgspec

from hydra_notify_sim.exploration.campaigns.tasks import Outcome

STORY_BITS = 1 << 23
"""Bits by which distinct stories are counted, a megabyte however many there are: each sets one (linear counting).
A million stories are counted to about a thousandth."""


class First(msgspec.Struct, frozen=True):
    """The scenario that did something first."""

    seed: int
    index: int


class Tally(msgspec.Struct):
    """Counts over scenarios; a plain value."""

    scenarios: int = 0
    actions: int = 0
    called: bool = False
    """Whether any plugin was called."""
    missed: int = 0
    """Scenarios with a point that was never reached."""
    covered: dict[str, int] = msgspec.field(default_factory=dict)
    """Feature (`outcomes.features`) to the number of scenarios that had it."""
    violations: dict[str, int] = msgspec.field(default_factory=dict)
    """Promise to the number of scenarios that broke it."""
    first: dict[str, First] = msgspec.field(default_factory=dict)
    """Promise to the first scenario that broke it."""
    faulty: list[First] = msgspec.field(default_factory=list)
    """Scenarios that the harness could not play: its own faults."""

    def take(self, seed: int, outcome: Outcome) -> list[str]:
        """Count a scenario in; return what nothing before it had covered."""
        self.scenarios += 1
        if outcome.fault:
            self.faulty.append(First(seed, outcome.index))
            return []
        self.actions += outcome.actions
        self.called = self.called or outcome.called
        self.missed += bool(outcome.missed)
        new = [feature for feature in outcome.features if feature not in self.covered]
        for feature in outcome.features:
            self.covered[feature] = self.covered.get(feature, 0) + 1
        for promise in outcome.violated:
            self.violations[promise] = self.violations.get(promise, 0) + 1
            self.first.setdefault(promise, First(seed, outcome.index))
        return new

    def add(self, other: Self) -> None:
        """Count another tally in."""
        self.scenarios += other.scenarios
        self.actions += other.actions
        self.called = self.called or other.called
        self.missed += other.missed
        for mine, theirs in ((self.covered, other.covered), (self.violations, other.violations)):
            for key, count in theirs.items():
                mine[key] = mine.get(key, 0) + count
        for promise, first in other.first.items():
            known = self.first.get(promise, first)
            self.first[promise] = min(known, first, key=lambda one: (one.seed, one.index))
        self.faulty += other.faulty

    def of_kind(self, kind: str) -> dict[str, int]:
        """Return what was covered of one kind: ``action``, ``fault``, ``promise`` or ``allowed``."""
        head = f"{kind}: "
        return {
            key.removeprefix(head): count
            for key, count in sorted(self.covered.items())
            if key.startswith(head)
        }

    @property
    def promises(self) -> set[str]:
        """The promises that were exercised."""
        return {what.split(" ")[0] for what in self.of_kind("promise")}

    @property
    def known(self) -> list[str]:
        """The promises that were broken as is known of the dispatcher."""
        return [what.split(" ")[0] for what in self.of_kind("promise") if what.endswith(" known")]

    @property
    def faults_at_points(self) -> dict[str, int]:
        """How often each fault happened at each point."""
        return self.of_kind("fault")


class Stories:
    """Counts distinct stories in a fixed room."""

    def __init__(self, bits: bytes = b"") -> None:
        """Begin empty, or go on from saved bits; what is not of the right size begins empty."""
        self._bits = bytearray(bits) if len(bits) == STORY_BITS // 8 else bytearray(STORY_BITS // 8)
        self._set = int.from_bytes(self._bits, "big").bit_count()

    def add(self, digest: int) -> None:
        """Count a story in, if it is new."""
        bit = digest % STORY_BITS
        mask = 1 << (bit & 7)
        self._set += not self._bits[bit >> 3] & mask
        self._bits[bit >> 3] |= mask

    def join(self, other: "Stories") -> None:
        """Count in all that another count has seen."""
        joined = int.from_bytes(self._bits, "big") | int.from_bytes(bytes(other), "big")
        self._bits[:] = joined.to_bytes(STORY_BITS // 8, "big")
        self._set = joined.bit_count()

    def __bytes__(self) -> bytes:
        return bytes(self._bits)

    def __len__(self) -> int:
        return estimate(self._set)


def estimate(bits_set: int) -> int:
    """Return how many stories have most likely set so many bits."""
    empty = max(1, STORY_BITS - bits_set)
    return round(-STORY_BITS * math.log(empty / STORY_BITS))
