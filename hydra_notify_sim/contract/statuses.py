"""Hydra's status codes and their names (docs/reference/hydra.md, section 4)."""

from enum import IntEnum


class Status(IntEnum):
    """How a build or a step ended: the number in ``builds.buildstatus`` and ``buildsteps.status``."""

    succeeded = 0
    failed = 1
    dependency_failed = 2
    aborted = 3
    cancelled = 4
    failed_with_output = 6
    timed_out = 7
    cached_failure = 8
    unsupported_system = 9
    log_limit_exceeded = 10
    nar_size_limit_exceeded = 11
    not_deterministic = 12
    resolved = 13


STEP_ONLY = frozenset({Status.cached_failure, Status.resolved})
"""Codes that only a step carries, never a build."""


def status_name(code: int | None) -> str:
    """Return the name of a status code, or the number itself when Hydra has none for it."""
    try:
        return Status(code).name if code is not None else "none"
    except ValueError:
        return str(code)
