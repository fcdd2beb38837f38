"""Splits a build_finished that would be too long for one notification (docs/reference/hydra.md, section 2)."""

from collections.abc import Iterable

from hydra_notify_sim.contract.channels import BuildFinished

SPLIT_ABOVE = 7_000
"""Bytes; PostgreSQL itself takes 7,999."""


def split_finished(build: int, dependents: Iterable[int]) -> list[BuildFinished]:
    """Return the events that announce a build with its dependents: each part repeats the head."""
    head = len(str(build))
    parts: list[list[int]] = [[]]
    size = head
    for dependent in dependents:
        more = 1 + len(str(dependent))
        if size + more > SPLIT_ABOVE:
            parts.append([])
            size = head
        parts[-1].append(dependent)
        size += more
    return [BuildFinished(build, tuple(part)) for part in parts]
