"""Each failed call against the stored tasks: the promise R-stored."""

from dataclasses import dataclass

from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.checks.ledger import Balance
from hydra_notify_sim.checks.world import Key, World


@dataclass(slots=True)
class _Failure:
    raised: int
    attempts_before: dict[int, int]
    """Id of each task of this plugin and event to its attempts, as last observed before the failure."""
    last_attempt: bool
    went_on: bool = False


class Failures:
    """Judges that a failure is stored durably before the dispatcher goes on."""

    def __init__(self, world: World, findings: Findings) -> None:
        self.world = world
        self.findings = findings
        self._open: dict[Key, _Failure] = {}
        self._by_person: set[Key] = set()

    def failed(self, number: int, key: Key, *, retried: bool) -> None:
        """Take a failure in; one whose task a person deleted meanwhile needs no other."""
        if key in self._by_person or self.world.reconnecting:
            return
        before = self.world.tasks_of.get(key, {})
        last = retried and any(task.attempts >= 101 for task in before.values())
        self._open[key] = _Failure(number, {id_: task.attempts for id_, task in before.items()}, last)

    def deleted_by_person(self, key: Key) -> None:
        """Take in that a person deletes, or deleted, the task of a failure."""
        self._by_person.add(key)
        self._open.pop(key, None)

    def goes_on(self, number: int, key: Key | None = None) -> None:
        """Judge that what failed was stored: the dispatcher calls again (with ``key``), has settled, or stopped.

        Where rows are not observed at each write of the dispatcher, this waits for the next observation.
        """
        for failed, failure in list(self._open.items()):
            if not self.world.header.in_process and key is not None:
                failure.went_on = failure.went_on or (failed[1] == key[1] and failed[0] != key[0])
            else:
                self._judge(number, failed, failure)
                del self._open[failed]

    def observed(self, number: int) -> None:
        """Take in what is stored by now; judge what the dispatcher left behind when it was lost."""
        for failed, failure in list(self._open.items()):
            if self._was_stored(failed, failure):
                # From here on the task may be retried and deleted.
                self.findings.exercise("R-stored", failure.raised)
                del self._open[failed]
        lost = self.world.phase in {"down", "closed"} or self.world.reconnecting
        if not lost or not self._open:
            return
        for failed, failure in self._open.items():
            self._judge(number, failed, failure)
        self._open.clear()

    def lost(self) -> None:
        """Excuse what the dispatcher had no time to store."""
        for failed, failure in list(self._open.items()):
            if self._was_stored(failed, failure):
                self.findings.exercise("R-stored", failure.raised)
            if not failure.went_on:
                del self._open[failed]

    def settled(self) -> None:
        """Forget what persons deleted."""
        self._by_person.clear()

    def never_stored(self, number: int, key: Key, balance: Balance, promise: str) -> None:
        """Say that a failure left no task behind by the time that all is settled."""
        plugin, event = key
        for broken in (promise, "R-stored") if balance.from_emission else ("R-stored",):
            self.findings.violate(
                broken,
                f"{plugin} failed on {self.world.event(event)} and has not succeeded since: a task should be stored for it; "
                "none is.",
                [balance.last_record, self.world.last_observed, number],
            )

    def _judge(self, number: int, key: Key, failure: _Failure) -> None:
        self.findings.exercise("R-stored", failure.raised)
        if self._was_stored(key, failure):
            return
        plugin, event = key
        self.findings.violate(
            "R-stored",
            f"the failure of {plugin} on {self.world.event(event)} should be stored in taskretries before the dispatcher goes on; "
            "it went on, and no task says so.",
            [failure.raised, self.world.last_observed, number],
        )

    def _was_stored(self, key: Key, failure: _Failure) -> bool:
        tasks = self.world.tasks_of.get(key, {})
        before = failure.attempts_before
        if failure.last_attempt and len(tasks) < len(before):
            return True
        return any(task.attempts > before.get(id_, 0) for id_, task in tasks.items())
