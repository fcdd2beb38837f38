"""A dispatcher under test, whatever it is: what the engine can ask of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from hydra_notify_sim import errors
from hydra_notify_sim.contract import channels
from hydra_notify_sim.recorders.journal import Journal
from hydra_notify_sim.recorders.recorder import Behaviour, Calls
from hydra_notify_sim.targets.points import Points

SERVER_STOPPED = "the server is stopped"
"""Why a dispatcher is hindered whose server was stopped."""
READ_ONLY = "the server is for reading only"
"""Why one is hindered that can write nothing."""
ROW_LOCKED = "somebody keeps a row locked"
"""Why one is hindered that may have to wait for a row."""
SILENT = "its connections have fallen silent"
"""Why one is hindered that has to find that out by itself."""


class PayloadsNotReadError(errors.UsageError):
    """The dispatcher's recorder says that it does not read the payloads of the story that is being played."""

    def __init__(self, plugin: str, reads: tuple[channels.PayloadVersion, ...], told: str) -> None:
        super().__init__(
            f"recorder {plugin!r} says that its dispatcher reads payloads {', '.join(reads) or 'of no version known here'}; "
            f"this story is told in {told}"
        )
        self.reads = reads


class Clock(Protocol):
    """The clock of a run: virtual where the dispatcher lives in this process."""

    def now(self) -> float:
        """Return Unix seconds."""


class Target(Protocol):
    """One dispatcher under test on one database, for one scenario at a time.

    The target writes the records of the dispatcher's life, its calls, and the rows it changed.
    """

    in_process: bool
    """Whether it can be held at every numbered point, and its counters read."""
    journal: Journal
    points: Points
    hindered: str
    """Why it cannot be expected to settle now, such as a stopped server; empty if nothing keeps it from that."""
    calls: Calls
    """The calls of its plugins, and which of them are open."""
    on_hold: Callable[[str], None]
    """Called with a plugin's name when its call is held; returns when the plugin is released."""

    @property
    def ahead(self) -> float:
        """By how many seconds the dispatcher's clock, which ``retry_at`` is read by, is ahead of the story's."""

    @property
    def alive(self) -> bool:
        """Whether a process of the dispatcher exists."""

    @property
    def inside(self) -> bool:
        """Whether the dispatcher is held at a point or in a call right now, so that it cannot settle."""

    def start(self, behaviours: Mapping[str, Behaviour]) -> None:
        """Begin a life with these plugins. Returns when it is up and has settled, or was lost on the way.

        Raises EnvironmentFailedError when it does not come up.
        """

    def stop(self) -> None:
        """Ask it to stop; returns when it has, or, while it is held, at once."""

    @property
    def frozen(self) -> bool:
        """Whether it was made to stand still."""

    def freeze(self) -> None:
        """Make it stand still (SIGSTOP); its connections stay, and it is inside nothing that is watched."""

    def thaw(self) -> None:
        """Let it go on."""

    def crash(self) -> None:
        """Kill it. While it is held at a point this does not return: the point's stack is unwound."""

    def fall_silent(self) -> None:
        """Let its connections pass nothing on any more, without an end; raises NotImplementedError where it cannot."""

    def lose_connection(self, *, reply_lost: bool = False, fault: str = "connection lost") -> None:
        """Cut its connections, and record that as a fault; with ``reply_lost`` the commit it is about to make is applied and its answer lost."""

    def server_closing(self) -> None:
        """Say that the server shuts now and takes all connections with it: it is hindered, the journal blind."""

    def server_opened(self) -> None:
        """Say that the server lets the dispatcher in again."""

    def release_rows(self) -> None:
        """Give back what the harness holds in the database to hold the dispatcher at a point: others will write now."""

    def settle(self) -> None:
        """Let it work until it has settled, and record that; does nothing while it is held or not alive.

        While it is hindered it is given the chance to do what it can, and nothing is recorded of whether it settled.
        """

    def move_time(self, seconds: float) -> None:
        """Move the clock on and record it; nothing is played."""

    def wait_out(self, seconds: float) -> None:
        """Let so much real time pass, sending nothing; what falls due meanwhile is to be run without being told."""

    def next_due(self) -> float | None:
        """Return when the next stored task is due, on the history's clock."""

    def log(self) -> Sequence[str]:
        """Return what it logged so far."""

    def close(self) -> None:
        """End it, whatever it is doing, and give back what it holds."""
