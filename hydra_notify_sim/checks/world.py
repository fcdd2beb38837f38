"""The state of the run as the records tell it: life of the dispatcher, plugins, marks, tasks, unfinished builds.

The families of checks read it; it judges nothing. Memory is flat beyond what is open: finished builds are not
kept, only unfinished ones.
"""

from collections.abc import Mapping
from typing import Any, Literal

from hydra_notify_sim import history
from hydra_notify_sim.contract import channels

Phase = Literal["down", "closed", "starting", "up"]
"""``closed``: the process lives, and the server lets it in no more."""

Key = tuple[str, channels.Event]
"""A plugin and what it is called with."""


class World:
    """Folds the records, one by one."""

    def __init__(self, header: history.Header) -> None:
        self.header = header
        self.phase: Phase = "down"
        self.life = 0
        self.plugins: Mapping[str, tuple[str, ...]] = {}
        self.starts = 0
        """Starts and reconnections so far."""
        self.start_record = -1
        self.reconnecting = False
        """Lost its connections in this life and has not settled since."""
        self.reconnected = False
        """Lost its connections at some time in this life."""
        self.marks: dict[int, int] = {}
        self.marks_before: dict[int, int] = {}
        self.tasks: dict[int, history.Task] = {}
        self.tasks_before: dict[int, history.Task] = {}
        self.tasks_of: dict[Key, list[history.Task]] = {}
        self.unfinished: set[int] = set()
        self.counters: dict[str, float] = {}
        self.names: dict[tuple[str, str], str] = {}
        self.last_observed = -1
        self.now = 0.0

    def update(self, number: int, record: history.AnyRecord) -> None:
        """Take one record in."""
        self.now = record.t
        match record:
            case history.Commit():
                self._commit(record)
            case history.Observed():
                self._observed(number, record)
            case history.Settled():
                self.reconnecting = False
            case history.Counted(counters=counters):
                self.counters = counters
            case _:
                self._life(number, record)

    def _life(self, number: int, record: history.AnyRecord) -> None:
        match record:
            case history.Starting(life=life, plugins=plugins):
                self.life = life
                self.plugins = plugins
                self.reconnecting = self.reconnected = False
                self._begin(number)
            case history.Up():
                self.phase = "up"
            case history.Crashed() | history.Stopped() | history.Ended():
                self.phase = "down"
            case history.Disconnected(server_closed=closed):
                self.reconnecting = self.reconnected = True
                self.phase = "closed"
                if not closed:
                    self._begin(number)
            case history.ServerOpened():
                self._begin(number)
            case _:
                pass

    def interested(self, hook: str) -> list[str]:
        """Return the plugins of the present life that have the hook."""
        return [plugin for plugin, hooks in self.plugins.items() if hook in hooks]

    def has_hook(self, plugin: str, hook: str) -> bool:
        """Tell whether a plugin of the present life has the hook."""
        return hook in self.plugins.get(plugin, ())

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
            case _:
                return f"{event.channel} {channels.format_payload(event)!r}"

    def _commit(self, record: history.Commit) -> None:
        for row in record.rows:
            if row.nickname and row.change == "inserted":
                self.names[row.table, row.id] = row.nickname
            if row.table == "builds":
                if row.change == "inserted":
                    self.unfinished.add(int(row.id))
                elif row.change == "deleted":
                    self.unfinished.discard(int(row.id))
        self.unfinished.update(record.restarted)
        self.unfinished.difference_update(outcome.build for outcome in record.outcomes)

    def _observed(self, number: int, record: history.Observed) -> None:
        self.last_observed = number
        self.marks_before, self.marks = self.marks, record.marks
        self.tasks_before, self.tasks = self.tasks, {task.id: task for task in record.tasks}
        self.tasks_of = {}
        for task in record.tasks:
            event = task_event(task, self.header.payloads)
            if event is not None:
                self.tasks_of.setdefault((task.plugin, event), []).append(task)

    def _begin(self, number: int) -> None:
        self.phase = "starting"
        self.starts += 1
        self.start_record = number


def task_event(task: history.Task, payloads: channels.PayloadVersion) -> channels.Event | None:
    """Return what a task would call its plugin with; None if it cannot be read (R-poison)."""
    try:
        return channels.parse(task.channel, task.payload, payloads)
    except channels.MalformedPayloadError:
        return None


def called_event(hook: str, args: Mapping[str, Any]) -> channels.Event | None:
    """Return the event that a call's arguments say it is for; None if they name nothing (P-arguments)."""
    try:
        event: channels.Event = _EVENTS[hook](args)
    except (KeyError, TypeError, AttributeError):
        return None
    return event


_EVENTS: dict[str, Any] = {
    "build_queued": lambda a: channels.BuildQueued(a["build"]["id"]),
    "build_started": lambda a: channels.BuildStarted(a["build"]["id"]),
    "build_finished": lambda a: channels.BuildFinished(
        a["build"]["id"], tuple(build["id"] for build in a["dependents"])
    ),
    "step_finished": lambda a: channels.StepFinished(a["step"]["build"], a["step"]["stepnr"], a["log_path"]),
    "cached_build_finished": lambda a: channels.CachedBuildFinished(a["evaluation"]["id"], a["build"]["id"]),
    "cached_build_queued": lambda a: channels.CachedBuildQueued(a["evaluation"]["id"], a["build"]["id"]),
    "eval_started": lambda a: channels.EvalStarted(a["trace_id"], a["jobset"]["id"]),
    "eval_added": lambda a: channels.EvalAdded(
        a["trace_id"], a["jobset"]["id"], a["evaluation"]["id"], a.get("error_changed")
    ),
    "eval_cached": lambda a: channels.EvalCached(a["trace_id"], a["jobset"]["id"], a["evaluation"]["id"]),
    "eval_failed": lambda a: channels.EvalFailed(a["trace_id"], a["jobset"]["id"], a.get("error_changed")),
}
