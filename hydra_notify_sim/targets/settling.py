"""Finds out whether a dispatcher in a process has settled: a sentinel answered, no task due, and one more."""

import time
from typing import TYPE_CHECKING

from hydra_notify_sim import errors, history
from hydra_notify_sim.database import locks
from hydra_notify_sim.recorders import messages
from hydra_notify_sim.targets.process_life import Life

if TYPE_CHECKING:
    from hydra_notify_sim.targets.process import ProcessTarget

QUIET_DEADLINE = 10.0
"""Seconds without any call after which it has not settled."""
SETTLE_DEADLINE = 300.0
"""Seconds after which it has not settled, though calls keep coming."""
UP_DEADLINE = 30.0
"""Seconds without any call in which it must be up after a start."""
RECONNECT_DEADLINE = 10.0
"""Seconds without any call in which it must be up again after a lost connection (L-reconnect)."""
SILENT_CONNECTION_DEADLINE = 90.0
"""The same after its connections fell silent without an end, which it has to find out first (L-reconnect)."""
SILENCE_DEADLINE = 3.0
"""Seconds in which it must go on by itself with what arrived while it was busy (L-no-stall)."""
KICK_EVERY = 0.2
"""Seconds after which a sentinel is sent again."""
KICK_WHILE_STARTING = 0.05
"""The same before it is up: one sent before it listened is never answered."""
OTHERS_SECONDS = 0.2
"""How long a sentinel's calls of other plugins are waited for, once plugin ``sentinel`` was called."""
BUSY_SECONDS = 1.0
"""How long processor use is watched (R-gone-plugin)."""
BUSY_SHARE = 0.25
"""Share of a core from which on a dispatcher that does nothing is busy (R-gone-plugin)."""
LOOKS_LEAST = 10
"""Looks at a dispatcher that does nothing, at least, to say that it always wants the processor."""
ALWAYS = 0.9
"""Share of these looks at which it does."""
TICK = 0.02
AGAIN_SHARE = 0.05
"""Share of these deadlines that is given to a dispatcher which has not settled, at the next attempts."""
IDLE_TURNS = 3
"""Sentinels in a row that nothing else came of, after which no marked build has its turn to come any more; one of a build
that was restarted meanwhile calls nobody."""
BREATH = 0.004
"""Seconds between two looks at whether a dispatcher rests that stalls when a sentinel arrives while it ends its turn."""
REST_DEADLINE = 0.1
"""Seconds in which it is waited for to rest, before it is sent the next sentinel all the same."""


class Settling:
    """One attempt of one life to settle."""

    def __init__(self, target: "ProcessTarget", life: Life) -> None:
        self._target = target
        self._life = life
        self._until = time.monotonic() + SETTLE_DEADLINE * target.patience
        self._quiet_since = time.monotonic()
        self._handled = life.handled
        self._patience = target.patience * (AGAIN_SHARE if life.given_up else 1)

    def settle(self, *, kick: bool) -> None:
        """Serve the dispatcher until it has settled or a deadline has passed; record which.

        Raises:
            LifeGone: it is gone meanwhile.
            EnvironmentFailedError: it came up without a recorder that it should have loaded.

        """
        target, life = self._target, self._life
        if life.up and not self._goes_on_by_itself(kick=kick) and not kick:
            return
        watch = self._has_gone_task()
        reason = self._work()
        # Whether it burns its processor is looked at again only where that is judged, and once.
        look = not life.given_up or (watch and not life.watched)
        life.watched = life.watched or watch
        life.given_up = bool(reason)
        if reason:
            self._not_settled(reason, look=look)
        elif watch and self._is_busy():
            target.record(
                history.NotSettled(
                    t=target.now, reason="it has nothing to do, and burns its processor", busy=True
                )
            )
        else:
            if life.habits.stalls:
                self._let_it_rest()  # What the story sends next would arrive while it ends its turn.
            target.record(history.Settled(t=target.now))
        target.silence.clear()

    def wait_out(self, seconds: float) -> None:
        """Let real time pass; then wait, in silence still, for what has fallen due and is not run."""
        target, life = self._target, self._life
        self._confirmed()  # It has seen when its tasks are due; from here on nothing is sent.
        target.serve_for(life, seconds)
        if target.hindered:
            return
        self._quiet_since = time.monotonic()
        while self._due():
            target.pump(life, TICK)
            self._note_progress()
            if time.monotonic() - self._quiet_since > SILENCE_DEADLINE * target.patience:
                self._not_settled(
                    f"{self._due()} tasks are due, and it does not run them by itself", look=True
                )
                return

    def _work(self) -> str:
        """Wait until it has settled; return why not, or nothing."""
        target, life = self._target, self._life
        while True:
            if not self._confirmed():
                return "it does not answer" if life.up else "it has not come up: it does not answer"
            if not life.up:
                life.up, life.silent = True, False
                self._all_recorders_there()
                target.record(history.Up(t=target.now, life=life.number))
            if not self._none_due():
                return f"{self._due()} tasks are due and not run"
            if not self._through_its_backlog():
                return "it does not answer any more"
            if not self._stays_quiet():
                continue
            target.observe()
            # Real time goes on: a task may have become due since.
            if not any(task.due <= target.now for task in target.journal.tasks):
                return ""
            if self._out_of_time():
                return "tasks become due faster than they are run"

    def _through_its_backlog(self) -> bool:
        """Send a sentinel once more; again for each marked build, while anything comes of it.

        A dispatcher may tell live events and a backlog of marks in turns. So a sentinel that is answered says only
        that one marked build has had its turn.
        """
        idle = 0
        for _ in range(self._marked() + 1):
            before = self._life.handled, self._marked()
            if not self._confirmed():
                return False
            idle = idle + 1 if (self._life.handled, self._marked()) == before else 0
            if idle == IDLE_TURNS:
                break
        return True

    def _confirmed(self) -> bool:
        """Send a sentinel, again and again, until it is answered."""
        target, life = self._target, self._life
        self._note_progress()
        if life.up and target.silence.wanted:
            # Something was emitted while it was busy with what woke it.
            self._goes_on_by_itself(kick=True)
        if life.habits.stalls:
            self._let_it_rest()
        self._quiet_since = time.monotonic()
        number = target.sentinels.send()
        sent = time.monotonic()
        while not target.sentinels.confirmed(number):
            if self._out_of_time():
                return False
            every = KICK_EVERY if life.up else KICK_WHILE_STARTING
            if not target.pump(life, TICK) and time.monotonic() - sent > every:
                target.sentinels.send()
                target.record(history.Kicked(t=target.now))
                life.habits.stalls = life.habits.stalls or life.up
                sent = time.monotonic()
        self._others_confirmed(number)
        return True

    def _let_it_rest(self) -> None:
        """Wait until no backend of it has begun or ended anything between two looks."""
        until = time.monotonic() + REST_DEADLINE
        before: object = None
        while time.monotonic() < until:
            self._target.pump(self._life, BREATH)
            idle, now = self._target.backends.activity()
            if idle and now == before:
                return
            before = now

    def _others_confirmed(self, number: int) -> None:
        """Wait a moment for the sentinel's calls of other plugins, so that none is open when it counts as settled."""
        deadline = time.monotonic() + OTHERS_SECONDS * self._target.patience
        others = self._life.interested("eval_started")
        while any(not self._target.sentinels.confirmed(number, plugin) for plugin in others):
            if time.monotonic() > deadline:
                return
            self._target.pump(self._life, TICK)

    def _none_due(self) -> bool:
        self._quiet_since = time.monotonic()
        while self._due():
            self._target.pump(self._life, TICK)
            if self._out_of_time():
                return False
        return True

    def _due(self) -> int:
        row = self._target.journal.connection.execute(
            "SELECT count(*) FROM taskretries WHERE retry_at <= %s AND pluginname <> %s",
            [int(time.time()), self._target.sentinels.stored_as],
        ).fetchone()
        return int(row[0]) if row is not None else 0

    def _marked(self) -> int:
        row = self._target.journal.connection.execute(
            "SELECT count(*) FROM builds WHERE notificationpendingsince IS NOT NULL"
        ).fetchone()
        return int(row[0]) if row is not None else 0

    def _goes_on_by_itself(self, *, kick: bool) -> bool:
        """Wait for the calls that are owed; if it waits for another notification first, record that, and kick it.

        A sentinel would wake it: what it owes now for what arrived while it was busy, it owes for good.
        """
        target = self._target
        if self._in_silence(kick=kick):
            return True
        if target.silence.wanted or not kick:
            owed = target.silence.open()
            self._not_settled(
                f"{owed} calls are owed, and it waits for another notification first", look=True
            )
        target.silence.wanted = False
        if kick:
            target.record(history.Kicked(t=target.now))
        return False

    def _in_silence(self, *, kick: bool) -> bool:
        """Wait, sending nothing, for the calls that are owed; for long only if something came while it was busy."""
        silence = self._target.silence
        self._quiet_since = time.monotonic()
        while silence.open():
            self._target.pump(self._life, TICK)
            self._note_progress()
            deadline = KICK_EVERY if kick and not silence.wanted else SILENCE_DEADLINE
            if time.monotonic() - self._quiet_since > deadline * self._target.patience:
                return False
        return True

    def _stays_quiet(self) -> bool:
        until = time.monotonic() + self._life.quiet
        while (left := until - time.monotonic()) > 0:
            if self._target.pump(self._life, left):
                return False
        return True

    def _has_gone_task(self) -> bool:
        """Tell whether a task is due whose plugin is gone or not interested."""
        hooks = [
            f"{plugin} {hook}"
            for plugin, behaviour in self._life.behaviours.items()
            for hook in behaviour.hooks
        ]
        found = self._target.journal.connection.execute(
            "SELECT pluginname, channel FROM taskretries WHERE retry_at <= %s AND pluginname <> %s",
            [int(time.time()), self._target.sentinels.stored_as],
        )
        name = self._target.journal.plugin
        return any(f"{name(plugin)} {channel}" not in hooks for plugin, channel in found)

    def _is_busy(self) -> bool:
        before, began = self._life.child.cpu_seconds(), time.monotonic()
        looks = wanting = 0
        while (left := began + BUSY_SECONDS - time.monotonic()) > 0:
            self._target.pump(self._life, left)
            looks += 1
            wanting += self._life.child.wants_processor()
        after = self._life.child.cpu_seconds()
        if before is None or after is None:
            return False
        # On a machine with a lot to do it may not get that share, though it would take any.
        always = looks >= LOOKS_LEAST and wanting >= looks * ALWAYS
        return always or (after - before) / (time.monotonic() - began) >= BUSY_SHARE

    def _not_settled(self, reason: str, *, look: bool) -> None:
        """Record that it has not settled.

        Raises:
            LockHeldError: it waits for a lock that a plugin of somebody's own, in this process, may hold.

        """
        blockers = self._target.backends.blockers()
        if blockers:
            waits = locks.waits("the dispatcher", blockers)
            if any(behaviour.code is not None for behaviour in self._life.behaviours.values()):
                raise locks.LockHeldError(waits)
            reason = f"{reason}: {waits}"
        busy = look and self._is_busy()
        self._target.observe()
        self._target.record(history.NotSettled(t=self._target.now, reason=reason, busy=busy))

    def _out_of_time(self) -> bool:
        self._note_progress()
        now = time.monotonic()
        life = self._life
        if life.up:
            deadline = QUIET_DEADLINE
        elif life.silent:
            deadline = SILENT_CONNECTION_DEADLINE
        else:
            deadline = RECONNECT_DEADLINE if life.lost else UP_DEADLINE
        quiet = deadline * self._patience
        return now > self._until or now - self._quiet_since > quiet

    def _note_progress(self) -> None:
        if self._life.handled != self._handled:
            self._handled = self._life.handled
            self._quiet_since = time.monotonic()

    def _all_recorders_there(self) -> None:
        missing = set(self._life.behaviours) - set(self._target.exchange.hellos)
        if missing:
            raise errors.EnvironmentFailedError(
                f"the dispatcher is up without its recorders {', '.join(sorted(missing))}: it must load every plugin that "
                f"{messages.PLUGINS_VARIABLE} names"
            )
