"""Where a story's choices come from: a seeded generator here, Hypothesis in `hydra_notify_sim.strategies`.

Who tells stories asks in these words alone, so that one teller serves both (docs/decisions/0033-one-teller-two-sources-of-chance.md).
A source that can shrink takes "no", the first option and the least number for the simplest: options stand in that order.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Protocol, TypeVar

T = TypeVar("T")


class Chance(Protocol):
    """A source of choices."""

    def happens(self, share: float) -> bool:
        """Return whether something happens that happens in this share of all cases, from 0 to 1."""

    def choice(self, options: Sequence[T]) -> T:
        """Return one of the options."""

    def between(self, least: int, most: int) -> int:
        """Return a whole number from ``least`` to ``most``."""

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        """Return so many of the options, each at most once."""

    def rarely(self, shares: Mapping[str, float]) -> str | None:
        """Return which one of several rare things is the case, or None for none of them; ``shares`` as in `happens`."""

    def times(self, least: int, most: int) -> Iterator[None]:
        """Go on so often, from ``least`` to ``most`` times."""


class Seeded:
    """Choices of a seeded generator: the same for a generator in the same state."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def happens(self, share: float) -> bool:
        """Draw one number."""
        return self._random.random() < share

    def choice(self, options: Sequence[T]) -> T:
        """Draw one option, each as likely as the others."""
        return self._random.choice(options)

    def between(self, least: int, most: int) -> int:
        """Draw one number, each as likely as the others."""
        return self._random.randint(least, most)

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        """Draw distinct options."""
        return self._random.sample(options, count)

    def rarely(self, shares: Mapping[str, float]) -> str | None:
        """Draw one number for all of them."""
        drawn = self._random.random()
        for name, share in shares.items():
            if drawn < share:
                return name
            drawn -= share
        return None

    def times(self, least: int, most: int) -> Iterator[None]:
        """Draw the number first."""
        for _ in range(self._random.randint(least, most)):
            yield None
