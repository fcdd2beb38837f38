"""The known-good dispatchers by name, with the freedom that each takes."""

from collections.abc import Callable
from dataclasses import dataclass

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, variants


@dataclass(frozen=True, slots=True)
class KnownGood(variants.Variant):
    """A dispatcher that differs from the reference and keeps every promise; its story is what it does differently."""

    freedom: str
    """The promise, or the part of docs/reference/recorder.md, whose text leaves it free to do so."""
    payloads: tuple[channels.PayloadVersion, ...] = channels.PAYLOAD_VERSIONS
    """The versions of the payloads that it reads."""
    quiet_ms: int = 0
    """As a process: how many milliseconds of silence it asks for, as a recorder's hello says it."""


KNOWN_GOOD: dict[str, KnownGood] = {}


def known_good(
    name: str,
    freedom: str,
    *,
    payloads: tuple[channels.PayloadVersion, ...] = channels.PAYLOAD_VERSIONS,
    quiet_ms: int = 0,
) -> Callable[[type[core.Dispatcher]], type[core.Dispatcher]]:
    """Register a dispatcher class under a name; its docstring is its story."""
    return variants.register(
        KNOWN_GOOD,
        lambda dispatcher, story: KnownGood(name, dispatcher, story, freedom, payloads, quiet_ms),
    )
