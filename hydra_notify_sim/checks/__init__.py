"""Floor 3: history in, verdicts out, with the records that prove each. Pure: no database, no clock."""

from hydra_notify_sim.checks.judge import judge
from hydra_notify_sim.checks.verdict import Expectation, KnownIssue, StoryVerdict, decide
from hydra_notify_sim.checks.verdicts import Allowed, Judgement, Judgements, Verdict

__all__ = [
    "Allowed",
    "Expectation",
    "Judgement",
    "Judgements",
    "KnownIssue",
    "StoryVerdict",
    "Verdict",
    "decide",
    "judge",
]
