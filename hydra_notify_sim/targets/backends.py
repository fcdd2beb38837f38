"""The dispatcher's backends, seen from the server: ended, waited for, and made to wait for a lock."""

import contextlib
import time
from collections.abc import Callable, Collection, Iterable

import psycopg
from psycopg import pq

from hydra_notify_sim import errors
from hydra_notify_sim.database import connections, locks
from hydra_notify_sim.recorders.journal import Journal

GONE_DEADLINE = 30.0
"""Seconds in which a terminated backend must be gone."""
LOCK_SECONDS = 0.5
"""How long a lock is waited for; if the dispatcher holds the row itself, it cannot be had."""
POLL = 0.002
"""Seconds between two looks at the server."""

_OTHERS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> ALL(%s) AND coalesce(backend_type, 'client backend') = 'client backend'
"""

_ACTIVITY = """
SELECT pid, state, state_change FROM pg_stat_activity
WHERE datname = current_database() AND pid <> ALL(%s) AND coalesce(backend_type, 'client backend') = 'client backend'
ORDER BY pid
"""


class Backends:
    """Every backend in the database that is not the harness's."""

    def __init__(self, journal: Journal, dsn: str, keep: Callable[[], Collection[int]]) -> None:
        """``keep`` gives the backends' pids of the harness's own connections, beside the journal's."""
        self._journal = journal
        self._dsn = dsn
        self._keep = keep
        self._locking: psycopg.Connection[object] | None = None
        self.holds_rows = False
        """Whether rows of builds are locked, and nothing else."""

    def others(self) -> list[int]:
        """Return the pids of the dispatcher's backends; a server that is stopped has none."""
        if self._journal.connection.closed:
            return []
        return [pid for (pid,) in self._journal.connection.execute(_OTHERS, [self._kept()])]

    def _kept(self) -> list[int]:
        kept = [self._journal.connection.info.backend_pid, *self._keep()]
        if self._locking is not None and not self._locking.closed:
            kept.append(self._locking.info.backend_pid)
        return kept

    def blockers(self) -> list[locks.Blocker]:
        """Return the sessions that the dispatcher waits for, itself among them where it waits for itself."""
        return locks.blockers(self._journal.connection, self.others())

    def activity(self) -> tuple[bool, list[tuple[object, ...]]]:
        """Return whether all of the dispatcher's backends rest, and when each began to do what it does now."""
        found = self._journal.connection.execute(_ACTIVITY, [self._kept()]).fetchall()
        return all(state == "idle" for _, state, _ in found), found

    def terminate(self) -> None:
        """End the backends that there are now, and wait until they are gone.

        Raises:
            EnvironmentFailedError: they do not go.

        """
        pids = self.others()
        if not pids:
            return
        self._journal.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", [pids]
        )
        deadline = time.monotonic() + GONE_DEADLINE
        while left := set(pids) & set(self.others()):
            if time.monotonic() > deadline:
                raise errors.EnvironmentFailedError(
                    f"backends {', '.join(map(str, sorted(left)))} of the dispatcher were told to end "
                    f"{GONE_DEADLINE:.0f} s ago and are still there. Does the server hang?"
                )
            time.sleep(POLL)

    def lock(self, builds: Iterable[int], *, tasks: bool = True) -> bool:
        """Lock the rows of builds, and ``taskretries`` against writing; return whether that was possible."""
        connection = self._lock_connection()
        try:
            connection.execute("BEGIN")
            connection.execute(
                "SELECT id FROM builds WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [sorted(set(builds))]
            )
            if tasks:
                connection.execute("LOCK TABLE taskretries IN SHARE ROW EXCLUSIVE MODE")
            self.holds_rows = not tasks
        except locks.LockHeldError:
            self.unlock()
            return False
        return True

    def lock_tasks(self) -> bool:
        """Lock ``taskretries`` against everybody, readers too; return whether that was possible."""
        connection = self._lock_connection()
        try:
            connection.execute("BEGIN")
            connection.execute("LOCK TABLE taskretries IN ACCESS EXCLUSIVE MODE")
        except locks.LockHeldError:
            self.unlock()
            return False
        return True

    def unlock(self) -> None:
        """Give the locks back."""
        self.holds_rows = False
        if self._locking is not None:
            with contextlib.suppress(psycopg.OperationalError):
                self._locking.execute("ROLLBACK")

    def wait_for_lock(self) -> bool:
        """Tell whether a backend waits for the locks."""
        if self._locking is None:
            return False
        row = self._journal.connection.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock' AND %s = ANY(pg_blocking_pids(pid)))",
            [self._locking.info.backend_pid],
        ).fetchone()
        return row is not None and bool(row[0])

    @property
    def holds(self) -> bool:
        """Whether any lock of ours may be held."""
        locking = self._locking
        return (
            locking is not None
            and not locking.closed
            and locking.info.transaction_status != pq.TransactionStatus.IDLE
        )

    def close(self) -> None:
        """Give back the connection for locks."""
        if self._locking is not None:
            self._locking.close()
            self._locking = None

    def _lock_connection(self) -> psycopg.Connection[object]:
        if self._locking is None or self._locking.closed:
            self._locking = connections.connect_own(self._dsn, "of the dispatcher", "hydra-notify-sim locks")
            self._locking.be_patient(LOCK_SECONDS)
        return self._locking
