"""What the machine's bundles hold: builds that know how they are now, and plugins."""

from collections.abc import Callable
from dataclasses import dataclass

from hydra_notify_sim import simulator
from hydra_notify_sim.scenario.model import GivenPlugin


@dataclass(eq=False, slots=True)
class Build:
    """A build, by its nickname."""

    nickname: str
    row_comes_later: bool
    look: Callable[[str], simulator.Build]
    """From the nickname to what the simulator knows of it."""

    @property
    def now(self) -> simulator.Build:
        """How it is now."""
        return self.look(self.nickname)


@dataclass(eq=False, slots=True)
class Plugin:
    """A plugin that is given."""

    name: str
    given: GivenPlugin
    released: bool = False

    @property
    def holding(self) -> bool:
        """Whether it still holds the calls that it gets."""
        return self.given.holds and not self.released


def exists(build: Build) -> bool:
    """Whether it has a row."""
    return build.now.exists


def can_be_found(build: Build) -> bool:
    """Whether an evaluation can find it cached."""
    return build.now.can_be_found


def was_left_behind(build: Build) -> bool:
    """Whether it is finished, and a change has taken its place."""
    return is_finished(build) and not build.now.can_be_found and build.now.jobset.exists


def is_open(build: Build) -> bool:
    """Whether it is not finished."""
    return build.now.exists and not build.now.finished


def is_finished(build: Build) -> bool:
    """Whether it is finished."""
    return build.now.exists and build.now.finished


def is_fresh(build: Build) -> bool:
    """Whether none of its steps was ever begun in this attempt."""
    return is_open(build) and not build.now.begun


def can_start(build: Build) -> bool:
    """Whether a further step of it can be sent to a machine."""
    return is_open(build) and not any(step.own for step in build.now.under_way)


def is_on_the_way(build: Build) -> bool:
    """Whether a step of it is under way that is not its last."""
    return is_open(build) and any(not step.own for step in build.now.under_way)


def is_under_way(build: Build) -> bool:
    """Whether a step of it is under way."""
    return is_open(build) and bool(build.now.under_way)


def is_missing(build: Build) -> bool:
    """Whether its row was announced and is not there yet."""
    return build.row_comes_later and not build.now.exists
