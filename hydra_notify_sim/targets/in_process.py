"""The reference dispatcher, or a known-bad one, in this process: single-threaded, stepped by the engine.

Every port call and every plugin call is a numbered point. At a point other actors play their steps in the same
thread, on the stack of the dispatcher that is held there; a crash unwinds that stack with
`ports.ProcessGone`. Every port call is a whole transaction, so a crash or a loss finds the connections idle: to the
server one that goes is one that listens no more, and whoever connects next is given the same two, which spares connecting.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from hydra_notify_sim import errors, history
from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, metrics, ports, postgres
from hydra_notify_sim.recorders.journal import Journal
from hydra_notify_sim.recorders.recorder import Behaviour, Calls, interested
from hydra_notify_sim.targets.clock import VirtualClock
from hydra_notify_sim.targets.in_process_life import Life, MakeDispatcher
from hydra_notify_sim.targets.points import Points
from hydra_notify_sim.targets.target import SERVER_STOPPED

TURNS_WITHOUT_EFFECT = 200
"""Turns in a row that neither write, call nor receive anything before the dispatcher counts as spinning."""
IN_THIS_PROCESS = "a dispatcher in this process would wait in the harness's own thread; write `dispatcher: process` under given"
"""Why some faults are only had by a dispatcher that is a process."""
TURNS_WHILE_HINDERED = 5
"""The same while its server is of no use to it: it sees that its connections are gone, and tries to connect."""
MOST_TURNS_WHILE_HINDERED = 200
"""Turns after which one is left alone that tells the same again and again meanwhile."""
SETTLE_SECONDS = 300.0
"""Real seconds after which a dispatcher that goes on and on has not settled."""


class InProcessTarget:
    """A dispatcher in this process (`hydra_notify_sim.targets.target.Target`)."""

    in_process = True

    def __init__(
        self,
        journal: Journal,
        connect: postgres.Connect,
        *,
        release: postgres.Release = postgres.close,
        clock: VirtualClock,
        make_dispatcher: MakeDispatcher = core.Dispatcher,
        payloads: channels.PayloadVersion = channels.DEFAULT_PAYLOADS,
        counters: metrics.Metrics | None = None,
    ) -> None:
        self.journal = journal
        self.clock = clock
        self.connect = connect
        self.release = release
        self.make_dispatcher = make_dispatcher
        self.payloads = payloads
        self.metrics = counters or metrics.Metrics()
        self.points = Points(journal)
        self.calls = Calls(journal)
        self.hindered = ""
        self.on_hold: Callable[[str], None] = lambda _plugin: None
        self._life: Life | None = None
        self._lives = 0
        self._tasks_changed = False
        self.failure: Exception | None = None
        """What went wrong in the steps played at a point, on its way to the engine."""
        self._log = _Log()
        core.LOG.addHandler(self._log)
        journal.on_commit = self._committed

    @property
    def alive(self) -> bool:
        """Whether a life is going on."""
        return self._life is not None

    @property
    def inside(self) -> bool:
        """Whether the present life is held at a point or in a call."""
        return self._life is not None and self._life.held > 0

    def start(self, behaviours: Mapping[str, Behaviour]) -> None:
        """Begin a life and let it settle."""
        self._lives += 1
        self.journal.observe()
        self._record(
            history.Starting(t=self._now, life=self._lives, plugins=interested(behaviours, behaviours))
        )
        self._life = Life(self, self._lives, behaviours)
        self.settle()

    def stop(self) -> None:
        """Ask the dispatcher to stop; a turn in hand is finished first."""
        life = self._living("stop")
        self._record(history.Stopping(t=self._now, life=life.number, busy=life.held > 0 and not self.frozen))
        life.dispatcher.stop()
        if not life.held:
            self._drive(life)

    @property
    def frozen(self) -> bool:
        """Whether the present life stands still."""
        return self._life is not None and self._life.frozen

    def freeze(self) -> None:
        """Give it no more turns."""
        life = self._living("freeze")
        self._record(history.Fault(t=self._now, fault="frozen"))
        life.frozen = True
        life.held += 1

    def thaw(self) -> None:
        """Give it turns again."""
        life = self._living("thaw")
        self._record(history.Fault(t=self._now, fault="thawed"))
        life.frozen = False
        life.held -= 1

    def crash(self) -> None:
        """Kill the dispatcher where it is; the stack of a held one is unwound when the point's steps are played."""
        life = self._living("crash")
        life.gone = True
        self._life = None
        life.forget_expected()
        self._record(history.Crashed(t=self._now, life=life.number))
        self.calls.cut_off()
        self._gone(life)

    def fall_silent(self) -> None:
        """Raise NotImplementedError: it has no socket of its own, and a wait here would be ours."""
        raise NotImplementedError(IN_THIS_PROCESS)

    def lose_connection(self, *, reply_lost: bool = False, fault: str = "connection lost") -> None:
        """Cut the connections now, or right after the commit that the dispatcher is about to make."""
        life = self._living("lose the connection of")
        self._record(history.Fault(t=self._now, fault=fault, detail="reply lost" if reply_lost else ""))
        if reply_lost and life.held:
            life.lose_reply = True
            return
        life.cut()
        self.disconnected(life)
        self.settle()

    def disconnected(self, life: Life) -> None:
        """Record that the connections are gone."""
        self.journal.observe()
        life.was_up = False
        self._record(history.Disconnected(t=self._now, life=life.number))

    def server_closing(self) -> None:
        """Cut the connections: the server goes away."""
        self.hindered = SERVER_STOPPED
        self.journal.blind = True
        if self._life is not None:
            self._life.cut()
            self._life.was_up = False
            self._record(history.Disconnected(t=self._now, life=self._life.number, server_closed=True))

    def server_opened(self) -> None:
        """Let the dispatcher connect again."""
        self.hindered = ""
        self.journal.blind = False
        self.journal.changed()
        self.journal.observe()
        if self._life is not None:
            self._record(history.ServerOpened(t=self._now))
            self.settle()

    @property
    def ahead(self) -> float:
        """Nothing: there is one clock."""
        return 0.0

    def release_rows(self) -> None:
        """Do nothing: it is held in this process, and by no lock."""

    def settle(self) -> None:
        """Take turns until there is nothing left to do."""
        life = self._life
        if life is not None and not life.held and not life.driving:
            if self._tasks_changed:
                # What the heartbeat does in real time: somebody wrote tasks.
                self._tasks_changed = False
                life.dispatcher.wake()
            self._drive(life)

    def move_time(self, seconds: float) -> None:
        """Move the clock."""
        self.clock.move(seconds)
        self._record(history.TimeMoved(t=self._now, seconds=seconds))

    def wait_out(self, seconds: float) -> None:
        """Move the clock from one due task to the next; its loop is woken by nothing else."""
        end = self._now + seconds
        while (due := self.next_due()) is not None and self._now < due <= end and self.alive:
            self.move_time(due - self._now)
            self.settle()
        if end > self._now:
            self.move_time(end - self._now)

    def next_due(self) -> float | None:
        """Return when the next stored task is due."""
        self.journal.observe()
        return min((task.due for task in self.journal.tasks), default=None)

    def log(self) -> Sequence[str]:
        """Return what the core logged."""
        return self._log.lines

    def close(self) -> None:
        """Drop the dispatcher, if it still lives."""
        core.LOG.removeHandler(self._log)
        if self._life is not None:
            life, self._life = self._life, None
            life.gone = True
            life.session.close()

    # Driving

    def _drive(self, life: Life) -> None:
        life.driving = True
        try:
            spinning = self._take_turns(life, TURNS_WHILE_HINDERED if self.hindered else TURNS_WITHOUT_EFFECT)
        except ports.ProcessGone:
            life.session.close()
            if self.failure is not None:
                raise self.failure from None
            return
        except _DispatcherRaisedError as raised:
            self._ended(life, raised.error)
            return
        finally:
            life.driving = False
        if life.gone:
            return
        if life.dispatcher.stopping:
            self._stopped(life)
            return
        if not self.hindered:
            self._settled(life, spinning)

    def _take_turns(self, life: Life, most: int) -> bool:
        """Take turns until it rests; return whether it took that many in a row that did nothing, or never rests."""
        idle_turns = turns = 0
        until = time.monotonic() + SETTLE_SECONDS
        dispatcher = life.dispatcher
        while not dispatcher.stopping:
            before = life.effects, len(dispatcher.waiting) + len(dispatcher.backlog)
            told = len(self.journal.history)
            busy = _turn(dispatcher)
            if life.gone:
                return False
            if dispatcher.up and not life.was_up and not life.unaware and not self.hindered:
                life.was_up = True
                self._record(history.Up(t=self._now, life=life.number))
            if not busy and not life.unaware:
                life.gone_on()
                if len(self.journal.history) == told:
                    return False
                # Others acted at a point of this idle turn: it is not over before that was looked at.
                dispatcher.wake()
            progress = (life.effects, len(dispatcher.waiting) + len(dispatcher.backlog)) != before
            idle_turns = 0 if progress else idle_turns + 1
            turns += 1
            # Telling the same for ever is progress of a kind: without this bound the story would never go on.
            never_rests = time.monotonic() > until or (self.hindered and turns > MOST_TURNS_WHILE_HINDERED)
            if idle_turns > most or never_rests:
                return True
        return False

    def _settled(self, life: Life, spinning: bool) -> None:
        self.journal.observe()
        self._count(life)
        if spinning:
            reason = f"it would not rest, for {SETTLE_SECONDS:.0f} s or {TURNS_WITHOUT_EFFECT} turns that did nothing"
            self._record(history.NotSettled(t=self._now, reason=reason, busy=True))
        elif not life.was_up:
            self._record(history.NotSettled(t=self._now, reason="it is idle and not up"))
        elif due := [task for task in self.journal.tasks if task.due <= self._now]:
            reason = (
                f"{len(due)} tasks are due and not run: ids {', '.join(str(task.id) for task in due[:5])}"
            )
            self._record(history.NotSettled(t=self._now, reason=reason))
        else:
            self._record(history.Settled(t=self._now))

    def _stopped(self, life: Life) -> None:
        life.session.close()
        self._life = None
        self.journal.observe()
        self._count(life)
        self._record(history.Stopped(t=self._now, life=life.number))

    def _count(self, life: Life) -> None:
        counters = life.counters()
        if counters != life.counted:
            life.counted = counters
            self._record(history.Counted(t=self._now, counters=counters))

    def _ended(self, life: Life, error: BaseException) -> None:
        life.gone = True
        self._life = None
        self._gone(life)
        message = f"{type(error).__name__}: {error}"
        self._record(history.Ended(t=self._now, life=life.number, exit_status=1, message=message))
        self.calls.cut_off()

    def _gone(self, life: Life) -> None:
        life.session.close()
        self.journal.changed()
        self.journal.observe()

    def _committed(self, commit: history.Commit) -> None:
        if any(row.table == "taskretries" for row in commit.rows):
            self._tasks_changed = True
        if self._life is not None:
            self._life.committed(commit)

    def _living(self, what: str) -> Life:
        if self._life is None:
            raise errors.UsageError(f"the story wants to {what} a dispatcher that is not running")
        return self._life

    def _record(self, record: history.AnyRecord) -> None:
        self.journal.record(record)

    @property
    def _now(self) -> float:
        return self.clock.now()


class _DispatcherRaisedError(Exception):
    """The dispatcher under test raised, which ends it: a finding. What anything else raises is our own fault."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _turn(dispatcher: core.Dispatcher) -> bool:
    try:
        return dispatcher.turn()
    except errors.HydraNotifySimError:
        raise
    except Exception as error:
        raise _DispatcherRaisedError(error) from error


class _Log(logging.Handler):
    """Keeps what the core logs."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname.lower()}: {record.getMessage()}")
