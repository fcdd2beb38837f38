"""Dispatchers under test by the name that a person gives: ``reference``, ``known-bad:NAME``, ``reference-process``."""

import difflib
from dataclasses import dataclass
from typing import Literal

from hydra_notify_sim import errors
from hydra_notify_sim.dispatcher import core
from hydra_notify_sim.known_bad import KNOWN_BAD


class UnknownDispatcherError(errors.UsageError):
    """There is no dispatcher of this name; the message lists those there are."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dispatcher is under test, and where it lives."""

    name: str
    kind: Literal["in process", "process"]
    dispatcher: type[core.Dispatcher]

    def as_process(self) -> "Choice":
        """Return the same dispatcher as a process of its own, for scenarios that need signals and sockets."""
        return Choice(self.name, "process", self.dispatcher)


def choose(name: str) -> Choice:
    """Return the dispatcher of this name.

    Raises:
        UnknownDispatcherError: there is none.

    """
    if name == "reference":
        return Choice(name, "in process", core.Dispatcher)
    if name == "reference-process":
        return Choice(name, "process", core.Dispatcher)
    prefix, _, bad = name.partition(":")
    if prefix == "known-bad" and bad in KNOWN_BAD:
        return Choice(name, "in process", KNOWN_BAD[bad].dispatcher)
    known = ["reference", "reference-process", *(f"known-bad:{bad}" for bad in KNOWN_BAD)]
    near = difflib.get_close_matches(name, known, 1) or difflib.get_close_matches(
        f"known-bad:{name}", known, 1
    )
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnknownDispatcherError(f"there is no dispatcher {name!r}.{hint} Valid: {', '.join(known)}")
