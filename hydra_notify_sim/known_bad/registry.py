"""The known-bad dispatchers by name, with what each breaks and who made that mistake."""

from collections.abc import Callable
from dataclasses import dataclass

from hydra_notify_sim.dispatcher import core, variants


@dataclass(frozen=True, slots=True)
class KnownBad(variants.Variant):
    """A dispatcher that is wrong on purpose; its story is what it does wrong, and where that mistake was made."""

    breaks: tuple[str, ...]
    """The promises that it breaks, the main one first."""
    as_process: bool = False
    """Whether it is only wrong as a process: its mistake is about signals."""


KNOWN_BAD: dict[str, KnownBad] = {}


def known_bad(
    name: str, *breaks: str, as_process: bool = False
) -> Callable[[type[core.Dispatcher]], type[core.Dispatcher]]:
    """Register a dispatcher class under a name; its docstring is its story."""
    return variants.register(
        KNOWN_BAD, lambda dispatcher, story: KnownBad(name, dispatcher, story, breaks, as_process=as_process)
    )
