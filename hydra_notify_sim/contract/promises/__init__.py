"""Every promise of the delivery contract, in its order, and the words it uses (docs/reference/contract.md).

Ids are stable: a report from last year must still mean the same. A promise is never renamed or reused.
"""

from hydra_notify_sim.contract.promises.build_finished import BUILD_FINISHED
from hydra_notify_sim.contract.promises.cached import CACHED
from hydra_notify_sim.contract.promises.ephemeral import EPHEMERAL
from hydra_notify_sim.contract.promises.life import LIFE
from hydra_notify_sim.contract.promises.lookup import UnknownPromiseError, promise_named
from hydra_notify_sim.contract.promises.model import FAMILIES, Family, Promise, Source
from hydra_notify_sim.contract.promises.payloads import PAYLOADS
from hydra_notify_sim.contract.promises.plugins import PLUGINS
from hydra_notify_sim.contract.promises.simulator import SIMULATOR
from hydra_notify_sim.contract.promises.words import WORDS

PROMISES: tuple[Promise, ...] = (
    *PAYLOADS,
    *EPHEMERAL,
    *CACHED,
    *BUILD_FINISHED,
    *PLUGINS,
    *LIFE,
    *SIMULATOR,
)
"""All promises, in the contract's order."""


def promise(promise_id: str) -> Promise:
    """Return the promise with this id.

    Raises:
        UnknownPromiseError: there is none; the message names the nearest id, or all of the family.

    """
    return promise_named(promise_id, PROMISES)


__all__ = [
    "FAMILIES",
    "PROMISES",
    "WORDS",
    "Family",
    "Promise",
    "Source",
    "UnknownPromiseError",
    "promise",
]
