"""A whole dispatcher written from the contract and the recorder protocol alone, to judge a conformance run by.

It shares no line with the reference: it polls, reads rows one by one, keeps its queue in memory, and drops it with the
connection. What can go wrong in it stands in `bugs`, one method each.
"""

import json
import os
import re
import signal
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]
Event = tuple[str, str]
"""Channel and payload, as received."""

FIELDS: dict[str, tuple[str, ...]] = {
    "build_queued": ("build",),
    "build_started": ("build",),
    "step_finished": ("build", "stepnr", "log"),
    "build_finished": ("build",),
    "cached_build_finished": ("evaluation", "build"),
    "cached_build_queued": ("evaluation", "build"),
    "eval_started": ("trace", "jobset"),
    "eval_failed": ("trace", "jobset"),
    "eval_added": ("trace", "jobset", "evaluation"),
    "eval_cached": ("trace", "jobset", "evaluation"),
}
TEXTS = frozenset({"trace", "log"})
LAST_ATTEMPT = 102
TURN = 0.02
"""Seconds between two looks at the database."""


class Malformed(Exception):  # noqa: N818  # says what a payload is
    """A payload that means nothing."""


class NoSuchRow(Exception):  # noqa: N818  # says what a payload is
    """A payload names a row that is not there."""


REFUSED = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
)
"""What a statement fails with while the session goes on: it can be repeated."""


class CallFailed(Exception):  # noqa: N818  # says what a call is
    """A plugin failed."""


@dataclass
class Recorder:
    """A plugin that asks the harness what to do."""

    name: str
    calls: int = 0
    hooks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(os.environ["HYDRA_NOTIFY_SIM_SOCKET"])
        self.stream = connection.makefile("rw", encoding="utf-8")
        hello = {"hello": 1, "plugin": self.name, "pid": os.getpid(), "payloads": ["2026-08"]}
        self.hooks = self.ask(hello)["hooks"]

    def ask(self, message: Row) -> Row:
        """Send one message and return the answer."""
        self.stream.write(json.dumps(message, default=str) + "\n")
        self.stream.flush()
        answer: Row = json.loads(self.stream.readline())
        return answer

    def call(self, hook: str, args: Row) -> None:
        """Call a hook."""
        self.calls += 1
        answer = self.ask({"call": self.calls, "hook": hook, "args": args})
        if answer["do"] == "raise":
            raise CallFailed(answer["message"])


class Dispatcher:
    """One process of it."""

    def __init__(self) -> None:
        self.stopping = False
        signal.signal(signal.SIGTERM, self._stop)
        self.dsn = os.environ["HYDRA_NOTIFY_SIM_DSN"]
        names = os.environ["HYDRA_NOTIFY_SIM_PLUGINS"].split(",")
        self.plugins = {name: Recorder(name) for name in names}
        self.queue: deque[Event] = deque()
        self.in_hand: Event | None = None
        self.uncleared: deque[Row] = deque()
        """Builds as they were shown whose mark could not be cleared yet."""

    def _stop(self, _number: int, _frame: object) -> None:
        self.stopping = True

    # Its life

    def run(self) -> int:
        """Work until SIGTERM; connect again as often as a connection is lost."""
        lost = False
        while not self.stopping:
            try:
                self.connect()
                if lost:
                    self.reconnected()
                self.scan()
                self.work()
            except psycopg.OperationalError:
                self.lost()
                lost = True
                time.sleep(TURN)
        return self.stopped()

    def connect(self) -> None:
        """Open both connections and listen."""
        # No prepared statements: a column that is added while it runs would invalidate them.
        self.database = psycopg.connect(
            self.dsn, autocommit=True, row_factory=dict_row, prepare_threshold=None
        )
        self.heard = psycopg.connect(self.dsn, autocommit=True)
        (read_only,) = self.heard.execute("SHOW transaction_read_only").fetchone() or ("",)
        if read_only == "on":
            raise psycopg.OperationalError("nothing can be acknowledged here")
        for channel in self.channels():
            self.heard.execute(f"LISTEN {channel}")

    def channels(self) -> list[str]:
        """Return the channels to listen to."""
        return list(FIELDS)

    def lost(self) -> None:
        """A connection is gone: what was in memory is given up."""
        self.queue.clear()
        self.uncleared.clear()

    def reconnected(self) -> None:
        """It is connected again, and has not scanned yet."""

    def stopped(self) -> int:
        """Return the exit status after SIGTERM."""
        return 0

    def scan(self) -> None:
        """Announce what is marked."""
        marked = self.rows(
            "SELECT id FROM builds WHERE notificationpendingsince IS NOT NULL AND finished = 1 ORDER BY id"
        )
        for row in marked:
            if not self.stopping:
                self.handle("build_finished", str(row["id"]))

    def work(self) -> None:
        """Handle what comes, until SIGTERM."""
        while not self.stopping:
            waiting = 0.0 if self.queue else TURN
            for one in self.heard.notifies(timeout=waiting, stop_after=1):
                self.queue.append((one.channel, one.payload))
            if self.stopping:
                return
            if self.queue:
                self.handle(*self.queue.popleft())
            else:
                if self.uncleared:
                    self.clear_one(self.uncleared.popleft())
                self.retry()

    # The database

    def rows(self, query: str, *arguments: Any) -> list[Row]:
        """Return all rows."""
        return self.database.execute(query.encode(), arguments).fetchall()

    def row(self, query: str, *arguments: Any) -> Row:
        """Return the row, or raise NoSuchRow."""
        try:
            found = self.rows(query, *arguments)
        except psycopg.DataError:
            found = []
        if not found:
            raise NoSuchRow(query)
        return found[0]

    def build(self, number: int) -> Row:
        """Return a build's row."""
        return self.row("SELECT * FROM builds WHERE id = %s", number)

    def step(self, build: int, number: int) -> Row:
        """Return a step's row."""
        return self.row("SELECT * FROM buildsteps WHERE build = %s AND stepnr = %s", build, number)

    def evaluation(self, number: int) -> Row:
        """Return an evaluation's row."""
        return self.row("SELECT * FROM jobsetevals WHERE id = %s", number)

    def jobset(self, number: int) -> Row:
        """Return a jobset's row."""
        return self.row("SELECT * FROM jobsets WHERE id = %s", number)

    # Events

    def parse(self, channel: str, payload: str) -> Row:
        """Return a payload's fields by name."""
        if channel not in FIELDS:
            raise Malformed(channel)
        names = FIELDS[channel]
        values = payload.split("\t")
        more = values[len(names) :]
        if len(values) < len(names) or not all(values):
            raise Malformed(payload)
        found: Row = {
            name: self.text(name, value) if name in TEXTS else self.number(value)
            for name, value in zip(names, values, strict=False)
        }
        if channel == "build_finished":
            found["dependents"] = [self.number(value) for value in more]
        elif more:
            raise Malformed(payload)
        return found

    def text(self, name: str, value: str) -> str | None:
        """Return a trace or a log path."""
        return None if name == "log" and value == "-" else value

    def number(self, text: str) -> int:
        """Return an id."""
        if not re.fullmatch(r"[0-9]+", text):
            raise Malformed(text)
        return int(text)

    def load(self, channel: str, named: Row) -> Row:
        """Return a hook's arguments."""
        match channel:
            case "build_queued" | "build_started":
                return {"build": self.build(named["build"])}
            case "build_finished":
                main = self.build(named["build"])
                return {"build": main, "dependents": [self.build(one) for one in named["dependents"]]}
            case "step_finished":
                return {"step": self.step(named["build"], named["stepnr"]), "log_path": named["log"]}
            case "cached_build_finished" | "cached_build_queued":
                return {
                    "evaluation": self.evaluation(named["evaluation"]),
                    "build": self.build(named["build"]),
                }
        args = {"trace_id": named["trace"], "jobset": self.jobset(named["jobset"])}
        if "evaluation" in named:
            args["evaluation"] = self.evaluation(named["evaluation"])
        return args

    def interested(self, channel: str) -> list[Recorder]:
        """Return the plugins that have a hook."""
        return [plugin for plugin in self.plugins.values() if channel in plugin.hooks]

    def handle(self, channel: str, payload: str) -> None:
        """Do all that one event asks for."""
        self.in_hand = (channel, payload)
        try:
            named = self.parse(channel, payload)
        except Malformed as error:
            sys.stderr.write(f"malformed: {channel} {error}\n")
            return
        try:
            args = self.load(channel, named)
        except NoSuchRow:
            for plugin in self.interested(channel):
                self.store(channel, plugin.name, payload)
            return
        if channel == "build_finished" and not args["build"]["finished"]:
            return
        self.call_all(channel, payload, args)
        if channel == "build_finished":
            self.clear(args)
        self.in_hand = None

    def call_all(self, channel: str, payload: str, args: Row) -> None:
        """Call every plugin, and store the failures."""
        for plugin in self.interested(channel):
            try:
                plugin.call(channel, args)
            except CallFailed:
                self.store(channel, plugin.name, payload)

    def clear(self, args: Row) -> None:
        """Clear the marks of the outcomes that were shown, and of no other ones."""
        for shown in (args["build"], *args["dependents"]):
            self.clear_one(shown)

    def clear_one(self, shown: Row) -> None:
        """Clear one mark, or try again later."""
        try:
            self.database.execute(
                "UPDATE builds SET notificationpendingsince = NULL WHERE id = %s AND finished = 1"
                " AND (buildstatus, starttime, stoptime) IS NOT DISTINCT FROM (%s, %s, %s)",
                [shown["id"], shown["buildstatus"], shown["starttime"], shown["stoptime"]],
            )
        except REFUSED:
            self.uncleared.append(shown)

    # Tasks

    def store(self, channel: str, plugin: str, payload: str) -> None:
        """Store a failed call."""
        self.database.execute(
            "INSERT INTO taskretries (channel, pluginname, payload, attempts, retry_at) VALUES (%s, %s, %s, 1, %s)",
            [channel, plugin, payload, int(time.time()) + 2],
        )

    def delete(self, task: Row) -> None:
        """Forget a task."""
        self.database.execute("DELETE FROM taskretries WHERE id = %s", [task["id"]])

    def put_off(self, task: Row, seconds: int, attempts: int) -> None:
        """Let a task be due later."""
        self.database.execute(
            "UPDATE taskretries SET attempts = %s, retry_at = %s WHERE id = %s",
            [attempts, int(time.time()) + seconds, task["id"]],
        )

    def retry(self) -> None:
        """Run one task that is due."""
        due = self.rows(
            "SELECT * FROM taskretries WHERE retry_at <= %s ORDER BY retry_at, id LIMIT 1", int(time.time())
        )
        for task in due:
            self.run_task(task)

    def run_task(self, task: Row) -> None:
        """Call the plugin that failed once more."""
        channel, payload = task["channel"], task["payload"]
        plugin = self.plugins.get(task["pluginname"])
        try:
            named = self.parse(channel, payload)
        except Malformed:
            self.delete(task)
            return
        if plugin is None or channel not in plugin.hooks:
            self.delete(task)
            return
        try:
            args = self.load(channel, named)
            if channel == "build_finished" and not args["build"]["finished"]:
                self.put_off(task, 3600, task["attempts"])
                return
            plugin.call(channel, args)
        except (NoSuchRow, CallFailed):
            attempts = task["attempts"] + 1
            if attempts >= LAST_ATTEMPT:
                self.delete(task)
            else:
                self.put_off(task, int(2 ** min(10, attempts)), attempts)
            return
        self.delete(task)


if __name__ == "__main__":
    sys.exit(Dispatcher().run())
