"""Stored tasks of a dispatcher in a process, put off until the story's time has come (docs/reference/recorder.md).

The story's clock stands still while the dispatcher's runs. So a task that is not due yet is parked, days away, as
soon as it is seen, and made due when the story has moved its clock that far. When a task is due on the story's
clock is worked out once, from when it can have been written.
"""

import math
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from hydra_notify_sim import history
from hydra_notify_sim.recorders.journal import Journal
from hydra_notify_sim.targets.process_clock import ProcessClock

PARKED_BY = 10 * 86_400
"""Seconds by which a task is put off. Somebody may wait for it: in milliseconds it is less than 2^31."""
NEVER = 86_400
"""Seconds from which on a task is none that will be due: the dispatcher has parked it itself (R-poison)."""

_PARK = """
UPDATE taskretries SET retry_at = retry_at + %s
WHERE id IN (SELECT id FROM taskretries WHERE retry_at > %s AND retry_at < %s FOR UPDATE SKIP LOCKED)
RETURNING id, pluginname, attempts, retry_at - %s
"""
_RELEASE = """
UPDATE taskretries AS task SET retry_at = parked.due
FROM unnest(%s::int[], %s::int[], %s::int[]) AS parked (id, retry_at, due)
WHERE task.id = parked.id AND task.retry_at = parked.retry_at
AND task.id IN (SELECT id FROM taskretries FOR UPDATE SKIP LOCKED)
RETURNING task.id
"""


@dataclass(slots=True)
class _Known:
    """A task as it was last seen."""

    attempts: int
    retry_at: int
    """As the row has it, parked or not."""
    due: float
    """Unix seconds of the story's clock."""
    parked: bool = False


class Parking:
    """All tasks of one database, as the story's clock sees them."""

    def __init__(self, journal: Journal, clock: ProcessClock) -> None:
        self._journal = journal
        self._clock = clock
        self._known: dict[int, _Known] = {}
        self._by_person: set[int] = set()
        self._looked = (time.time(), clock.now())
        """Real and story's time at which rows were last observed."""
        self._failed: dict[str, tuple[float, float]] = {}
        """Plugin to the same of its last failure, until its task is seen."""
        journal.due = self.due

    @property
    def expects(self) -> bool:
        """Whether a plugin has failed and its task was not seen yet."""
        return bool(self._failed)

    def inserted(self, tasks: Iterable[int]) -> None:
        """Learn that a person has inserted these tasks: their due times are what they are."""
        self._by_person.update(tasks)

    def fails(self, plugin: str) -> None:
        """Learn that a plugin is about to fail: its task will not be written before now."""
        self._failed[plugin] = (time.time(), self._clock.now())

    def due(self, id_: int, plugin: str, attempts: int, retry_at: int) -> float:
        """Return when a task is due, on the story's clock.

        A task that is new, or was put off, was written between the failure, or the last observation, and now, by
        somebody who counts whole seconds. Of what is possible the usual is taken: 2^n seconds after the failure
        (R-backoff).
        """
        known = self._known.get(id_)
        if known is not None and (known.attempts, known.retry_at) == (attempts, retry_at):
            return known.due
        due = self._clock.now() + retry_at - time.time()
        if id_ not in self._by_person or known is not None:
            real, then = max(self._failed.pop(plugin, self._looked), self._looked)
            usual = then + 2 ** min(10, max(0, attempts))
            earliest, latest = sorted((due, then + retry_at + 1 - real))
            due = min(max(usual, earliest), latest)
        self._known[id_] = _Known(attempts, retry_at, due)
        return due

    def park(self) -> None:
        """Put off what is not due yet; a task that the dispatcher has locked for its own use is left alone."""
        now = time.time()
        parked = self._journal.connection.execute(_PARK, [PARKED_BY, int(now), int(now) + NEVER, PARKED_BY])
        for id_, stored_as, attempts, retry_at in parked:
            due = self.due(id_, self._journal.plugin(stored_as), attempts, retry_at)
            self._known[id_] = _Known(attempts, retry_at + PARKED_BY, due, parked=True)

    def observed(self, tasks: Collection[history.Task]) -> None:
        """Take in that these are all the tasks there are."""
        self._looked = (time.time(), self._clock.now())
        there = {task.id for task in tasks}
        self._known = {id_: known for id_, known in self._known.items() if id_ in there}

    def release(self, *, until: float | None = None) -> None:
        """Let the dispatcher have what is due on the story's clock by now, or by then, each task at its time."""
        by = self._clock.now() if until is None else until
        chosen = {id_: known for id_, known in self._known.items() if known.parked and known.due <= by}
        if not chosen:
            return
        ahead = time.time() - self._clock.now()
        # In the order in which they are due; rounded down, for what is due has to be due.
        due = {id_: math.floor(known.due + ahead) for id_, known in chosen.items()}
        changed = self._journal.connection.execute(
            _RELEASE, [list(chosen), [known.retry_at for known in chosen.values()], list(due.values())]
        )
        for (id_,) in changed:
            known = chosen[id_]
            known.retry_at = due[id_]
            known.parked = False
