"""When a failed call is tried again, and when no more (R-backoff)."""

LAST_ATTEMPT = 102
"""The failed attempt after which a task is dropped."""


def delay(attempts: int) -> int:
    """Return the seconds from the n-th failed attempt to the next one: 2 to the power of n, 1024 at most."""
    return int(2 ** min(10, attempts))


def is_last(attempts: int) -> bool:
    """Tell whether the n-th failed attempt was the last one."""
    return attempts >= LAST_ATTEMPT
