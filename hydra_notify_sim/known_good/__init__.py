"""Floor 5: dispatchers that keep every promise, each with a freedom that the contract leaves: no check may call one wrong."""

from hydra_notify_sim.known_good import loop, marks, order, payloads, retries
from hydra_notify_sim.known_good.registry import KNOWN_GOOD, KnownGood

__all__ = ["KNOWN_GOOD", "KnownGood", "loop", "marks", "order", "payloads", "retries"]
