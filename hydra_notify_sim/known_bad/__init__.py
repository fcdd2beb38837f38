"""Floor 5: dispatchers that break one promise each, as small differences from the reference."""

from hydra_notify_sim.known_bad import arguments, deliveries, events, life, marks, payloads, refusals, retries
from hydra_notify_sim.known_bad.registry import KNOWN_BAD, KnownBad

__all__ = [
    "KNOWN_BAD",
    "KnownBad",
    "arguments",
    "deliveries",
    "events",
    "life",
    "marks",
    "payloads",
    "refusals",
    "retries",
]
