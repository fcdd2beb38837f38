"""What the checks have found so far: exercised promises, violations, and what the contract allowed."""

from collections.abc import Iterable

from hydra_notify_sim.checks.verdicts import Allowed

VIOLATIONS_KEPT = 20
"""Violations of one promise that are kept word for word; further ones are counted."""


class Findings:
    """Collects from all families of checks."""

    def __init__(self) -> None:
        self.exercised: dict[str, tuple[int, int]] = {}
        """Promise to how often, and the number of the record at which first."""
        self.violations: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
        self.further: dict[str, int] = {}
        """Promise to the violations beyond `VIOLATIONS_KEPT`."""
        self.allowed: list[Allowed] = []
        self.reported: dict[str, None] = {}

    def exercise(self, promise: str, number: int) -> None:
        """Say that a promise was put to the test at a record."""
        count, first = self.exercised.get(promise, (0, number))
        self.exercised[promise] = (count + 1, first)

    def violate(self, promise: str, explanation: str, records: Iterable[int]) -> None:
        """Say that a promise was broken, what should have happened and what did, and which records prove it."""
        kept = self.violations.setdefault(promise, [])
        proof = tuple(sorted({number for number in records if number >= 0}))
        if (explanation, proof) in kept:
            return
        if len(kept) < VIOLATIONS_KEPT:
            kept.append((explanation, proof))
        else:
            self.further[promise] = self.further.get(promise, 0) + 1

    def allow(self, allowed: Allowed) -> None:
        """Say that something was lost or repeated, and which promise allows it."""
        self.allowed.append(allowed)

    def report(self, text: str) -> None:
        """Note an observation that is no verdict."""
        self.reported[text] = None
