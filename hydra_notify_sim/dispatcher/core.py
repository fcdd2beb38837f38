"""The reference dispatcher's core: it keeps every promise of the contract and does no I/O of its own.

Read it as the contract in code. One *turn* does one thing: start, deliver one event, or run one retry. Between
two turns the dispatcher can stop without leaving anything half done (L-stop); whatever a crash takes away in
the middle of one is found again at the next start, by the mark on the build (B-recover) or by the task that
was stored before going on (R-stored).
"""

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import metrics, plugins, ports, retries

LOG = logging.getLogger("hydra_notify_sim.dispatcher")

HEARTBEAT = 30.0
"""Seconds of silence after which the connections are tried (a black hole gives no error)."""
RECONNECT_DELAYS = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds to wait before each attempt to connect again; the last one repeats."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """A finished build that the start-up scan found with a mark."""

    build: int


class Dispatcher:
    """Listens, loads rows, calls plugins, clears marks, keeps failed calls for retry."""

    def __init__(
        self,
        *,
        inbox: ports.Inbox,
        store: ports.Store,
        clock: ports.Clock,
        plugins: Sequence[plugins.Plugin],
        metrics: metrics.Metrics,
        payloads: channels.PayloadVersion = channels.DEFAULT_PAYLOADS,
    ) -> None:
        self.inbox = inbox
        self.store = store
        self.clock = clock
        self.plugins = tuple(plugins)
        self.metrics = metrics
        self.payloads = payloads
        self.up = False
        self.stopping = False
        self.waiting: deque[ports.Received | Recovered] = deque()
        self._connected = False
        self._failed_connects = 0
        self._next_due: float | None = None
        self._look_for_tasks = False

    # The loop

    def run(self) -> None:
        """Take turns until asked to stop, sleeping while there is nothing to do."""
        while not self.stopping:
            self.turn(HEARTBEAT)

    def stop(self) -> None:
        """Finish the turn in hand, begin no other (L-stop)."""
        self.stopping = True

    def turn(self, patience: float = 0.0) -> bool:
        """Do one thing, waiting up to ``patience`` seconds for it; return whether there was something to do."""
        self.metrics.loop_iterations.inc()
        try:
            if not self._connected:
                self.start()
                return True
            return self._work(patience)
        except ports.ConnectionLostError as lost:
            LOG.warning("connection lost, connecting again: %s", lost)
            self.forget()
            return True

    def wake(self) -> None:
        """Look at the stored tasks again before the next sleep: somebody may have changed them."""
        self._look_for_tasks = True

    def forget(self) -> None:
        """Drop what was only in memory: the marks and the stored tasks bring back what was owed (L-reconnect)."""
        self._connected = self.up = False
        self.waiting.clear()

    def start(self) -> None:
        """Connect, listen, then scan: in this order, so that nothing falls between the two (B-listen-first)."""
        self.clock.sleep(RECONNECT_DELAYS[min(self._failed_connects, len(RECONNECT_DELAYS) - 1)])
        self._failed_connects += 1
        self.connect()
        self.listen_and_scan()
        self._connected = True
        self._failed_connects = 0
        self._look_for_tasks = True
        self._note_whether_up()

    def connect(self) -> None:
        """Open the connections anew."""
        self.inbox.connect()

    def listen_and_scan(self) -> None:
        """Subscribe, and put every finished build with a mark in front of what arrives (B-recover)."""
        self.inbox.listen((*channels.CHANNELS, channels.DUMP_METRICS))
        self.waiting.extend(Recovered(build) for build in self.store.marked_builds())

    def _work(self, patience: float) -> bool:
        # A retry that is due goes before the next event, so that no stream of events starves it.
        if (
            self.up
            and self._next_due is not None
            and self._next_due <= self.clock.now()
            and self._retry_one()
        ):
            return True
        if not self.waiting:
            self.waiting.extend(self.inbox.receive(self._patience(patience)))
        if self.waiting:
            self._look_for_tasks = True
            self.handle(self.waiting.popleft())
            self._note_whether_up()
            return True
        if self._look_for_tasks or patience:
            self._look_for_tasks = False
            self._next_due = self.store.next_due()
        return self._next_due is not None and self._next_due <= self.clock.now() and self._retry_one()

    def _patience(self, patience: float) -> float:
        if not patience or self._look_for_tasks:
            return 0.0
        if self._next_due is None:
            return patience
        return max(0.0, min(patience, self._next_due - self.clock.now()))

    def _note_whether_up(self) -> None:
        self.up = self.up or not any(isinstance(item, Recovered) for item in self.waiting)

    # One event

    def handle(self, item: ports.Received | Recovered) -> None:
        """Deliver what waited; a malformed payload is logged, counted and dropped (P-malformed)."""
        if isinstance(item, Recovered):
            self.deliver(channels.BuildFinished(item.build), str(item.build))
            return
        self.metrics.event_received(item.channel, self.clock.now())
        if item.channel == channels.DUMP_METRICS:
            self.metrics.dump()
            return
        try:
            event = channels.parse(item.channel, item.payload, self.payloads)
        except channels.MalformedPayloadError as error:
            LOG.warning("dropped a malformed notification: %s", error)
            self.metrics.event_error(item.channel)
            return
        with self.metrics.event_runtime(item.channel):
            self.deliver(event, item.payload)

    def deliver(self, event: channels.Event, payload: str) -> None:
        """Show an event to every interested plugin, then acknowledge it."""
        interested = self.interested(event.channel)
        if not interested and not isinstance(event, channels.BuildFinished):
            return
        try:
            loaded = self.load(event)
        except ports.MissingRowError as missing:
            LOG.warning("%s %s: %s", event.channel, payload, missing)
            for plugin in interested:
                self.keep_for_retry(plugin, event.channel, payload)
            return
        if is_unfinished(loaded):
            LOG.info("build %s is not finished (any more): nobody is told, nothing is cleared", payload)
            return
        self.call_all(interested, event.channel, payload, loaded)
        self.acknowledge(loaded)

    def load(self, event: channels.Event) -> ports.Loaded:
        """Return the rows that an event names; raises MissingRowError."""
        return self.store.load(event)

    def call_all(
        self, interested: Iterable[plugins.Plugin], channel: str, payload: str, loaded: ports.Loaded
    ) -> None:
        """Call each plugin; a failure is stored before the next one is called (R-isolated, R-stored)."""
        for plugin in interested:
            if not self.call(plugin, channel, loaded):
                self.keep_for_retry(plugin, channel, payload)

    def call(self, plugin: plugins.Plugin, channel: str, loaded: ports.Loaded) -> bool:
        """Call one hook and return whether it succeeded; whatever a plugin raises is its own failure."""
        self.metrics.plugin_execution(channel, plugin.name)
        arguments = loaded.arguments_of_its_own()
        try:
            with self.metrics.plugin_runtime(channel, plugin.name):
                plugin.call(channel, arguments)
        except (KeyboardInterrupt, ports.ProcessGone):
            raise
        except BaseException:
            LOG.exception("%s of plugin %s failed", channel, plugin.name)
            self.metrics.plugin_error(channel, plugin.name)
            return False
        self.metrics.plugin_success(channel, plugin.name)
        return True

    def keep_for_retry(self, plugin: plugins.Plugin, channel: str, payload: str) -> None:
        """Store a call that failed for the first time."""
        due = self._due_after(attempts=1)
        self.store.store_retry(channel, plugin.name, payload, due)
        self._expect_task(due)
        self.metrics.plugin_requeue(channel, plugin.name)

    def acknowledge(self, loaded: ports.Loaded) -> None:
        """Clear the marks of the outcomes that were shown, and of no other (B-clear-after, B-clear-own).

        A dependent that was unfinished when it was shown keeps its mark (B-dependents).
        """
        shown = {
            build.id: build for build in loaded.builds if build.finished and build.notificationpendingsince
        }
        if shown:
            self.store.clear_marks(list(shown.values()))

    def interested(self, channel: str) -> list[plugins.Plugin]:
        """Return the plugins that have the hook."""
        return [plugin for plugin in self.plugins if channel in plugin.hooks]

    # One retry

    def _retry_one(self) -> bool:
        task = self.store.due_task(int(self.clock.now()))
        if task is None:
            self._next_due = self.store.next_due()
            return False
        self.retry(task)
        self._next_due = self.store.next_due()
        return True

    def retry(self, task: ports.Task) -> None:
        """Try a failed call again, calling nobody but the plugin that failed (R-backoff)."""
        try:
            event = channels.parse(task.channel, task.payload, self.payloads)
        except channels.MalformedPayloadError as error:
            self.refuse(task, error)
            return
        plugin = next((p for p in self.interested(event.channel) if p.name == task.plugin), None)
        if plugin is None:
            installed = any(p.name == task.plugin for p in self.plugins)
            self.metrics.plugin_gone(task.channel, task.plugin, installed=installed)
            self.drop(task, "its plugin is gone or no longer interested")  # R-gone-plugin
            return
        try:
            loaded = self.load(event)
        except ports.MissingRowError as missing:
            LOG.warning("retry of %s %s: %s", task.channel, task.payload, missing)
            self.failed_again(task)
            return
        if is_unfinished(loaded):
            self.put_off(task, event)
            return
        if self.call(plugin, event.channel, loaded):
            self.succeeded(task)
        else:
            self.failed_again(task)

    def succeeded(self, task: ports.Task) -> None:
        """Forget a task whose retry succeeded (R-delete)."""
        self.metrics.retry_success(task.channel, task.plugin)
        self.store.delete_task(task)

    def put_off(self, task: ports.Task, event: channels.Event) -> None:
        """Try a task of an unfinished build later: it may name other builds, and it was no attempt (B-unfinished)."""
        del event  # for those who drop it where it names no other build, as the contract lets them
        self.store.requeue(task, task.attempts, self._due_after(task.attempts))

    def failed_again(self, task: ports.Task) -> None:
        """Put a task off for twice as long, or drop it after the last attempt."""
        attempts = task.attempts + 1
        if retries.is_last(attempts):
            self.drop(task, f"attempt {attempts} was the last")
        else:
            self.store.requeue(task, attempts, self._due_after(attempts))
            self.metrics.plugin_requeue(task.channel, task.plugin)

    def refuse(self, task: ports.Task, error: channels.MalformedPayloadError) -> None:
        """Get rid of a task that cannot be read (R-poison)."""
        self.drop(task, f"cannot be read: {error}")

    def drop(self, task: ports.Task, why: str) -> None:
        """Give a task up, and say so."""
        LOG.error("dropped the retry of %s %s for %s: %s", task.channel, task.payload, task.plugin, why)
        # Counted first: if the answer to the deletion is lost, it is gone all the same.
        self.metrics.plugin_drop(task.channel, task.plugin)
        self.store.delete_task(task)

    def _due_after(self, attempts: int) -> int:
        return int(self.clock.now()) + retries.delay(attempts)

    def _expect_task(self, due: int) -> None:
        self._next_due = due if self._next_due is None else min(self._next_due, due)


def is_unfinished(loaded: ports.Loaded) -> bool:
    """Tell whether a build_finished event names a main build that is not finished (B-unfinished)."""
    return bool(loaded.builds) and not loaded.builds[0].finished
