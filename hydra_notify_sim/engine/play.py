"""Plays one scenario: each step in its order, held calls and steps at points in theirs.

After every step a running dispatcher settles before the next one is played, unless it is held at a point or in
a call; what should catch it in the middle of something is played there, with ``at`` (docs/decisions/0014-every-step-drains.md).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

from hydra_notify_sim import errors, history, simulator
from hydra_notify_sim.checks.retries import PARKED
from hydra_notify_sim.database.locks import LockHeldError
from hydra_notify_sim.engine import expectations
from hydra_notify_sim.engine.actors import Actors
from hydra_notify_sim.engine.server_faults import ServerFaults
from hydra_notify_sim.recorders.recorder import Behaviour
from hydra_notify_sim.scenario import points
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.durations import UNTIL_DUE
from hydra_notify_sim.scenario.model import Scenario
from hydra_notify_sim.targets.points import Armed
from hydra_notify_sim.targets.target import Target

SAME_SECOND = 1.0
"""Seconds in which tasks count as due at the same time."""
FINISHES = (verbs.Finish, verbs.Build, verbs.Substitute)
"""Steps that are about builds that finish."""
WITHOUT_SERVER = (
    verbs.Dispatcher,
    verbs.Postgres,
    verbs.Advance,
    verbs.Release,
    verbs.ExpectStep,
    verbs.Settle,
)
"""Steps that are played while the server is stopped, or say themselves why they cannot be."""
SETTLES = "the dispatcher settles"
"""What the step ``settle`` expects."""
WRITES_NOTHING = (verbs.Dispatcher, verbs.Connection, verbs.Settle, verbs.ExpectStep)
"""Steps that write no rows, so that none of them waits for a lock of ours."""


class StoryError(errors.UsageError):
    """The story asks for something that cannot be, which only playing it could tell."""


class StoryEndsHere(Exception):  # noqa: N818 - not an error: the rest of the story is left out, and `missed` says why
    """A step cannot be played in this environment, and what follows takes it for granted."""

    def __init__(self, reason: str, *, in_the_middle: bool) -> None:
        super().__init__(reason)
        self.in_the_middle = in_the_middle
        """Whether it was raised through the middle of the dispatcher's work, which is left undone."""


class Player:
    """Plays the steps of one scenario on one target."""

    def __init__(
        self,
        scenario: Scenario,
        target: Target,
        actors: Actors,
        behaviours: dict[str, Behaviour],
        server: ServerFaults,
    ) -> None:
        self.scenario = scenario
        self.target = target
        self.actors = actors
        self.behaviours = behaviours
        self.server = server
        self._story: Iterator[verbs.StepBase] = iter(())
        self._armed: list[tuple[Armed, int]] = []
        self._enclosing: list[tuple[Armed, int]] = []
        """Points of a ``repeat`` whose steps are not over."""
        self._enclosed: list[tuple[Armed, int]] = []
        """All of them so far."""
        self._struck = False
        """What a ``repeat`` has for one of its points was played: the story may be off its path from there on."""
        self.begun: list[verbs.StepBase] = []
        """Steps that were begun, in order, wherever they stand; a ``repeat`` is none of them."""
        self._line = 0
        target.on_hold = self._hold
        self._verbs: dict[type[verbs.StepBase], Callable[..., None]] = {
            verbs.Dispatcher: self._dispatcher,
            verbs.Evaluate: lambda step: actors.evaluate(step.evaluate, impossible=step.impossible),
            verbs.Start: lambda step: actors.start(step.start),
            verbs.StepEnds: lambda step: actors.step(step.step, step.status, log=step.log),
            verbs.Finish: self._finish,
            verbs.Build: self._build,
            verbs.Substitute: self._substitute,
            verbs.Abort: lambda step: actors.abort(step.abort),
            verbs.Cancel: self._cancel,
            verbs.Restart: lambda step: actors.restart(step.restart),
            verbs.Bump: lambda step: actors.bump(step.bump),
            verbs.MarkOnly: self._mark_only,
            verbs.Notify: lambda step: actors.notify(step.notify),
            verbs.Delete: lambda step: actors.delete(step.delete),
            verbs.EditJobset: lambda step: actors.edit_jobset(step.edit_jobset),
            verbs.Insert: self._insert,
            verbs.Connection: self._connection,
            verbs.Postgres: self._postgres,
            verbs.Settings: self._settings,
            verbs.Lock: self._lock,
            verbs.Migrate: self._migrate,
            verbs.Release: self._release,
            verbs.Advance: self._advance,
            verbs.Settle: self._settle,
            verbs.ExpectStep: self._expect,
            verbs.Unknown: self._unknown,
        }

    def play(self) -> None:
        """Play the whole story, and let the dispatcher settle at its end; what came of it stands in the history."""
        try:
            self.play_steps(self.scenario.story)
        except StoryEndsHere as ended:
            if ended.in_the_middle:
                self._give_up()
        except (StoryError, simulator.ImpossibleActionError, simulator.WriteFailedError) as error:
            if isinstance(error, simulator.WriteFailedError) and not self.server.stopped:
                raise
            if not self._departed:
                if isinstance(error, StoryError):
                    raise
                if isinstance(error, simulator.WriteFailedError):
                    raise StoryError(
                        f"{self._where()}: the server is stopped before all rows of this step are written. Stop it later, "
                        "or make several steps of this one."
                    ) from error
                raise StoryError(f"{self._where()}: {error}") from error
            # The dispatcher left the story's path, and this is where the two can no longer be reconciled.
            self._record(
                history.StoryEnded(
                    t=self._now,
                    reason=f"{self._where()}: the story could not go on: {error}",
                    diverged=self._struck,
                )
            )
            self._give_up()  # The error may have come from a point.
        self.end()

    def _give_up(self) -> None:
        """End the dispatcher in the middle of its work: nothing that it owes from here on can be held against it."""
        if self.target.alive:
            self.target.crash()

    def end(self) -> None:
        """Let the dispatcher settle for the last time, on a server that works; note points that were never reached."""
        self.server.mend()
        self.target.settle()
        self._armed += self._enclosing
        self._note_missed()

    @property
    def _missed(self) -> bool:
        """Whether the story did not go as told, so that what it expects may not come true."""
        return any(
            isinstance(record, history.PointMissed | history.StoryEnded) and not record.diverged
            for record in self.target.journal.history
        )

    @property
    def _departed(self) -> bool:
        """Whether the dispatcher did not do what the story took for granted."""
        return (
            self._struck
            or self._missed
            or any(isinstance(record, history.Ended) for record in self.target.journal.history)
        )

    # One step after the other

    def play_steps(self, steps: Iterable[verbs.StepBase]) -> None:
        """Play steps one after the other; while a call is held, the next ones are taken from here too."""
        outer, self._story = self._story, self._one_by_one(steps)
        try:
            for step in self._story:
                self._play(step)
        finally:
            self._story = outer

    def _play(self, step: verbs.StepBase) -> None:
        self._line = step.line
        self.begun.append(step)
        if step.at is not None:
            self._arm(step)
        if self.server.stopped and not isinstance(step, WITHOUT_SERVER):
            raise StoryError(f"{self._where()}: the server is stopped, so there can be no '{step.verb}' here")
        if not isinstance(step, WRITES_NOTHING):
            self.target.release_rows()
        try:
            self._verbs[type(step)](step)
            if self.server.locked_until is not None and self.server.locked_until <= self._now:
                self.server.unlock()
            self.target.settle()
        except LockHeldError as held:
            self._cannot_go_on(step.verb, str(held), in_the_middle=True)
        if isinstance(step, verbs.Settle):
            self._has_settled(step)
        if not self.target.inside:
            self._note_missed()

    def _one_by_one(self, steps: Iterable[verbs.StepBase]) -> Iterator[verbs.StepBase]:
        """Yield the steps, those of a ``repeat`` as often as it says; its point is waited for all the while."""
        for step in steps:
            if not isinstance(step, verbs.Repeat):
                yield step
                continue
            waited_for = self._enclose(step) if step.at is not None else None
            for _ in range(step.repeat.times):
                yield from self._one_by_one(step.repeat.steps)
            if waited_for is not None and waited_for in self._enclosing:
                # The dispatcher may still be held in the last of the steps: noted as missed once it is not.
                self._enclosing.remove(waited_for)
                self._armed.append(waited_for)

    def _enclose(self, step: verbs.Repeat) -> tuple[Armed, int]:
        point = step.at
        assert point is not None

        def strike() -> None:
            self._struck = True
            self.play_steps(step.do)

        armed = self.target.points.arm(Armed(point.name, point.which, strike, hook=point.hook or ""))
        self._enclosing.append((armed, step.line))
        self._enclosed.append(self._enclosing[-1])
        return self._enclosing[-1]

    def _arm(self, step: verbs.StepBase) -> None:
        point = step.at
        assert point is not None
        hook = point.hook or ""
        if not hook and point.name in points.CALL_POINTS and isinstance(step, FINISHES):
            # What such a step is about; the calls for its build_started and step_finished come before.
            hook = "build_finished"
        armed = Armed(point.name, point.which, lambda: self.play_steps(step.do), hook=hook)
        self._armed.append((self.target.points.arm(armed), step.line))

    def _note_missed(self) -> None:
        """Say of each point whose step is over that it was never reached: the scenario is not exercised."""
        for armed, line in self._armed:
            if not armed.reached:
                self.target.points.disarm(armed)
                why = self.target.points.cannot.get(armed.name, "it was never reached")
                reason = f"line {line}: the point {armed}: {why}"
                is_own = not any(armed is enclosing for enclosing, _ in self._enclosed)
                diverged = self._struck and is_own
                self._record(
                    history.PointMissed(t=self._now, point=str(armed), reason=reason, diverged=diverged)
                )
        self._armed.clear()

    def _hold(self, plugin: str) -> None:
        """Go on with the story while a plugin's call stays open, until it is released or the dispatcher is gone."""
        behaviour = self.behaviours[plugin]
        for step in self._story:
            self._play(step)
            if not behaviour.holds or not self.target.inside:
                return

    # The dispatcher

    def _dispatcher(self, step: verbs.Dispatcher) -> None:
        if step.dispatcher == "start":
            self._start(step)
        elif self._has_dispatcher(step.dispatcher):
            does: dict[str, Callable[[], None]] = {
                "stop": self.target.stop,
                "crash": self.target.crash,
                "freeze": self._freeze,
                "thaw": self._thaw,
                "restart": lambda: self._restart(step),
            }
            does[step.dispatcher]()
        elif step.dispatcher == "restart":
            self._start(step)

    def _restart(self, step: verbs.Dispatcher) -> None:
        self.target.stop()
        if self.target.alive:
            raise StoryError(
                f"{self._where()}: the dispatcher is held in the middle of an event, so it cannot restart here. "
                "Use crash and start, or restart it after it was released."
            )
        self._start(step)

    def _thaw(self) -> None:
        if not self.target.frozen:
            raise StoryError(f"{self._where()}: the dispatcher is not frozen")
        self.target.thaw()

    def _freeze(self) -> None:
        if self.target.inside:
            raise StoryError(f"{self._where()}: the dispatcher stands still already: it is frozen, or held")
        self.target.freeze()

    def _start(self, step: verbs.Dispatcher) -> None:
        if self.server.stopped:
            raise StoryError(f"{self._where()}: the server is stopped, so the dispatcher cannot start here")
        if self.target.alive:
            if self._departed:
                return
            raise StoryError(f"{self._where()}: the dispatcher is running already")
        names = step.plugins if step.plugins is not None else tuple(self.behaviours)
        self.target.start({name: self.behaviours[name] for name in names})

    def _has_dispatcher(self, what: str) -> bool:
        """Return whether there is a dispatcher; if there is none, and it has not ended by itself, the story is wrong."""
        if not self.target.alive and not self._departed:
            raise StoryError(f"{self._where()}: there is no dispatcher to {what}: it was not started")
        return self.target.alive

    def _connection(self, step: verbs.Connection) -> None:
        if step.connection == "silent":
            self._fall_silent()
        elif self._has_dispatcher("cut off"):
            if step.reply_lost and (why := self.target.points.cannot.get("reply_lost")):
                reason = f"{self._where()}: {why}"
                self._record(history.PointMissed(t=self._now, point="reply_lost", reason=reason))
            self.target.lose_connection(reply_lost=step.reply_lost)

    def _fall_silent(self) -> None:
        if self._has_dispatcher("silence"):
            try:
                self.target.fall_silent()
            except NotImplementedError as cannot:
                self._cannot_go_on("connection silent", str(cannot))

    def _release(self, step: verbs.Release) -> None:
        self.behaviours[step.release].holds = False

    def _settle(self, _step: verbs.Settle) -> None:
        if self.target.inside:
            raise StoryError(
                f"{self._where()}: the dispatcher is held in the middle of an event and cannot settle here"
            )
        self.server.expect_recovery()
        if self.target.hindered:
            raise StoryError(f"{self._where()}: {self.target.hindered}, so the dispatcher cannot settle here")

    def _has_settled(self, step: verbs.Settle) -> None:
        """Hold the step to what it says: a dispatcher that never settles fails it."""
        records = self.target.journal.history.records
        for record in reversed(records):
            if isinstance(record, history.Settled):
                return
            if isinstance(record, history.NotSettled):
                self._record(
                    history.Expected(
                        t=self._now, text=SETTLES, met=False, found=record.reason, line=step.line
                    )
                )
                return

    # The server

    def _postgres(self, step: verbs.Postgres) -> None:
        does = {
            "stop": self.server.stop,
            "start": self.server.start,
            "restart": self.server.restart,
            "read_only": self.server.read_only,
            "writable": self.server.writable,
        }
        if (step.postgres == "start") != self.server.stopped:
            state = "is stopped" if self.server.stopped else "is running"
            raise StoryError(f"{self._where()}: the server {state}, so it cannot {step.postgres} here")
        self._see_that_it_can(step)
        does[step.postgres]()

    def _settings(self, step: verbs.Settings) -> None:
        self._see_that_it_can(step)
        self.server.set_for_new_sessions(step.settings)

    def _lock(self, step: verbs.Lock) -> None:
        self._see_that_it_can(step)
        if self.server.locked_until is not None:
            raise StoryError(f"{self._where()}: a row is locked already; one at a time")
        self.server.lock(step.lock.build, step.lock.for_)

    def _migrate(self, step: verbs.Migrate) -> None:
        self._see_that_it_can(step)
        self.server.migrate(step.migrate)

    def _see_that_it_can(self, step: verbs.StepBase) -> None:
        if why := self.server.cannot(step.verb):
            self._cannot_go_on(step.verb, why)

    def _cannot_go_on(self, what: str, why: str, *, in_the_middle: bool = False) -> NoReturn:
        """End the story here: what it asks for cannot be had, and the rest takes it for granted."""
        reason = f"{self._where()}: {why}"
        self._record(history.PointMissed(t=self._now, point=what, reason=reason))
        raise StoryEndsHere(reason, in_the_middle=in_the_middle or self.target.inside)

    # Time

    def _second(self, *, same_second: bool) -> None:
        if not same_second:
            self.target.move_time(1)

    def _advance(self, step: verbs.Advance) -> None:
        """Move time on, from one due task to the next."""
        span = self._until_due(step) if step.advance == UNTIL_DUE else step.advance
        end = self._now + span
        if self.server.locked_until is not None and self.server.locked_until < end:
            self._pass(self.server.locked_until, real_time=step.real_time)
            self.server.unlock()
            self.target.settle()
        self._pass(end, real_time=step.real_time)

    def _pass(self, end: float, *, real_time: bool) -> None:
        if real_time:
            self.target.wait_out(end - self._now)
        while self.target.alive and not self.target.inside:
            due = self.target.next_due()
            if due is None or due > end:
                break
            if due > self._now:
                self.target.move_time(due - self._now)
            self.target.settle()
            if not self.target.alive or self.target.next_due() == due:
                break
        if end > self._now:
            self.target.move_time(end - self._now)

    def _until_due(self, step: verbs.Advance) -> float:
        """Return the seconds until the next stored task is due; the step fails where none is."""
        self.target.next_due()  # looks at the rows
        dues = [task.due for task in self.target.journal.tasks if task.due <= self._now + PARKED]
        if not dues:
            self._record(
                history.Expected(
                    t=self._now,
                    text="a stored task is due",
                    met=False,
                    found="no task is stored that will be due",
                    line=step.line,
                )
            )
            return 0.0
        # A dispatcher counts whole seconds: what failed together may be due in two of them.
        return max(0.0, *(due - self._now for due in dues if due <= min(dues) + SAME_SECOND))

    def _insert(self, step: verbs.Insert) -> None:
        self.actors.insert(step.insert)
        # A task that is due at once is run, and gone, before the rows are next looked at: without this nothing
        # tells its retry from that of another task, nor how many attempts it had.
        self.target.journal.observe()

    # Builds that finish

    def _finish(self, step: verbs.Finish) -> None:
        for build in self.scenario.singles(step.finish):
            self._second(same_second=step.same_second)
            self.actors.finish(build, step.status, log=step.log)

    def _build(self, step: verbs.Build) -> None:
        for build in self.scenario.singles(step.build):
            self.actors.begin(build, step.status)
            self._second(same_second=step.same_second)
            self.actors.finish(build, step.status, log=step.log)
            # Between two builds the dispatcher does what the first one caused, as it would.
            self.target.settle()

    def _substitute(self, step: verbs.Substitute) -> None:
        for build in self.scenario.singles(step.substitute):
            self._second(same_second=step.same_second)
            self.actors.substitute(build, already_valid=step.already_valid)

    def _cancel(self, step: verbs.Cancel) -> None:
        self._second(same_second=False)
        self.actors.cancel(step.cancel)

    def _mark_only(self, step: verbs.MarkOnly) -> None:
        for build in self.scenario.singles(step.mark_only):
            self._second(same_second=step.same_second)
            self.actors.finish(build, step.status, log=True, notify=False)

    # Looking

    def _expect(self, step: verbs.ExpectStep) -> None:
        if self._missed:
            return  # What the story expects follows from what was to happen at the point.
        self.target.journal.observe()
        for expected in expectations.evaluate(step.expect, self._moment(), step.line):
            self._record(expected)
        if step.expect.violated:
            # Looked at when all is judged, by who judges it: `hydra_notify_sim.checks.verdict`.
            self._record(
                history.ViolationsExpected(t=self._now, promises=step.expect.violated, line=step.line)
            )

    def _unknown(self, _step: verbs.Unknown) -> None:
        raise StoryError(
            f"{self._where()}: what happened here is left open. Let `hydra-notify-sim explore --fill FILE` fill it."
        )

    def _moment(self) -> expectations.Moment:
        journal = self.target.journal
        return expectations.Moment(
            so_far=journal.history,
            marks=journal.marks,
            tasks=journal.tasks,
            now=self._now,
            log=self.target.log(),
            ids=self.actors.ids,
            evaluations=self.actors.evaluation_ids,
            nicknames=self.actors.nicknames,
            singles=self.scenario.singles,
        )

    def _record(self, record: history.AnyRecord) -> None:
        self.target.journal.record(record)

    @property
    def _now(self) -> float:
        return self.target.journal.now

    def _where(self) -> str:
        return f"line {self._line}" if self._line else "the story"
