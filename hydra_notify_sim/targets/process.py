"""A dispatcher in a process of its own, driven from outside: signals, sockets, and the recorder protocol.

Nothing is assumed of the process but what docs/reference/recorder.md says. It is held by not answering a plugin's
call; where it must be killed after a call, it is made to wait for a lock. The harness serves its recorders
only while it waits for it: all happens in one thread, in one order.
"""

import contextlib
import json
import math
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from hydra_notify_sim import errors, history
from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core
from hydra_notify_sim.recorders import messages
from hydra_notify_sim.recorders.journal import Journal
from hydra_notify_sim.recorders.protocol import Exchange
from hydra_notify_sim.recorders.recorder import Behaviour, Calls, interested
from hydra_notify_sim.targets import process_environment
from hydra_notify_sim.targets.backends import Backends
from hydra_notify_sim.targets.child import Child
from hydra_notify_sim.targets.guard import GUARD
from hydra_notify_sim.targets.parking import Parking
from hydra_notify_sim.targets.points import Points
from hydra_notify_sim.targets.process_calls import AskedToStop, CallHandler, Hindered, LifeGone
from hydra_notify_sim.targets.process_clock import ProcessClock
from hydra_notify_sim.targets.process_life import Life
from hydra_notify_sim.targets.programs import Program
from hydra_notify_sim.targets.relay import Relay
from hydra_notify_sim.targets.sentinels import Sentinels
from hydra_notify_sim.targets.settling import Settling
from hydra_notify_sim.targets.silence import Silence
from hydra_notify_sim.targets.target import SERVER_STOPPED, SILENT, PayloadsNotReadError

START_DEADLINE = 30.0
"""Seconds from the start of the process until its recorders have said hello."""
STOP_DEADLINE = 15.0
"""Seconds without a call in which it must have ended after SIGTERM (L-stop)."""
STOP_MOST_SECONDS = 300.0
"""The same though calls keep coming."""
HINDERED_MOST_SECONDS = 5.0
"""Seconds after which a dispatcher is left alone that tells the same again and again meanwhile."""
HINDERED_SECONDS = 0.2
"""Seconds without a call after which a dispatcher whose server is of no use to it is left alone."""
TICK = 0.02
"""Seconds between two looks at whether the process lives, where nothing else tells."""

FOREGROUND = "It has to stay in the foreground, and not to leave its work to a child of its own. "

CANNOT: dict[str, str] = {
    "between_listen_and_scan": "a process cannot be held between listening and scanning: no plugin is called there",
    "reply_lost": "the reply to a process cannot be lost: what the server has sent lies in its socket already",
    "point": "a process has no numbered points: its calls to the database are not seen",
}
"""Points at which a process cannot be held, with the reason."""


class ProcessTarget:
    """A dispatcher as a process (`hydra_notify_sim.targets.target.Target`)."""

    in_process = False

    def __init__(
        self,
        journal: Journal,
        dsn: str,
        program: Program | Sequence[str],
        *,
        clock: ProcessClock,
        keep: Callable[[], Collection[int]] = tuple,
        payloads: channels.PayloadVersion = channels.DEFAULT_PAYLOADS,
        patience: float = 1.0,
        relayed: bool = False,
    ) -> None:
        """Prepare to run a program as the dispatcher of a database.

        Args:
            journal: the run's history; its connection sends the sentinels.
            dsn: libpq connection string, for the dispatcher and for the harness's locks.
            program: the program, or just its command: name and arguments.
            clock: the history's clock.
            keep: gives the pids of the harness's own backends, which are never terminated, beside the journal's.
            payloads: version of the payloads, to know which calls an emission asks for.
            patience: multiplies every deadline.
            relayed: whether its connections go through a relay of ours, so that they can fall silent; for a server
                that listens on a Unix socket.

        """
        self.journal = journal
        self.clock = clock
        self.payloads = payloads
        self.patience = patience
        self.points = Points(journal)
        self.points.cannot.update(CANNOT)
        self.calls = Calls(journal)
        self.hindered = ""
        self.on_hold: Callable[[str], None] = lambda _plugin: None
        self.sentinels = Sentinels(journal)
        self.silence = Silence(journal, payloads)
        self.parking = Parking(journal, clock)
        self.backends = Backends(journal, dsn, keep)
        self._relay: Relay | None = None
        self._program = program if isinstance(program, Program) else Program(tuple(program))
        self._life: Life | None = None
        self._lives = 0
        self._ever_connected = False
        self._log: list[str] = []
        self._directory = Path(tempfile.mkdtemp(prefix="hns-"))
        GUARD.watch_directory(self._directory)
        if relayed:
            self._relay = Relay(dsn, self._directory)
        self._dsn = dsn if self._relay is None else self._relay.dsn
        self.exchange = Exchange(self._directory)
        self.exchange.on_hello = self._greeted
        self._handler = CallHandler(self)
        journal.on_sending = self._sending
        journal.on_commit = self._committed

    @classmethod
    def reference(
        cls,
        journal: Journal,
        dsn: str,
        *,
        clock: ProcessClock,
        dispatcher: type[core.Dispatcher] = core.Dispatcher,
        hello: Mapping[str, Any] | None = None,
        keep: Callable[[], Collection[int]] = tuple,
        payloads: channels.PayloadVersion = channels.DEFAULT_PAYLOADS,
        patience: float = 1.0,
        relayed: bool = False,
    ) -> "ProcessTarget":
        """Return the reference dispatcher, or one that differs from it, as a process; ``hello`` is what its recorders say of it."""
        command = [
            sys.executable,
            "-m",
            "hydra_notify_sim.targets.run_reference",
            "--dispatcher",
            f"{dispatcher.__module__}:{dispatcher.__qualname__}",
            "--payloads",
            payloads,
            *(["--hello", json.dumps(hello)] if hello else []),
        ]
        return cls(
            journal,
            dsn,
            command,
            clock=clock,
            keep=keep,
            payloads=payloads,
            patience=patience,
            relayed=relayed,
        )

    @property
    def alive(self) -> bool:
        """Whether a process of the dispatcher exists, as far as was seen."""
        return self._life is not None

    @property
    def inside(self) -> bool:
        """Whether it is held in a call or at a point."""
        return self._life is not None and self._life.held > 0

    # What a scenario does to it

    def start(self, behaviours: Mapping[str, Behaviour]) -> None:
        """Begin a life with these plugins and let it settle.

        Raises:
            EnvironmentFailedError: no recorder says hello: it dies at its start, or does not load them.
            ProtocolError: a recorder does not speak the protocol.

        """
        if self._life is not None:
            raise errors.UsageError("the story wants to start a dispatcher that is running")
        self._lives += 1
        self.sentinels.prepare()
        self._observe()
        hooks = interested(behaviours, behaviours)
        self.exchange.expect({**hooks, messages.SENTINEL: ("eval_started",)})
        # The sentinel is the last: when it is called, the others have been, where the order is kept.
        plugins = [*behaviours, messages.SENTINEL]
        environment = self._program.prepare(
            process_environment.make(
                self._dsn, self.exchange.path, plugins, self._directory, self.journal.history.header.seed
            ),
            plugins,
            self._directory,
        )
        self.record(history.Starting(t=self.now, life=self._lives, plugins=hooks))
        life = Life(self._lives, behaviours, self._child(environment), habits=self._program.habits)
        self._life = life
        with self._driving(life):
            self._await_hello(life)
            Settling(self, life).settle(kick=True)

    def stop(self) -> None:
        """Send SIGTERM; wait for the end, unless it is held."""
        life = self._living("stop")
        if life.child.exited:
            self.settle()
            return
        self.record(history.Stopping(t=self.now, life=life.number, busy=life.held > 0 and not life.frozen))
        life.stopping = True
        life.child.terminate()
        self.settle()

    @property
    def frozen(self) -> bool:
        """Whether it was made to stand still."""
        return self._life is not None and self._life.frozen

    def freeze(self) -> None:
        """Send SIGSTOP to the process group."""
        life = self._living("freeze")
        self.record(history.Fault(t=self.now, fault="frozen"))
        life.child.freeze()
        life.frozen = True
        life.held += 1

    def thaw(self) -> None:
        """Send SIGCONT to the process group."""
        life = self._living("thaw")
        self.record(history.Fault(t=self.now, fault="thawed"))
        life.child.thaw()
        life.frozen = False
        life.held -= 1

    def crash(self) -> None:
        """Kill the process group with SIGKILL, every backend with it; where it is held after a call, at that point."""
        life = self._living("crash")
        self._handler.go_on_until_point(life)
        self._kill(life)
        self.record(history.Crashed(t=self.now, life=life.number))
        self.calls.cut_off()
        self._observe()

    def fall_silent(self) -> None:
        """Let the connections that there are pass nothing on any more.

        Raises:
            NotImplementedError: they do not go through a relay.

        """
        if self._relay is None:
            raise NotImplementedError("connections fall silent only on a server of ours")
        life = self._living("silence")
        self.record(history.Fault(t=self.now, fault="connection silent"))
        self._relay.silence()
        self._lost(life)
        life.silent = True
        self.hindered = SILENT
        self.record(history.Disconnected(t=self.now, life=life.number))

    def lose_connection(self, *, reply_lost: bool = False, fault: str = "connection lost") -> None:
        """Terminate the dispatcher's backends.

        A reply cannot be lost on the way (`CANNOT`).
        """
        life = self._living("lose the connection of")
        del reply_lost
        self.record(history.Fault(t=self.now, fault=fault))
        self.backends.terminate()
        self._lost(life)
        self._observe()
        self.record(history.Disconnected(t=self.now, life=life.number))
        self.settle()

    def server_closing(self) -> None:
        """Note that the server takes all connections away; whoever closes it does so now."""
        self.backends.close()
        self.hindered = SERVER_STOPPED
        self.journal.blind = True
        if self._life is not None:
            self._lost(self._life)
            self.record(history.Disconnected(t=self.now, life=self._life.number, server_closed=True))

    def server_opened(self) -> None:
        """Let the dispatcher find the server again; the journal has a new connection by now."""
        self.hindered = ""
        self.journal.blind = False
        self._observe()
        if self._life is not None:
            self.record(history.ServerOpened(t=self.now))
            self.settle()

    def release_rows(self) -> None:
        """Give back the locks that hold it after it has stored a failure: from here on it is not held there."""
        if self.backends.holds_rows:
            self.backends.unlock()

    def settle(self, *, kick: bool = True) -> None:
        """Serve it until it has settled, or has ended after it was asked to; record what came of it.

        Before the first sentinel the calls that are owed are waited for in silence: for `settling.SILENCE_DEADLINE`
        if something was committed while it was busy (L-no-stall) or with ``kick=False``. A dispatcher that
        is silent in its turn is then kicked, with ``kick=False`` left alone; either way it has not settled.
        """
        life = self._life
        if life is None or life.held or life.driving:
            return
        with self._driving(life):
            if life.stopping:
                self._await_end(life)
                return
            if self.hindered:
                self._serve_while_hindered(life)
                return
            if life.fails_unseen:
                self._handler.before_store_without_call(life)
            Settling(self, life).settle(kick=kick)

    def _serve_while_hindered(self, life: Life) -> None:
        """Handle the calls that come, until none has come for a moment, or it goes on and on."""
        quiet_since = began = time.monotonic()
        while (
            time.monotonic() - quiet_since < HINDERED_SECONDS * self.patience
            and time.monotonic() - began < HINDERED_MOST_SECONDS * self.patience
        ):
            if self._serve(life, TICK):
                quiet_since = time.monotonic()

    def move_time(self, seconds: float) -> None:
        """Move the history's clock on, and let the dispatcher have the tasks that are due by then.

        A task that the dispatcher has locked for its own use is left alone.
        """
        self._observe()
        self.clock.move(seconds)
        self._release()
        self.record(history.TimeMoved(t=self.now, seconds=seconds))

    def wait_out(self, seconds: float) -> None:
        """Let so much real time pass, sending nothing but one sentinel before; what falls due is to be run by itself."""
        life = self._life
        if life is None or life.held:
            self.move_time(seconds)
            return
        self._observe()
        began = self.now
        with self.clock.running():
            if not self.journal.blind:
                self.parking.release(until=math.inf)
            with self._driving(life):
                if self.hindered:
                    self.serve_for(life, seconds)
                else:
                    Settling(self, life).wait_out(seconds)
        self._observe()
        self.record(history.TimeMoved(t=self.now, seconds=self.now - began))

    @property
    def ahead(self) -> float:
        """By how many seconds the dispatcher's clock, which ``retry_at`` is read by, is ahead of the story's."""
        return time.time() - self.now

    def next_due(self) -> float | None:
        """Return when the next stored task is due, on the history's clock."""
        self._observe()
        return min((task.due for task in self.journal.tasks), default=None)

    def log(self) -> Sequence[str]:
        """Return the last lines of what it wrote to standard output and error, in all its lives."""
        return [*self._log, *(self._life.child.output if self._life is not None else ())]

    def close(self) -> None:
        """Kill it, if it lives, and remove its directory."""
        if self._life is not None:
            with contextlib.suppress(psycopg.Error, errors.EnvironmentFailedError):
                self._kill(self._life)
        self.backends.close()
        if self._relay is not None:
            self._relay.close()
        if self._directory.exists():
            self.exchange.close()
        shutil.rmtree(self._directory, ignore_errors=True)
        GUARD.forget_directory(self._directory)

    # What settling and the handler of calls use

    def pump(self, life: Life, seconds: float) -> bool:
        """Wait for a call and handle it; return whether one came.

        Raises:
            LifeGone: the process has ended.
            AskedToStop: it was asked to stop meanwhile: it will not settle, and its end is to be waited for.
            Hindered: something keeps it from settling since that call.

        """
        arrived = self._serve(life, seconds)
        if self.hindered:
            raise Hindered
        return arrived

    def _serve(self, life: Life, seconds: float) -> bool:
        if life.stopping and not life.ending:
            raise AskedToStop
        arrived = self.exchange.pump(min(seconds, TICK))
        self.park_what_failed()
        if not life.stopping and life.child.exited:
            self._ended(life)
            raise LifeGone
        if arrived:
            self._handler.handle(life, self.exchange.take())
        return arrived

    def serve_for(self, life: Life, seconds: float) -> None:
        """Handle the calls that come in so many seconds."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._serve(life, left)

    def park_what_failed(self) -> None:
        """Put off the task of a failure as soon as it is there, or what real time passes may make it due."""
        if self.parking.expects and not (self.clock.is_running or self.backends.holds or self.journal.blind):
            self.parking.park()

    def record(self, record: history.AnyRecord) -> None:
        """Write into the history."""
        self.journal.record(record)

    @property
    def now(self) -> float:
        """Unix seconds of the history's clock."""
        return self.clock.now()

    def observe(self) -> None:
        """Record the rows as they are."""
        self._observe()

    # Beginnings and ends

    @contextlib.contextmanager
    def _driving(self, life: Life) -> Iterator[None]:
        life.driving = True
        try:
            try:
                try:
                    yield
                except Hindered:
                    self._serve_while_hindered(life)
            except AskedToStop:
                self._await_end(life)
        except LifeGone:
            pass
        except errors.EnvironmentFailedError:
            if not life.gone:
                self._kill(life)
            raise
        finally:
            life.driving = False

    def _await_hello(self, life: Life) -> None:
        deadline = time.monotonic() + START_DEADLINE * self.patience
        names = {*life.behaviours, messages.SENTINEL}
        while missing := names - set(self.exchange.hellos):
            if self.exchange.arrived:
                break  # it works already; a recorder that comes later is one that connects at its first call
            if time.monotonic() > deadline:
                raise errors.EnvironmentFailedError(
                    f"{self._shown_command} has not come up: {START_DEADLINE * self.patience:.0f} s after its start no recorder "
                    f"named {', '.join(sorted(missing))} has connected. Does it load the plugins that "
                    f"{messages.PLUGINS_VARIABLE} names? {self._last_words(life)}"
                )
            self.exchange.pump(TICK)
            # One that ends right after its last recorder has connected did come up: that is told when it is next looked at.
            if life.child.exited and names - set(self.exchange.hellos):
                self._ended(life)
                raise LifeGone
        self._ever_connected = True
        life.quiet = max(hello.quiet_seconds for hello in self.exchange.hellos.values())

    def _await_end(self, life: Life) -> None:
        life.ending = True
        quiet_since = began = time.monotonic()
        in_time = True
        while not life.child.exited:
            if self._serve(life, TICK):
                quiet_since = time.monotonic()
            now = time.monotonic()
            if (
                now - quiet_since > STOP_DEADLINE * self.patience
                or now - began > STOP_MOST_SECONDS * self.patience
            ):
                in_time = False
                break
        self._kill(life)
        status = life.child.exit_status
        self._observe()
        self.record(
            history.Stopped(
                t=self.now, life=life.number, exit_status=0 if status is None else status, in_time=in_time
            )
        )
        self.calls.cut_off()

    def _ended(self, life: Life) -> None:
        """Record that it has ended though nobody asked it to."""
        self._kill(life)
        if not self._ever_connected:
            raise errors.EnvironmentFailedError(
                f"{self._shown_command} ended with exit status {life.child.exit_status} before any of its recorders had "
                f"connected. {FOREGROUND if life.child.exit_status == 0 else ''}{self._last_words(life)}"
            )
        self._observe()
        message = next((line for line in reversed(life.child.output) if line.strip()), "")
        self.record(
            history.Ended(t=self.now, life=life.number, exit_status=life.child.exit_status, message=message)
        )
        self.calls.cut_off()

    def _kill(self, life: Life) -> None:
        """End a life: the process group, then every backend, which would still commit; then give locks back."""
        life.gone = True
        self._life = None
        life.child.kill()
        self._log = [*self._log, *life.child.output]
        self.exchange.drop()
        self.silence.clear()
        if self.hindered == SILENT:
            self.hindered = ""
        try:
            self.backends.terminate()
        finally:
            self.backends.unlock()

    def _lost(self, life: Life) -> None:
        life.up, life.lost = False, True
        self.silence.clear()

    def _last_words(self, life: Life) -> str:
        output = "\n".join(life.child.output[-20:])
        return f"Its last output:\n{output}" if output else "It wrote nothing."

    @property
    def _shown_command(self) -> str:
        return f"the dispatcher ({shlex.join(self._program.command)})"

    def _observe(self) -> None:
        if self.journal.blind:
            return
        self.sentinels.forget_tasks()
        if not self.clock.is_running:
            self.parking.park()
            self._release()
        self.journal.changed()
        self.journal.observe()
        self.parking.observed(self.journal.tasks)

    def _release(self) -> None:
        """Let it have what is due, unless a call is open: what it works on may be a task."""
        if not self.journal.blind and (self._life is None or not self._life.in_call):
            self.parking.release()

    def _greeted(self, hello: messages.Hello) -> None:
        """Take in what a recorder says of its dispatcher.

        Raises:
            PayloadsNotReadError: it does not read what the story sends.

        """
        self.journal.know(hello.plugin, hello.task_name or hello.plugin)
        if hello.payloads is not None and self.payloads not in hello.payloads:
            raise PayloadsNotReadError(hello.plugin, hello.reads, self.payloads)

    def _sending(self, commit: history.Commit) -> None:
        """Lock the tasks before a failure without a call, for a row that is missing, where the story waits for its storing."""
        life = self._life
        if life is None or not life.up or life.held or not self.points.waits_for("before_store"):
            return
        failing = [
            sent.channel for sent in commit.notifications if sent.missing and life.interested(sent.channel)
        ]
        if failing and self.backends.lock(()):
            life.fails_unseen = failing[0]

    def _committed(self, commit: history.Commit) -> None:
        tasks = [row for row in commit.rows if row.table == "taskretries" and row.change == "inserted"]
        self.parking.inserted(int(row.id) for row in tasks)
        if self._life is not None and self._life.up:
            self.silence.committed(commit, interested(self._life.behaviours, self._life.behaviours))

    def _child(self, environment: Mapping[str, str]) -> Child:
        return Child(self._program.command, environment, self._program.directory or self._directory)

    def _living(self, what: str) -> Life:
        if self._life is None:
            raise errors.UsageError(f"the story wants to {what} a dispatcher that is not running")
        return self._life
