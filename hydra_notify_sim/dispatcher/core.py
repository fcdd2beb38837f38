"""The reference dispatcher's core: it keeps every promise of the contract and does no I/O of its own.

Read it as the contract in code. One *turn* does one thing: start, deliver one event, or run one retry. Between
two turns the dispatcher can stop without leaving anything half done (L-stop); whatever a crash takes away in
the middle of one is found again at the next start, by the mark on the build (B-recover) or by the task that
was stored before going on (R-stored).

While the process lives it remembers what it has shown. What it has *in hand* is taken up again, step by step, until
the database lets it finish, and no plugin is called twice for that. A mark that cannot be cleared is cleared later.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import metrics, plugins, ports, retries, rows


class _Printable(logging.Filter):
    """Lets no lone surrogate into the log: a handler, and pytest-xdist with the log of a test, fails to encode it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = metrics.printable(record.getMessage()), ()
        if record.exc_info:
            # The text that a formatter makes once and every other takes.
            record.exc_text = metrics.printable(logging.Formatter().formatException(record.exc_info))
        return True


LOG = logging.getLogger("hydra_notify_sim.dispatcher")
LOG.addFilter(_Printable())

HEARTBEAT = 15.0
"""Seconds of silence after which the connections are tried (a black hole gives no error)."""
PAUSES = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds to wait before each attempt to connect, or to do again what failed; the last one repeats."""
SAID_EVERY = 60.0
"""Seconds after which it is said again that the database is still not to be had."""
STOP_WITHIN = 5.0
"""Seconds after being asked to stop, or after a plugin at work has returned, in which what is in hand is tried again."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """A finished build that the start-up scan found with a mark."""

    build: int


Work = ports.Received | Recovered | ports.Task
Outcome = tuple[int | None, int | None, int | None]
"""Status, start and stop of a finished build."""


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
        self.connected = False
        self.stopping = False
        self.at_work: tuple[str, str] | None = None
        """Plugin and hook while a plugin is being called."""
        self.waiting: deque[ports.Received | Recovered] = deque()
        """Notifications that have arrived, oldest first."""
        self.backlog: deque[Recovered] = deque()
        """Builds that the scan found and nobody was told of yet."""
        self.in_hand: Work | None = None
        self._steps_done: dict[Hashable, list[Any]] = {}
        """What the steps of the work in hand returned."""
        self._steps_taken: Counter[Hashable] = Counter()
        """The same steps, as far as the present attempt has come."""
        self._told: dict[int, Outcome] = {}
        """Build to the outcome that every interested plugin was shown, and that a mark may still stand for."""
        self._uncleared: dict[int, rows.Build] = {}
        """Builds as they were shown whose mark could not be cleared yet."""
        self._live_is_next = False
        self._attempts = 0
        """Attempts in a row that the database refused."""
        self._again_at = 0.0
        self._clear_attempts = 0
        self._clear_at = 0.0
        self._outage_since: float | None = None
        self._outage_said = ""
        self._outage_said_at = 0.0
        self._stop_by = 0.0
        self._next_due: float | None = None
        self._look_for_tasks = False

    # The loop

    def run(self, after_turn: Callable[[], None] = lambda: None, heartbeat: float = HEARTBEAT) -> None:
        """Take turns until asked to stop, sleeping while there is nothing to do."""
        while not self.stopping or self._must_finish():
            self.turn(heartbeat)
            after_turn()
        if self.in_hand is not None or self._uncleared:
            _say(
                logging.WARNING,
                "left_undone",
                "the database did not take in what was done: not stored or cleared of %s; builds %s are announced again at the next start",
                self.in_hand,
                list(self._uncleared),
            )

    def run_once(self) -> None:
        """Listen, scan, deliver what is marked and due, and whatever arrives meanwhile; then return."""
        while (not self.stopping or self._must_finish()) and (self.turn() or self._rest(HEARTBEAT)):
            pass

    def stop(self) -> None:
        """Finish the turn in hand, begin no other (L-stop)."""
        self._stop_by = self.clock.now() + STOP_WITHIN
        self.stopping = True

    def turn(self, patience: float = 0.0) -> bool:
        """Do one thing, waiting up to ``patience`` seconds for it; return whether there was something to do."""
        self.metrics.loop_iterations.inc()
        try:
            if not self.connected:
                self.start()
                return True
            return self._work(patience)
        except ports.ConnectionLostError as lost:
            self._note_outage("connection_lost", "connection lost, connecting again", lost)
            self.forget()
        except ports.NotNowError as refused:
            self._note_outage("try_again", "the database refuses, trying again", refused)
            self._again_at = self.clock.now() + self._pause()
        return True

    def wake(self) -> None:
        """Look at the stored tasks again before the next sleep: somebody may have changed them."""
        self._look_for_tasks = True

    def forget(self) -> None:
        """Drop what was only heard: the listening session is gone, and the scan brings back what was owed (L-reconnect).

        What is in hand was shown to plugins, and stays there.
        """
        self.connected = self.up = False
        self.waiting.clear()
        self.backlog.clear()

    def start(self) -> None:
        """Connect, listen, then scan: in this order, so that nothing falls between the two (B-listen-first)."""
        self.clock.sleep(self._pause())
        self.connect()
        self.listen_and_scan()
        self.connected = True
        self._look_for_tasks = True
        self._note_success()
        self._note_whether_up()

    def connect(self) -> None:
        """Open the connections anew."""
        self.inbox.connect()

    def listen_and_scan(self) -> None:
        """Subscribe, and find every finished build with a mark (B-recover)."""
        self.inbox.listen((*channels.CHANNELS, channels.DUMP_METRICS))
        self.backlog.extend(Recovered(build) for build in self.store.marked_builds())

    def _work(self, patience: float) -> bool:
        if self._left(self._again_at) > 0:
            self._rest(patience)
            return False
        if self.in_hand is not None:
            self.take_up(self.in_hand)
            return True
        if self.stopping:
            return False
        if self._uncleared and not self._left(self._clear_at):
            self._clear_again()
            return True
        # A retry that is due goes before the next event, so that no stream of events starves it.
        if self.up and self._is_due() and self._retry_one():
            return True
        if self.backlog or not self.waiting:
            self.waiting.extend(self.inbox.receive(0.0 if self.backlog else self._patience(patience)))
        if self.backlog or self.waiting:
            self._look_for_tasks = True
            self.take_up(self._next_event())
            return True
        if self._look_for_tasks or patience:
            self._look_for_tasks = False
            self._next_due = self.store.next_due()
        return self._is_due() and self._retry_one()

    def _next_event(self) -> Work:
        """Take a marked build and a live event in turns: neither waits for the end of the other's queue."""
        if self.waiting and (self._live_is_next or not self.backlog):
            self._live_is_next = False
            return self.waiting.popleft()
        self._live_is_next = True
        return self.backlog.popleft()

    def _patience(self, patience: float) -> float:
        if not patience or self._look_for_tasks:
            return 0.0
        until = [at for at in (self._next_due, self._clear_at if self._uncleared else None) if at is not None]
        return max(0.0, min([patience, *(at - self.clock.now() for at in until)]))

    def _rest(self, patience: float) -> bool:
        """Wait until what the database refused is to be tried again; tell whether there is such a thing."""
        left = [self._left(self._again_at), self._left(self._clear_at) if self._uncleared else 0.0]
        if not any(left):
            return False
        self.clock.sleep(min([patience, *(seconds for seconds in left if seconds)]))
        return True

    def _left(self, at: float) -> float:
        """Return the seconds until something is to be tried again; a clock that was set back delays nothing."""
        left = at - self.clock.now()
        return left if 0.0 < left <= PAUSES[-1] else 0.0

    def _is_due(self) -> bool:
        return self._next_due is not None and self._next_due <= self.clock.now()

    def _must_finish(self) -> bool:
        return self.in_hand is not None and self.clock.now() < self._stop_by

    def _note_whether_up(self) -> None:
        recovering = self.backlog or isinstance(self.in_hand, Recovered)
        if not self.up and not recovering:
            self.up = True
            self._told = {id_: outcome(build) for id_, build in self._uncleared.items()}

    # The work in hand, and what of it is done

    def take_up(self, work: Work) -> None:
        """Work on one thing; what is refused in the middle stays in hand, and its steps that are done are not repeated."""
        if work is not self.in_hand:
            self.in_hand = work
            self._steps_done.clear()
        self._steps_taken.clear()
        if isinstance(work, ports.Task):
            self.retry(work)
            self._next_due = self.store.next_due()
        else:
            self.handle(work)
        self.in_hand = None
        self._note_success()
        self._note_whether_up()

    def once(self, name: Hashable, step: Callable[..., Any], *args: Any) -> Any:
        """Do one step of the work in hand, or return what it returned in an earlier attempt."""
        earlier = self._steps_done.setdefault(name, [])
        nth = self._steps_taken[name]
        if nth == len(earlier):
            try:
                earlier.append(step(*args))
            except ports.MissingRowError as missing:
                earlier.append(missing)
        self._steps_taken[name] += 1
        if isinstance(earlier[nth], ports.MissingRowError):
            raise earlier[nth]
        return earlier[nth]

    # One event

    def handle(self, item: ports.Received | Recovered) -> None:
        """Deliver what waited; a malformed payload is logged, counted and dropped (P-malformed)."""
        if isinstance(item, Recovered):
            self.recover(item)
            return
        self.once("received", self.metrics.event_received, item.channel, self.clock.now())
        if item.channel == channels.DUMP_METRICS:
            self.metrics.dump()
            return
        try:
            event = channels.parse(item.channel, item.payload, self.payloads)
        except channels.MalformedPayloadError as error:
            _say(logging.WARNING, "malformed", "dropped a malformed notification: %s", error)
            self.metrics.event_error(item.channel)
            return
        with self.metrics.event_runtime(item.channel):
            self.deliver(event, item.payload)

    def recover(self, found: Recovered) -> None:
        """Announce a build that the scan found, unless this process has shown that outcome and only its mark was left."""
        event = channels.BuildFinished(found.build)
        if found.build in self._told:
            try:
                build = self.once("look", self.load, event).builds[0]
            except ports.MissingRowError:
                return
            if build.finished and outcome(build) == self._told[found.build]:
                self._clear([build])
                return
        self.deliver(event, str(found.build))

    def deliver(self, event: channels.Event, payload: str) -> None:
        """Show an event to every interested plugin, then acknowledge it."""
        interested = self.interested(event.channel)
        if not interested and not isinstance(event, channels.BuildFinished):
            return
        try:
            loaded = self.once("load", self.load, event)
        except ports.MissingRowError as missing:
            _say(logging.WARNING, "missing_row", "%s %s: %s", event.channel, payload, missing)
            for plugin in interested:
                self.keep_for_retry(plugin, event.channel, payload)
            return
        if is_unfinished(loaded):
            _say(
                logging.INFO,
                "unfinished",
                "build %s is not finished (any more): nobody is told, nothing is cleared",
                payload,
            )
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
        return bool(self.once(("call", plugin.name), self._call, plugin, channel, loaded))

    def _call(self, plugin: plugins.Plugin, channel: str, loaded: ports.Loaded) -> bool:
        self.metrics.plugin_execution(channel, plugin.name)
        arguments = loaded.arguments_of_its_own()
        self.at_work = plugin.name, channel
        if self.stopping:
            _say(
                logging.INFO,
                "stopping",
                "stopping as soon as %s of plugin %s has returned",
                channel,
                plugin.name,
            )
        try:
            with self.metrics.plugin_runtime(channel, plugin.name):
                plugin.call(channel, arguments)
        except (KeyboardInterrupt, ports.ProcessGone):
            raise
        except BaseException:
            LOG.exception("%s of plugin %s failed", channel, plugin.name, extra={"event": "plugin_failed"})
            self.metrics.plugin_error(channel, plugin.name)
            return False
        finally:
            self.at_work = None
            if self.stopping:
                # The plugin may have been at work for longer; what it did is stored all the same.
                self._stop_by = self.clock.now() + STOP_WITHIN
        self.metrics.plugin_success(channel, plugin.name)
        return True

    def keep_for_retry(self, plugin: plugins.Plugin, channel: str, payload: str) -> None:
        """Store a call that failed for the first time.

        The task's id is known before it is stored: repeated because the answer was lost, it is stored once (E-once).
        """
        id_ = self.once(("id", plugin.name), self.store.new_task_id)
        task = ports.Task(id_, channel, plugin.name, payload, attempts=1)
        self.once(("store", plugin.name), self._store_retry, task)

    def _store_retry(self, task: ports.Task) -> None:
        due = self._due_after(task.attempts)
        self.store.store_retry(task, due)
        self._expect_task(due)
        self.metrics.plugin_requeue(task.channel, task.plugin)

    def interested(self, channel: str) -> list[plugins.Plugin]:
        """Return the plugins that have the hook."""
        return [plugin for plugin in self.plugins if channel in plugin.hooks]

    # Marks

    def acknowledge(self, loaded: ports.Loaded) -> None:
        """Clear the marks of the outcomes that were shown, and of no other (B-clear-after, B-clear-own).

        A dependent that was unfinished when it was shown keeps its mark (B-dependents).
        """
        shown = {
            build.id: build for build in loaded.builds if build.finished and build.notificationpendingsince
        }
        if shown:
            self._clear(list(shown.values()))

    def _clear(self, builds: list[rows.Build]) -> None:
        """Clear marks; one that cannot be cleared now, for its row is locked, holds no other event up."""
        for build in builds:
            self._told[build.id] = outcome(build)
        try:
            self.store.clear_marks(builds)
        except ports.NotNowError as refused:
            self._uncleared.update((build.id, build) for build in builds)
            self._clear_attempts = 0
            self._clear_later(refused)
        else:
            for build in builds:
                self._cleared(build)

    def _clear_again(self) -> None:
        """Clear what could not be cleared, oldest first; one that still cannot goes to the end."""
        for build in list(self._uncleared.values()):
            try:
                self.store.clear_marks([build], False)
            except ports.NotNowError as refused:
                self._uncleared[build.id] = self._uncleared.pop(build.id)
                self._clear_later(refused)
                return
            self._cleared(build)
        self._clear_attempts = 0

    def _clear_later(self, refused: ports.NotNowError) -> None:
        self._clear_attempts += 1
        if self._clear_attempts == 1:
            _say(
                logging.WARNING,
                "clear_later",
                "marks of builds %s cannot be cleared now, trying again: %s",
                list(self._uncleared),
                refused,
            )
        self._clear_at = self.clock.now() + PAUSES[min(self._clear_attempts, len(PAUSES) - 1)]

    def _cleared(self, build: rows.Build) -> None:
        self._uncleared.pop(build.id, None)
        if self.up:
            # Before that, the scan may have found it as well.
            self._told.pop(build.id, None)

    # One retry

    def _retry_one(self) -> bool:
        task = self.store.due_task(int(self.clock.now()))
        if task is None:
            self._next_due = self.store.next_due()
            return False
        self.take_up(task)
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
            loaded = self.once("load", self.load, event)
        except ports.MissingRowError as missing:
            _say(logging.WARNING, "missing_row", "retry of %s %s: %s", task.channel, task.payload, missing)
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
        self.once("success", self.metrics.retry_success, task.channel, task.plugin)
        self.once("delete", self.store.delete_task, task)

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
            self.once("requeue", self.store.requeue, task, attempts, self._due_after(attempts))
            self.metrics.plugin_requeue(task.channel, task.plugin)

    def refuse(self, task: ports.Task, error: channels.MalformedPayloadError) -> None:
        """Get rid of a task that cannot be read (R-poison)."""
        self.drop(task, f"cannot be read: {error}")

    def drop(self, task: ports.Task, why: str) -> None:
        """Give a task up, and say so."""
        # Counted first: if the answer to the deletion is lost, it is gone all the same.
        self.once("drop", self._count_drop, task, why)
        self.store.delete_task(task)

    def _count_drop(self, task: ports.Task, why: str) -> None:
        _say(
            logging.ERROR,
            "dropped",
            "dropped the retry of %s %s for %s: %s",
            task.channel,
            task.payload,
            task.plugin,
            why,
        )
        self.metrics.plugin_drop(task.channel, task.plugin)

    def _due_after(self, attempts: int) -> int:
        return int(self.clock.now()) + retries.delay(attempts)

    def _expect_task(self, due: int) -> None:
        self._next_due = due if self._next_due is None else min(self._next_due, due)

    # Outages

    def _pause(self) -> float:
        pause = PAUSES[min(self._attempts, len(PAUSES) - 1)]
        self._attempts += 1
        return pause

    def _note_outage(self, event: str, what: str, error: Exception) -> None:
        """Say it once, then when there is another reason for it, and every minute."""
        now = self.clock.now()
        if self._outage_since is None:
            self._outage_since = now
            _say(logging.WARNING, event, "%s: %s", what, error)
        elif str(error) != self._outage_said or now - self._outage_said_at >= SAID_EVERY:
            _say(logging.WARNING, "not_yet", "not yet, after %.0f s: %s", now - self._outage_since, error)
        else:
            return
        self._outage_said, self._outage_said_at = str(error), now

    def _note_success(self) -> None:
        self._attempts = 0
        if self._outage_since is not None:
            lasted = self.clock.now() - self._outage_since
            _say(logging.INFO, "recovered", "the database is back after %.0f s", lasted)
            self._outage_since = None


def is_unfinished(loaded: ports.Loaded) -> bool:
    """Tell whether a build_finished event names a main build that is not finished (B-unfinished)."""
    return bool(loaded.builds) and not loaded.builds[0].finished


def outcome(build: rows.Build) -> Outcome:
    """Return what an outcome is known by (docs/reference/contract.md, *Words*)."""
    return build.buildstatus, build.starttime, build.stoptime


def _say(level: int, event: str, message: str, *args: object) -> None:
    LOG.log(level, message, *args, extra={"event": event})
