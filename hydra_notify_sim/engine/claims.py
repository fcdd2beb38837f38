"""Which stories a dispatcher claims: those whose payloads it reads."""

from collections.abc import Sequence

from hydra_notify_sim import errors
from hydra_notify_sim.contract import channels
from hydra_notify_sim.scenario.model import Scenario

Reads = tuple[channels.PayloadVersion, ...]
"""The versions of the payloads that a dispatcher reads."""


class NotClaimedError(errors.UsageError):
    """The story is of payloads that the dispatcher does not read: nothing can be held against it."""


def as_read(scenario: Scenario, reads: Reads | None) -> Scenario:
    """Return a story as it is played for a dispatcher that reads these payloads; None: any.

    A story that names no version is told in one that the dispatcher reads.

    Raises:
        NotClaimedError: it names one that the dispatcher does not read, or the dispatcher reads none that we know.

    """
    given = scenario.given
    if reads is None or given.version in reads:
        return scenario
    if given.payloads is None and reads:
        told = given.model_copy(update={"payloads": reads[0]})
        return scenario.model_copy(update={"given": told})
    raise NotClaimedError(f"the dispatcher reads payloads {listed(reads)}; the story is of {given.version}")


def listed(reads: Sequence[str]) -> str:
    """Return versions as a person reads them."""
    return " and ".join(reads) or "of no version that this program knows"
