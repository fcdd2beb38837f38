"""What is known of one life of a dispatcher in a process."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hydra_notify_sim.contract import channels
from hydra_notify_sim.recorders.protocol import ArrivedCall
from hydra_notify_sim.recorders.recorder import Behaviour
from hydra_notify_sim.targets.child import Child
from hydra_notify_sim.targets.programs import Habits


@dataclass(slots=True)
class Delivery:
    """The event in hand, as its calls tell."""

    event: channels.Event | None
    called: set[str] = field(default_factory=set)
    retry: bool = False
    """Whether a stored task was due for it: nobody but that plugin is called."""


@dataclass(slots=True)
class Holding:
    """A call that has ended for the history and is not answered yet: the dispatcher is held after it."""

    arrived: ArrivedCall
    failure: str | None
    delivery: Delivery
    builds: tuple[int, ...]
    """Finished builds with a mark that the call showed: what the dispatcher may clear."""
    last: bool
    """Whether every interested plugin has been called for the event."""
    point: str = ""


@dataclass(eq=False)
class Life:
    """From process start until it is gone."""

    number: int
    behaviours: Mapping[str, Behaviour]
    child: Child
    up: bool = False
    gone: bool = False
    driving: bool = False
    stopping: bool = False
    """Whether it was asked to stop."""
    ending: bool = False
    """Whether its end is being waited for."""
    held: int = 0
    fails_unseen: str = ""
    """Channel of a notification that names a missing row, while its failure is waited for with the tasks locked."""
    silent: bool = False
    """Whether its connections fell silent, and it has not come up since."""
    frozen: bool = False
    """Whether it was made to stand still (SIGSTOP); it counts as held, too."""
    in_call: bool = False
    """Whether a call of a scenario's plugin is open."""
    handled: int = 0
    """Calls of the scenario's plugins so far."""
    scanned: int = 0
    """Events of the start-up scan so far."""
    quiet: float = 0.0
    """Seconds of silence that it takes to be sure that this dispatcher has settled."""
    given_up: bool = False
    """Whether it did not settle the last time: it is not waited for as long again."""
    lost: bool = False
    """Whether it has lost its connections at some time."""
    watched: bool = False
    """Whether it was looked at with a task due whose plugin is gone (R-gone-plugin)."""
    habits: Habits = field(default_factory=Habits)
    delivery: Delivery | None = None
    holding: Holding | None = None

    def interested(self, hook: str) -> set[str]:
        """Return the plugins that have a hook."""
        return {name for name, behaviour in self.behaviours.items() if hook in behaviour.hooks}
