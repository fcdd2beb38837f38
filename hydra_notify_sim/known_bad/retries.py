"""Known-bad dispatchers that are wrong about plugins that fail, and the stored tasks by which they are called again."""

import contextlib
from collections.abc import Iterable
from typing import cast

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, plugins, ports
from hydra_notify_sim.known_bad.registry import known_bad


@known_bad("stops-at-the-first-failure", "R-isolated", "B-clear-after", "B-live", "E-live")
class StopsAtTheFirstFailure(core.Dispatcher):
    """Leaves the loop over the plugins at the first exception: the plugins behind it hear nothing of the event.

    The `try` around the whole `for` instead of inside it, as in countless webhook senders.
    """

    def call_all(
        self, interested: Iterable[plugins.Plugin], channel: str, payload: str, loaded: ports.Loaded
    ) -> None:
        """Break after storing the first failure."""
        for plugin in interested:
            if not self.call(plugin, channel, loaded):
                self.keep_for_retry(plugin, channel, payload)
                break


@known_bad("acknowledges-failures", "B-clear-after", "B-at-least-once")
class AcknowledgesFailures(core.Dispatcher):
    """Clears the mark when a plugin raised, before the failure is stored: a crash between the two loses the event.

    The `finally: acknowledge()` of many a message consumer.
    """

    def keep_for_retry(self, plugin: plugins.Plugin, channel: str, payload: str) -> None:
        """Acknowledge, then store."""
        if channel == "build_finished":
            with contextlib.suppress(ports.MissingRowError):
                self.acknowledge(self.store.load(channels.parse(channel, payload, self.payloads)))
        super().keep_for_retry(plugin, channel, payload)


@known_bad("retries-at-once", "R-backoff")
class RetriesAtOnce(core.Dispatcher):
    """Makes a failed call due again immediately: a hundred attempts are spent before the server is back.

    What a queue without a back-off does; GitHub answers it with a longer ban.
    """

    def _due_after(self, attempts: int) -> int:
        del attempts
        return int(self.clock.now())


@known_bad("drops-retries-of-deleted-rows", "P-missing-row", "R-stored")
class DropsRetriesOfDeletedRows(core.Dispatcher):
    """Deletes a stored task when a row that it names does not exist: what a person inserts again is never told of.

    The `except DoesNotExist: return` at the head of many a background job.
    """

    def retry(self, task: ports.Task) -> None:
        """Take what is gone for done."""
        with contextlib.suppress(channels.MalformedPayloadError):
            try:
                self.load(channels.parse(task.channel, task.payload, self.payloads))
            except ports.MissingRowError:
                self.succeeded(task)
                return
        super().retry(task)


@known_bad("never-drops", "R-backoff")
class NeverDrops(core.Dispatcher):
    """Has no last attempt: a webhook that was switched off is called every 17 minutes for ever.

    Job queues whose "max attempts" is left at unlimited.
    """

    def failed_again(self, task: ports.Task) -> None:
        """Put off, whatever the number of attempts."""
        attempts = task.attempts + 1
        self.store.requeue(task, attempts, self._due_after(attempts))


@known_bad("forgets-retries-at-restart", "R-stored")
class ForgetsRetriesAtRestart(core.Dispatcher):
    """Empties the table of tasks at its start: a deploy loses every call that waited for its retry.

    The "purge the queue on boot" that is meant for development and reaches production.
    """

    def start(self) -> None:
        """Delete all tasks, once listening."""
        super().start()
        while task := self.store.due_task(channels.INT4_MAX):
            self.store.delete_task(task)


@known_bad("stores-failures-last", "R-stored")
class StoresFailuresLast(core.Dispatcher):
    """Collects the failures of an event and stores them after its last plugin: a crash in between loses them.

    The usual optimisation "one INSERT for the whole batch".
    """

    def call_all(
        self, interested: Iterable[plugins.Plugin], channel: str, payload: str, loaded: ports.Loaded
    ) -> None:
        """Call all, then store."""
        failed = [plugin for plugin in interested if not self.call(plugin, channel, loaded)]
        for plugin in failed:
            self.keep_for_retry(plugin, channel, payload)


@known_bad("stores-twice", "E-once")
class StoresTwice(core.Dispatcher):
    """Stores a failure again when the answer to the commit was lost: the plugin is told twice of one event.

    Every client that repeats an INSERT after a time-out without a key that makes it idempotent.
    """

    def keep_for_retry(self, plugin: plugins.Plugin, channel: str, payload: str) -> None:
        """Store; where the connection is lost over it, connect and store once more."""
        try:
            super().keep_for_retry(plugin, channel, payload)
        except ports.ConnectionLostError:
            self.forget()
            self.start()
            super().keep_for_retry(plugin, channel, payload)


@known_bad("keeps-done-tasks", "R-delete")
class KeepsDoneTasks(core.Dispatcher):
    """Leaves the task of a retry that succeeded, and comes back to it: the same comment is posted again and again.

    An acknowledgement that is sent for deliveries and forgotten for redeliveries.
    """

    def retry(self, task: ports.Task) -> None:
        """Put off instead of deleting what succeeded."""
        store = self.store
        self.store = cast(ports.Store, _Undeleting(store, self._due_after(task.attempts)))
        try:
            super().retry(task)
        finally:
            self.store = store


class _Undeleting:
    """A store in which a task that is deleted is put off."""

    def __init__(self, store: ports.Store, due: int) -> None:
        self._store = store
        self._due = due

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def delete_task(self, task: ports.Task) -> None:
        """Put it off."""
        self._store.requeue(task, task.attempts, self._due)


@known_bad("spins-on-a-gone-plugin", "R-gone-plugin", "R-backoff")
class SpinsOnAGonePlugin(core.Dispatcher):
    """Neither drops nor puts off a task whose plugin is gone, and looks at it again at once, for ever.

    What hydra-notify does (quirk hn-retry-livelock).
    """

    def retry(self, task: ports.Task) -> None:
        """Go back to the loop where the plugin is missing."""
        if any(task.plugin == plugin.name for plugin in self.interested(task.channel)):
            super().retry(task)


@known_bad("dies-of-a-poisoned-retry", "R-poison", "L-lives")
class DiesOfAPoisonedRetry(core.Dispatcher):
    """Ends at a stored task that it cannot read, and at every start again, for the task stays.

    What hydra-notify does (quirk hn-poison-retry).
    """

    def retry(self, task: ports.Task) -> None:
        """Let the parser's error out."""
        channels.parse(task.channel, task.payload, self.payloads)
        super().retry(task)
