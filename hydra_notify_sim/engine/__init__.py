"""Floor 8: plays a scenario on a target, judges, and yields typed events."""

from hydra_notify_sim.engine.run import Options, play_all

__all__ = ["Options", "play_all"]
