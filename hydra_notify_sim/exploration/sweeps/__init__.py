"""Sweeps: a scenario's story again and again, each time with one more fault or another order of events."""

from hydra_notify_sim.exploration.sweeps.matrix import Matrix
from hydra_notify_sim.exploration.sweeps.sweep import Settings, sweep
from hydra_notify_sim.exploration.sweeps.trying import Tried
from hydra_notify_sim.exploration.sweeps.variants import KINDS, Action, Kind, Move, Variant, bare, told

__all__ = [
    "KINDS",
    "Action",
    "Kind",
    "Matrix",
    "Move",
    "Settings",
    "Tried",
    "Variant",
    "bare",
    "sweep",
    "told",
]
