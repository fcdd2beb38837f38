"""Floor 4: the fake queue runner, evaluator and person at the web page, and made-up Hydra data."""

from hydra_notify_sim.simulator.builds import (
    Build,
    Evaluation,
    ImpossibleActionError,
    Input,
    Jobset,
)
from hydra_notify_sim.simulator.evaluator import Evaluator
from hydra_notify_sim.simulator.names import Names
from hydra_notify_sim.simulator.payloads import split_finished
from hydra_notify_sim.simulator.person import Person
from hydra_notify_sim.simulator.queue_runner import QueueRunner
from hydra_notify_sim.simulator.sql import UnwritableTextError
from hydra_notify_sim.simulator.world import World
from hydra_notify_sim.simulator.writer import Clock, RefusedValueError, WriteFailedError

__all__ = [
    "Build",
    "Clock",
    "Evaluation",
    "Evaluator",
    "ImpossibleActionError",
    "Input",
    "Jobset",
    "Names",
    "Person",
    "QueueRunner",
    "RefusedValueError",
    "UnwritableTextError",
    "World",
    "WriteFailedError",
    "split_finished",
]
