"""Hypothesis as a source of chance, in the words in which stories ask (`hydra_notify_sim.exploration.chance`).

It shrinks towards no, the first option and the least number; a list ends where "go on" is shrunk to no.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import Any, Generic, TypeVar

from hypothesis import strategies as st

from hydra_notify_sim.exploration.chance import Chance, Seeded

T = TypeVar("T")

GRAINS = 1000
"""Shares are told apart by a thousandth."""


class Drawn:
    """Choices that Hypothesis draws."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def happens(self, share: float) -> bool:
        """Draw a number, of which the high ones are a yes."""
        if share <= 0:
            return False
        return share >= 1 or int(self._draw(_numbers(0, GRAINS - 1))) >= GRAINS - max(
            1, round(share * GRAINS)
        )

    def choice(self, options: Sequence[T]) -> T:
        """Draw the place of an option."""
        return options[self._draw(_numbers(0, len(options) - 1))] if len(options) > 1 else options[0]

    def between(self, least: int, most: int) -> int:
        """Draw a number."""
        return int(self._draw(_numbers(least, most)))

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        """Draw the places of options, one after the other."""
        left = list(options)
        return [left.pop(self.between(0, len(left) - 1)) for _ in range(count)]

    def rarely(self, shares: Mapping[str, float]) -> str | None:
        """Ask for each."""
        return next((name for name, share in shares.items() if self.happens(share)), None)

    def times(self, least: int, most: int) -> Iterator[None]:
        """Ask each time whether it goes on; every number of times is as likely as the others."""
        for count in range(most):
            left = most - count
            if count >= least and not self.happens(left / (left + 1)):
                return
            yield None


@lru_cache(maxsize=1024)
def _numbers(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most)


@st.composite
def drawn(draw: st.DrawFn, make: Callable[[Chance], T]) -> T:
    """Return what a function makes of choices that Hypothesis draws."""
    return make(Drawn(draw))


def dealt(make: Callable[[Chance], T], count: int) -> st.SearchStrategy[T]:
    """Return one of so many values that were made beforehand, the shortest first: one draw each, whatever they hold.

    They are the same each time, as likely as what they were made of, and shrink towards the shortest. Where a value
    is drawn at every step of a machine, this is several times as fast as `drawn`, which reaches every value.
    """
    chance = Seeded(Random(0))  # noqa: S311  # not a secret
    return _card(Deck(sorted((make(chance) for _ in range(count)), key=_simplicity)))


class Deck(Generic[T]):
    """Values by their place, with a short name.

    Hypothesis keeps a text of all strategies of a machine's rules for each example: `st.sampled_from` would put every
    value into it, a megabyte an example.
    """

    # No dataclass, which Hypothesis would print field by field.

    def __init__(self, cards: Sequence[T]) -> None:
        self.cards = cards

    def __repr__(self) -> str:
        return f"<{len(self.cards)} cards>"


@st.composite
def _card(draw: st.DrawFn, deck: Deck[T]) -> T:
    return deck.cards[draw(_numbers(0, len(deck.cards) - 1))]


def _simplicity(value: object) -> tuple[bool, int]:
    return value is not None, len(repr(value))
