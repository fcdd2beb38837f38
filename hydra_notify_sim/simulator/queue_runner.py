"""The fake queue runner: dispatches steps, marks builds as finished, announces them (docs/reference/hydra.md, section 2)."""

from collections.abc import Sequence

from hydra_notify_sim.contract.channels import BuildFinished, BuildStarted, StepFinished
from hydra_notify_sim.contract.statuses import Status
from hydra_notify_sim.contract.transactions import STEP_STARTED
from hydra_notify_sim.history import Notification, Outcome, RowChange
from hydra_notify_sim.simulator import rows
from hydra_notify_sim.simulator.builds import (
    Build,
    ImpossibleActionError,
    StepUnderWay,
    as_status,
    nicknames,
)
from hydra_notify_sim.simulator.names import log_path
from hydra_notify_sim.simulator.payloads import split_finished
from hydra_notify_sim.simulator.world import World, Written

SUCCESSES = frozenset({Status.succeeded, Status.failed_with_output})
"""A build that ends so takes nobody along: its step succeeded."""

FAILURES = frozenset(
    {
        Status.failed,
        Status.aborted,
        Status.timed_out,
        Status.log_limit_exceeded,
        Status.nar_size_limit_exceeded,
        Status.not_deterministic,
    }
)
"""A build that ends so takes along every build that needs it."""

_BEFORE_BUILDING = (10, 20, 30)
"""``busy``: connecting, sending inputs, building."""
_AFTER_BUILDING = (40, 50)
"""``busy``: receiving outputs, post-processing."""

_MESSAGES = {Status.aborted: "lost connection to the machine", Status.not_deterministic: "outputs differ"}


class QueueRunner:
    """Writes what Hydra's queue runner writes, transaction by transaction."""

    def __init__(self, world: World) -> None:
        self.world = world

    # Steps

    def start(self, build: Build) -> int:
        """Send the build's next step to a machine: the step's row, then build_started. Return the step's number.

        Raises:
            ImpossibleActionError: the build is finished or has no row, or its last step is under way already.

        """
        build.must_be("start", finished=False)
        begun = build.ended + len(build.under_way)
        own = begun + 1 >= build.steps
        if any(step.own for step in build.under_way):
            raise ImpossibleActionError(
                f"{build.nickname}: start is impossible, its last step (of {build.steps}) is under way"
            )
        world = self.world
        now = world.clock.now()
        drv_path = build.drv_path if own else world.names.dependency(build.id, begun + 1)
        step = StepUnderWay(build.next_step, drv_path, own, world.next_machine(), now)
        self._insert_step(build, step)
        self._commit(
            "announce_started",
            Written(about=build.nickname, notifications=(world.notification(BuildStarted(build.id)),)),
        )
        if world.detailed:
            self._states(build, step, _BEFORE_BUILDING)
        return step.number

    def _insert_step(self, build: Build, step: StepUnderWay) -> None:
        world = self.world
        quoting = world.quoting
        values = quoting.row(
            build.id,
            step.number,
            rows.STEP_BUILDS,
            step.drv_path,
            1,
            step.start,
            step.machine,
            build.system,
        )
        statements = [
            (
                "INSERT INTO buildsteps (build,stepnr,type,drvpath,busy,starttime,machine,system) "
                f"VALUES {values}"
            )
        ]
        outputs = build.outputs if step.own else {"out": step.drv_path.removesuffix(".drv")}
        if outputs:
            statements.append(
                rows.new_step_outputs(
                    [quoting.row(build.id, step.number, name, path) for name, path in outputs.items()]
                )
            )
        self._commit(
            "insert_step",
            Written(
                about=build.nickname,
                statements=statements,
                notifications=(Notification(STEP_STARTED, f"{build.id}\t{step.number}"),),
                rows=(_step_row(build, step.number),),
            ),
        )
        build.step_numbers.append(step.number)
        build.under_way.append(step)

    def _states(self, build: Build, step: StepUnderWay, states: Sequence[int]) -> None:
        for busy in states:
            self._commit(
                "step_state",
                Written(
                    about=build.nickname,
                    statements=[
                        f"UPDATE buildsteps SET busy={busy} WHERE build={build.id} AND stepnr={step.number}"
                    ],
                ),
            )

    def step(self, build: Build, status: Status | str | int = Status.succeeded, *, log: bool = True) -> int:
        """End the build's oldest step under way, the build going on; return the step's number.

        A step is started first if none is under way. ``log=False``: there is no log, the payload says ``-``.

        Raises:
            ImpossibleActionError: the build is finished or has no row.

        """
        build.must_be("step", finished=False)
        if not build.under_way:
            self.start(build)
        return self._finish_step(build, as_status(status), log=log).number

    def abort(self, build: Build, *, log: bool = True) -> int:
        """End the build's oldest step under way as aborted, to be tried again with the next start.

        Raises:
            ImpossibleActionError: no step of it is under way.

        """
        build.must_be("abort", finished=False)
        if not build.under_way:
            raise ImpossibleActionError(
                f"{build.nickname}: abort is impossible, no step of it is under way; start it first"
            )
        return self._finish_step(build, Status.aborted, log=log).number

    def _finish_step(self, build: Build, status: Status, *, log: bool) -> StepUnderWay:
        world = self.world
        step = build.under_way[0]
        if world.detailed:
            self._states(build, step, _AFTER_BUILDING)
        now = world.clock.now()
        overhead = 40 + (build.id * 37 + step.number * 11) % 900
        message = world.quoting.value(_MESSAGES.get(status))
        path = log_path(step.drv_path) if log else None
        self._commit(
            "finish_step",
            Written(
                about=build.nickname,
                statements=[
                    (
                        f"UPDATE buildsteps SET busy=0,status={int(status)},errormsg={message},"
                        f"starttime={step.start},stoptime={now},machine={world.quoting.text(step.machine)},"
                        f"overhead={overhead} WHERE build={build.id} AND stepnr={step.number}"
                    )
                ],
                notifications=(world.notification(StepFinished(build.id, step.number, path)),),
            ),
        )
        build.under_way.remove(step)
        if status is not Status.aborted:
            build.ended += 1
            build.own_started = step.start if step.own and status is Status.succeeded else None
        return step

    # Builds

    def finish(
        self,
        build: Build,
        status: Status | str | int = Status.succeeded,
        *,
        notify: bool = True,
        log: bool = True,
    ) -> list[Build]:
        """Play the build's steps to their end, mark it and what ends with it, and announce that.

        The steps under way end, those still to come are started and end, the last one with the build's status.
        A permanent failure takes along every unfinished build that needs this one. ``cached_failure`` and
        ``unsupported_system`` are told before any step. With ``notify=False`` the queue runner dies between marking
        and notifying (fault ``mark_only``): `announce` can make up for it. Return the builds that became finished.

        Raises:
            ImpossibleActionError: the build is finished or has no row, or no build ends with this status by itself.

        """
        build.must_be("finish", finished=False)
        how = as_status(status)
        if how is Status.unsupported_system:
            return self.unsupported(build, notify=notify)
        if how is Status.cached_failure and notify:
            return self.cached_failure(build)
        if how not in SUCCESSES | FAILURES:
            raise ImpossibleActionError(
                f"{build.nickname}: finish with {how.name}{'' if notify else ' and no notification'} is impossible; "
                "dependents of a failed build end by themselves, a person cancels, and a cached failure is marked and "
                "announced in one transaction"
            )
        step_status = Status.succeeded if how in SUCCESSES else how
        start = self._play_steps(build, step_status, log=log)
        if how in SUCCESSES:
            finished = self._mark_succeeded(build, how, start, notify=notify)
        else:
            finished = self._fail(build, how, start, notify=notify)
        if notify:
            self.announce(build)
        return finished

    def mark_only(self, build: Build, status: Status | str | int = Status.succeeded) -> list[Build]:
        """Finish a build without announcing it: the queue runner dies in between (quirk ``qr-notify-gap``)."""
        return self.finish(build, status, notify=False)

    def _play_steps(self, build: Build, own: Status, *, log: bool) -> int:
        """Play the steps to their end; return when the last one started."""
        if build.own_started is not None and own is Status.succeeded:
            return build.own_started
        while True:
            if not build.under_way:
                self.start(build)
            last = build.under_way[0].own
            step = self._finish_step(build, own if last else Status.succeeded, log=log)
            if last:
                return step.start

    def _mark_succeeded(self, build: Build, status: Status, start: int, *, notify: bool) -> list[Build]:
        world = self.world
        stop = world.clock.now()
        direct = world.direct(build)
        statements = []
        outcomes = []
        for each in direct:
            cached = each is not build
            statements.append(_marked(each, status, start, stop, cached=cached))
            statements += rows.results(world.quoting, each, stop)
            outcomes.append(Outcome(each.id, int(status), start, stop, pending=True, cached=cached))
        self._commit(
            "mark_finished",
            Written(
                about=_about(build, direct),
                statements=statements,
                outcomes=outcomes,
                fault="" if notify else "mark_only",
            ),
        )
        for each in direct:
            each.mark(status, start, stop)
            each.has_results |= bool(each.products or each.metrics)
        build.announcement = tuple(BuildFinished(each.id) for each in direct)
        build.marked_only = not notify
        return direct

    def _fail(self, build: Build, status: Status, start: int, *, notify: bool) -> list[Build]:
        return self._take_along(
            build, status, start, "fail_builds", notify=notify, message=_MESSAGES.get(status)
        )

    def _take_along(
        self,
        build: Build,
        status: Status,
        start: int,
        action: str,
        *,
        notify: bool,
        message: str | None,
        owner_too: bool = False,
    ) -> list[Build]:
        """Mark a failed build and all that need it; every one but the owner gets a step row that says where from."""
        world = self.world
        stop = world.clock.now()
        direct = world.direct(build)
        dependents = world.dependents(direct)
        affected = sorted([*direct, *dependents], key=lambda each: each.id)
        with_step = [each for each in affected if owner_too or each is not build]
        machine = "" if owner_too else world.names.machine(build.id)
        statements = rows.failed_steps(
            world.quoting, with_step, build, status, machine=machine, message=message, from_=build
        )
        theirs = Status.dependency_failed if status is Status.failed else status
        statements += [
            _update(each, how, start, stop) for each, how in ((direct, status), (dependents, theirs)) if each
        ]
        of_direct = set(map(id, direct))
        self._commit(
            action,
            Written(
                about=_about(build, affected),
                statements=statements,
                outcomes=[
                    Outcome(
                        each.id, int(status if id(each) in of_direct else theirs), start, stop, pending=True
                    )
                    for each in affected
                ],
                rows=[_step_row(each, each.next_step) for each in with_step],
                fault="" if notify else "mark_only",
            ),
        )
        for each in with_step:
            each.step_numbers.append(each.next_step)
        for each in affected:
            each.mark(status if id(each) in of_direct else theirs, start, stop)
        build.announcement = tuple(split_finished(build.id, [each.id for each in affected]))
        build.marked_only = not notify
        return affected

    def announce(self, build: Build) -> int:
        """Send build_finished for what this build's last marking finished: one transaction, nothing written.

        Return how many notifications it took. After `mark_only` it is a fault, ``announced late``.

        Raises:
            ImpossibleActionError: there is nothing that was marked and not announced.

        """
        if not build.announcement:
            raise ImpossibleActionError(
                f"{build.nickname}: announce is impossible, nothing was marked with it that was not announced"
            )
        events, build.announcement = build.announcement, ()
        # A queue runner that died after marking never announces: that this one does is a deviation of its own.
        fault, build.marked_only = "announced late" if build.marked_only else "", False
        self._commit(
            "announce_finished",
            Written(
                about=build.nickname,
                fault=fault,
                notifications=[self.world.notification(event) for event in events],
            ),
        )
        return len(events)

    # Builds that are not built

    def substitute(self, build: Build) -> list[Build]:
        """Fetch the outputs from a binary cache: build_finished only (Q-substituted)."""
        build.must_be("substitute", finished=False)
        world = self.world
        now = world.clock.now()
        row = world.quoting.row
        steps = [
            (build.next_step + index, name, path) for index, (name, path) in enumerate(build.outputs.items())
        ]
        statements = []
        if steps:
            values = ",".join(
                [
                    row(build.id, number, rows.STEP_SUBSTITUTES, build.drv_path, 0, 0, now, now, "")
                    for number, _, _ in steps
                ]
            )
            statements = [
                (
                    "INSERT INTO buildsteps (build,stepnr,type,drvpath,busy,status,starttime,stoptime,machine) "
                    f"VALUES {values}"
                ),
                rows.new_step_outputs([row(build.id, number, name, path) for number, name, path in steps]),
            ]
        changes = [_step_row(build, number) for number, _, _ in steps]
        done = self._found(build, "substituted", now, statements, changes)
        build.step_numbers += [number for number, _, _ in steps]
        return done

    def already_valid(self, build: Build) -> list[Build]:
        """Find the outputs in the store already: build_finished only, and not even a step (Q-substituted)."""
        build.must_be("already valid", finished=False)
        return self._found(build, "already_valid", self.world.clock.now(), [], [])

    def _found(
        self, build: Build, action: str, now: int, statements: list[str], changes: list[RowChange]
    ) -> list[Build]:
        world = self.world
        self._commit(
            action,
            Written(
                about=build.nickname,
                statements=[
                    *statements,
                    _marked(build, Status.succeeded, now, now, cached=True),
                    *rows.results(world.quoting, build, now),
                ],
                notifications=(world.notification(BuildFinished(build.id)),),
                outcomes=(Outcome(build.id, 0, now, now, pending=True, cached=True),),
                rows=changes,
            ),
        )
        build.mark(Status.succeeded, now, now)
        build.has_results |= bool(build.products or build.metrics)
        return [build]

    def cached_failure(self, build: Build) -> list[Build]:
        """Know from before that it fails; then each build that needs it likewise, in a transaction of its own."""
        build.must_be("cached failure", finished=False)
        done = []
        for each in [build, *self.world.dependents([build])]:
            status = Status.failed if each is build else Status.dependency_failed
            self._known_to_fail(each, build, status)
            done.append(each)
        return done

    def _known_to_fail(self, build: Build, culprit: Build, status: Status) -> None:
        world = self.world
        now = world.clock.now()
        statements = rows.failed_steps(
            world.quoting, [build], culprit, Status.cached_failure, from_=world.last_failed(culprit.drv_path)
        )
        self._commit(
            "cached_failure",
            Written(
                about=build.nickname,
                statements=[*statements, _update([build], status, now, now, cached=True)],
                notifications=(world.notification(BuildFinished(build.id)),),
                outcomes=(Outcome(build.id, int(status), now, now, pending=True, cached=True),),
                rows=(_step_row(build, build.next_step),),
            ),
        )
        build.step_numbers.append(build.next_step)
        build.mark(status, now, now)

    def unsupported(self, build: Build, *, notify: bool = True) -> list[Build]:
        """Find no machine for the build's system: it fails with all that need it, and no step is ever sent."""
        build.must_be("unsupported system", finished=False)
        finished = self._take_along(
            build,
            Status.unsupported_system,
            self.world.clock.now(),
            "unsupported_system",
            notify=notify,
            message=f"unsupported system type '{build.system}'",
            owner_too=True,
        )
        if notify:
            self.announce(build)
        return finished

    # The queue runner itself

    def stopped(self) -> None:
        """Stop or start the queue runner: steps under way are no longer, and nobody is told."""
        self._commit(
            "reset_busy_steps",
            Written(statements=["UPDATE buildsteps SET busy=0,status=3,stoptime=0 WHERE busy<>0"]),
        )
        for build in self.world.builds:
            build.under_way.clear()

    def _commit(self, action: str, written: Written) -> None:
        self.world.commit("queue_runner", action, written)


def _about(owner: Build, builds: Sequence[Build]) -> str:
    return nicknames([owner, *[build for build in builds if build is not owner]])


def _step_row(build: Build, number: int) -> RowChange:
    return RowChange("inserted", "buildsteps", f"{build.id}/{number}")


def _marked(build: Build, status: Status, start: int, stop: int, *, cached: bool) -> str:
    package = build.package
    return (
        f"UPDATE builds SET finished=1,buildstatus={int(status)},starttime={start},stoptime={stop},"
        f"size={package.size},closuresize={package.closure_size},releasename=NULL,iscachedbuild={int(cached)},"
        f"notificationpendingsince={stop} WHERE id={build.id} AND finished=0"
    )


def _update(builds: Sequence[Build], status: Status, start: int, stop: int, *, cached: bool = False) -> str:
    ids = ",".join([str(build.id) for build in builds])
    return (
        f"UPDATE builds SET finished=1,buildstatus={int(status)},starttime={start},stoptime={stop},"
        f"iscachedbuild={int(cached)},notificationpendingsince={stop} WHERE id IN ({ids}) AND finished=0"
    )
