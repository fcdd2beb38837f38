"""What a tap reads of Hydra's tables, and what it remembers of them to tell what has changed.

Only by primary key or by a partial index: the table of builds of a live Hydra has millions of rows.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg

from hydra_notify_sim import history
from hydra_notify_sim.recorders.journal import ROWS

BUILDS = """
SELECT b.id, j.project || ':' || j.name, b.job, b.system, b.finished <> 0, b.buildstatus, b.starttime, b.stoptime,
       b.notificationpendingsince, coalesce(b.iscachedbuild, 0) <> 0
FROM builds b JOIN jobsets j ON j.id = b.jobset_id WHERE b.id = ANY(%s)
"""

AT_ONCE = 1_000
"""Builds that one statement asks for."""

WATCHED = 20_000
"""Builds whose rows are remembered: those that were heard of last. A change of an older one is seen when it is heard of."""

INT4_MAX = 2**31 - 1


class Rows:
    """Marks, tasks and the builds that were heard of, as the tap saw them last."""

    def __init__(self) -> None:
        self.marks: dict[int, int] = {}
        self.tasks: dict[int, history.Task] = {}
        self.builds: OrderedDict[int, history.BuildRow | None] = OrderedDict()
        """The one that was heard of longest ago comes first."""

    def look(self, connection: psycopg.Connection[Any]) -> history.Changed | None:
        """Read all marks and tasks, in one statement; return what has changed, None if nothing has.

        Its times are those of nothing: who calls knows them.
        """
        marks, tasks = _read(connection)
        before, self.marks = self.marks, marks
        old, self.tasks = self.tasks, tasks
        changed = history.Changed(
            t=0.0,
            since=0.0,
            marked={build: mark for build, mark in marks.items() if before.get(build) != mark},
            cleared=tuple(build for build in before if build not in marks),
            stored=tuple(task for id_, task in tasks.items() if old.get(id_) != task),
            gone=tuple(id_ for id_ in old if id_ not in tasks),
        )
        return changed if changed.marked or changed.cleared or changed.stored or changed.gone else None

    def look_at(
        self, connection: psycopg.Connection[Any], builds: Iterable[int]
    ) -> Iterator[tuple[int, history.BuildRow | None]]:
        """Read the rows of builds, and yield those that are new to the tap or differ from the last time."""
        wanted = sorted({build for build in builds if 0 < build <= INT4_MAX})
        for begin in range(0, len(wanted), AT_ONCE):
            part = wanted[begin : begin + AT_ONCE]
            found = {
                row[0]: history.BuildRow(*map(_readable, row[1:]))
                for row in connection.execute(BUILDS, [part])
            }
            for build in part:
                row = found.get(build)
                if build not in self.builds or self.builds[build] != row:
                    yield build, row
                self.builds[build] = row
                self.builds.move_to_end(build)
        while len(self.builds) > WATCHED:
            self.builds.popitem(last=False)


def _read(connection: psycopg.Connection[Any]) -> tuple[dict[int, int], dict[int, history.Task]]:
    marks: dict[int, int] = {}
    tasks: dict[int, history.Task] = {}
    for id_, mark, channel, plugin, payload, numbers in connection.execute(ROWS):
        if mark is not None:
            marks[id_] = mark
        else:
            tasks[id_] = history.Task(
                id_,
                _readable(channel),
                _readable(plugin),
                _readable(payload),
                numbers[0],
                float(numbers[1]),
            )
    return marks, tasks


def _readable(value: Any) -> Any:
    """Write bytes of a text that are no text as escapes, for a file of JSON cannot hold them."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
