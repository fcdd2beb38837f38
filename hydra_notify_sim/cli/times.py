"""Durations that options give; apart from the other options, for what reads them takes a while to import."""

from hydra_notify_sim import errors
from hydra_notify_sim.scenario import parse_duration


def seconds(option: str, text: str) -> float:
    """Return a duration that an option gives, in seconds; raises UsageError if it is none, or not more than nothing."""
    try:
        given = parse_duration(text)
    except ValueError as error:
        raise errors.UsageError(f"{option} {text}: write a duration such as 0.5s, 90s or 10m.") from error
    if given <= 0:
        raise errors.UsageError(f"{option} {text}: the time must be longer than nothing.")
    return given
