"""What a promise is: its id, its text with every condition, where it comes from, and why it exists."""

from dataclasses import dataclass
from typing import Literal

Family = Literal["payloads", "ephemeral", "cached", "build_finished", "plugins", "life", "simulator"]

Profile = Literal["strict", "manual", "upstream"]
PROFILES: tuple[Profile, ...] = ("strict", "manual", "upstream")
"""How much of the contract a dispatcher is held to (`hydra_notify_sim.contract.profiles`)."""

FAMILIES: dict[str, Family] = {
    "P": "payloads",
    "E": "ephemeral",
    "C": "cached",
    "B": "build_finished",
    "R": "plugins",
    "L": "life",
    "Q": "simulator",
}
"""The letter that an id begins with, to its family; in the contract's order."""

Source = Literal["manual", "behaviour", "derived"]
"""Hydra's manual says it; Hydra does it, unsaid; or it follows from the others, or a user must be able to count on it."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise of the contract."""

    id: str
    """Stable, such as ``B-clear-own``; its letter names the family."""
    text: str
    """The promise with all its conditions: what a check may rely on."""
    source: Source
    why: str
    """Which loss or incident it prevents."""
    manual_text: str = ""
    """How Hydra's manual words it, where that differs; what profile ``manual`` judges."""

    @property
    def family(self) -> Family:
        """Return the family that the id's letter names."""
        return FAMILIES[self.id[0]]

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """Return the profiles under which it is judged; under the others it is only reported."""
        return tuple(profile for profile in PROFILES if self.source == "manual" or profile != "manual")

    def text_under(self, profile: Profile) -> str:
        """Return the text that this profile judges: the manual's where it differs and the profile asks for it."""
        return self.manual_text if profile == "manual" and self.manual_text else self.text
