"""What workers are asked to do and what they answer: plain data, so that it can go to another process or machine."""

from pathlib import Path

import msgspec

from hydra_notify_sim.contract import channels
from hydra_notify_sim.contract.deviations import Deviation


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a campaign's scenarios are made and played; the same for every worker."""

    dispatcher: str = "reference"
    profile: str = "strict"
    known: tuple[Deviation, ...] = ()
    """Deviations of the dispatcher that are known beforehand, and count for no violation."""
    known_file: Path | None = None
    """The file that they were read from, where this began."""
    reads: tuple[channels.PayloadVersion, ...] | None = None
    """The versions of the payloads that the dispatcher reads, if a person said so."""
    patience: float = 1.0
    """What every deadline of a dispatcher in a process is multiplied with."""
    seed: int = 0
    """Seed of the generation: scenario i is made from it and i alone."""
    shard: int = 1
    """This shard's number, from 1."""
    shards: int = 1
    """Shard I of N plays the scenarios i with i mod N = I - 1."""
    dsn: str | None = None
    schema: Path | None = None
    directory: Path = Path()
    """The campaign's directory as it was named where this began, for the commands that are shown."""
    empty: bool = False
    """Generate scenarios in which next to nothing happens: what a campaign costs by itself (benchmarks)."""

    @property
    def strand(self) -> str:
        """Return what the scenarios of this plan are known by in a directory: seed and shard."""
        return f"seed {self.seed}" + (f" shard {self.shard}/{self.shards}" if self.shards > 1 else "")


class Play(msgspec.Struct, frozen=True, tag=True):
    """Make and play these scenarios."""

    indices: tuple[int, ...]


class Replay(msgspec.Struct, frozen=True, tag=True):
    """Play a counter-example of an earlier campaign again."""

    name: str
    text: str


class Shrink(msgspec.Struct, frozen=True, tag=True):
    """Make a scenario that broke a promise small."""

    index: int
    promise: str
    plays: int


Task = Play | Replay | Shrink


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one scenario ended."""

    index: int
    story: int = 0
    """Digest of the story's shape, 64 bits."""
    features: tuple[str, ...] = ()
    """What it covered, as ``kind: what`` (`outcomes.features`)."""
    violated: tuple[str, ...] = ()
    called: bool = False
    """Whether a plugin was called."""
    missed: int = 0
    """Points of the story that were never reached."""
    actions: int = 0
    fault: str = ""
    """What went wrong in the harness, with its traceback; the scenario has no verdict then."""
    lost: str = ""
    """What went wrong in the environment; the worker can do no more."""


class Played(msgspec.Struct, frozen=True, tag=True):
    """The outcomes of a `Play`, in its order; after one that lost the environment none follows."""

    outcomes: tuple[Outcome, ...]


class Replayed(msgspec.Struct, frozen=True, tag=True):
    """What an old counter-example breaks today."""

    name: str
    violated: tuple[str, ...]
    expected: tuple[str, ...]
    error: str = ""
    """Why it could not be played."""


class Found(msgspec.Struct, frozen=True, tag=True):
    """A counter-example, shrunk; without a text if the scenario did not break the promise a second time."""

    index: int
    promise: str
    name: str = ""
    text: str = ""
    violated: tuple[str, ...] = ()
    signature: str = ""
    actions: int = 0
    plays: int = 0
    complete: bool = True


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The worker could not begin, or is at its end."""

    message: str
    exit_code: int = 5


Answer = Played | Replayed | Found | Failed
