"""The reference dispatcher, or a known-bad one, in this process: single-threaded, stepped by the engine.

Every port call and every plugin call is a numbered point. At a point other actors play their steps in the same
thread, on the stack of the dispatcher that is held there; a crash unwinds that stack with
`ports.ProcessGone` and drops the connections without goodbye.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra_notify_sim import errors, history
from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, metrics, ports, postgres
from hydra_notify_sim.recorders.journal import Journal
from hydra_notify_sim.recorders.recorder import Behaviour, Calls, RecorderPlugin, interested
from hydra_notify_sim.targets.clock import VirtualClock
from hydra_notify_sim.targets.points import Points

ARRIVAL_DEADLINE = 10.0
"""Real seconds in which a committed notification must have reached the listening connection."""
TURNS_WITHOUT_EFFECT = 200
"""Turns in a row that neither write, call nor receive anything before the dispatcher counts as spinning."""
READS = frozenset({"load", "marked_builds", "due_task", "next_due"})

MakeDispatcher = Callable[..., core.Dispatcher]


class _Life:
    """One life of the dispatcher: from process start until it is gone."""

    def __init__(self, target: "InProcessTarget", number: int, behaviours: Mapping[str, Behaviour]) -> None:
        self.target = target
        self.number = number
        self.gone = False
        self.was_up = False
        self.held = 0
        self.driving = False
        self.lose_reply = False
        self.listening: set[str] = set()
        self.expected = 0
        self._cut = False
        self.effects = 0
        self._start_up = {"listen": False, "marked_builds": False}
        self._scanned = 0
        self._calls_of_event = 0
        self._retrying = self._retry_next = False
        self._returned_from: tuple[str, str, int] | None = None
        self.session = postgres.Session(target.connect, target.release)
        plugins = [RecorderPlugin(name, behaviours[name], target.calls, self, number) for name in behaviours]
        self._totals_before = dict(target.metrics.totals)
        self.counted = dict.fromkeys(target.metrics.totals, 0.0)
        """The counters as last recorded."""
        self.dispatcher = target.make_dispatcher(
            inbox=_Watched(postgres.PostgresInbox(self.session), self),
            store=_Watched(postgres.PostgresStore(self.session), self),
            clock=target.clock,
            plugins=plugins,
            metrics=target.metrics,
            payloads=target.payloads,
        )

    # Points

    def reach(self, point: str, *, plugin: str = "", hook: str = "", number: int | None = None) -> None:
        """Play what is armed at a point; unwind if the dispatcher was killed there."""
        if point == "before_call":
            self.gone_on()
            self._calls_of_event += 1
        if point.endswith("_call"):
            number = self._calls_of_event
            self.effects += 1
        if point in {"before_call", "after_call"}:
            self._at_point(self.target.points.step)
        if point == "after_call" and number is not None and number < self._calls_expected(hook):
            # Between two plugins: the dispatcher does first what it does before it goes on to the next one.
            self._returned_from = (plugin, hook, number)
        else:
            self._at_point(lambda: self.target.points.reach(point, plugin=plugin, hook=hook, number=number))

    def gone_on(self) -> None:
        """Reach the point after a call that was not its event's last, now that the dispatcher goes on."""
        if self._returned_from is not None:
            (plugin, hook, number), self._returned_from = self._returned_from, None
            self._at_point(
                lambda: self.target.points.reach("after_call", plugin=plugin, hook=hook, number=number)
            )

    def _calls_expected(self, hook: str) -> int:
        return 1 if self._retrying else len(self.dispatcher.interested(hook))

    def hold(self, plugin: str) -> None:
        """Let the story go on while this call stays open."""
        self._at_point(lambda: self.target.on_hold(plugin))

    def spend(self, seconds: float) -> None:
        """Let simulated time pass."""
        self.target.move_time(seconds)

    def _at_point(self, act: Callable[[], None]) -> None:
        self.held += 1
        try:
            act()
        except Exception as error:
            # It must not be taken for a plugin's or a port's failure: unwind, and raise it to the engine.
            self.target.failure = error
            raise ports.ProcessGone from error
        finally:
            self.held -= 1
        if self.gone:
            raise ports.ProcessGone

    # Port calls

    def port_call(self, name: str, method: Callable[..., Any], *args: Any) -> Any:
        """Make one port call, with its points before and after."""
        if name == "receive":
            return self._receive(method)
        if name in READS:
            self.gone_on()
        self._before(name)
        if self.lose_reply:
            self.lose_reply = False
            method(*args)
            self._wrote(name)
            self.cut()
            self.target.disconnected(self)
            raise ports.ConnectionLostError("the scenario cut the connection before the answer was seen")
        result = method(*args)
        if name == "due_task":
            self._retry_next = result is not None
        elif name == "delete_task":
            self._retry_next = False
        self._wrote(name)
        self._after(name, args)
        return result

    def _before(self, name: str) -> None:
        self._at_point(self.target.points.step)
        if name == "load":
            self._calls_of_event = 0
            self._retrying, self._retry_next = self._retry_next, False
        if name == "connect":
            self._start_up = {"listen": False, "marked_builds": False}
            self._scanned = 0
        elif name in self._start_up:
            if any(self._start_up.values()):
                self.reach("between_listen_and_scan")
        elif name == "load" and not self.dispatcher.up:
            self._scanned += 1
            self.reach("during_scan", number=self._scanned)
        elif name == "clear_marks":
            self.reach("before_clear")
        elif name == "store_retry":
            self.reach("before_store")

    def _after(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "connect":
            self.expected = 0
            self._cut = False
            self.listening.clear()
        elif name in self._start_up:
            self._start_up[name] = True
            if name == "listen":
                self.listening.update(args[0])
        elif name == "clear_marks":
            self.reach("after_clear")
        elif name == "store_retry":
            self.reach("after_store")
        self._at_point(self.target.points.step)

    def _wrote(self, name: str) -> None:
        if name not in READS and name not in {"connect", "listen"}:
            self.effects += 1
            self.target.journal.changed()
            self.target.journal.observe()

    def _receive(self, method: Callable[[float], list[ports.Received]]) -> list[ports.Received]:
        """Receive all that was committed; its arrival is the server's business, and takes a moment."""
        self.gone_on()
        if not self.expected and not self._cut:
            return []
        if self._cut:
            # What a dispatcher that waits on its socket sees at once.
            self._cut = False
            return method(0.0)
        received: list[ports.Received] = []
        while len(received) < self.expected:
            batch = method(ARRIVAL_DEADLINE)
            if not batch:
                raise errors.EnvironmentFailedError(
                    f"{self.expected - len(received)} notifications did not arrive at the listening connection"
                    f" within {ARRIVAL_DEADLINE:.0f} s of their commit. Is the server overloaded or stopped?"
                )
            received += batch
        self.expected = 0
        self.effects += 1
        self._at_point(self.target.points.step)
        return received

    def committed(self, commit: history.Commit) -> None:
        """Expect what the server will now send to the listening connection."""
        self.expected += sum(notification.channel in self.listening for notification in commit.notifications)

    # The end of connections

    def cut(self) -> None:
        """Cut both connections as a network does: no goodbye, and nothing passes any more."""
        for connection in self.session.connections():
            if not connection.closed:
                with contextlib.suppress(OSError):
                    duplicate = socket.socket(fileno=os.dup(connection.fileno()))
                    duplicate.shutdown(socket.SHUT_RDWR)
                    duplicate.close()
        self.listening.clear()
        self.expected = 0
        self._cut = True

    def counters(self) -> dict[str, float]:
        """Return the totals since this life began."""
        return {name: total - self._totals_before[name] for name, total in self.target.metrics.totals.items()}


class _Watched:
    """A port whose calls are points."""

    def __init__(self, port: object, life: _Life) -> None:
        self._port = port
        self._life = life

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._port, name)

        def call(*args: Any) -> Any:
            return self._life.port_call(name, method, *args)

        self.__dict__[name] = call
        return call


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
        self.on_hold: Callable[[str], None] = lambda _plugin: None
        self._life: _Life | None = None
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
        self._life = _Life(self, self._lives, behaviours)
        self.settle()

    def stop(self) -> None:
        """Ask the dispatcher to stop; a turn in hand is finished first."""
        life = self._living("stop")
        self._record(history.Stopping(t=self._now, life=life.number, busy=life.held > 0))
        life.dispatcher.stop()
        if not life.held:
            self._drive(life)

    def crash(self) -> None:
        """Kill the dispatcher where it is; the stack of a held one is unwound when the point's steps are played."""
        life = self._living("crash")
        life.gone = True
        self._life = None
        life.cut()
        self._record(history.Crashed(t=self._now, life=life.number))
        self.calls.cut_off()
        self._gone(life)

    def lose_connection(self, *, reply_lost: bool = False) -> None:
        """Cut the connections now, or right after the commit that the dispatcher is about to make."""
        life = self._living("lose the connection of")
        self._record(
            history.Fault(t=self._now, fault="connection lost", detail="reply lost" if reply_lost else "")
        )
        if reply_lost and life.held:
            life.lose_reply = True
            return
        life.cut()
        self.disconnected(life)
        self.settle()

    def disconnected(self, life: _Life) -> None:
        """Record that the connections are gone."""
        self.journal.observe()
        life.was_up = False
        self._record(history.Disconnected(t=self._now, life=life.number))

    def server_closing(self) -> None:
        """Cut the connections: the server goes away."""
        if self._life is not None:
            self._life.cut()
            self._life.was_up = False
            self._record(history.Disconnected(t=self._now, life=self._life.number, server_closed=True))

    def server_opened(self) -> None:
        """Let the dispatcher connect again."""
        self.journal.changed()
        self.journal.observe()
        if self._life is not None:
            self._record(history.ServerOpened(t=self._now))
            self.settle()

    def settle(self) -> None:
        """Take turns until there is nothing left to do."""
        life = self._life
        if life is not None and not life.held and not life.driving:
            if self._tasks_changed:
                # What the heartbeat does in real time: somebody wrote tasks, or time has passed.
                self._tasks_changed = False
                life.dispatcher.wake()
            self._drive(life)

    def move_time(self, seconds: float) -> None:
        """Move the clock."""
        self.clock.move(seconds)
        self._tasks_changed = True
        self._record(history.TimeMoved(t=self._now, seconds=seconds))

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

    def _drive(self, life: _Life) -> None:
        life.driving = True
        try:
            spinning = self._take_turns(life)
        except ports.ProcessGone:
            life.session.close()
            if self.failure is not None:
                raise self.failure from None
            return
        except Exception as error:  # whatever ends a dispatcher under test is a finding, not our fault
            if isinstance(error, errors.HydraNotifySimError):
                raise
            self._ended(life, error)
            return
        finally:
            life.driving = False
        if life.gone:
            return
        if life.dispatcher.stopping:
            self._stopped(life)
            return
        self._settled(life, spinning)

    def _take_turns(self, life: _Life) -> bool:
        idle_turns = 0
        dispatcher = life.dispatcher
        while not dispatcher.stopping:
            before = life.effects, len(dispatcher.waiting)
            busy = dispatcher.turn()
            if life.gone:
                return False
            if dispatcher.up and not life.was_up:
                life.was_up = True
                self._record(history.Up(t=self._now, life=life.number))
            if not busy:
                life.gone_on()
                return False
            progress = (life.effects, len(dispatcher.waiting)) != before
            idle_turns = 0 if progress else idle_turns + 1
            if idle_turns > TURNS_WITHOUT_EFFECT:
                return True
        return False

    def _settled(self, life: _Life, spinning: bool) -> None:
        self.journal.observe()
        self._count(life)
        if spinning:
            reason = f"{TURNS_WITHOUT_EFFECT} turns in a row did nothing, and it would not rest"
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

    def _stopped(self, life: _Life) -> None:
        life.session.close()
        self._life = None
        self.journal.observe()
        self._count(life)
        self._record(history.Stopped(t=self._now, life=life.number))

    def _count(self, life: _Life) -> None:
        counters = life.counters()
        if counters != life.counted:
            life.counted = counters
            self._record(history.Counted(t=self._now, counters=counters))

    def _ended(self, life: _Life, error: BaseException) -> None:
        life.gone = True
        self._life = None
        self._gone(life)
        message = f"{type(error).__name__}: {error}"
        self._record(history.Ended(t=self._now, life=life.number, exit_status=1, message=message))
        self.calls.cut_off()

    def _gone(self, life: _Life) -> None:
        life.session.close()
        self.journal.changed()
        self.journal.observe()

    def _committed(self, commit: history.Commit) -> None:
        if any(row.table == "taskretries" for row in commit.rows):
            self._tasks_changed = True
        if self._life is not None:
            self._life.committed(commit)

    def _living(self, what: str) -> _Life:
        if self._life is None:
            raise errors.UsageError(f"the story wants to {what} a dispatcher that is not running")
        return self._life

    def _record(self, record: history.AnyRecord) -> None:
        self.journal.record(record)

    @property
    def _now(self) -> float:
        return self.clock.now()


class _Log(logging.Handler):
    """Keeps what the core logs."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname.lower()}: {record.getMessage()}")
