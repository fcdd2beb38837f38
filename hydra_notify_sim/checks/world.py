"""The state of the run as the records tell it: life of the dispatcher, plugins, marks, tasks, unfinished builds.

The families of checks read it; it judges nothing. Memory is flat beyond what is open, and beyond the nicknames
that people know: finished builds are not kept, only unfinished ones.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

from hydra_notify_sim import history
from hydra_notify_sim.checks.events import called_event, read_leniently, task_event
from hydra_notify_sim.contract import channels

__all__ = ["LISTENING", "Key", "Phase", "World", "builds_of", "called_event", "row_id", "task_event"]

Phase = Literal["down", "closed", "starting", "up"]
"""``closed``: the process lives, and the server lets it in no more."""

Key = tuple[str, channels.Event]
"""A plugin and what it is called with."""

LISTENING = frozenset({"up", "starting"})
"""Phases in which what is emitted may be heard."""


class World:
    """Folds the records, one by one."""

    def __init__(self, header: history.Header) -> None:
        self.header = header
        self.phase: Phase = "down"
        self.life = 0
        self.plugins: Mapping[str, tuple[str, ...]] = {}
        self.epoch = 0
        """Counts what makes earlier events count no more: losses, starts, reconnections."""
        self.start_record = -1
        """Record of the last start or reconnection."""
        self.reconnected = False
        """Lost its connections at some time in this life."""
        self.row_locked = False
        """Whether somebody keeps a row locked, so that an event may be impossible to finish."""
        self.marks: dict[int, int] = {}
        """Marks as last observed."""
        self.tasks: dict[int, history.Task] = {}
        self.tasks_of: dict[Key, dict[int, history.Task]] = {}
        """The same tasks by plugin and event, by id; those that cannot be read are not among them."""
        self.moved: list[tuple[history.Task | None, history.Task | None]] = []
        """What the last observation changed: each task before and after."""
        self.moved_at: dict[int, int] = {}
        """Id of each task to the record that first showed it with its present attempts."""
        self.unseen_tasks: set[int] = set()
        """Ids of the tasks that a person has inserted since rows were last observed."""
        self.unfinished: set[int] = set()
        self.in_flight: dict[int, history.Commit] = {}
        """Transactions whose COMMIT was sent and has not returned, by record."""
        self.counters: dict[str, float] = {}
        self.names: dict[tuple[str, str], str] = {}
        self.last_observed = -1
        self.observed_at = 0.0
        """Unix seconds of the last observation."""
        self.now = 0.0
        self.life_record = -1
        """Record at which the present life began; a reconnection begins none."""
        self._events: dict[int, channels.Event | None] = {}
        self.inserted_tasks: set[int] = set()
        """Tasks that a person has inserted, and not the dispatcher; those that are gone too, for no id comes again."""
        self._naming: dict[int, dict[int, str]] = {}

    def update(self, number: int, record: history.AnyRecord) -> None:
        """Take one record in."""
        match record:
            case history.Commit():
                self._commit(number, record)
            case history.Committed(commit=commit):
                self.in_flight.pop(commit, None)
            case history.Observed():
                self._observed(number, record)
            case history.Counted(counters=counters):
                self.counters = counters
            case _:
                self._life(number, record)

    def _life(self, number: int, record: history.AnyRecord) -> None:
        match record:
            case history.Starting(life=life, plugins=plugins):
                self.life = life
                self.life_record = number
                self.plugins = plugins
                self.reconnected = False
                self.counters = {}
                self._begin(number)
            case history.Up():
                self.phase = "up"
            case history.Crashed() | history.Stopped() | history.Ended():
                self.phase = "down"
                self.epoch += 1
            case history.Disconnected(server_closed=closed):
                self.reconnected = True
                self.phase = "closed"
                if not closed:
                    self._begin(number)
            case history.Fault(fault=("row locked" | "row released") as fault):
                self.row_locked = fault == "row locked"
            case history.ServerOpened():
                if self.phase != "down":
                    self._begin(number)
            case _:
                pass

    # Questions

    @property
    def reconnecting(self) -> bool:
        """Whether its connections were lost in this life and it is not up again."""
        return self.reconnected and self.phase != "up"

    def interested(self, hook: str) -> list[str]:
        """Return the plugins of the present life that have the hook."""
        return [plugin for plugin, hooks in self.plugins.items() if hook in hooks]

    def has_hook(self, plugin: str, hook: str) -> bool:
        """Tell whether a plugin of the present life has the hook."""
        return hook in self.plugins.get(plugin, ())

    def task_event(self, task: history.Task) -> channels.Event | None:
        """Return what an observed task would call its plugin with; None if it cannot be read."""
        if task.id in self._events:
            return self._events[task.id]
        event = task_event(task, self.header.payloads)
        if event is None and task.id not in self.inserted_tasks:
            # A dispatcher that takes a payload which the manual leaves open keeps it as it came.
            return read_leniently(task.channel, task.payload, self.header.payloads)[0]
        return event

    def tasks_naming(self, plugin: str, build: int) -> Iterator[int]:
        """Yield the ids of the plugin's build_finished tasks that name a build."""
        return (id_ for id_, owner in self._naming.get(build, {}).items() if owner == plugin)

    def has_task(self, plugin: str, build: int) -> bool:
        """Tell whether a build_finished task of the plugin names a build."""
        return plugin in self._naming.get(build, {}).values()

    def named_by_task(self, build: int) -> bool:
        """Tell whether any build_finished task names a build."""
        return build in self._naming

    def build(self, id_: int) -> str:
        """Return what people call a build."""
        return self.names.get(("builds", str(id_)), f"build {id_}")

    def event(self, event: channels.Event) -> str:
        """Return what people call an event."""
        match event:
            case channels.BuildFinished(build, dependents):
                others = f" with {', '.join(self.build(d) for d in dependents)}" if dependents else ""
                return f"build_finished {self.build(build)}{others}"
            case channels.BuildQueued(build) | channels.BuildStarted(build):
                return f"{event.channel} {self.build(build)}"
            case channels.StepFinished(build, step, _):
                return f"step_finished {self.build(build)} step {step}"
            case channels.CachedBuildFinished(_, build) | channels.CachedBuildQueued(_, build):
                return f"{event.channel} {self.build(build)}"
            case channels.EvalStarted(trace, _) | channels.EvalFailed(trace, _, _):
                return f"{event.channel} {trace!r}"
            case channels.EvalAdded(trace, _, evaluation, _) | channels.EvalCached(trace, _, evaluation):
                return f"{event.channel} {trace!r} evaluation {evaluation}"

    # Folding

    def _commit(self, number: int, record: history.Commit) -> None:
        self.now = record.t
        self.in_flight[number] = record
        for row in record.rows:
            if row.nickname and row.change == "inserted":
                self.names[row.table, row.id] = row.nickname
            if row.table == "taskretries" and row.change == "inserted" and (task := row_id(row)) is not None:
                self.unseen_tasks.add(task)
                self.inserted_tasks.add(task)
            if row.table == "builds" and (build := row_id(row)) is not None:
                if row.change == "inserted":
                    self.unfinished.add(build)
                elif row.change == "deleted":
                    self.unfinished.discard(build)
        self.unfinished.update(record.restarted)
        self.unfinished.difference_update(outcome.build for outcome in record.outcomes)

    def _observed(self, number: int, record: history.Observed) -> None:
        self.last_observed = number
        self.unseen_tasks.difference_update(self._certainly_seen())
        self.marks = record.marks
        before, self.tasks = self.tasks, {task.id: task for task in record.tasks}
        self.moved = [(before.get(id_), task) for id_, task in self.tasks.items() if before.get(id_) != task]
        self.moved += [(task, None) for id_, task in before.items() if id_ not in self.tasks]
        for old, new in self.moved:
            if old is not None:
                self._forget(old)
            if new is not None:
                self._keep(new)
                if old is None or old.attempts != new.attempts:
                    self.moved_at[new.id] = number
            elif old is not None:
                self.moved_at.pop(old.id, None)

    def _certainly_seen(self) -> set[int]:
        if not self.in_flight:
            return set(self.unseen_tasks)
        flying = {
            id_
            for commit in self.in_flight.values()
            for row in commit.rows
            if row.table == "taskretries" and (id_ := row_id(row)) is not None
        }
        return self.unseen_tasks - flying

    def _keep(self, task: history.Task) -> None:
        event = self._events[task.id] = self.task_event(task)
        if event is not None:
            self.tasks_of.setdefault((task.plugin, event), {})[task.id] = task
            for build in builds_of(event):
                self._naming.setdefault(build, {})[task.id] = task.plugin

    def _forget(self, task: history.Task) -> None:
        event = self._events.pop(task.id, None)
        if event is None:
            return
        tasks = self.tasks_of.get((task.plugin, event), {})
        tasks.pop(task.id, None)
        if not tasks:
            self.tasks_of.pop((task.plugin, event), None)
        for build in builds_of(event):
            naming = self._naming.get(build, {})
            naming.pop(task.id, None)
            if not naming:
                self._naming.pop(build, None)

    def _begin(self, number: int) -> None:
        self.phase = "starting"
        self.epoch += 1
        self.start_record = number


def builds_of(event: channels.Event) -> tuple[int, ...]:
    """Return the builds that a build_finished event names; none for other events."""
    return (event.build, *event.dependents) if isinstance(event, channels.BuildFinished) else ()


def row_id(row: history.RowChange) -> int | None:
    """Return a row's id as a number; None if it is none."""
    return int(row.id) if row.id.isascii() and row.id.isdigit() and len(row.id) <= 18 else None
