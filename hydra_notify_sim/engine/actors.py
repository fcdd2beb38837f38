"""The simulator's actors in the words of a scenario: nicknames in, rows and notifications out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import psycopg

from hydra_notify_sim import simulator
from hydra_notify_sim.contract.statuses import Status
from hydra_notify_sim.scenario import parts
from hydra_notify_sim.scenario import payloads as written
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.model import GivenBuild, Scenario
from hydra_notify_sim.targets.target import Clock, Target

ENDS_WITHOUT_A_STEP = frozenset({Status.unsupported_system, Status.cached_failure})

_T = TypeVar("_T")


class _WholeSeconds:
    """The run's clock as the simulator reads it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> int:
        return int(self._clock.now())


class Actors:
    """Queue runner, evaluator and person of one scenario."""

    def __init__(
        self,
        scenario: Scenario,
        connection: psycopg.Connection[Any],
        target: Target,
        clock: Clock,
        *,
        seed: int = 0,
    ) -> None:
        self.scenario = scenario
        self._target = target
        self.world = simulator.World(
            connection,
            target.journal.record,
            _WholeSeconds(clock),
            seed=seed,
            payloads=scenario.given.version,
            busy=lambda: target.inside,
            jobset=scenario.given.jobset,
            first_build=scenario.given.first_build,
            flake=scenario.given.flake or "",
        )
        self._queue_runner = simulator.QueueRunner(self.world)
        self._evaluator = simulator.Evaluator(self.world)
        self._person = simulator.Person(self.world)
        self._builds: dict[str, simulator.Build] = {}
        self._evaluations: dict[str, simulator.Evaluation] = {}
        self.ids: dict[str, int] = {}
        """Nickname of a build to its id."""
        self.nicknames: dict[int, str] = {}
        """Id of a build to its nickname."""
        self.evaluation_ids: dict[str, int] = {}

    def set_the_scene(self) -> None:
        """Make the builds that are given: those that no evaluation queues have their rows before the story begins."""
        for nickname, given in self._in_order_of_need():
            self.add(nickname, given)
        queued = self._queued_by_the_story()
        there = [
            nickname
            for nickname, given in self.scenario.builds.items()
            if given.row == "now" and nickname not in queued
        ]
        kinds: dict[tuple[Status | None, bool], list[simulator.Build]] = {}
        for nickname in there:
            given = self.scenario.builds[nickname]
            kinds.setdefault((given.finished, given.pending), []).append(self._builds[nickname])
        for (finished, pending), builds in kinds.items():
            self._person.insert_builds(builds, finished=finished, pending=pending, actor="harness")
        if there:
            # Builds come from an evaluation, and the story's first one finds only what is in that.
            known = [self._builds[nickname] for nickname in there]
            self._person.insert_evaluation(known, "the evaluation before", actor="harness")
        self.world.next_evaluation = self.scenario.given.first_evaluation

    def add(self, nickname: str, given: GivenBuild, *, jobset: str = "") -> simulator.Build:
        """Reserve the id of a build, after those that it needs; ``jobset``, if it is not the scenario's."""
        build = self.world.build(
            nickname,
            job=given.job or "",
            name=given.name or "",
            jobset=jobset,
            needs=[self._builds[needed] for needed in given.needs],
            constituents=[self._builds[part] for part in given.constituents],
            maintainers=given.maintainers,
            same_derivation_as=self._builds[given.same_derivation_as] if given.same_derivation_as else None,
            steps=given.steps,
            system=given.system,
            outputs=given.outputs,
            products=given.products,
            metrics=dict(given.metrics),
        )
        self._builds[nickname] = build
        self.ids[nickname] = build.id
        self.nicknames[build.id] = nickname
        return build

    def build(self, nickname: str) -> simulator.Build:
        """Return what the simulator knows of a build."""
        return self._builds[nickname]

    def reconnected(self, connection: psycopg.Connection[Any]) -> None:
        """Go on with another connection, after the server was restarted."""
        self.world.use(connection)

    # The evaluator

    def evaluate(self, evaluation: parts.Evaluation, *, impossible: bool = False) -> None:
        """Run the evaluator; ``impossible``: also where Hydra's would not do this."""
        if evaluation.unchanged:
            self._evaluator.unchanged()
        elif evaluation.fails:
            self._evaluator.fails(*_message(evaluation.fails), error_changed=evaluation.error_changed)
        elif evaluation.fetch_fails:
            self._evaluator.fetch_fails(
                *_message(evaluation.fetch_fails), error_changed=evaluation.error_changed
            )
        else:
            made = self._evaluator.evaluate(
                new=self._named(evaluation.new),
                cached=self._named(evaluation.cached),
                name=evaluation.name or "",
                errors=evaluation.errors or "",
                flake=evaluation.flake or "",
                inputs=None if evaluation.inputs is None else _inputs(evaluation.inputs),
                error_changed=evaluation.error_changed,
                impossible=impossible,
            )
            if evaluation.name:
                self._evaluations[evaluation.name] = made
                self.evaluation_ids[evaluation.name] = made.id

    # The queue runner

    def start(self, names: Sequence[str]) -> None:
        """Send the next step of each build to a machine."""
        for build in self._named(names):
            self._queue_runner.start(build)

    def step(self, names: Sequence[str], status: Status, *, log: bool) -> None:
        """End the step under way of each build, which is not its last."""
        for build in self._named(names):
            self._queue_runner.step(build, status, log=log)

    def begin(self, nickname: str, status: Status) -> None:
        """Send a build's first step to a machine, unless it ends without one or was started before."""
        build = self._builds[nickname]
        if not build.under_way and not build.ended and status not in ENDS_WITHOUT_A_STEP:
            self._queue_runner.start(build)

    def finish(self, nickname: str, status: Status, *, log: bool, notify: bool = True) -> None:
        """End a build, with everything that needs it if it fails."""
        self._queue_runner.finish(self._builds[nickname], status, notify=notify, log=log)

    def substitute(self, nickname: str, *, already_valid: bool) -> None:
        """Fetch a build's outputs, or find them there."""
        if already_valid:
            self._queue_runner.already_valid(self._builds[nickname])
        else:
            self._queue_runner.substitute(self._builds[nickname])

    def abort(self, names: Sequence[str]) -> None:
        """Lose the machine of each build's step under way."""
        for build in self._named(names):
            self._queue_runner.abort(build)

    # The person

    def cancel(self, names: Sequence[str]) -> None:
        """Cancel builds at the web page."""
        self._person.cancel(self._named(names))

    def restart(self, names: Sequence[str]) -> None:
        """Restart builds at the web page."""
        self._person.restart(self._named(names))

    def bump(self, names: Sequence[str]) -> None:
        """Give builds more priority at the web page."""
        self._person.bump(self._named(names))

    def edit_jobset(self, edit: parts.JobsetEdit) -> None:
        """Change the story's jobset at the web page."""
        self._person.edit_jobset(
            self.world.jobset(), name=edit.name, hidden=edit.hidden, enabled=edit.enabled
        )

    def notify(self, notification: parts.Notification) -> None:
        """Send notifications by hand."""
        self._person.notify(
            notification.channel,
            self._payload(notification.channel, notification.payload),
            times=notification.times,
            how=notification.in_,
        )

    def delete(self, row: parts.DeletedRow) -> None:
        """Delete a row by hand, or a jobset or project at the web page."""
        if row.project is not None:
            self._person.delete_project(row.project)
        elif row.jobset is not None:
            self._person.delete_jobset(self.world.jobset())
        elif row.build is not None:
            self._person.delete_build(self._builds[row.build])
        elif row.evaluation is not None:
            self._person.delete_evaluation(self._made(row.evaluation, self._evaluations))
        elif row.step is not None:
            build = self._builds[row.step.build]
            self._person.delete_step(build, build.nth_step(row.step.number))
        elif row.task is not None:
            payload = None
            if row.task.payload is not None:
                payload = self._payload(row.task.channel or "", row.task.payload)
            self._person.delete_tasks(
                plugin=row.task.plugin,
                channel=row.task.channel,
                payload=payload,
                stored_as=self._stored_as(row.task.plugin),
            )

    def insert(self, row: parts.InsertedRow) -> None:
        """Insert a row by hand."""
        if row.build is not None:
            self._person.insert_builds([self._builds[row.build]])
        elif row.task is not None:
            self._person.insert_task(
                row.task.plugin,
                row.task.channel,
                self._payload(row.task.channel, row.task.payload),
                attempts=row.task.attempts,
                # On the dispatcher's clock, which the story's may be ahead of or behind.
                due_in=math.floor(row.task.due_in + self._target.ahead),
                stored_as=self._stored_as(row.task.plugin),
            )

    def _stored_as(self, plugin: str | None) -> str | None:
        """Return the name under which the dispatcher stores a plugin's failures."""
        return None if plugin is None else self._target.journal.stored_as(plugin)

    # Nicknames

    def _named(self, names: Sequence[str]) -> list[simulator.Build]:
        return [self._builds[name] for name in self.scenario.singles(tuple(names))]

    def _payload(self, channel: str, payload: written.Payload) -> str:
        given = self.scenario.given
        return written.payload_text(
            channel,
            payload,
            self._id,
            self.scenario.singles,
            given.version,
            step_of=lambda build, nth: self._builds[build].nth_step(nth) if nth > 0 else nth,
        )

    def _id(self, name: str) -> int:
        """Return the id of a build, of an evaluation, or of the jobset."""
        if name == written.THE_JOBSET:
            return self.world.jobset().id
        return self.ids[name] if name in self.ids else self._made(name, self.evaluation_ids)

    @staticmethod
    def _made(name: str, evaluations: Mapping[str, _T]) -> _T:
        """Return what stands for an evaluation; where the story took another way, it may never have been made."""
        if name not in evaluations:
            raise simulator.ImpossibleActionError(f"evaluation {name!r} was never made")
        return evaluations[name]

    def _in_order_of_need(self) -> list[tuple[str, Any]]:
        """Return the builds, each after those that it needs or is like, else as given: ids go up in this order."""
        ordered: dict[str, Any] = {}

        def add(nickname: str) -> None:
            if nickname not in ordered:
                given = self.scenario.builds[nickname]
                before = [given.same_derivation_as] if given.same_derivation_as is not None else []
                for needed in (*given.needs, *before):
                    add(needed)
                ordered[nickname] = given

        for nickname in self.scenario.builds:
            add(nickname)
        return list(ordered.items())

    def _queued_by_the_story(self) -> set[str]:
        return {
            nickname
            for step in _all_steps(self.scenario.story)
            if isinstance(step, verbs.Evaluate)
            for nickname in self.scenario.singles(step.evaluate.new)
        }


def _inputs(given: Mapping[str, parts.Input]) -> list[simulator.Input]:
    return [simulator.Input(name, one.type, one.uri, one.revision, one.value) for name, one in given.items()]


def _message(fails: bool | str) -> tuple[str, ...]:
    """Return the message if there is one; else the evaluator has its own."""
    return (fails,) if isinstance(fails, str) else ()


def _all_steps(steps: Sequence[verbs.StepBase]) -> list[verbs.StepBase]:
    found: list[verbs.StepBase] = []
    for step in steps:
        found.append(step)
        found += _all_steps(step.do)
        if isinstance(step, verbs.Repeat):
            found += _all_steps(step.repeat.steps)
    return found
