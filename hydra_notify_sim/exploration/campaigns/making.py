"""Scenario i of a campaign, made from the seed and i alone, whoever makes it."""

import random
from hydra_notify_sim.exploration.campaigns.tasks import Plan
from hydra_notify_sim.scenario import Scenario

EMPTY = Scenario.model_validate(
    {
        "scenario": "Next to nothing happens",
        "why": "to measure what a campaign costs by itself",
        "exercises": ["E-gone"],
        "given": {"plugins": {"a": {}}},
        "story": [{"dispatcher": "start"}],
    }
)


def scenario(plan: Plan, index: int) -> Scenario:
    """Return the scenario of this number."""
    if plan.empty:
        return EMPTY
    r = random.Random(f"{plan.seed} {index}")
    story = [{"dispatcher": "start"}]
    raises = r.choice([{}, {}, {"raises": {"first": 1}}])
    for b in "abc":
        step = {"build": b, "status": r.choice(["succeeded", "failed"])}
        if r.random() < 0.3:
            step |= {
                "at": r.choice(["before_call", "inside_call", "after_call", "before_clear"]),
                "do": [{"dispatcher": "crash"}],
            }
            story += [step, {"dispatcher": "start"}]
        else:
            story += [step]
        if r.random() < 0.3:
            story += [{"restart": b}, {"build": b}]
    story += [{"advance": 5}]
    return Scenario.model_validate(
        {
            "scenario": "x",
            "why": "x",
            "exercises": ["B-clear"],
            "given": {"builds": dict.fromkeys("abc", {}), "plugins": {"p": raises, "q": {}}},
            "story": story,
        }
    )
