"""Stored tasks from one observation to the next: the promises R-backoff, R-gone-plugin, R-poison, R-delete."""

from collections.abc import Callable

from hydra_notify_sim import history
from hydra_notify_sim.checks.deliveries import Deliveries, OpenCall
from hydra_notify_sim.checks.events import rows_named
from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.checks.world import Key, World, row_id
from hydra_notify_sim.contract import channels

LAST_ATTEMPT = 102
DUE_TOLERANCE = (-1.0, 2.0)
"""Seconds by which a due time may be off (R-backoff): a dispatcher counts whole seconds."""
PARKED = 10 * 365 * 86_400.0
"""Seconds from now beyond which a task counts as parked never to be due (R-poison)."""

GivenUp = Callable[[str, channels.Event], None]
"""Told of plugin and event: it is owed nothing more."""


class Retries:
    """Judges what becomes of each row of ``taskretries``."""

    def __init__(self, world: World, findings: Findings, deliveries: Deliveries, given_up: GivenUp) -> None:
        self.world = world
        self.findings = findings
        self.deliveries = deliveries
        self._given_up = given_up
        self._by_person: dict[int, str] = {}
        """Task id to what a person did with it."""
        self._succeeded: dict[Key, list[int]] = {}
        """Records of the calls that returned and may have been the retry of a stored task."""
        self._failed: dict[Key, list[tuple[int, float]]] = {}
        """Records and times of the failures that no task says yet."""
        self._awaiting_delete: dict[Key, tuple[int, int]] = {}
        """Record of a retry that succeeded, and how many tasks may be left after it."""
        self._dropped: dict[str, int] = {}
        """Promise to the record at which a drop was last seen in this life."""
        self._drops = 0
        self._gone: set[tuple[str, str]] = set()
        """Rows that a person deleted, as table and id."""
        self._first_due: float | None = None
        self._observed_at = 0.0

    def commit(self, record: history.Commit) -> None:
        """Take in tasks that a person wrote or deleted, and which rows are gone."""
        for row in record.rows:
            if row.change == "deleted":
                self._gone.add((row.table, row.id))
            elif row.change == "inserted":
                self._gone.discard((row.table, row.id))
            if row.table == "taskretries" and (id_ := row_id(row)) is not None:
                self._by_person[id_] = row.change
                task = self.world.tasks.get(id_)
                event = self.world.task_event(task) if task is not None else None
                if row.change == "deleted" and task is not None and event is not None:
                    self.deliveries.failures.deleted_by_person((task.plugin, event))

    def returned(self, number: int, call: OpenCall) -> None:
        """Take in a success: if it was a retry, its task must go (R-delete)."""
        if call.event is None or not call.booking.maybe_retry:
            return
        key = (call.plugin, call.event)
        self._succeeded.setdefault(key, []).append(number)
        if self.world.reconnecting:
            return  # Its connections were gone before it could delete the task.
        stored = self.world.tasks_of.get(key, {})
        # One that came while the call was under way is another one.
        retried = any(self.world.moved_at.get(id_, -1) < call.record for id_ in stored)
        if call.booking.cause == "retry" and call.booking.certain and retried:
            self._awaiting_delete[key] = (number, len(stored) - 1)

    def raised(self, number: int, record: history.Raised, call: OpenCall) -> None:
        """Take in a failure."""
        if call.event is not None:
            self._failed.setdefault((call.plugin, call.event), []).append((number, record.t))

    def begins(self, record: history.AnyRecord) -> None:
        """Begin anew with a life: what was under way before it is excused."""
        self._awaiting_delete.clear()
        if isinstance(record, history.Starting):
            self._succeeded.clear()
            self._failed.clear()
            self._drops = 0

    def ended(self, number: int) -> None:
        """Judge whether the dispatcher ended at a task that it could not read."""
        for task in self.world.tasks.values():
            if task.due <= self.world.now and self.world.task_event(task) is None:
                self.findings.exercise("R-poison", number)
                self.findings.violate(
                    "R-poison",
                    f"the dispatcher should live with a stored task that cannot be parsed, {task.channel} {task.payload!r}; it ended.",
                    [self.world.last_observed, number],
                )
                return

    # Observed rows

    def observed(self, number: int) -> None:
        """Judge each task that came, changed or went."""
        world = self.world
        for before, after in world.moved:
            if after is None:
                assert before is not None
                self._went(number, before)
            elif before is None:
                self._came(number, after)
            elif self._is_useless(after) and self._by_person.get(after.id) != "updated":
                self._kept_useless(number, before, after)
            elif after.attempts != before.attempts:
                self._counted_up(number, before, after)
            elif after.due > before.due:
                self._put_off(number, after)
        for key, (returned, expected) in list(self._awaiting_delete.items()):
            if len(world.tasks_of.get(key, ())) <= expected:
                self.findings.exercise("R-delete", returned)
                del self._awaiting_delete[key]
        self._first_due = min((task.due for task in world.tasks.values()), default=None)
        self._observed_at = world.now

    def _came(self, number: int, task: history.Task) -> None:
        event = self.world.task_event(task)
        by_person = self._by_person.get(task.id) == "inserted"
        if event is not None:
            self.deliveries.ledger.task_moved(task.plugin, event, by_person=by_person)
        if by_person:
            return
        if event is None:
            self.findings.exercise("P-malformed", number)
            self.findings.violate(
                "P-malformed",
                f"the malformed payload {task.payload!r} on {task.channel} should store no task; one was stored for {task.plugin}.",
                [number],
            )
            return
        self.deliveries.ledger.task_stored(task.plugin, event)
        # A dispatcher may store the task before it calls: no attempt has failed then.
        if task.attempts > 1:
            self.findings.exercise("R-backoff", number)
            self.findings.violate(
                "R-backoff",
                f"{task.plugin} failed for the first time on {self.world.event(event)}: its task should say 1 attempt; it says {task.attempts}.",
                [number],
            )
        if task.attempts == 1:
            self._judge_due(number, task, event)

    def _is_useless(self, task: history.Task) -> bool:
        """Tell whether no call can come of a task: it cannot be read, or nobody has the hook."""
        event = self.world.task_event(task)
        return event is None or not self.world.has_hook(task.plugin, event.channel)

    def _kept_useless(self, number: int, before: history.Task, task: history.Task) -> None:
        """Judge a task of which no call can come and that was written anew: it may only be parked."""
        poisoned = self.world.task_event(task) is None
        if poisoned and task.due > self.world.now + PARKED:
            return
        promise = "R-poison" if poisoned else "R-gone-plugin"
        should = "be removed, or parked never to be due" if poisoned else "be dropped"
        self.findings.exercise(promise, number)
        self.findings.violate(
            promise,
            f"the task {task.channel} {task.payload!r} of {task.plugin}, {'which cannot be read' if poisoned else 'who is gone or not interested'}, "
            f"should {should}; it was put off by {task.due - before.due:.0f} s, with {task.attempts} attempts.",
            [number],
        )

    def _counted_up(self, number: int, before: history.Task, task: history.Task) -> None:
        event = self.world.task_event(task)
        assert event is not None, "of an unreadable task `_kept_useless` takes care"
        self.deliveries.ledger.task_moved(task.plugin, event)
        if self._names_what_is_gone(event):
            self.findings.exercise("P-missing-row", number)
        if self._by_person.get(task.id) == "updated":
            self._by_person.pop(task.id)
            return
        if task.attempts >= LAST_ATTEMPT:
            self.findings.exercise("R-backoff", number)
            self.findings.violate(
                "R-backoff",
                f"attempt {LAST_ATTEMPT} should be the last; the task of {task.plugin} on {self.world.event(event)} was kept after attempt "
                f"{task.attempts}.",
                [number],
            )
        # From outside, several attempts may lie between two looks.
        exact = self.world.header.in_process
        if task.attempts <= before.attempts or (exact and task.attempts != before.attempts + 1):
            self.findings.violate(
                "R-backoff",
                f"{task.plugin} failed once more on {self.world.event(event)}: its task should say {before.attempts + 1} attempts; it says "
                f"{task.attempts}.",
                [number],
            )
        self._judge_due(number, task, event)

    def _put_off(self, number: int, task: history.Task) -> None:
        event = self.world.task_event(task)
        if isinstance(event, channels.BuildFinished) and event.build in self.world.unfinished:
            self.findings.exercise("B-unfinished", number)
        elif event is not None and (failures := self._failed.pop((task.plugin, event), [])):
            self.findings.exercise("R-backoff", number)
            self.findings.violate(
                "R-backoff",
                f"{task.plugin} failed once more on {self.world.event(event)}: its task should say {task.attempts + 1} attempts; it was put off "
                f"and still says {task.attempts}.",
                [*(record for record, _ in failures), number],
            )

    def _judge_due(self, number: int, task: history.Task, event: channels.Event) -> None:
        """Judge the due time: counted from the failure or, at the latest, from when the task was written."""
        self.findings.exercise("R-backoff", number)
        failures = self._failed.get((task.plugin, event))
        # Without a call (a row was missing) the failure lies between the last observation and this one.
        record, earliest = failures.pop(0) if failures else (-1, self._observed_at)
        delay = 2 ** min(10, max(0, task.attempts))
        early, late = DUE_TOLERANCE
        if not earliest + delay + early <= task.due <= self.world.now + delay + late:
            counted = task.due - (earliest if record >= 0 else self.world.now)
            self.findings.violate(
                "R-backoff",
                f"after failed attempt {task.attempts}, {self.world.event(event)} for {task.plugin} should be due {delay} s later "
                f"(from {delay + early:.0f} to {delay + late:.0f}); it is due after {counted:.0f} s.",
                [record, number],
            )

    def _went(self, number: int, task: history.Task) -> None:
        event = self.world.task_event(task)
        inserted = task.id in self.world.inserted_tasks
        by_person = self._by_person.pop(task.id, "") == "deleted"
        if event is None:
            if not by_person:
                self._drop("R-poison", number)
            return
        key = (task.plugin, event)
        succeeded, failed = self._succeeded.get(key), self._failed.get(key)
        self.deliveries.ledger.task_went(*key, succeeded=bool(succeeded))
        if by_person:
            self.deliveries.deleted_by_person(*key, retried=bool(succeeded), inserted=inserted)
            self._given_up(*key)
        elif succeeded:
            succeeded.pop()
        elif task.attempts >= LAST_ATTEMPT - 1 and failed:
            failed.pop()
            self._drop("R-backoff", number)
            self._give_up(*key, inserted=inserted)
        elif not self.world.has_hook(task.plugin, event.channel):
            self._drop("R-gone-plugin", number)
            self._give_up(*key, inserted=inserted)
        else:
            self._vanished(number, task, event, inserted=inserted)

    def _give_up(self, plugin: str, event: channels.Event, *, inserted: bool) -> None:
        self.deliveries.ledger.given_up(plugin, event, inserted=inserted)
        self._given_up(plugin, event)

    def _vanished(self, number: int, task: history.Task, event: channels.Event, *, inserted: bool) -> None:
        what = self.world.event(event)
        if isinstance(event, channels.BuildFinished) and event.build in self.world.unfinished:
            self.findings.exercise("B-unfinished", number)
            if event.dependents:
                self.findings.violate(
                    "B-unfinished",
                    f"{self.world.build(event.build)} is unfinished, and the task of {task.plugin} names other builds: it should be put off; "
                    "it was dropped.",
                    [number],
                )
            self._give_up(task.plugin, event, inserted=inserted)
            return
        if task.attempts >= LAST_ATTEMPT - 1:
            # The last attempt failed without a call: a row was missing.
            self._drop("R-backoff", number)
            self._give_up(task.plugin, event, inserted=inserted)
            return
        failures = self._failed.pop((task.plugin, event), [])
        if not failures and self._names_what_is_gone(event):
            self.findings.exercise("P-missing-row", number)
            self.findings.violate(
                "P-missing-row",
                f"{what} names a row that was deleted, which is a failed execution for {task.plugin}: it should be retried, for the "
                "row may yet appear; its task is gone.",
                [number],
            )
        promise = "R-backoff" if failures else "R-stored"
        self.findings.exercise(promise, number)
        self.findings.violate(
            promise,
            f"{task.plugin} has failed on {what} {task.attempts + bool(failures)} times and has not succeeded: its task should be kept until "
            f"attempt {LAST_ATTEMPT}; it is gone.",
            [*(record for record, _ in failures), number],
        )

    def _names_what_is_gone(self, event: channels.Event) -> bool:
        return bool(self._gone) and not self._gone.isdisjoint(rows_named(event))

    def _drop(self, promise: str, number: int) -> None:
        self._drops += 1
        self._dropped[promise] = number

    # Settled

    def settled(self, number: int, *, in_time: bool) -> None:
        """Judge that nothing due is left, nothing done is kept, and what was dropped was counted."""
        if self.world.phase != "up" or self.deliveries.calls:
            return
        if self._first_due is not None:
            self._judge_due_tasks(number)
        if not in_time:
            return
        for (plugin, event), (returned, _) in self._awaiting_delete.items():
            self.findings.exercise("R-delete", returned)
            self.findings.violate(
                "R-delete",
                f"the retry of {self.world.event(event)} for {plugin} succeeded: its task should be deleted; it is still stored.",
                [returned, self.world.last_observed, number],
            )
        self._awaiting_delete.clear()
        self._succeeded.clear()
        self._failed.clear()
        for promise, dropped in self._dropped.items():
            self.findings.exercise(promise, dropped)
        self._judge_counted(number)
        self._dropped.clear()

    def _judge_due_tasks(self, number: int) -> None:
        assert self._first_due is not None
        world = self.world
        if self._first_due <= world.now:
            for task in world.tasks.values():
                if task.due <= world.now and self._by_person.get(task.id) != "deleted":
                    self._judge_left(number, task)
        if "R-poison" not in self.findings.exercised:
            for task in world.tasks.values():
                if task.due > world.now + PARKED and world.task_event(task) is None:
                    self.findings.exercise("R-poison", number)

    def _judge_left(self, number: int, task: history.Task) -> None:
        event = self.world.task_event(task)
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
        if not self.world.header.in_process or not self._dropped:
            return
        counted = self.world.counters.get("dropped", 0.0)
        if counted < self._drops:
            for promise in self._dropped:
                self.findings.violate(
                    promise,
                    f"{self._drops} dropped tasks should have been counted since the start; {counted:.0f} were.",
                    [*self._dropped.values(), number],
                )
