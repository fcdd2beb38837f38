"""Stored tasks from one observation to the next: the promises R-backoff, R-gone-plugin, R-poison, R-delete."""

from collections.abc import Callable

from hydra_notify_sim import history
from hydra_notify_sim.checks.deliveries import Deliveries, OpenCall
from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.checks.world import World, task_event
from hydra_notify_sim.contract import channels

LAST_ATTEMPT = 102
PARKED = 10 * 365 * 86_400.0
"""Seconds from now beyond which a task counts as parked never to be due (R-poison)."""

GivenUp = Callable[[str, channels.Event], None]


class Retries:
    """Judges what becomes of each row of ``taskretries``."""

    def __init__(self, world: World, findings: Findings, deliveries: Deliveries, given_up: GivenUp) -> None:
        self.world = world
        self.findings = findings
        self.deliveries = deliveries
        self._given_up = given_up
        self._by_person: dict[int, str] = {}
        self._succeeded: dict[tuple[str, channels.Event], list[int]] = {}
        self._failed: dict[tuple[str, channels.Event], list[int]] = {}
        self._awaiting_delete: dict[tuple[str, channels.Event], tuple[int, int]] = {}
        self._dropped: dict[str, int] = {}
        """Promise to the record at which a drop was last seen in this life."""
        self._drops = 0
        self._counted_before = 0.0

    def commit(self, record: history.Commit) -> None:
        """Take in tasks that a person wrote or deleted."""
        for row in record.rows:
            if row.table == "taskretries" and row.id.isdigit():
                self._by_person[int(row.id)] = row.change

    def returned(self, number: int, call: OpenCall) -> None:
        """Take in a success: if it was a retry, its task must go (R-delete)."""
        if call.event is None or call.booking.cause != "retry":
            return
        key = (call.plugin, call.event)
        self._succeeded.setdefault(key, []).append(number)
        self._awaiting_delete[key] = (number, max(0, len(self.world.tasks_of.get(key, ())) - 1))

    def raised(self, number: int, call: OpenCall) -> None:
        """Take in a failure."""
        if call.event is not None:
            self._failed.setdefault((call.plugin, call.event), []).append(number)

    def begins(self, record: history.AnyRecord) -> None:
        """Begin anew with a life: what was under way before it is excused."""
        self._awaiting_delete.clear()
        if isinstance(record, history.Starting):
            self._drops = 0
            self._counted_before = 0.0

    # Observed rows

    def observed(self, number: int) -> None:
        """Judge each task that came, changed or went."""
        world = self.world
        for id_, task in world.tasks.items():
            before = world.tasks_before.get(id_)
            if before is None:
                self._came(number, task)
            elif task.attempts != before.attempts:
                self._counted_up(number, task)
            elif task.due > before.due:
                self._put_off(number, task)
        for id_, task in world.tasks_before.items():
            if id_ not in world.tasks:
                self._went(number, task)
        for key, (returned, expected) in list(self._awaiting_delete.items()):
            if len(world.tasks_of.get(key, ())) <= expected:
                self.findings.exercise("R-delete", returned)
                del self._awaiting_delete[key]
        self._succeeded.clear()
        self._failed.clear()

    def _came(self, number: int, task: history.Task) -> None:
        if self._by_person.get(task.id) == "inserted":
            return
        event = task_event(task, self.world.header.payloads)
        if event is None:
            self.findings.violate(
                "P-malformed",
                f"the malformed payload {task.payload!r} on {task.channel} should store no task; one was stored for {task.plugin}.",
                [number],
            )
            return
        if task.attempts != 1:
            self.findings.violate(
                "R-backoff",
                f"{task.plugin} failed for the first time on {self.world.event(event)}: its task should say 1 attempt; it says {task.attempts}.",
                [number],
            )
        self._judge_due(number, task, event)

    def _counted_up(self, number: int, task: history.Task) -> None:
        event = task_event(task, self.world.header.payloads)
        if event is None or self._by_person.get(task.id) == "updated":
            return
        if task.attempts >= LAST_ATTEMPT:
            self.findings.violate(
                "R-backoff",
                f"attempt {LAST_ATTEMPT} should be the last; the task of {task.plugin} on {self.world.event(event)} was kept after attempt "
                f"{task.attempts}.",
                [number],
            )
        self._judge_due(number, task, event)

    def _put_off(self, number: int, task: history.Task) -> None:
        event = task_event(task, self.world.header.payloads)
        if isinstance(event, channels.BuildFinished) and event.build in self.world.unfinished:
            self.findings.exercise("B-unfinished", number)

    def _judge_due(self, number: int, task: history.Task, event: channels.Event) -> None:
        self.findings.exercise("R-backoff", number)
        account = self.deliveries.ledger.accounts.get(event)
        balance = account.plugins.get(task.plugin) if account is not None else None
        failed_at, record = self.world.now, -1
        if balance is not None and balance.last_record >= 0:
            failed_at, record = balance.last_failure, balance.last_record
        delay = 2 ** min(10, task.attempts)
        # Without a call (a row was missing) the failure lies between the last record and this one.
        if not failed_at + delay - 1 <= task.due <= failed_at + delay + 2:
            self.findings.violate(
                "R-backoff",
                f"after failed attempt {task.attempts}, {self.world.event(event)} for {task.plugin} should be due {delay} s later "
                f"(from {delay - 1} to {delay + 2}); it is due after {task.due - failed_at:.0f} s.",
                [record, number],
            )

    def _went(self, number: int, task: history.Task) -> None:
        event = task_event(task, self.world.header.payloads)
        by_person = self._by_person.pop(task.id, "") == "deleted"
        if event is None:
            if not by_person:
                self._drop("R-poison", number)
            return
        key = (task.plugin, event)
        if by_person:
            self._given_up(*key)
        elif self._succeeded.get(key):
            self._succeeded[key].pop()
        elif task.attempts >= LAST_ATTEMPT - 1 and self._failed.get(key):
            self._drop("R-backoff", number)
            self._given_up(*key)
        elif not self.world.has_hook(task.plugin, event.channel):
            self._drop("R-gone-plugin", number)
            self._given_up(*key)
        else:
            self._vanished(number, task, event)

    def _vanished(self, number: int, task: history.Task, event: channels.Event) -> None:
        what = self.world.event(event)
        if isinstance(event, channels.BuildFinished) and event.build in self.world.unfinished:
            if event.dependents:
                self.findings.violate(
                    "B-unfinished",
                    f"{self.world.build(event.build)} is unfinished, and the task of {task.plugin} names other builds: it should be put off; "
                    "it was dropped.",
                    [number],
                )
            self._given_up(task.plugin, event)
            return
        failures = self._failed.get((task.plugin, event))
        promise = "R-backoff" if failures else "R-stored"
        self.findings.violate(
            promise,
            f"{task.plugin} has failed on {what} {task.attempts + bool(failures)} times and has not succeeded: its task should be kept until "
            f"attempt {LAST_ATTEMPT}; it is gone.",
            [*(failures or ()), number],
        )

    def _drop(self, promise: str, number: int) -> None:
        self._drops += 1
        self._dropped[promise] = number

    # Settled

    def settled(self, number: int) -> None:
        """Judge that nothing due is left, nothing done is kept, and what was dropped was counted."""
        if self.world.phase != "up":
            return
        for task in self.world.tasks.values():
            self._judge_left(number, task)
        for (plugin, event), (returned, _) in self._awaiting_delete.items():
            self.findings.exercise("R-delete", returned)
            self.findings.violate(
                "R-delete",
                f"the retry of {self.world.event(event)} for {plugin} succeeded: its task should be deleted; it is still stored.",
                [returned, self.world.last_observed, number],
            )
        self._awaiting_delete.clear()
        for promise, dropped in self._dropped.items():
            self.findings.exercise(promise, dropped)
        self._judge_counted(number)
        self._dropped.clear()

    def _judge_left(self, number: int, task: history.Task) -> None:
        if task.due > self.world.now:
            if task.due > self.world.now + PARKED and task_event(task, self.world.header.payloads) is None:
                self.findings.exercise("R-poison", number)
            return
        event = task_event(task, self.world.header.payloads)
        late = self.world.now - task.due
        if event is None:
            promise, should = "R-poison", "be removed, or parked never to be due"
        elif not self.world.has_hook(task.plugin, event.channel):
            promise, should = "R-gone-plugin", "be dropped, for its plugin is gone or not interested"
        else:
            promise, should = "R-backoff", "have been tried"
        self.findings.exercise(promise, number)
        self.findings.violate(
            promise,
            f"the task {task.channel} {task.payload!r} of {task.plugin} has been due for {late:.0f} s and should {should}; it is still stored.",
            [self.world.last_observed, number],
        )

    def _judge_counted(self, number: int) -> None:
        if not self.world.header.in_process or not self._drops:
            return
        counted = self.world.counters.get("dropped", 0.0)
        if counted < self._drops:
            for promise in self._dropped:
                self.findings.violate(
                    promise,
                    f"{self._drops} dropped tasks should have been counted since the start; {counted:.0f} were.",
                    [*self._dropped.values(), number],
                )
