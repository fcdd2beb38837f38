"""Known deviations: promises that a dispatcher is known to break, and why; what profile ``upstream`` and ``--known`` say.

A violation that one of them covers is *known*, and fails no run. One that was put to the test and not found any
more does, so that a baseline never outlives what it excuses.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    Deviation(quirk.id, promise, quirk.what, timing=quirk.timing)
    for quirk in quirks.QUIRKS
    if quirk.by == "hydra-notify"
    for promise in quirk.breaks
)
"""What profile ``upstream`` knows: the quirks of hydra-notify (docs/reference/hydra.md, section 5).

Each explains a violation only in a history in which it can have been at work (`hydra_notify_sim.checks.circumstances`).
"""


def named_by(scenario: str, known: Mapping[str, Sequence[str]]) -> Iterator[Deviation]:
    """Yield the deviations that a scenario of this name knows (``known``: quirk id to promises)."""
    for quirk in quirks.QUIRKS:
        for promise in known.get(quirk.id, ()):
            yield Deviation(quirk.id, promise, quirk.what, scenario, quirk.timing)


def explaining(promise: str, scenario: str, deviations: Iterable[Deviation]) -> tuple[str, ...]:
    """Return the ids of the deviations that cover a violation, each once."""
    return tuple(dict.fromkeys(one.id for one in deviations if one.covers(promise, scenario)))
