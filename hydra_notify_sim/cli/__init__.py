"""Floor 10: the command line."""

from hydra_notify_sim.cli.ending import main

__all__ = ["main"]
