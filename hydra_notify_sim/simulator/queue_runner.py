"""The fake queue runner: dispatches steps, marks builds as finished, announces them (docs/reference/hydra.md, section 2)."""

from collections.abc import Sequence

from hydra_notify_sim.contract.channels import BuildFinished
from hydra_notify_sim.contract.statuses import Status
from hydra_notify_sim.history import Outcome, RowChange
from hydra_notify_sim.simulator import rows
from hydra_notify_sim.simulator.builds import (
    Build,
    ImpossibleActionError,
    as_status,
    nicknames,
)
from hydra_notify_sim.simulator.payloads import split_finished
from hydra_notify_sim.simulator.steps import MESSAGES, Steps, step_row
from hydra_notify_sim.simulator.writer import Written

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


class QueueRunner(Steps):
    """Writes what Hydra's queue runner writes, transaction by transaction."""

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
        start = self._play(build, step_status, log=log)
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
            build, status, start, "fail_builds", notify=notify, message=MESSAGES.get(status)
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
                rows=[step_row(each, each.next_step) for each in with_step],
                fault="" if notify else "mark_only",
            ),
        )
        for each in with_step:
            each.has_step(each.next_step)
        for each in affected:
            each.mark(status if id(each) in of_direct else theirs, start, stop)
        dependents_listed = world.ids.in_no_order([each.id for each in affected])
        build.announcement = tuple(split_finished(build.id, dependents_listed))
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
        _not_begun(build, "substitute")
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
        changes = [step_row(build, number) for number, _, _ in steps]
        done = self._found(build, "substituted", now, statements, changes)
        for number, _, _ in steps:
            build.has_step(number)
        return done

    def already_valid(self, build: Build) -> list[Build]:
        """Find the outputs in the store already: build_finished only, and not even a step (Q-substituted)."""
        _not_begun(build, "already valid")
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
        _not_under_way(build, "cached failure")
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
                rows=(step_row(build, build.next_step),),
            ),
        )
        build.has_step(build.next_step)
        build.mark(status, now, now)

    def unsupported(self, build: Build, *, notify: bool = True) -> list[Build]:
        """Find no machine for the build's system: it fails with all that need it, and no step is ever sent."""
        _not_under_way(build, "unsupported system")
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
            build.begun = False


def _not_under_way(build: Build, action: str) -> None:
    build.must_be(action, finished=False)
    if build.under_way:
        raise ImpossibleActionError(
            f"{build.nickname}: {action} is impossible, a step of it is under way; Hydra sees it before it sends one"
        )


def _not_begun(build: Build, action: str) -> None:
    build.must_be(action, finished=False)
    if build.begun:
        raise ImpossibleActionError(
            f"{build.nickname}: {action} is impossible, a step of it was begun; Hydra looks for outputs before that, "
            "and again when the queue runner was restarted"
        )


def _about(owner: Build, builds: Sequence[Build]) -> str:
    return nicknames([owner, *[build for build in builds if build is not owner]])


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
