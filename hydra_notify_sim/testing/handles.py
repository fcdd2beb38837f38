"""The handles that tests hold: builds, evaluations and plugins, known by their row or name and never by an id."""

from typing import TYPE_CHECKING

from hydra_notify_sim.contract.statuses import status_name

if TYPE_CHECKING:
    from hydra_notify_sim import simulator


class Build:
    """A row of ``builds``; two handles are equal if they are of the same row."""

    __slots__ = ("_known", "id", "nickname")

    def __init__(self, id_: int, nickname: str, known: "simulator.Build | None" = None) -> None:
        """Make one; ``known`` is what the simulator knows of it, None for a row that somebody else wrote."""
        self.id = id_
        self.nickname = nickname
        self._known = known

    @property
    def job(self) -> str:
        """Name of its job, such as ``iso.x86_64-linux``."""
        return self._known.job if self._known is not None else ""

    @property
    def jobset(self) -> str:
        """Its jobset as ``project:name``."""
        return self._known.jobset.nickname if self._known is not None else ""

    @property
    def finished(self) -> bool:
        """Whether it is finished now."""
        return self._known is not None and self._known.finished

    @property
    def status(self) -> str | None:
        """How it ended, by name; None while it is not finished."""
        return status_name(self._known.status) if self._known is not None and self._known.finished else None

    def nth_step(self, number: int) -> int:
        """Return which of its steps has this number in ``buildsteps``, from 1; the number if none has."""
        steps = self._known.all_steps if self._known is not None else []
        return steps.index(number) + 1 if number in steps else number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Build) and other.id == self.id

    def __hash__(self) -> int:
        return hash(("build", self.id))

    def __repr__(self) -> str:
        return self.nickname


class Evaluation:
    """A row of ``jobsetevals``; two handles are equal if they are of the same row."""

    __slots__ = ("builds", "id", "nickname")

    def __init__(self, id_: int, nickname: str, builds: tuple[Build, ...] = ()) -> None:
        self.id = id_
        self.nickname = nickname
        self.builds = builds
        """The builds that it queued, then those that it found."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Evaluation) and other.id == self.id

    def __hash__(self) -> int:
        return hash(("evaluation", self.id))

    def __repr__(self) -> str:
        return self.nickname


class Plugin:
    """A plugin of the dispatcher, known by its name."""

    __slots__ = ("hooks", "name", "object")

    def __init__(self, name: str, hooks: tuple[str, ...], made_from: object = None) -> None:
        self.name = name
        self.hooks = hooks
        self.object = made_from
        """The author's own object; None for a recorder."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plugin) and other.name == self.name

    def __hash__(self) -> int:
        return hash(("plugin", self.name))

    def __repr__(self) -> str:
        return self.name


def plugin_name(plugin: object) -> str:
    """Return the name of a plugin that is given as its handle, as the installed object, or as the name."""
    if isinstance(plugin, str):
        return plugin
    if isinstance(plugin, Plugin):
        return plugin.name
    return str(getattr(plugin, "name", "") or type(plugin).__name__)
