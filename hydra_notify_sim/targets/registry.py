"""Dispatchers under test by the name that a person gives.

``reference``, ``known-good:NAME`` and ``known-bad:NAME``, each of which is a process of its own with ``-process`` before the
colon or the end; ``exec:COMMAND LINE``, ``hydra-notify`` or ``hydra-notify:SCRIPT``.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hydra_notify_sim import errors
from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, variants
from hydra_notify_sim.known_bad import KNOWN_BAD, KnownBad
from hydra_notify_sim.known_good import KNOWN_GOOD, KnownGood
from hydra_notify_sim.targets import programs

Kind = Literal["in process", "process"]

REFERENCE = "reference"
PROCESS = "-process"
"""What makes a process of one of ours: ``reference-process``, ``known-good-process:NAME``."""
VARIANTS: Mapping[str, Mapping[str, variants.Variant]] = {"known-good": KNOWN_GOOD, "known-bad": KNOWN_BAD}


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
    reads: tuple[channels.PayloadVersion, ...] | None = None
    """The versions of the payloads that it reads, if that is known beforehand."""
    hello: Mapping[str, Any] = field(default_factory=dict)
    """What its recorders say of it as a process, beside the usual."""

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
    ours = prefix.removesuffix(PROCESS)
    kind: Kind = "in process" if ours == prefix else "process"
    if ours == REFERENCE and not colon:
        return Choice(name, kind)
    variant = VARIANTS.get(ours, {}).get(rest)
    if variant is not None:
        if isinstance(variant, KnownBad) and variant.as_process:
            kind = "process"
        if isinstance(variant, KnownGood):
            says = {"payloads": variant.payloads, "quiet_ms": variant.quiet_ms}
            # As a process it has to be believed by what its recorders say, as any other.
            reads = variant.payloads if kind == "in process" else None
            return Choice(name, kind, variant.dispatcher, reads=reads, hello=says)
        return Choice(name, kind, variant.dispatcher)
    if prefix == programs.EXEC and colon:
        return Choice(name, "process", program=programs.from_command_line(rest))
    if prefix == programs.HYDRA_NOTIFY:
        return Choice(name, "process", program=programs.hydra_notify(rest))
    known = [
        REFERENCE,
        REFERENCE + PROCESS,
        *(f"{kind}:{variant}" for kind, theirs in VARIANTS.items() for variant in theirs),
        "exec:COMMAND",
        "hydra-notify[:SCRIPT]",
    ]
    kinds = {"exec": "exec:COMMAND", "hydra-notify": "hydra-notify[:SCRIPT]"}
    near = [kinds[kind] for kind in difflib.get_close_matches(prefix, kinds, 1)] if colon else []
    near = (
        near
        or difflib.get_close_matches(name, known, 1)
        or [near for kind in VARIANTS for near in difflib.get_close_matches(f"{kind}:{name}", known, 1)]
    )
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnknownDispatcherError(f"there is no dispatcher {name!r}.{hint} Valid: {', '.join(known)}")
