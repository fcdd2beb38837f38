"""The handles: builds, evaluations and jobsets, with what the simulator knows of their rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hydra_notify_sim import errors
from hydra_notify_sim.contract.channels import BuildFinished
from hydra_notify_sim.contract.statuses import Status, status_name
from hydra_notify_sim.simulator.names import Package


class ImpossibleActionError(errors.UsageError):
    """What was asked for cannot happen to this build or jobset now; the message says why."""


@dataclass(eq=False, slots=True)
class Jobset:
    """A row of ``jobsets``."""

    id: int
    project: str
    name: str
    flake: str = ""
    """Reference of the flake that it evaluates; empty: an expression inside an input."""
    enabled: int = 1
    """As in ``jobsets.enabled``: 0 is never evaluated, 2 once and 3 one at a time."""
    exists: bool = True
    evaluations: "list[Evaluation]" = field(default_factory=list)

    @property
    def nickname(self) -> str:
        """Return what people call it: ``project:name``."""
        return f"{self.project}:{self.name}"

    @property
    def last_evaluation(self) -> "Evaluation | None":
        """Return the latest evaluation whose row exists."""
        return next((e for e in reversed(self.evaluations) if e.exists), None)

    @property
    def last_with_new_builds(self) -> "Evaluation | None":
        """Return the latest evaluation that has members: what it holds is what the next one can find cached."""
        return next((e for e in reversed(self.evaluations) if e.exists and e.has_new_builds), None)


@dataclass(eq=False, slots=True)
class Evaluation:
    """A row of ``jobsetevals``."""

    id: int
    nickname: str
    jobset: Jobset
    builds: "tuple[Build, ...]"
    """What it found, new or known, and has not been deleted."""
    trace: str
    hash: str
    revision: str
    """What a made-up input was checked out at."""
    has_new_builds: bool = True
    """As in ``jobsetevals.hasnewbuilds``: a build is new, or the number of builds is another one."""
    flake: str = ""
    """The locked reference that a flake's evaluation looked at."""
    exists: bool = True

    @property
    def members(self) -> "list[Build]":
        """Return the builds of which it has rows in ``jobsetevalmembers``."""
        return list(self.builds) if self.has_new_builds else []


@dataclass(frozen=True, slots=True)
class Input:
    """An input that an evaluation looked at: a row of ``jobsetevalinputs``."""

    name: str
    type: str = "git"
    uri: str | None = None
    revision: str | None = None
    value: str | None = None


@dataclass(eq=False, slots=True)
class StepUnderWay:
    """A step that was sent to a machine and has not ended."""

    number: int
    drv_path: str
    own: bool
    """It builds the build's own derivation, not one on the way to it."""
    machine: str
    start: int


@dataclass(eq=False, slots=True)
class Build:
    """A row of ``builds``, or the id of one to come; handles are compared by identity."""

    id: int
    nickname: str
    job: str
    jobset: Jobset
    system: str
    steps: int
    """Steps that building it takes; the last one builds its own derivation."""
    package: Package
    drv_path: str
    outputs: dict[str, str]
    """Name to store path."""
    needs: "list[Build]" = field(default_factory=list)
    products: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    constituents: "tuple[Build, ...]" = ()
    """The builds that an aggregate job stands for; it depends on each of them."""
    maintainers: tuple[str, ...] = ()
    """Mail addresses."""
    current: bool = False
    """As in ``builds.iscurrent``: a member of the jobset's latest evaluation with new builds."""

    exists: bool = False
    """Its row was written and not deleted."""
    finished: bool = False
    status: int | None = None
    start: int | None = None
    """Unix seconds, as in ``starttime``."""
    stop: int | None = None
    announcement: tuple[BuildFinished, ...] = ()
    """The build_finished events of the last marking, if they were not sent."""
    marked_only: bool = False
    """The queue runner died after that marking."""
    begun: bool = False
    """A step of it was begun in this attempt."""
    under_way: list[StepUnderWay] = field(default_factory=list)
    ended: int = 0
    """Steps that ended in this attempt, aborted ones not counted."""
    own_started: int | None = None
    """When the step of its own derivation had started, if it ended well in this attempt."""
    first_step: int = 1
    """The number that its first step gets."""
    step_numbers: list[int] = field(default_factory=list)
    """Numbers of its rows in ``buildsteps``."""
    other_steps: list[int] = field(default_factory=list)
    """Numbers of the rows in ``buildsteps`` that no story speaks of (`bystanders`)."""
    all_steps: list[int] = field(default_factory=list)
    """Numbers of the steps that it ever had, in their order, deleted ones too."""
    twin: int | None = None
    """Id of a row that looks like its own, and is to be written with it (`bystanders`)."""
    has_results: bool = False
    """It has rows in ``buildproducts`` or ``buildmetrics``."""
    needed_by: "list[Build]" = field(default_factory=list)

    def __repr__(self) -> str:
        how = status_name(self.status) if self.finished else "unfinished"
        return f"<Build {self.id} {self.nickname} {how}>"

    @property
    def next_step(self) -> int:
        """Return the number that its next step gets: the highest one plus 1."""
        return max([*self.step_numbers, *self.other_steps], default=self.first_step - 1) + 1

    def has_step(self, number: int) -> None:
        """Take note that there is a row of a step."""
        self.step_numbers.append(number)
        self.all_steps.append(number)

    def nth_step(self, nth: int) -> int:
        """Return the number of the n-th step that it ever had, from 1, or will have if they follow each other."""
        had = len(self.all_steps)
        return self.all_steps[nth - 1] if nth <= had else self.next_step + nth - had - 1

    @property
    def can_be_found(self) -> bool:
        """Tell whether the next evaluation can find it cached: it is a member of the last one with new builds."""
        last = self.jobset.last_with_new_builds
        return last is not None and self in last.members

    def must_be(self, action: str, *, finished: bool | None) -> None:
        """Refuse an action on a build that is in no state for it.

        Raises:
            ImpossibleActionError: its row does not exist, or it is finished where it should not be, or the reverse.

        """
        if not self.exists:
            raise ImpossibleActionError(
                f"{self.nickname}: {action} is impossible, there is no row of it; evaluate or insert it first"
            )
        if finished is False and self.finished:
            raise ImpossibleActionError(
                f"{self.nickname}: {action} is impossible, it is finished already ({status_name(self.status)}); "
                "restart it first"
            )
        if finished is True and not self.finished:
            raise ImpossibleActionError(f"{self.nickname}: {action} is impossible, it is not finished")

    def deleted(self) -> None:
        """Take note that its row is gone, and its places in evaluations with it."""
        self.exists = False
        self.reopen()
        self.has_results = False
        self.other_steps.clear()
        self.status = self.start = self.stop = None
        for evaluation in self.jobset.evaluations:
            evaluation.builds = tuple([build for build in evaluation.builds if build is not self])

    def mark(self, status: int, start: int, stop: int) -> None:
        """Take note that its row says finished."""
        self.finished = True
        self.status, self.start, self.stop = int(status), start, stop

    def reopen(self) -> None:
        """Take note that its row says unfinished: its next attempt begins from nothing."""
        self.finished = self.begun = False
        self.ended = 0
        self.own_started = None
        self.under_way.clear()


def unfinished_dependents(builds: Iterable[Build]) -> list[Build]:
    """Return the unfinished builds that need one of these, through however many others, in id order."""
    first = list(builds)
    seen = set(map(id, first))
    found = []
    stack = first
    while stack:
        for dependent in stack.pop().needed_by:
            if id(dependent) not in seen:
                seen.add(id(dependent))
                stack.append(dependent)
                if dependent.exists and not dependent.finished:
                    found.append(dependent)
    return sorted(found, key=lambda build: build.id)


def nicknames(things: Iterable[Build | Evaluation]) -> str:
    """Return the nicknames, for people."""
    return ", ".join([thing.nickname for thing in things])


def distinct(builds: Iterable[Build]) -> Iterator[Build]:
    """Yield each build once, in the order given."""
    return iter(dict.fromkeys(builds))


def as_status(status: Status | str | int) -> Status:
    """Return a status by its name, its number, or itself.

    Raises:
        ImpossibleActionError: Hydra has no such status.

    """
    try:
        return Status[status] if isinstance(status, str) else Status(status)
    except (KeyError, ValueError):
        raise ImpossibleActionError(
            f"{status!r} is not a status; Hydra has {', '.join(known.name for known in Status)}"
        ) from None
