"""Scenario i of a campaign, made from the seed and i alone, whoever makes it."""

from hydra_notify_sim.exploration.campaigns.tasks import Plan
from hydra_notify_sim.scenario import Scenario


def scenario(plan: Plan, index: int) -> Scenario:
    """Return the scenario of this number."""
    raise NotImplementedError
