"""What a recording says of one build: what was emitted, how its rows changed, which tasks named it.

The recording is read twice and never whole in memory: once for the builds that belong to it, once for what is told of
them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from hydra_notify_sim import errors, history
from hydra_notify_sim.checks import events
from hydra_notify_sim.contract import channels

MOST_DEPENDENTS = 20
"""Dependents of the build that are told of; of further ones only the number."""


class NotInRecordingError(errors.UsageError):
    """The build does not occur in the recording, or what was given is no recording of a tap."""


@dataclass(frozen=True, slots=True)
class Emitted:
    """A notification that names the build, or one that belongs to it."""

    t: float
    run: tuple[int, int]
    """The server's session that emitted it, and how many evaluations that had ended with before."""
    event: channels.Event


@dataclass(frozen=True, slots=True)
class Row:
    """How a build's row was found; it came to be so after ``since``."""

    t: float
    since: float
    build: int
    row: history.BuildRow | None


@dataclass(frozen=True, slots=True)
class State:
    """Marks and tasks of the builds that are told of, from here on."""

    t: float
    marks: frozenset[int]
    tasks: tuple[history.Task, ...]
    first: bool = False
    """How things were as the recording began."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The tap heard nothing from ``since`` on."""

    t: float
    since: float


Fact = Emitted | Row | State | Gap


@dataclass(slots=True)
class Facts:
    """All that is known of one build."""

    build: int
    dependents: tuple[int, ...] = ()
    """Builds that an announcement of the build lists with it."""
    main: tuple[int, ...] = ()
    """Builds whose announcement lists the build: it failed with them, so it needs them."""
    left_out: int = 0
    """Dependents that are not told of."""
    told: list[Fact] = field(default_factory=list)
    closed: bool = False
    """The recording was ended in order."""

    @property
    def builds(self) -> tuple[int, ...]:
        """The builds that are told of: those that it needs, itself, its dependents."""
        return (*self.main, self.build, *self.dependents)


def read(source: history.SavedHistory, build: int) -> Facts:
    """Return what a recording says of a build.

    Raises:
        NotInRecordingError: nothing, or it is no recording.
        HistoryFileError: the file is damaged.

    """
    if not source.header.tap:
        raise NotInRecordingError(
            f"{source.path} is the history of a run and not what `capture` records; its scenario is in it, and beside it."
        )
    facts = _related(source, build)
    facts.told = list(_told(source, facts))
    if not any(
        isinstance(fact, Emitted | Row) or (isinstance(fact, State) and fact.tasks) for fact in facts.told
    ):
        raise NotInRecordingError(
            f"{source.path}: build {build} does not occur in it. Was it built while the tap ran? {_which(source)}"
        )
    return facts


def _related(source: history.SavedHistory, build: int) -> Facts:
    """Find the builds that announcements and tasks join to this one."""
    dependents: dict[int, None] = {}
    mains: dict[int, None] = {}
    for channel, payload in _payloads(source):
        event = events.read(channel, payload, source.header.payloads)[0]
        if not isinstance(event, channels.BuildFinished):
            continue
        if event.build == build:
            dependents.update(dict.fromkeys(event.dependents))
        elif build in event.dependents:
            mains[event.build] = None
    dependents.pop(build, None)
    listed = [one for one in dependents if one not in mains]
    return Facts(
        build,
        tuple(listed[:MOST_DEPENDENTS]),
        tuple(mains),
        max(0, len(listed) - MOST_DEPENDENTS),
    )


def _payloads(source: history.SavedHistory) -> Iterator[tuple[str, str]]:
    for record in source:
        match record:
            case history.Heard(channel="build_finished", payload=payload):
                yield "build_finished", payload
            case history.Observed(tasks=tasks) | history.Changed(stored=tasks):
                for task in tasks:
                    yield task.channel, task.payload
            case _:
                pass


def _told(source: history.SavedHistory, facts: Facts) -> Iterator[Fact]:
    wanted = frozenset(facts.builds)
    watched = _Watched(wanted, source.header.payloads)
    evaluations: dict[int, int] = {}
    for record in source:
        match record:
            case history.Heard():
                event = events.read(record.channel, record.payload, source.header.payloads)[0]
                run = record.backend, evaluations.get(record.backend, 0)
                if isinstance(event, channels.EvalAdded):
                    evaluations[record.backend] = run[1] + 1
                elif event is not None and not wanted.isdisjoint(named(event)):
                    yield Emitted(record.t, run, event)
            case history.Seen(build=build, row=row) if build in wanted:
                yield Row(record.t, record.since, build, row)
            case history.Observed() | history.Changed():
                yield from watched.take(record)
            case history.Gap():
                yield Gap(record.t, record.since)
            case history.Closed():
                facts.closed = True
            case _:
                pass


class _Watched:
    """Marks and tasks of the builds that are told of, as the records change them."""

    def __init__(self, wanted: frozenset[int], payloads: channels.PayloadVersion) -> None:
        self._wanted = wanted
        self._payloads = payloads
        self._state: State | None = None

    def take(self, record: history.Observed | history.Changed) -> Iterator[State]:
        """Yield the state, if the record says anything of it that is new."""
        before = self._state or State(record.t, frozenset(), ())
        if isinstance(record, history.Observed):
            marks = self._wanted & record.marks.keys()
            tasks = _about(record.tasks, self._wanted, self._payloads)
        else:
            marks = (before.marks - set(record.cleared)) | (self._wanted & record.marked.keys())
            tasks = {task.id: task for task in before.tasks if task.id not in record.gone}
            tasks |= _about(record.stored, self._wanted, self._payloads)
        state = State(record.t, marks, tuple(tasks.values()), first=self._state is None)
        if state.first or (state.marks, state.tasks) != (before.marks, before.tasks):
            self._state = state
            yield state


def _about(
    tasks: tuple[history.Task, ...], wanted: frozenset[int], payloads: channels.PayloadVersion
) -> dict[int, history.Task]:
    found = {}
    for task in tasks:
        event = events.read(task.channel, task.payload, payloads)[0]
        if event is not None and not wanted.isdisjoint(named(event)):
            found[task.id] = task
    return found


def named(event: channels.Event) -> tuple[int, ...]:
    """Return the builds that an event names."""
    if isinstance(event, channels.BuildFinished):
        return (event.build, *event.dependents)
    build = getattr(event, "build", None)
    return () if build is None else (build,)


def _which(source: history.SavedHistory) -> str:
    """Say which builds there are, the last few of them."""
    seen: dict[int, None] = {}
    for record in source:
        if isinstance(record, history.Seen):
            seen.pop(record.build, None)
            seen[record.build] = None
            if len(seen) > 5:
                del seen[next(iter(seen))]
    last = ", ".join(str(build) for build in seen)
    return f"The last builds in it: {last}." if last else "No build was heard of at all."
