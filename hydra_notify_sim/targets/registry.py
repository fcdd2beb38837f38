"""Dispatchers under test by the name that a person gives.

``reference``, ``reference-process``, ``known-bad:NAME``, ``exec:COMMAND LINE``, ``hydra-notify`` or ``hydra-notify:SCRIPT``.
"""

import difflib
from dataclasses import dataclass, replace
from typing import Literal

from hydra_notify_sim import errors
from hydra_notify_sim.dispatcher import core
from hydra_notify_sim.known_bad import KNOWN_BAD
from hydra_notify_sim.targets import programs

Kind = Literal["in process", "process"]


class UnknownDispatcherError(errors.UsageError):
    """There is no dispatcher of this name; the message lists those there are."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dispatcher is under test, and where it lives."""

    name: str
    kind: Kind
    dispatcher: type[core.Dispatcher] = core.Dispatcher
    """The one of ours that it is, if it is no program of somebody else's."""
    program: programs.Program | None = None

    def as_process(self) -> "Choice":
        """Return the same dispatcher as a process of its own, for scenarios that need signals and sockets."""
        return replace(self, kind="process")


def choose(name: str) -> Choice:
    """Return the dispatcher of this name.

    Raises:
        UnknownDispatcherError: there is none.
        UsageError: what follows ``exec:`` is no command line, or what follows ``hydra-notify:`` no file.
        EnvironmentFailedError: hydra-notify is not installed.

    """
    prefix, colon, rest = name.partition(":")
    if name == "reference":
        return Choice(name, "in process")
    if name == "reference-process":
        return Choice(name, "process")
    if prefix == "known-bad" and rest in KNOWN_BAD:
        kind: Kind = "process" if KNOWN_BAD[rest].as_process else "in process"
        return Choice(name, kind, KNOWN_BAD[rest].dispatcher)
    if prefix == programs.EXEC and colon:
        return Choice(name, "process", program=programs.from_command_line(rest))
    if prefix == programs.HYDRA_NOTIFY:
        return Choice(name, "process", program=programs.hydra_notify(rest))
    known = [
        "reference",
        "reference-process",
        *(f"known-bad:{bad}" for bad in KNOWN_BAD),
        "exec:COMMAND",
        "hydra-notify[:SCRIPT]",
    ]
    kinds = {"exec": "exec:COMMAND", "hydra-notify": "hydra-notify[:SCRIPT]"}
    near = [kinds[kind] for kind in difflib.get_close_matches(prefix, kinds, 1)] if colon else []
    near = (
        near
        or difflib.get_close_matches(name, known, 1)
        or difflib.get_close_matches(f"known-bad:{name}", known, 1)
    )
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnknownDispatcherError(f"there is no dispatcher {name!r}.{hint} Valid: {', '.join(known)}")
