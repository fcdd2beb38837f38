"""Writes what happens into the history: records as they come, and the rows as they are."""

from collections.abc import Callable
from typing import Any, Protocol

import psycopg

from hydra_notify_sim import history

ROWS = """
SELECT id, notificationpendingsince, NULL, NULL, NULL, NULL FROM builds WHERE notificationpendingsince IS NOT NULL
UNION ALL
SELECT id, NULL, channel, pluginname, payload, ARRAY[attempts, retry_at] FROM taskretries
"""
"""All marks and tasks: the one query that the harness adds to what it watches."""


_WATCHED = frozenset({"builds", "taskretries"})
"""Tables in which marks and tasks stand."""


class Clock(Protocol):
    """The history's clock."""

    def now(self) -> float:
        """Return Unix seconds."""


class Journal:
    """One run's history in the making, with a connection of the harness's own to look at the rows."""

    def __init__(
        self,
        written: history.History,
        clock: Clock,
        connection: psycopg.Connection[Any],
    ) -> None:
        """Make a journal; the connection is in autocommit mode."""
        self.history = written
        self.clock = clock
        self.connection = connection
        self.due: Callable[[int, str, int, int], float] = lambda _id, _plugin, _attempts, retry_at: retry_at
        """From a task's id, plugin, attempts and ``retry_at``: when it is due, on the history's clock."""
        self.on_commit: Callable[[history.Commit], None] = lambda _commit: None
        """Told of each transaction that committed."""
        self.tasks: tuple[history.Task, ...] = ()
        """The tasks as last observed."""
        self.marks: dict[int, int] = {}
        """The marks as last observed."""
        self._plugins: dict[str, str] = {}
        self._stored_as: dict[str, str] = {}
        self.blind = False
        """Whether the rows cannot be looked at for the moment: they are locked against everybody."""
        self._stale = True

    def record(self, record: history.AnyRecord) -> int:
        """Append a record and return its number."""
        number = self.history.append(record)
        match record:
            case history.Committed(commit=commit, ok=True):
                committed = self.history[commit]
                assert isinstance(committed, history.Commit)
                if committed.outcomes or any(row.table in _WATCHED for row in committed.rows):
                    self._stale = True
                self.on_commit(committed)
            case _:
                pass
        return number

    @property
    def now(self) -> float:
        """Unix seconds of the history's clock."""
        return self.clock.now()

    def changed(self) -> None:
        """Say that somebody may have written marks or tasks since they were last observed."""
        self._stale = True

    def know(self, plugin: str, stored_as: str) -> None:
        """Learn under which name the dispatcher stores a plugin's failures; tasks written before are renamed."""
        self._plugins[stored_as], self._stored_as[plugin] = plugin, stored_as
        if stored_as != plugin:
            self.connection.execute(
                "UPDATE taskretries SET pluginname = %s WHERE pluginname = %s", [stored_as, plugin]
            )

    def plugin(self, stored_as: str) -> str:
        """Return the plugin whose failures are stored under a name."""
        return self._plugins.get(stored_as, stored_as)

    def stored_as(self, plugin: str) -> str:
        """Return the name under which a plugin's failures are stored, as far as is known."""
        return self._stored_as.get(plugin, plugin)

    def observe(self) -> None:
        """Record all marks and tasks as the rows show them, unless nobody can have written since the last time."""
        if not self._stale or self.blind:
            return
        marks: dict[int, int] = {}
        tasks: list[history.Task] = []
        for id_, mark, channel, plugin, payload, numbers in self.connection.execute(ROWS):
            if mark is not None:
                marks[id_] = mark
            else:
                attempts, retry_at = numbers
                name = self.plugin(plugin)
                due = self.due(id_, name, attempts, retry_at)
                tasks.append(history.Task(id_, channel, name, payload, attempts, due))
        self.marks = marks
        self.tasks = tuple(sorted(tasks, key=lambda task: task.id))
        self._stale = False
        self.record(history.Observed(t=self.now, marks=marks, tasks=self.tasks))
