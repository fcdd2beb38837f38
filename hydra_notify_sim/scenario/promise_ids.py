"""Ids of promises in a scenario, checked against the contract."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from hydra_notify_sim.contract import promises
from hydra_notify_sim.scenario.base import as_list, choose, distinct

PROMISE_IDS: tuple[str, ...] = tuple(promise.id for promise in promises.PROMISES)
"""The ids of the contract, in its order."""


def check_promise(value: Any) -> str:
    """Return the id of a promise of the contract."""
    return choose(value, PROMISE_IDS, "a promise of the contract")


PromiseId = Annotated[str, BeforeValidator(check_promise), WithJsonSchema({"enum": list(PROMISE_IDS)})]
PromiseIds = Annotated[
    tuple[PromiseId, ...],
    BeforeValidator(as_list),
    AfterValidator(distinct),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(PROMISE_IDS)},
                {"type": "array", "uniqueItems": True, "items": {"enum": list(PROMISE_IDS)}},
            ]
        }
    ),
]
