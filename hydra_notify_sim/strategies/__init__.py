"""Hypothesis strategies for stories and their parts, and a state machine for any dispatcher (docs/strategies.md).

Floor 10. Every value is one of the scenario language's model: `hydra_notify_sim.scenario.to_yaml` prints it, a file
keeps it, ``hydra-notify-sim replay`` plays it.
"""

from hydra_notify_sim.strategies.broken import PromiseBroken, written_down
from hydra_notify_sim.strategies.case import NothingTestedError, settings_of
from hydra_notify_sim.strategies.coverage import text as account
from hydra_notify_sim.strategies.making import machine, run
from hydra_notify_sim.strategies.parts import (
    build_graphs,
    builds,
    evaluations,
    faults,
    faults_at_points,
    hostile_payloads,
    nearly_valid_payloads,
    outcomes,
    payloads,
    plugin_behaviours,
    points,
    valid_payloads,
)
from hydra_notify_sim.strategies.rules import DispatcherMachine
from hydra_notify_sim.strategies.whole import play, scenarios

__all__ = [
    "DispatcherMachine",
    "NothingTestedError",
    "PromiseBroken",
    "account",
    "build_graphs",
    "builds",
    "evaluations",
    "faults",
    "faults_at_points",
    "hostile_payloads",
    "machine",
    "nearly_valid_payloads",
    "outcomes",
    "payloads",
    "play",
    "plugin_behaviours",
    "points",
    "run",
    "scenarios",
    "settings_of",
    "valid_payloads",
    "written_down",
]
