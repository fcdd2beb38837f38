"""Tells what a plugin's own code wrote to Hydra's rows from what the dispatcher wrote.

A dispatcher that waits for the call it made writes nothing meanwhile. So what differs in the rows behind a call of a plugin's
code, and was committed by no actor of the story, is that plugin's doing: it is recorded as such, and no check holds it
against the dispatcher.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from hydra_notify_sim import history
from hydra_notify_sim.database.locks import LockHeldError
from hydra_notify_sim.recorders.journal import Journal

ACTION = "own_statement"
"""The action of a commit of a plugin's own."""

_COLUMNS = ("finished", "buildstatus", "starttime", "stoptime", "notificationpendingsince")
_LATEST = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
"""Differs once any transaction that wrote something has ended."""
_ROWS = """
SELECT id, finished, buildstatus, starttime, stoptime, notificationpendingsince, NULL FROM builds
UNION ALL
SELECT id, attempts, retry_at, NULL, NULL, NULL, concat_ws(' ', channel, pluginname, payload) FROM taskretries
"""


@dataclass(frozen=True, slots=True)
class Rows:
    """Builds and stored tasks as they were when no later transaction than `latest` had ended."""

    latest: str
    builds: dict[int, tuple[Any, ...]]
    tasks: dict[int, tuple[Any, ...]]


class OwnWrites:
    """Watches the rows while code of plugins runs."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._last: Rows | None = None

    @contextmanager
    def watched(self, plugin: str) -> Iterator[None]:
        """Record, when the block is over, what was written in it by nobody of the story."""
        journal = self._journal
        before = self._look()
        begun = len(journal.history)
        try:
            yield
        finally:
            after = self._look()
            if before is not None and after is not None and after is not before:
                acted = any(
                    isinstance(journal.history[number], history.Commit)
                    for number in range(begun, len(journal.history))
                )
                # Where an actor of the story wrote within the call, the two cannot be told apart.
                if not acted and (commit := _difference(before, after, plugin, journal.now)) is not None:
                    number = journal.record(commit)
                    journal.record(history.Committed(t=journal.now, commit=number))
                    journal.changed()
                    journal.observe()

    def _look(self) -> Rows | None:
        """Return the rows; the very same object if nothing was written since the last time, None if they cannot be seen."""
        journal = self._journal
        if journal.blind:
            return None
        try:
            journal.observe()
            ((latest,),) = journal.connection.execute(_LATEST).fetchall()
            if self._last is None or self._last.latest != latest:
                rows = Rows(latest, {}, {})
                for id_, *columns, task in journal.connection.execute(_ROWS):
                    if task is None:
                        rows.builds[id_] = tuple(columns)
                    else:
                        rows.tasks[id_] = (*columns[:2], task)
                self._last = rows
        except (psycopg.Error, LockHeldError):
            return None
        return self._last


def _difference(before: Rows, after: Rows, plugin: str, now: float) -> history.Commit | None:
    outcomes: list[history.Outcome] = []
    restarted: list[int] = []
    changes = [
        *_changes("builds", before.builds, after.builds, _COLUMNS),
        *_changes("taskretries", before.tasks, after.tasks),
    ]
    for id_, new in after.builds.items():
        old = before.builds.get(id_)
        finished, status, start, stop, mark = new
        if finished and status is not None and (old is None or old[:4] != new[:4]):
            outcomes.append(history.Outcome(id_, status, start, stop, mark is not None))
        elif not finished and old is not None and old[0]:
            restarted.append(id_)
    if not changes:
        return None
    return history.Commit(
        t=now,
        actor="plugin",
        action=ACTION,
        about=plugin,
        outcomes=tuple(outcomes),
        restarted=tuple(restarted),
        rows=tuple(changes),
        busy=True,
    )


def _changes(
    table: str,
    before: Mapping[int, tuple[Any, ...]],
    after: Mapping[int, tuple[Any, ...]],
    columns: Sequence[str] = (),
) -> Iterator[history.RowChange]:
    for id_ in sorted(before.keys() | after.keys()):
        old, new = before.get(id_), after.get(id_)
        if old is None:
            yield history.RowChange("inserted", table, str(id_))
        elif new is None:
            yield history.RowChange("deleted", table, str(id_))
        elif old != new:
            changed = tuple(name for name, was, is_ in zip(columns, old, new, strict=False) if was != is_)
            yield history.RowChange("updated", table, str(id_), columns=changed)
