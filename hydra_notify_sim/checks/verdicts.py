"""What the checks say: a verdict for every promise, and what the contract allowed."""

from typing import Literal

import msgspec

Judgement = Literal["held", "violated", "known", "not_exercised"]


class Verdict(msgspec.Struct, frozen=True):
    """What one history says of one promise."""

    promise: str
    verdict: Judgement
    explanation: str
    """For a violation: what should have happened and what did. For *known*: the quirk. Else how it was exercised."""
    records: tuple[int, ...] = ()
    """Numbers of the records that prove it."""
    quirk: str = ""
    """For *known*: the id of the deviation, such as ``hn-stale-clear``."""
    exercised: int = 0
    """How often the history put the promise to the test."""
    reported: bool = False
    """For *held*: it was broken, and the profile does not judge it."""
    also: tuple[str, ...] = ()
    """For *known*: the ids of further deviations that would explain it."""


class Allowed(msgspec.Struct, frozen=True):
    """Something that was lost or repeated, and the promise that allows it."""

    kind: Literal["lost", "repeated"]
    what: str
    promise: str
    records: tuple[int, ...] = ()
    hook: str = ""
    build: int | None = None
    """Database id of the build concerned, if one is."""
    plugin: str = ""


class Judgements(msgspec.Struct, frozen=True):
    """All that the checks say of one history."""

    verdicts: tuple[Verdict, ...]
    """One per promise, in the order of the contract."""
    allowed: tuple[Allowed, ...]
    reported: tuple[str, ...] = ()
    """Observations that are no verdict: leniencies that the manual leaves open."""
    profile: str = "strict"
    """The profile by which it was judged."""
