"""Judges what a tap recorded: P-format and Q-cached-once. Of a dispatcher it saw no call, and so nothing is said.

A mark that was cleared looks the same from outside whether every plugin was told or none; a task that is gone was
retried, dropped or deleted. What can be seen without a verdict, such as tasks that nobody runs, is reported.
"""

from hydra_notify_sim import history
from hydra_notify_sim.checks.events import read
from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.contract import channels

OVERDUE = 60.0
"""Seconds behind its due time after which a stored task is reported."""

EVALUATIONS_KEPT = 100
"""Evaluations whose cached builds are remembered: an evaluation is announced in one transaction."""


class Tapped:
    """Judges what Hydra emitted."""

    def __init__(self, header: history.Header, findings: Findings) -> None:
        self.header = header
        self.findings = findings
        self._cached: dict[int, dict[int, tuple[int, int]]] = {}
        """By evaluation: build to the record in which it was announced as cached, and the session that did so."""
        self._tasks: dict[int, history.Task] = {}
        self._closed = False

    def read(self, number: int, record: history.AnyRecord) -> None:
        """Take one record in."""
        match record:
            case history.Heard():
                self._heard(number, record)
            case history.Observed(tasks=tasks):
                self._tasks = {task.id: task for task in tasks}
            case history.Changed(stored=stored, gone=gone):
                self._tasks.update((task.id, task) for task in stored)
                for id_ in gone:
                    self._tasks.pop(id_, None)
            case history.Gap(t=t, since=since):
                self.findings.report(
                    f"the tap heard nothing for {t - since:.1f} s: its connection was lost (record {number})"
                )
            case history.Closed(t=t):
                self._closed = True
                self._overdue(t)
            case _:
                pass

    def end(self) -> None:
        """Say that the recording was cut short, if it was."""
        if not self._closed:
            self.findings.report("the recording was not ended in order: its last moments may be missing")

    def _heard(self, number: int, record: history.Heard) -> None:
        if record.channel not in channels.CHANNELS:
            return
        self.findings.exercise("P-format", number)
        event, written, problem = read(record.channel, record.payload, self.header.payloads)
        if not problem and written != record.payload:
            problem = "it is not written as it should be"
        if problem:
            self.findings.violate(
                "P-format",
                f"payloads should be exactly as the contract says; Hydra, or somebody by hand, emitted {record.payload!r} on "
                f"{record.channel}: {problem}.",
                [number],
            )
        if isinstance(event, channels.CachedBuildFinished | channels.CachedBuildQueued):
            self._cached_once(number, event, record.backend)

    def _cached_once(
        self, number: int, event: channels.CachedBuildFinished | channels.CachedBuildQueued, backend: int
    ) -> None:
        self.findings.exercise("Q-cached-once", number)
        builds = self._cached.setdefault(event.evaluation, {})
        first, session = builds.setdefault(event.build, (number, backend))
        what = f"build {event.build} of evaluation {event.evaluation} was announced as cached twice"
        if first != number and session == backend:
            self.findings.violate(
                "Q-cached-once",
                f"per evaluation and build one cached_build_finished or cached_build_queued should be emitted; {what}, by one "
                "session of the server.",
                [first, number],
            )
        elif first != number:
            self.findings.report(
                f"{what}, by two sessions: sent again by hand? (records {first} and {number})"
            )
        if len(self._cached) > EVALUATIONS_KEPT:
            del self._cached[next(iter(self._cached))]

    def _overdue(self, now: float) -> None:
        late = [task for task in self._tasks.values() if task.due < now - OVERDUE]
        if late:
            longest = max(now - task.due for task in late)
            self.findings.report(
                f"{len(late)} stored tasks were overdue when the recording ended, the oldest by {longest:.0f} s: is a "
                "dispatcher running?"
            )
