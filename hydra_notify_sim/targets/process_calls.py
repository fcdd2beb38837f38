"""Plays what happens around a call in a dispatcher's process: its points, what the plugin does, and the answer."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hydra_notify_sim import history
from hydra_notify_sim.checks.world import called_event, task_event
from hydra_notify_sim.recorders.protocol import ArrivedCall
from hydra_notify_sim.recorders.recorder import failure_message
from hydra_notify_sim.targets.process_life import Delivery, Holding, Life

if TYPE_CHECKING:
    from hydra_notify_sim.targets.process import ProcessTarget

POINT_DEADLINE = 3.0
"""Seconds in which a dispatcher that has its answer must come to what it does next."""
POLL = 0.002
"""Seconds between two looks at rows or locks."""


class LifeGone(Exception):  # noqa: N818  # it is how the harness leaves what it was doing with that life
    """The life that was being served is over; its records are written."""


class AskedToStop(Exception):  # noqa: N818  # likewise
    """The life that was being served was asked to stop: it will not settle."""


class Hindered(Exception):  # noqa: N818  # likewise
    """The life that was being served cannot be expected to settle any more, such as without a server."""


class CallHandler:
    """Handles the calls of one target, one at a time."""

    def __init__(self, target: "ProcessTarget") -> None:
        self._target = target

    def handle(self, life: Life, arrived: ArrivedCall) -> None:
        """Handle one call, from its arrival to its answer and what is armed behind it.

        Raises:
            LifeGone: the scenario has killed the dispatcher meanwhile.

        """
        target = self._target
        if arrived.is_sentinel:
            target.sentinels.answered(arrived.plugin, arrived.call.trace)
            target.exchange.answer(arrived, None)
            return
        life.handled += 1
        life.in_call = True
        plugin, hook = arrived.plugin, arrived.call.hook
        # The dispatcher waits: what the rows show now is what it has done before this call.
        target.observe()
        delivery = self._delivery(life, arrived)
        self._reach(life, "before_call", plugin, hook)
        failure = self._play(life, arrived)
        delivery.called.add(plugin)
        holding = Holding(
            arrived,
            failure,
            delivery,
            _marked(arrived.call.args),
            last=delivery.retry or delivery.called >= life.interested(hook),
        )
        self._after(life, holding)

    def _play(self, life: Life, arrived: ArrivedCall) -> str | None:
        """Do what the scenario's plugin does; return the message it fails with."""
        target = self._target
        plugin, hook, args = arrived.plugin, arrived.call.hook, arrived.call.args
        behaviour = life.behaviours[plugin]
        number = target.calls.begin(life.number, plugin, hook, args)
        target.silence.called(plugin, hook, args)
        behaviour.calls += 1
        count = behaviour.calls
        self._reach(life, "inside_call", plugin, hook)
        if behaviour.holds:
            with self._held(life):
                target.on_hold(plugin)
        if behaviour.takes:
            target.move_time(behaviour.takes)
        failure = behaviour.raises(hook, args, count)
        if failure is None and behaviour.code is not None:
            try:
                with self._writes_watched(plugin):
                    behaviour.code(hook, args)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001  # whatever a person's plugin raises is its failure
                failure = failure_message(error)
        if failure is None:
            target.calls.returned(number)
        else:
            target.parking.fails(plugin)
            target.calls.raised(number, failure)
        return failure

    def _writes_watched(self, plugin: str) -> contextlib.AbstractContextManager[None]:
        target = self._target
        if any(hello.concurrent for hello in target.exchange.hellos.values()):
            # It may write for another event meanwhile: what the plugin wrote cannot be told from that.
            return contextlib.nullcontext()
        return target.calls.own_writes.watched(plugin)

    def _after(self, life: Life, holding: Holding) -> None:
        """Reach the points behind a call, the answer withheld; then answer."""
        target = self._target
        plugin, hook = holding.arrived.plugin, holding.arrived.call.hook
        clears = bool(holding.last and holding.builds and not holding.delivery.retry)
        names = ["after_call"]
        names += ["before_store"] if holding.failure is not None else []
        names += ["before_clear"] if clears else []
        life.holding = holding
        for name in names:
            holding.point = name
            self._reach(life, name, plugin, hook)
        life.holding = None
        stored = (
            self._tasks() if holding.failure is not None and target.points.waits_for("after_store") else None
        )
        if stored is not None and holding.builds:
            # Else what it does next, such as clearing the mark, may be done before it can be killed here.
            target.backends.lock(holding.builds, tasks=False)
        waits = holding.last and target.points.waits_for("before_wait")
        if waits and not target.backends.lock_tasks():
            waits = False
            target.points.cannot["before_wait"] = "the dispatcher itself holds a lock on taskretries"
        life.in_call = False
        target.exchange.answer(holding.arrived, holding.failure)
        if waits:
            self._before_wait(life)
        if stored is not None:
            if self._comes_true(lambda: self._tasks() != stored):
                target.observe()
                self._reach(life, "after_store", plugin, hook)
            target.backends.unlock()
        if (
            clears
            and target.points.waits_for("after_clear")
            and self._comes_true(lambda: self._cleared(holding))
        ):
            target.observe()
            self._reach(life, "after_clear", plugin, hook)

    def _before_wait(self, life: Life) -> None:
        """Reach the point at which it looks for stored tasks: it waits for our lock, with its event behind it.

        A notification that is sent there arrives while its query runs (hn-lost-wakeup).
        """
        target = self._target
        try:
            if not self._comes_true(lambda: self._goes_on(life) or target.backends.wait_for_lock()):
                target.points.cannot["before_wait"] = "it does not look at taskretries after an event"
                return
            if target.exchange.arrived:
                return  # It has more in hand; the point is behind that.
            target.journal.blind = True
            self._reach(life, "before_wait", "", "")
        finally:
            target.journal.blind = False
            target.backends.unlock()

    def before_store_without_call(self, life: Life) -> None:
        """Reach ``before_store`` of a failure that no call tells of: a row is missing, and it waits for our lock.

        Raises:
            LifeGone: the scenario has killed the dispatcher there.

        """
        target = self._target
        channel, life.fails_unseen = life.fails_unseen, ""
        try:
            came = self._comes_true(lambda: self._goes_on(life) or target.backends.wait_for_lock())
            if came and not target.exchange.arrived:
                target.journal.blind = True
                self._reach(life, "before_store", "", channel)
        finally:
            target.journal.blind = False
            target.backends.unlock()

    def _goes_on(self, life: Life) -> bool:
        """Answer the sentinels that it meets; tell whether it calls a plugin of the scenario."""
        target = self._target
        target.exchange.pump(0)
        while target.exchange.arrived and target.exchange.arrived[0].is_sentinel:
            self.handle(life, target.exchange.take())
            target.exchange.pump(0)
        return bool(target.exchange.arrived)

    # A crash after a call

    def go_on_until_point(self, life: Life) -> None:
        """If it is held after a call, answer, and let it come to the point at which it is to be killed.

        After a call that is not the event's last, and returned, that is the next call, which is not answered.
        Otherwise locks are taken first, on the rows that were shown and on the tasks: what it writes
        next has to wait for them, and is never committed.
        """
        holding = life.holding
        if holding is None:
            return
        target = self._target
        life.holding = None
        next_call = holding.point == "after_call" and holding.failure is None and not holding.last
        if not next_call and not target.backends.lock(holding.builds):
            reason = f"the point {holding.point}: the dispatcher itself holds a lock on what it would have to wait for"
            target.record(history.PointMissed(t=target.now, point=holding.point, reason=reason))
            return
        target.exchange.answer(holding.arrived, holding.failure)
        writes = (
            holding.failure is not None or holding.delivery.retry or bool(holding.last and holding.builds)
        )
        if not next_call and not writes:
            return

        def is_there() -> bool:
            target.exchange.pump(0)
            return bool(target.exchange.arrived) or life.child.exited or target.backends.wait_for_lock()

        if not self._comes_true(is_there) and holding.point != "after_call":
            seconds = POINT_DEADLINE * target.patience
            reason = f"the point {holding.point}: for {seconds:.0f} s after the call it wrote nothing"
            target.record(history.PointMissed(t=target.now, point=holding.point, reason=reason))

    # Points

    def _reach(self, life: Life, point: str, plugin: str, hook: str, number: int | None = None) -> None:
        with self._held(life):
            self._target.points.reach(point, plugin=plugin, hook=hook, number=number)

    @contextlib.contextmanager
    def _held(self, life: Life) -> Iterator[None]:
        life.held += 1
        try:
            yield
        finally:
            life.held -= 1
        if life.gone:
            raise LifeGone

    def _delivery(self, life: Life, arrived: ArrivedCall) -> Delivery:
        """Tell which event this call belongs to; reach ``during_scan`` if it is a new one of the start-up scan."""
        target = self._target
        event = called_event(arrived.call.hook, arrived.call.args)
        current = life.delivery
        if (
            current is not None
            and event == current.event
            and arrived.plugin not in current.called
            and not current.retry
        ):
            return current
        retry = any(
            task.plugin == arrived.plugin
            and task.due <= target.now
            and task_event(task, target.payloads) == event
            for task in target.journal.tasks
        )
        life.delivery = delivery = Delivery(event, retry=retry)
        if not life.up and arrived.call.hook == "build_finished" and not retry:
            life.scanned += 1
            self._reach(life, "during_scan", arrived.plugin, arrived.call.hook, life.scanned)
        return delivery

    def _comes_true(self, fact: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + POINT_DEADLINE * self._target.patience
        while not fact():
            if time.monotonic() > deadline:
                return False
            self._target.park_what_failed()
            time.sleep(POLL)
        return True

    def _tasks(self) -> list[tuple[Any, ...]]:
        return self._target.journal.connection.execute(
            "SELECT id, attempts, retry_at FROM taskretries ORDER BY id"
        ).fetchall()

    def _cleared(self, holding: Holding) -> bool:
        row = self._target.journal.connection.execute(
            "SELECT count(*) FROM builds WHERE id = ANY(%s) AND notificationpendingsince IS NOT NULL",
            [list(holding.builds)],
        ).fetchone()
        return row is not None and row[0] < len(set(holding.builds))


def _marked(args: Mapping[str, Any]) -> tuple[int, ...]:
    builds = [args.get("build"), *(args.get("dependents") or ())] if "dependents" in args else []
    return tuple(
        build["id"]
        for build in builds
        if isinstance(build, Mapping) and build.get("finished") and build.get("notificationpendingsince")
    )
