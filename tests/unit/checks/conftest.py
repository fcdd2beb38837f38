"""A history as a readable story: writes the records that the in-process target writes for the same events."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hydra_notify_sim import checks, history
from hydra_notify_sim.checks.verdicts import Judgements, Verdict
from hydra_notify_sim.contract import channels, profiles

T0 = 1_767_225_600
STATUS = {"succeeded": 0, "failed": 1, "dependency_failed": 2, "cancelled": 4}
HOOKS = tuple(channel for channel in channels.CHANNELS if channel != "step_finished")
PLUGINS = {"github": HOOKS, "chat": HOOKS}

Row = dict[str, Any]


@dataclass
class Judged:
    """What the checks say, by promise."""

    judgements: Judgements

    def __getitem__(self, promise: str) -> Verdict:
        return next(verdict for verdict in self.judgements.verdicts if verdict.promise == promise)

    def _all(self, judgement: str) -> set[str]:
        return {verdict.promise for verdict in self.judgements.verdicts if verdict.verdict == judgement}

    @property
    def violated(self) -> set[str]:
        return self._all("violated")

    @property
    def held(self) -> set[str]:
        return self._all("held")

    @property
    def known(self) -> set[str]:
        return self._all("known")

    @property
    def why(self) -> dict[str, str]:
        return {v.promise: v.explanation for v in self.judgements.verdicts if v.verdict == "violated"}

    @property
    def allowed(self) -> list[tuple[str, str, str]]:
        """Kind, hook and promise of what was lost or repeated."""
        return [(a.kind, a.hook, a.promise) for a in self.judgements.allowed]

    @property
    def reported(self) -> str:
        return "\n".join(self.judgements.reported)


class Story:
    """Appends records; keeps the rows, marks and tasks that they imply."""

    def __init__(self, plugins: dict[str, tuple[str, ...]], **header: Any) -> None:
        self.header = history.Header(name="story", plugins=plugins, **header)
        self.plugins = plugins
        self.records: list[history.AnyRecord] = []
        self.now = float(T0)
        self.rows: dict[int, Row] = {}
        self.marks: dict[int, int] = {}
        self.tasks: dict[int, history.Task] = {}
        self.counters: dict[str, float] = {}
        self.life = 0
        self._calls = 0
        self._task_id = 0
        self._stale = True
        self._counted: dict[str, float] = {}

    def add(self, kind: type[Any], **fields: Any) -> int:
        self.records.append(kind(t=self.now, **fields))
        return len(self.records) - 1

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.add(history.TimeMoved, seconds=seconds)

    # Transactions

    def send(
        self, action: str, *notes: history.Notification, actor: str = "queue_runner", **fields: Any
    ) -> int:
        """Record that COMMIT was sent."""
        for outcome in fields.get("outcomes", ()):
            self.rows[outcome.build] = {
                "finished": 1,
                "buildstatus": outcome.status,
                "starttime": outcome.start,
                "stoptime": outcome.stop,
            }
            self.marks.pop(outcome.build, None)
            if outcome.pending:
                self.marks[outcome.build] = outcome.stop
        for build in fields.get("restarted", ()):
            self.rows[build] = {**self.rows[build], "finished": 0}
        if any(fields.get(name) for name in ("outcomes", "restarted", "rows")):
            self._stale = True
        return self.add(history.Commit, actor=actor, action=action, notifications=notes, **fields)

    def commit(self, action: str, *notes: history.Notification, ok: bool = True, **fields: Any) -> int:
        number = self.send(action, *notes, **fields)
        self.add(history.Committed, commit=number, ok=ok)
        return number

    def builds(self, *ids: int) -> None:
        """Unfinished builds appear, known as b5, b6 and so on."""
        for id_ in ids:
            self.rows[id_] = {"finished": 0, "buildstatus": None, "starttime": None, "stoptime": None}
        rows = tuple(history.RowChange("inserted", "builds", str(id_), f"b{id_}") for id_ in ids)
        self.commit("insert", actor="harness", rows=rows)

    def outcome(
        self, build: int, status: str = "succeeded", *, pending: bool = True, stop: int | None = None
    ) -> history.Outcome:
        stop = int(self.now) if stop is None else stop
        return history.Outcome(build, STATUS[status], stop - 1, stop, pending)

    def mark(
        self,
        *ids: int,
        status: str = "succeeded",
        pending: bool = True,
        stop: int | None = None,
        **fields: Any,
    ) -> int:
        """The queue runner marks builds as finished."""
        step = f"{ids[0]}\t1\t/log"
        about = f"b{ids[0]}"
        self.commit("finish_step", history.Notification("step_finished", step), about=about)
        outcomes = tuple(
            self.outcome(
                id_,
                status if at == 0 or status == "succeeded" else "dependency_failed",
                pending=pending,
                stop=stop,
            )
            for at, id_ in enumerate(ids)
        )
        action = "mark_finished" if status == "succeeded" else "fail_builds"
        return self.commit(action, outcomes=outcomes, about=about, **fields)

    def announce(self, main: int, *dependents: int, **fields: Any) -> int:
        payload = "\t".join(map(str, (main, *dependents)))
        note = history.Notification("build_finished", payload)
        return self.commit("announce_finished", note, about=f"b{main}", **fields)

    def finish(
        self, build: int, *dependents: int, status: str = "succeeded", **fields: Any
    ) -> tuple[int, int]:
        """A build finishes and is announced; the numbers of the two transactions."""
        self.wait(1)
        ids = dict.fromkeys((build, *dependents))
        return self.mark(*ids, status=status, **fields), self.announce(build, *dependents)

    def restart(self, *ids: int, **fields: Any) -> int:
        columns = ("finished", "iscachedbuild")
        rows = tuple(history.RowChange("updated", "builds", str(id_), columns=columns) for id_ in ids)
        return self.commit("restarted", actor="person", restarted=ids, rows=rows, **fields)

    def notify(self, channel: str, payload: str, *, missing: tuple[str, ...] = (), **fields: Any) -> int:
        """A person sends a notification."""
        note = history.Notification(channel, payload, raw=True, missing=missing)
        return self.commit("notify", note, actor="person", **fields)

    def delete(self, table: str, id_: str) -> int:
        if table == "builds":
            self.rows.pop(int(id_), None)
            self.marks.pop(int(id_), None)
        if table == "taskretries":
            self.tasks.pop(int(id_), None)
        row = history.RowChange("deleted", table, id_)
        return self.commit("delete", actor="person", rows=(row,))

    # The dispatcher's life

    def start(self, *, up: bool = True, **plugins: list[str]) -> int:
        if plugins:
            self.plugins = {plugin: tuple(hooks) for plugin, hooks in plugins.items()}
        self.observe()
        self.life += 1
        self.counters, self._counted = {}, {}
        number = self.add(history.Starting, life=self.life, plugins=self.plugins)
        if up:
            self.up()
        return number

    def up(self) -> int:
        return self.add(history.Up, life=self.life)

    def crash(self, *calls: int) -> int:
        number = self.add(history.Crashed, life=self.life)
        for call in calls:
            self.add(history.CutOff, call=call)
        self.observe(force=True)
        return number

    def stopping(self, *, busy: bool = False) -> int:
        return self.add(history.Stopping, life=self.life, busy=busy)

    def stopped(self, **fields: Any) -> int:
        self.observe()
        return self.add(history.Stopped, life=self.life, **fields)

    def disconnect(self, *, server_closed: bool = False, by: str = "scenario") -> int:
        if not server_closed:
            self.observe()
        return self.add(history.Disconnected, life=self.life, server_closed=server_closed, by=by)

    def reopen(self) -> int:
        self.observe(force=True)
        return self.add(history.ServerOpened)

    def ended(self, message: str = "") -> int:
        self.observe(force=True)
        return self.add(history.Ended, life=self.life, exit_status=1, message=message)

    def settle(self) -> int:
        self.observe()
        if self.counters != self._counted:
            self._counted = dict(self.counters)
            self.add(history.Counted, counters=dict(self.counters))
        return self.add(history.Settled)

    def not_settled(self, reason: str = "the deadline passed", *, busy: bool = False) -> int:
        self.observe()
        return self.add(history.NotSettled, reason=reason, busy=busy)

    # Calls

    def row(self, build: int) -> Row:
        """A build's row as it is now."""
        return {"id": build, **self.rows[build], "notificationpendingsince": self.marks.get(build)}

    def args(self, hook: str, *ids: Any, rows: dict[int, Row] | None = None) -> dict[str, Any]:
        def build(id_: int) -> Row:
            return (rows or {}).get(id_) or self.row(id_)

        match hook:
            case "build_queued" | "build_started":
                return {"build": build(ids[0])}
            case "build_finished":
                return {"build": build(ids[0]), "dependents": [build(id_) for id_ in ids[1:]]}
            case "step_finished":
                return {"step": {"build": ids[0], "stepnr": ids[1], "status": 0}, "log_path": ids[2]}
            case "cached_build_finished" | "cached_build_queued":
                return {"evaluation": {"id": ids[0], "jobset_id": 1}, "build": build(ids[1])}
        jobset = {"id": ids[1], "project": "nixpkgs", "name": "trunk"}
        found: dict[str, Any] = {"trace_id": ids[0], "jobset": jobset}
        if hook in {"eval_added", "eval_cached"}:
            found["evaluation"] = {"id": ids[2], "jobset_id": ids[1]}
        return found

    def begin(self, plugin: str, hook: str, *ids: Any, rows: dict[int, Row] | None = None) -> int:
        """A hook is called; the number of the call."""
        self._calls += 1
        args = self.args(hook, *ids, rows=rows)
        self.add(history.Called, call=self._calls, life=self.life, plugin=plugin, hook=hook, args=args)
        return self._calls

    def returned(self, call: int) -> int:
        return self.add(history.Returned, call=call)

    def raised(self, call: int) -> int:
        return self.add(history.Raised, call=call, message="502")

    def call(self, plugin: str, hook: str, *ids: Any, **fields: Any) -> int:
        """A hook is called and returns; the number of the record of the call."""
        number = len(self.records)
        self.returned(self.begin(plugin, hook, *ids, **fields))
        return number

    def fail(self, plugin: str, hook: str, *ids: Any, stored: bool = True, **fields: Any) -> int:
        """A hook is called, fails, and the failure is stored; the number of the record of the failure."""
        number = self.raised(self.begin(plugin, hook, *ids, **fields))
        if stored:
            self.store(plugin, hook, "\t".join(map(str, ids)))
        return number

    def deliver(self, hook: str, *ids: Any) -> int:
        """All interested plugins are called and return, and the marks are cleared."""
        first = len(self.records)
        for plugin, hooks in self.plugins.items():
            if hook in hooks:
                self.call(plugin, hook, *ids)
        if hook == "build_finished":
            self.clear(*(id_ for id_ in ids if self.rows[id_]["finished"]))
        return first

    # Rows

    def observe(self, *, force: bool = False) -> int:
        if self._stale or force:
            self._stale = False
            tasks = tuple(sorted(self.tasks.values(), key=lambda task: task.id))
            return self.add(history.Observed, marks=dict(self.marks), tasks=tasks)
        return len(self.records) - 1

    def clear(self, *builds: int) -> int:
        """The dispatcher clears marks."""
        for build in builds:
            self.marks.pop(build, None)
        return self.observe(force=True)

    def store(
        self, plugin: str, channel: str, payload: str, attempts: int = 1, due_in: float | None = None
    ) -> int:
        """The dispatcher stores a task; its id."""
        self._task_id += 1
        due = int(self.now) + (2 ** min(10, attempts) if due_in is None else due_in)
        self.tasks[self._task_id] = history.Task(self._task_id, channel, plugin, payload, attempts, due)
        self.observe(force=True)
        return self._task_id

    def requeue(self, id_: int, attempts: int, due_in: float | None = None) -> int:
        """The dispatcher puts a task off."""
        task = self.tasks[id_]
        due = int(self.now) + (2 ** min(10, attempts) if due_in is None else due_in)
        self.tasks[id_] = history.Task(id_, task.channel, task.plugin, task.payload, attempts, due)
        return self.observe(force=True)

    def drop(self, id_: int, *, counted: bool = False) -> int:
        """The dispatcher deletes a task."""
        del self.tasks[id_]
        if counted:
            self.counters["dropped"] = self.counters.get("dropped", 0.0) + 1
        return self.observe(force=True)

    def insert_task(
        self, plugin: str, channel: str, payload: str, attempts: int = 1, due_in: float = 0
    ) -> int:
        """A person, or another version of the dispatcher, inserts a task; its id."""
        self._task_id += 1
        row = history.RowChange("inserted", "taskretries", str(self._task_id))
        self.commit("insert", actor="harness", rows=(row,))
        due = int(self.now) + due_in
        self.tasks[self._task_id] = history.Task(self._task_id, channel, plugin, payload, attempts, due)
        return self._task_id

    # The end

    def history(self) -> history.History:
        return history.History(self.header, self.records)

    def judge(self, profile: profiles.Profile | None = None) -> Judged:
        return Judged(checks.judge(self.history(), profile))


@pytest.fixture
def make_story() -> Callable[..., Story]:
    """Make a story of its own plugins, with fields of the header."""

    def make(plugins: dict[str, tuple[str, ...]] | None = None, **header: Any) -> Story:
        return Story(dict(plugins or PLUGINS), **header)

    return make


@pytest.fixture
def story(make_story: Callable[..., Story]) -> Story:
    """A story with two plugins, github and chat, that have every hook but step_finished; b5, b6, b7 are known and unfinished."""
    made = make_story()
    made.builds(5, 6, 7)
    return made


@pytest.fixture
def solo(make_story: Callable[..., Story]) -> Story:
    """The same with one plugin, github, that has build_finished and build_queued."""
    made = make_story({"github": ("build_finished", "build_queued")})
    made.builds(5, 6, 7)
    return made
