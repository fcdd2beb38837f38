"""Scenario i of a campaign, made from the seed and i alone, whoever makes it."""

import random

from hydra_notify_sim.exploration.campaigns import stories
from hydra_notify_sim.exploration.campaigns.tasks import Plan
from hydra_notify_sim.exploration.chance import Seeded
from hydra_notify_sim.scenario import Scenario

EMPTY = Scenario.model_validate(
    {
        "scenario": "Next to nothing happens",
        "why": "What a campaign costs by itself",
        "exercises": ["L-lives"],
        "given": {"plugins": {"github": {}}},
        "story": [{"dispatcher": "start"}],
    }
)


def scenario(plan: Plan, index: int) -> Scenario:
    """Return the scenario of this number."""
    if plan.empty:
        return EMPTY
    # Seeded by a text, which Random hashes the same on every machine and in every process.
    return stories.scenario(Seeded(random.Random(f"{plan.seed} {index}")))  # noqa: S311  # not a secret
