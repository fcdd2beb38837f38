"""The profiles under which a history is judged: how much of the contract a dispatcher is held to.

``strict`` judges every promise. ``manual`` judges those that Hydra's manual makes, as it words them, and reports
the rest. ``upstream`` judges every promise, and calls a violation *known* that a quirk of Hydra explains
(`hydra_notify_sim.contract.quirks`) where it can have been at work (`hydra_notify_sim.checks.circumstances`).
"""

import difflib

from hydra_notify_sim import errors
from hydra_notify_sim.contract import promises
from hydra_notify_sim.contract.promises.model import PROFILES, Profile

__all__ = ["DEFAULT_PROFILE", "PROFILES", "Profile", "UnknownProfileError", "judged", "named"]

DEFAULT_PROFILE: Profile = "strict"


class UnknownProfileError(errors.UsageError):
    """There is no such profile; the message lists them."""


def named(name: str) -> Profile:
    """Return the profile of this name.

    Raises:
        UnknownProfileError: there is none.

    """
    for profile in PROFILES:
        if profile == name:
            return profile
    near = difflib.get_close_matches(name, PROFILES, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnknownProfileError(
        f"There is no profile {name[:60]!r}; the profiles are {', '.join(PROFILES)}.{hint}"
    )


def judged(profile: Profile, promise: str | promises.Promise) -> bool:
    """Return whether a violation of this promise counts under the profile; else it is only reported.

    Raises:
        UnknownPromiseError: the contract has no promise with this id.

    """
    found = promises.promise(promise) if isinstance(promise, str) else promise
    return profile in found.profiles
