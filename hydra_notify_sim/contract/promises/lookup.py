"""Finds a promise by its id, and helps a person who mistyped one."""

import difflib
from collections.abc import Sequence

from hydra_notify_sim import errors
from hydra_notify_sim.contract.promises.model import FAMILIES, Promise


class UnknownPromiseError(errors.UsageError, KeyError):
    """The contract has no promise with this id; the message names the nearest one."""

    def __str__(self) -> str:
        """Return the message as it is; KeyError would quote it."""
        return str(self.args[0])


def promise_named(promise_id: str, promises: Sequence[Promise]) -> Promise:
    """Return the promise with this id.

    Raises:
        UnknownPromiseError: there is none.

    """
    for promise in promises:
        if promise.id == promise_id:
            return promise
    raise UnknownPromiseError(_message(promise_id, [promise.id for promise in promises]))


def _message(wanted: str, known: Sequence[str]) -> str:
    lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(wanted.lower(), lower, n=1)
    if near:
        return f"There is no promise {wanted[:60]!r} in the contract. Did you mean {lower[near[0]]!r}?"
    family = [name for name in known if name[0] == wanted[:1].upper()]
    if family:
        return (
            f"There is no promise {wanted[:60]!r} in the contract. Those of family {wanted[0].upper()}: "
            f"{', '.join(family)}."
        )
    letters = ", ".join(f"{letter} ({family})" for letter, family in FAMILIES.items())
    return f"There is no promise {wanted[:60]!r} in the contract. An id begins with the letter of its family: {letters}."
