"""Dispatchers that differ from the reference on purpose, by name: known-bad and known-good ones are registered alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from hydra_notify_sim.dispatcher import core


@dataclass(frozen=True, slots=True)
class Variant:
    """A dispatcher that differs from the reference."""

    name: str
    dispatcher: type[core.Dispatcher]
    story: str
    """What it does differently, and why somebody would: the docstring of its class."""


V = TypeVar("V", bound=Variant)


def register(
    variants: dict[str, V], make: Callable[[type[core.Dispatcher], str], V]
) -> Callable[[type[core.Dispatcher]], type[core.Dispatcher]]:
    """Return a class decorator that adds a dispatcher to its kind; ``make`` is given the class and its story."""

    def add(dispatcher: type[core.Dispatcher]) -> type[core.Dispatcher]:
        variant = make(dispatcher, " ".join((dispatcher.__doc__ or "").split()))
        variants[variant.name] = variant
        return dispatcher

    return add
