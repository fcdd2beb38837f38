"""Known deviations: promises that a dispatcher is known to break, and why; what profile ``upstream`` and ``--known`` say.

A violation that one of them covers is *known*, and fails no run. One that was put to the test and found by no story of a
run does, so that a baseline never outlives what it excuses (`hydra_notify_sim.checks.verdict`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hydra_notify_sim.contract import quirks


@dataclass(frozen=True, slots=True)
class Deviation:
    """One promise that is known to be broken."""

    id: str
    """What reports call it: a quirk's id, or one of the maintainer's own."""
    promise: str
    reason: str
    scenario: str = ""
    """Name of the only scenario that it is excused in; empty: any."""
    timing: bool = False
    """Whether it depends on timing: then it is not missed where it is not found."""

    def covers(self, promise: str, scenario: str) -> bool:
        """Return whether a violation of this promise in this scenario is the known one."""
        return promise == self.promise and self.scenario in {"", scenario}


UPSTREAM: tuple[Deviation, ...] = tuple(
    Deviation(quirk.id, promise, quirk.what, timing=quirk.timing or promise in quirk.may_break)
    for quirk in quirks.QUIRKS
    if quirk.by == "hydra-notify"
    for promise in (*quirk.breaks, *quirk.may_break)
)
"""What profile ``upstream`` knows: the quirks of hydra-notify (docs/reference/hydra.md, section 5).

Each explains a violation only in a history in which it can have been at work (`hydra_notify_sim.checks.circumstances`).
"""


def explaining(promise: str, scenario: str, deviations: Iterable[Deviation]) -> tuple[str, ...]:
    """Return the ids of the deviations that cover a violation, each once."""
    return tuple(dict.fromkeys(one.id for one in deviations if one.covers(promise, scenario)))
