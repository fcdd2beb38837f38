"""Ids and orders as on a farm that has run for years: nothing in them coincides (docs/decisions/0039-worlds-in-which-nothing-coincides.md).

Ids of different tables lie far apart, so that one that is taken for another names no row, or another one. They are
large enough to suffer in a smallint, a float or whatever is narrower than int4, and each is some way from the last.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from hydra_notify_sim.contract.channels import INT4_MAX
from hydra_notify_sim.simulator.names import Names


class _Range(NamedTuple):
    """Where the ids of a table lie."""

    kind: int
    """Tells its random numbers from those of the others."""
    lowest: int
    highest: int
    """Of the first id."""
    gap: int
    """How far one id is from the next, at most."""


LEAST_GAP: Final = 5
"""How far an id is from the next, at least: on either side of one there is room for the row of a twin."""
TABLES: Final = {
    "jobsets": _Range(6, 40_000, 400_000, 17),  # more than a smallint holds
    "jobsetevals": _Range(7, 17_000_000, 60_000_000, 31),  # more than a single-precision float counts to
    "builds": _Range(8, 300_000_000, 2_000_000_000, 41),
}
_NEAR_THE_END = (INT4_MAX - 2_500_000, INT4_MAX - 2_400_000)
"""Where the builds of every fourth world begin; a scenario has room for all its builds there, and we for ours."""
_ORDER, _STEPS = 9, 10
_TWINS = 12
"""Builds that have a twin; more would cost time and show nothing more."""


class Ids:
    """The ids of one world: each a pure function of the world's seed, its table, and how many came before it."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def first(self, table: str) -> int:
        """Return the first id of a table that nobody has written to."""
        kind, lowest, highest, _ = TABLES[table]
        bits = self._bits(0, kind)
        if table == "builds" and bits % 4 == 0:
            lowest, highest = _NEAR_THE_END
        return _unround(lowest + (bits >> 8) % (highest - lowest))

    def after(self, table: str, last: int) -> int:
        """Return the id that follows another one."""
        kind, _, _, most = TABLES[table]
        return _unround(last + LEAST_GAP + self._bits(last, kind) % (most - LEAST_GAP))

    def first_step(self, build: int) -> int:
        """Return the number of the first step of a build's that a story tells of; of every third, no smallint."""
        bits = self._bits(build, _STEPS)
        return (32_771 if bits % 3 == 0 else 3) + (bits >> 8) % 37

    def steps_beside(self, build: int, number: int, *, first: bool) -> list[int]:
        """Return the numbers of steps beside one with this number: a later one and, if it is the first, an earlier one."""
        later = number + 1 + self._bits(build + number, _STEPS) % 6
        return [later, number - 2] if first else [later]

    def twin(self, build: int, nth: int) -> int | None:
        """Return the id of a build that looks like the n-th one: now a newer one, now an older, none after a dozen."""
        return None if nth > _TWINS else build + (2 if nth % 2 else -2)

    def in_no_order(self, ids: Sequence[int]) -> list[int]:
        """Return ids in an order that means nothing: never ascending, nor, with three or more, descending."""
        shuffled = sorted(ids, key=lambda id_: self._bits(id_, _ORDER))
        if len(ids) > 1 and shuffled in (sorted(ids), sorted(ids, reverse=True)):
            if len(ids) == 2:
                return sorted(ids, reverse=True)
            shuffled = [*shuffled[1:], shuffled[0]]
        return shuffled

    def _bits(self, number: int, kind: int) -> int:
        bits: int = self._names.at(number, kind).generator.random.getrandbits(48)
        return bits


def _unround(id_: int) -> int:
    return id_ if id_ % 10 else id_ + 3
