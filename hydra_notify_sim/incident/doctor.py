"""Looks at a live Hydra's database, read-only, and says what is wrong with its notifications.

`look` reads the facts in one transaction; `diagnose` is pure and turns them into findings.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg
from psycopg.rows import namedtuple_row

from hydra_notify_sim.checks import events
from hydra_notify_sim.contract import channels
from hydra_notify_sim.database import connections
from hydra_notify_sim.dispatcher import connecting, start_checks

APPLICATION = "hydra-notify-sim doctor (read-only)"
LISTENS = "hydra-notify-sim dispatcher: listen"
"""Application name of the reference dispatcher's connection that listens."""
SCHEMA_VERSIONS = range(83, 88)
"""Versions of Hydra's schema whose tables are read here as they are meant (docs/reference/hydra.md, section 4)."""

FAILING = 5
"""Failed attempts from which on a task counts as one that keeps failing: it has failed for a minute by then."""
QUEUE_FULL = 0.25
"""Share of PostgreSQL's notification queue in use from which on it is worth saying: at 1, NOTIFY fails."""
EXAMPLES = 5
"""How many ids a finding names."""

_DISPATCHER = re.compile(r"\blisten\b|taskretries|notificationpendingsince", re.IGNORECASE)
"""What the last statement of a dispatcher's connection is about."""

Severity = Literal["problem", "note"]


@dataclass(frozen=True, slots=True)
class Backend:
    """A connection that may be a dispatcher's, from ``pg_stat_activity``; times are Unix seconds."""

    pid: int
    application: str
    started: float
    state: str
    since: float
    """When it last began or ended a statement."""
    query: str
    """Its last statement."""
    blocked_by: tuple[int, ...] = ()
    """Backends that hold the lock it waits for."""


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A row of ``taskretries``; ``rows`` says whether every row that it names exists, None where it cannot be read."""

    id: int
    channel: str
    plugin: str
    payload: str
    attempts: int
    due: int
    rows: bool | None = True


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read; times are Unix seconds by the server's clock."""

    database: str
    now: float
    schema: int | None = None
    standby: bool = False
    marks: tuple[tuple[int, int], ...] = ()
    """Finished builds with a mark: build and mark, oldest first."""
    stale_marks: tuple[tuple[int, int], ...] = ()
    """Unfinished builds with a mark, likewise."""
    tasks: tuple[StoredTask, ...] = ()
    backends: tuple[Backend, ...] = ()
    """Connections to this database that look like a dispatcher's."""
    hidden: int = 0
    """Connections whose statement this user may not see."""
    queue: float = 0.0
    """Share of the notification queue in use."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a person should know, with what explains it and what to do."""

    id: str
    severity: Severity
    text: str
    do: str
    points_to: tuple[str, ...] = ()
    """Quirks and promises; `hydra-notify-sim explain` prints them."""
    examples: tuple[int, ...] = field(default=())
    """Ids of builds, tasks or backends."""


# Reading


def look(dsn: str) -> Facts:
    """Read the facts from a Hydra database; nothing is written, and nobody is notified.

    Raises:
        UsageError: the DSN cannot be read.
        EnvironmentFailedError: the database cannot be reached or read, or is not one of Hydra's.

    """
    name = connections.database_name(dsn)
    try:
        connection = connecting.connector(dsn, read_only=True)(APPLICATION)
    except psycopg.Error as error:
        raise connections.unreachable(name, error) from None
    with connection:
        try:
            start_checks.check_schema(connections.without_passwords(dsn), connection)
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with connection.transaction():
                return _facts(connection, name)
        except psycopg.Error as error:
            raise connections.unreadable(
                name, error, "jobsets, jobsetevals, buildsteps, schemaversion"
            ) from None


def _facts(connection: psycopg.Connection[Any], name: str) -> Facts:
    cursor: psycopg.Cursor[Any] = connection.cursor(row_factory=namedtuple_row)
    server = cursor.execute(
        "SELECT extract(epoch FROM now())::float8 AS now, pg_is_in_recovery() AS standby,"
        " (SELECT max(version) FROM schemaversion) AS schema"
    ).fetchone()
    assert server is not None
    marks = cursor.execute(
        "SELECT id, notificationpendingsince, finished FROM builds WHERE notificationpendingsince IS NOT NULL"
        " ORDER BY notificationpendingsince, id"
    ).fetchall()
    stored = cursor.execute(
        "SELECT id, channel, pluginname, payload, attempts, retry_at FROM taskretries ORDER BY retry_at, id"
    ).fetchall()
    tasks = [StoredTask(*row) for row in stored]
    backends, hidden = _backends(cursor)
    # A standby has no queue of its own.
    queue = (
        0.0
        if server.standby
        else float(cursor.execute("SELECT pg_notification_queue_usage() AS used").fetchall()[0].used)
    )
    return Facts(
        name,
        server.now,
        server.schema,
        server.standby,
        tuple((row.id, row.notificationpendingsince) for row in marks if row.finished),
        tuple((row.id, row.notificationpendingsince) for row in marks if not row.finished),
        tuple(_with_rows(cursor, tasks)),
        backends,
        hidden,
        queue,
    )


def _backends(cursor: psycopg.Cursor[Any]) -> tuple[tuple[Backend, ...], int]:
    found = cursor.execute(
        "SELECT pid, application_name, state, query, usename IS NULL OR query = '<insufficient privilege>' AS hidden,"
        " extract(epoch FROM backend_start)::float8 AS started, extract(epoch FROM state_change)::float8 AS since,"
        " CASE WHEN wait_event_type = 'Lock' THEN pg_blocking_pids(pid) ELSE '{}' END AS blocked_by"
        " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend' ORDER BY pid"
    ).fetchall()
    seen = tuple(
        Backend(
            row.pid,
            row.application_name,
            row.started,
            row.state or "",
            row.since or 0.0,
            row.query,
            tuple(row.blocked_by),
        )
        for row in found
        if not row.hidden and "read-only" not in row.application_name
        if _DISPATCHER.search(row.query) or row.application_name == LISTENS
    )
    return seen, sum(row.hidden for row in found)


def _with_rows(cursor: psycopg.Cursor[Any], tasks: Sequence[StoredTask]) -> Iterator[StoredTask]:
    """Yield the tasks with whether the rows that they name exist."""
    named = {task.id: _rows_named(task) for task in tasks}
    wanted: dict[str, set[str]] = {}
    for table, name in (row for rows in named.values() for row in rows or ()):
        wanted.setdefault(table, set()).add(name)
    existing = {(table, name) for table, names in wanted.items() for name in _existing(cursor, table, names)}
    for task in tasks:
        rows = named[task.id]
        known = None if rows is None else existing.issuperset(rows)
        yield StoredTask(task.id, task.channel, task.plugin, task.payload, task.attempts, task.due, known)


def _existing(cursor: psycopg.Cursor[Any], table: str, names: Collection[str]) -> Iterator[str]:
    keys = [int(name.split("/")[0]) for name in names]
    keys = [key for key in keys if key <= channels.INT4_MAX]
    key, shown = ("build", "build || '/' || stepnr") if table == "buildsteps" else ("id", "id::text")
    for row in cursor.execute(f"SELECT {shown} AS name FROM {table} WHERE {key} = ANY(%s::int[])", [keys]):
        yield row.name


def _rows_named(task: StoredTask) -> list[tuple[str, str]] | None:
    """Return the rows that a task names, None if it cannot be read with any version of the payloads."""
    for version in channels.PAYLOAD_VERSIONS:
        event = events.read(task.channel, task.payload, version)[0]
        if event is not None:
            return events.rows_named(event)
    return None


# Judging


def diagnose(facts: Facts, *, late: float = 300.0, installed: Collection[str] = ()) -> list[Finding]:
    """Return what is wrong, problems first.

    Args:
        facts: what was read.
        late: seconds after which a mark or a due task should have been worked on.
        installed: names of all plugins, as ``taskretries.pluginname`` has them; empty if nobody said.

    """
    found = [
        *_marks(facts, late),
        *_listeners(facts, late),
        *_tasks(facts, late, installed),
        *_surroundings(facts),
    ]
    return sorted(found, key=lambda one: one.severity != "problem")


def _marks(facts: Facts, late: float) -> Iterator[Finding]:
    old = [(build, mark) for build, mark in facts.marks if facts.now - mark > late]
    if old:
        yield Finding(
            "old-marks",
            "problem",
            f"{_count(len(old), 'finished build')} {_waits(len(old))} to be announced, the oldest for "
            f"{_ago(facts, old[0][1])} (build {old[0][0]}).",
            "See whether hydra-notify runs and hears (below). If it does, its log says which plugin is slow, or that no "
            "plugin implements buildFinished. Restarting it announces these builds.",
            ("B-at-least-once", "B-clear", "hn-deaf-after-reconnect", "hn-never-cleared", "qr-notify-gap"),
            tuple(build for build, _ in old[:EXAMPLES]),
        )
    if facts.stale_marks:
        yield Finding(
            "stale-marks",
            "problem",
            f"{_count(len(facts.stale_marks), 'unfinished build')} {'carries a mark' if len(facts.stale_marks) == 1 else 'carry marks'}"
            " of an earlier outcome: the next start of hydra-notify reports them as finished with their old status.",
            "Let them finish before you restart hydra-notify, or clear their marks: UPDATE builds SET "
            "notificationpendingsince = NULL WHERE finished = 0.",
            ("hn-recovery-unfinished", "B-unfinished"),
            tuple(build for build, _ in facts.stale_marks[:EXAMPLES]),
        )


def _listeners(facts: Facts, late: float) -> Iterator[Finding]:
    if facts.standby:
        yield Finding(
            "standby",
            "note",
            "This server is a standby: it shows the rows, and no dispatcher is connected to it.",
            "Name the primary to have the listeners looked at as well.",
        )
        return
    yield from _deaf(facts, late)
    if not facts.backends:
        unseen = f" {_count(facts.hidden, 'connection')} could not be looked at." if facts.hidden else ""
        yield Finding(
            "no-listener",
            "note" if facts.hidden else "problem",
            f"No connection to this database looks like hydra-notify's.{unseen}",
            "GRANT pg_read_all_stats TO this user, to see the statements of others."
            if facts.hidden
            else "Start hydra-notify. What is emitted meanwhile on other channels than build_finished is lost.",
            ("E-gone", "C-gone"),
        )
    listening = [one for one in facts.backends if one.application == LISTENS]
    if len(listening) > 1:
        yield Finding(
            "two-dispatchers",
            "problem",
            f"{len(listening)} dispatchers listen on this database: each clears marks of what the other has yet to tell.",
            "Stop all but one.",
            ("B-clear-after",),
            tuple(one.pid for one in listening),
        )
    for one in facts.backends:
        if one.blocked_by and facts.now - one.since > late:
            blockers = ", ".join(map(str, one.blocked_by))
            yield Finding(
                "blocked",
                "problem",
                f"Backend {one.pid} has waited for {_ago(facts, one.since)} for a lock that backend {blockers} holds.",
                f"See what that program does (SELECT * FROM pg_stat_activity WHERE pid IN ({blockers})), and end it if it hangs.",
                examples=(one.pid, *one.blocked_by),
            )


def _deaf(facts: Facts, late: float) -> Iterator[Finding]:
    """Find that all dispatchers have been idle since before a build finished that they should have announced."""
    owed = [(build, mark) for build, mark in facts.marks if facts.now - mark > late]
    if not facts.backends or not owed:
        return
    # Several connections may be one dispatcher's: while one of them works, it is not deaf.
    newest = max(facts.backends, key=lambda one: one.since)
    missed = [build for build, mark in owed if mark > max(one.started for one in facts.backends)]
    if newest.state == "idle" and facts.now - newest.since > late and missed:
        yield Finding(
            "deaf",
            "problem",
            f"Backend {newest.pid} is connected since {_ago(facts, newest.started)} and idle since {_ago(facts, newest.since)}, "
            f"and build {missed[0]}, which finished after it connected, is not announced: it does not hear, or a plugin "
            "has not returned since then.",
            "Look at hydra-notify's log. If it lost its connection there, it connected again without LISTEN: restart it.",
            ("hn-deaf-after-reconnect", "hn-lost-wakeup", "L-reconnect", "L-no-stall"),
            (newest.pid, *missed[:EXAMPLES]),
        )


def _tasks(facts: Facts, late: float, installed: Collection[str]) -> Iterator[Finding]:
    poisoned = [task for task in facts.tasks if task.rows is None]
    if poisoned:
        ids = ", ".join(str(task.id) for task in poisoned[:EXAMPLES])
        yield Finding(
            "poisoned-tasks",
            "problem",
            f"{_count(len(poisoned), 'stored retry', 'stored retries')} cannot be read: hydra-notify ends with status 255 when one is "
            "due, at every start.",
            f"Look at them, and delete them: DELETE FROM taskretries WHERE id IN ({ids}).",
            ("hn-poison-retry", "R-poison"),
            tuple(task.id for task in poisoned[:EXAMPLES]),
        )
    gone = [task for task in facts.tasks if installed and task.plugin not in installed]
    if gone:
        plugins = ", ".join(sorted({task.plugin for task in gone}))
        yield Finding(
            "gone-plugins",
            "problem",
            f"{_count(len(gone), 'stored retry', 'stored retries')} of plugins that are not installed ({plugins}): hydra-notify neither "
            "runs nor deletes them, and turns in a busy loop once they are due.",
            "Install the plugin again, or delete them: DELETE FROM taskretries WHERE pluginname = '…'.",
            ("hn-retry-livelock", "R-gone-plugin"),
            tuple(task.id for task in gone[:EXAMPLES]),
        )
    orphaned = [task for task in facts.tasks if task.rows is False]
    if orphaned:
        yield Finding(
            "orphaned-tasks",
            "note",
            f"{_count(len(orphaned), 'stored retry', 'stored retries')} {_name(len(orphaned))} rows that do not exist (any more). They are "
            "tried until the 102nd attempt, a day and more.",
            "Delete them if the rows will not come back.",
            ("P-missing-row",),
            tuple(task.id for task in orphaned[:EXAMPLES]),
        )
    overdue = [task for task in facts.tasks if facts.now - task.due > late and task not in poisoned]
    if overdue:
        yield Finding(
            "overdue-tasks",
            "problem",
            f"{_count(len(overdue), 'stored retry', 'stored retries')} should have run, the oldest {_ago(facts, overdue[0].due)} ago: "
            f"{_by_plugin(overdue)}.",
            "If hydra-notify runs, one of these plugins is gone or lacks the hook, and its retries starve the others; "
            "--installed NAME, given for each plugin, tells which.",
            ("hn-retry-livelock", "R-backoff", "R-gone-plugin"),
            tuple(task.id for task in overdue[:EXAMPLES]),
        )
    failing = [task for task in facts.tasks if task.attempts >= FAILING and task.rows]
    if failing:
        yield Finding(
            "failing-plugins",
            "note",
            f"{_count(len(failing), 'call')} {'has' if len(failing) == 1 else 'have'} failed {FAILING} times or more: {_by_plugin(failing)}; "
            f"the most is {max(task.attempts for task in failing)} attempts.",
            "hydra-notify's log has what the plugin said. After the 102nd attempt the call is given up.",
            ("R-backoff",),
            tuple(task.id for task in failing[:EXAMPLES]),
        )


def _surroundings(facts: Facts) -> Iterator[Finding]:
    if facts.queue > QUEUE_FULL:
        yield Finding(
            "queue",
            "problem",
            f"PostgreSQL's notification queue is {facts.queue:.0%} full: a program that listens has not read for long, in an "
            "open transaction. When it is full, NOTIFY fails and with it the queue runner's transactions.",
            "End what is 'idle in transaction' for long in pg_stat_activity.",
        )
    if facts.schema not in SCHEMA_VERSIONS:
        yield Finding(
            "schema",
            "note",
            f"The schema's version is {facts.schema}; {SCHEMA_VERSIONS[0]} to {SCHEMA_VERSIONS[-1]} are known here.",
            "Read the rest with care: a column may mean something else.",
        )


def _count(number: int, noun: str, several: str = "") -> str:
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"


def _waits(number: int) -> str:
    return "waits" if number == 1 else "wait"


def _name(number: int) -> str:
    return "names" if number == 1 else "name"


def _by_plugin(tasks: Sequence[StoredTask]) -> str:
    counted = Counter(task.plugin for task in tasks).most_common(EXAMPLES)
    return ", ".join(f"{plugin} {number}" for plugin, number in counted)


def _ago(facts: Facts, moment: float) -> str:
    """Return how long ago a moment is, in its two largest units."""
    seconds = max(0, int(facts.now - moment))
    for unit, size, smaller, small in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // small
            return f"{seconds // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds} s"


def summary(facts: Facts) -> dict[str, Any]:
    """Return the numbers that monitoring wants, whatever is wrong; ages in seconds, None where there is nothing."""
    tasks: dict[str, dict[str, int]] = {}
    for task in facts.tasks:
        attempts = tasks.setdefault(task.plugin, {})
        attempts[str(task.attempts)] = attempts.get(str(task.attempts), 0) + 1
    return {
        "marks": len(facts.marks),
        "oldest_mark_seconds": round(facts.now - facts.marks[0][1], 1) if facts.marks else None,
        "marks_on_unfinished_builds": len(facts.stale_marks),
        "tasks": len(facts.tasks),
        "tasks_due": sum(task.due <= facts.now for task in facts.tasks),
        "oldest_due_task_seconds": round(max(0.0, facts.now - facts.tasks[0].due), 1)
        if facts.tasks
        else None,
        "tasks_by_plugin_and_attempts": tasks,
        "poisoned_tasks": sum(task.rows is None for task in facts.tasks),
        "orphaned_tasks": sum(task.rows is False for task in facts.tasks),
        "listeners": None if facts.standby else len(facts.backends),
        "notification_queue": facts.queue,
        "schema": facts.schema,
    }
