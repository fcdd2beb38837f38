"""The queue runner's steps: sent to a machine, announced, ended (docs/reference/hydra.md, section 2)."""

from collections.abc import Sequence

from hydra_notify_sim.contract.channels import BuildStarted, StepFinished
from hydra_notify_sim.contract.statuses import Status
from hydra_notify_sim.contract.transactions import STEP_STARTED
from hydra_notify_sim.history import Notification, RowChange
from hydra_notify_sim.simulator import bystanders, rows
from hydra_notify_sim.simulator.builds import Build, ImpossibleActionError, StepUnderWay, as_status
from hydra_notify_sim.simulator.names import log_path
from hydra_notify_sim.simulator.world import World
from hydra_notify_sim.simulator.writer import Written

_BEFORE_BUILDING = (10, 20, 30)
"""``busy``: connecting, sending inputs, building."""
_AFTER_BUILDING = (40, 50)
"""``busy``: receiving outputs, post-processing."""

MESSAGES = {Status.aborted: "lost connection to the machine", Status.not_deterministic: "outputs differ"}
"""``errormsg`` where the status alone does not say it."""


class Steps:
    """Writes what becomes of steps; the queue runner adds what becomes of builds."""

    def __init__(self, world: World) -> None:
        self.world = world

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
            None,
            step.start,
            None,
            step.machine,
            build.system,
        )
        others = world.ids.steps_beside(build.id, step.number, first=not build.all_steps)
        further = "".join(
            [f",{quoting.row(*bystanders.step(build, number, step.start))}" for number in others]
        )
        statements = [
            (
                "INSERT INTO buildsteps (build,stepnr,type,drvpath,busy,status,starttime,stoptime,machine,system) "
                f"VALUES {values}{further}"
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
                rows=(step_row(build, step.number),),
            ),
        )
        build.has_step(step.number)
        build.other_steps += others
        build.under_way.append(step)
        build.begun = True

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
        message = world.quoting.value(MESSAGES.get(status))
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

    def _play(self, build: Build, own: Status, *, log: bool) -> int:
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

    def _commit(self, action: str, written: Written) -> None:
        self.world.commit("queue_runner", action, written)


def step_row(build: Build, number: int) -> RowChange:
    """Return the record of a step's new row."""
    return RowChange("inserted", "buildsteps", f"{build.id}/{number}")
