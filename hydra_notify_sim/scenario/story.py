"""Stories that cannot happen, found before anything is played: unknown names, impossible orders of events."""

from hydra_notify_sim.scenario import names, order
from hydra_notify_sim.scenario.model import Scenario
from hydra_notify_sim.scenario.problems import Finding


def check(scenario: Scenario) -> list[Finding]:
    """Return what is impossible in a story; what is only unlikely, or cannot be known beforehand, passes."""
    found = names.check(scenario)
    return found or order.check(scenario)


def check_names(scenario: Scenario, places: dict[int, int]) -> list[Finding]:
    """Return the unknown names of what is left of a wrong scenario.

    ``places`` are the positions in the file of the steps that are left.
    """
    return [
        Finding(
            ("story", places.get(finding.path[1], 0), *finding.path[2:]),
            finding.message,
            finding.hint,
            finding.at_key,
        )
        if finding.path[:1] == ("story",) and isinstance(finding.path[1], int)
        else finding
        for finding in names.check(scenario)
    ]
