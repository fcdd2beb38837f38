"""One life of a dispatcher in this process: its port calls and plugin calls are points at which it can be held."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from hydra_notify_sim import errors, history
from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, metrics, ports, postgres
from hydra_notify_sim.recorders.journal import Journal
from hydra_notify_sim.recorders.recorder import Behaviour, Calls, RecorderPlugin
from hydra_notify_sim.targets.clock import VirtualClock
from hydra_notify_sim.targets.points import Points

ARRIVAL_DEADLINE = 10.0
"""Real seconds in which a committed notification must have reached the listening connection."""
READS = frozenset({"load", "marked_builds", "due_task", "next_due"})
"""Port calls that write nothing; with them the dispatcher goes on to something else."""
MARKED = channels.BuildFinished.channel
"""The hook that marks belong to: what clears them, or scans for them, is about it."""

MakeDispatcher = Callable[..., core.Dispatcher]


class Host(Protocol):
    """What a life needs of the target that it belongs to."""

    journal: Journal
    points: Points
    calls: Calls
    clock: VirtualClock
    metrics: metrics.Metrics
    connect: postgres.Connect
    release: postgres.Release
    make_dispatcher: MakeDispatcher
    payloads: channels.PayloadVersion
    on_hold: Callable[[str], None]
    failure: Exception | None

    def move_time(self, seconds: float) -> None:
        """Move the clock."""

    def disconnected(self, life: "Life") -> None:
        """Record that a life's connections are gone."""


class Life:
    """One life of the dispatcher: from process start until it is gone."""

    def __init__(self, target: Host, number: int, behaviours: Mapping[str, Behaviour]) -> None:
        self.target = target
        self.number = number
        self.gone = False
        self.was_up = False
        self.held = 0
        self.frozen = False
        self.driving = False
        self.lose_reply = False
        self.listening: set[str] = set()
        self.expected = 0
        self.unaware = False
        """The connections are gone, and the dispatcher has not seen it yet."""
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
            self._at_point(lambda: self.target.points.step(point.replace("_", " ")))
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
            with self.ours():
                act()
        finally:
            self.held -= 1
        if self.gone:
            raise ports.ProcessGone

    @contextlib.contextmanager
    def ours(self) -> Iterator[None]:
        """Run the harness's own code on the dispatcher's stack.

        What goes wrong in it must not be taken for a plugin's, a port's or the dispatcher's failure: it unwinds the
        dispatcher and is raised to the engine.
        """
        try:
            yield
        except Exception as error:
            self.target.failure = error
            raise ports.ProcessGone from error

    # Port calls

    def port_call(self, name: str, method: Callable[..., Any], *args: Any) -> Any:
        """Make one port call, with its points before and after."""
        if name == "receive":
            return self._receive(method)
        with self.ours():
            if name in READS:
                self.gone_on()
            self._before(name, args)
        if self.lose_reply:
            self.lose_reply = False
            method(*args)
            with self.ours():
                self._wrote(name)
                self.cut()
                self.target.disconnected(self)
            raise ports.ConnectionLostError("the scenario cut the connection before the answer was seen")
        result = method(*args)
        with self.ours():
            if name == "due_task":
                self._retry_next = result is not None
            elif name == "delete_task":
                self._retry_next = False
            self._wrote(name)
            self._after(name, args)
        return result

    def _before(self, name: str, args: tuple[Any, ...]) -> None:
        self._at_point(lambda: self.target.points.step(f"before {name}", args))
        if name == "load":
            self._calls_of_event = 0
            self._retrying, self._retry_next = self._retry_next, False
        if name == "connect":
            self._start_up = {"listen": False, "marked_builds": False}
            self._scanned = 0
        elif name in self._start_up:
            if any(self._start_up.values()):
                self.reach("between_listen_and_scan")
        elif name == "load" and isinstance(self.dispatcher.in_hand, core.Recovered):
            self._scanned += 1
            self.reach("during_scan", hook=MARKED, number=self._scanned)
        elif name == "clear_marks":
            self.reach("before_clear", hook=MARKED)
        elif name == "store_retry":
            self.reach("before_store", hook=args[0].channel)
        elif name == "next_due":
            self.reach("before_wait")

    def _after(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "connect":
            self.expected = 0
            self.unaware = False
            self.listening.clear()
        elif name in self._start_up:
            self._start_up[name] = True
            if name == "listen":
                self.listening.update(args[0])
        elif name == "clear_marks":
            self.reach("after_clear", hook=MARKED)
        elif name == "store_retry":
            self.reach("after_store", hook=args[0].channel)
        self._at_point(lambda: self.target.points.step(f"after {name}", args))

    def _wrote(self, name: str) -> None:
        if name not in READS and name not in {"connect", "listen", "new_task_id"}:
            # A task that is put off, again and again and with no call, is no progress.
            self.effects += name != "requeue"
            self.target.journal.changed()
            self.target.journal.observe()

    def _receive(self, method: Callable[[float], list[ports.Received]]) -> list[ports.Received]:
        """Receive all that was committed; its arrival is the server's business, and takes a moment."""
        self.gone_on()
        if not self.expected and not self.unaware:
            return []
        if self.unaware:
            # What a dispatcher that waits on its socket sees at once.
            self.unaware = False
            return method(0.0)
        received: list[ports.Received] = []
        while len(received) < self.expected:
            batch = method(ARRIVAL_DEADLINE)
            with self.ours():
                self._has_arrived(batch, self.expected - len(received))
            received += batch
        self.expected = 0
        self.effects += 1
        self._at_point(lambda: self.target.points.step("after receive"))
        return received

    def _has_arrived(self, batch: list[ports.Received], expected: int) -> None:
        if not batch:
            raise errors.EnvironmentFailedError(
                f"{expected} notifications did not arrive at the listening connection"
                f" within {ARRIVAL_DEADLINE:.0f} s of their commit. Is the server overloaded or stopped?"
            )

    def committed(self, commit: history.Commit) -> None:
        """Expect what the server will now send to the listening connection."""
        self.expected += sum(notification.channel in self.listening for notification in commit.notifications)

    # The end of connections

    def cut(self) -> None:
        """Lose both connections: no goodbye, and nothing passes any more.

        They are idle, for every port call is a whole transaction. So nothing is lost by giving them back, and the
        next ones need not be made: the server takes some milliseconds for each.
        """
        self.session.close()
        self.forget_expected()
        self.unaware = True

    def forget_expected(self) -> None:
        """Expect no notification any more: nobody listens."""
        self.listening.clear()
        self.expected = 0

    def counters(self) -> dict[str, float]:
        """Return the totals since this life began."""
        return {name: total - self._totals_before[name] for name, total in self.target.metrics.totals.items()}


class _Watched:
    """A port whose calls are points."""

    def __init__(self, port: object, life: Life) -> None:
        self._port = port
        self._life = life

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._port, name)

        def call(*args: Any) -> Any:
            return self._life.port_call(name, method, *args)

        self.__dict__[name] = call
        return call
