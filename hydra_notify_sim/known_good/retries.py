"""Known-good dispatchers that use what the contract leaves open about stored tasks and when they are due."""

import math

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, ports
from hydra_notify_sim.dispatcher import retries as ladder
from hydra_notify_sim.known_good.registry import known_good

HOUR = 3600


@known_good("retries-late", "R-backoff")
class RetriesLate(core.Dispatcher):
    """Retries two seconds later than the ladder says: it rounds up, and adds a second to be polite."""

    def _due_after(self, attempts: int) -> int:
        return math.floor(self.clock.now()) + ladder.delay(attempts) + 2


@known_good("retries-early", "R-backoff")
class RetriesEarly(core.Dispatcher):
    """Retries up to a second earlier than the ladder says: it counts whole seconds, and rounds to its advantage."""

    def _due_after(self, attempts: int) -> int:
        return math.ceil(self.clock.now()) + ladder.delay(attempts) - 1


@known_good("retries-after-events", "R-backoff")
class RetriesAfterEvents(core.Dispatcher):
    """Runs a due retry only when no event is waiting, where the reference runs it before the next one."""

    def _work(self, patience: float) -> bool:
        if not self.waiting:
            self.waiting.extend(self.inbox.receive(0.0))
        if not (self.backlog or self.waiting) or self.in_hand is not None:
            return super()._work(patience)
        self._look_for_tasks = True
        self.take_up(self._next_event())
        return True


@known_good("retries-before-events", "R-backoff")
class RetriesBeforeEvents(core.Dispatcher):
    """Runs all that is due before it takes up an event, even before the marks that it found at its start."""

    def _work(self, patience: float) -> bool:
        task = None if self.in_hand is not None else self.store.due_task(int(self.clock.now()))
        if task is None:
            return super()._work(patience)
        self.take_up(task)
        self._look_for_tasks = True
        return True


@known_good("puts-unfinished-off-for-an-hour", "B-unfinished")
class PutsUnfinishedOffForAnHour(core.Dispatcher):
    """Puts the task of an unfinished build off for an hour: a build that runs again takes a while."""

    def put_off(self, task: ports.Task, event: channels.Event) -> None:
        """Try it in an hour."""
        del event
        self.store.requeue(task, task.attempts, int(self.clock.now()) + HOUR)


@known_good("drops-tasks-of-unfinished-builds", "B-unfinished")
class DropsTasksOfUnfinishedBuilds(core.Dispatcher):
    """Drops the task of an unfinished build if it names no other: its next outcome will be an event of its own."""

    def put_off(self, task: ports.Task, event: channels.Event) -> None:
        """Drop it, unless dependents are owed it."""
        if isinstance(event, channels.BuildFinished) and not event.dependents:
            self.drop(task, "its build is unfinished again, and will be announced when it has finished")
        else:
            super().put_off(task, event)


@known_good("parks-poisoned-tasks", "R-poison")
class ParksPoisonedTasks(core.Dispatcher):
    """Keeps a task that it cannot read for a person to look at, due in 2038, instead of deleting it."""

    def refuse(self, task: ports.Task, error: channels.MalformedPayloadError) -> None:
        """Count it as dropped, and put it where it is never due."""
        core.LOG.error("parked a task that cannot be read: %s", error)
        self.metrics.plugin_drop(task.channel, task.plugin)
        self.store.requeue(task, task.attempts, channels.INT4_MAX)
