"""Orders of events that cannot be: what is certainly impossible, told by going through the story once.

Where the order is not known, because steps are played at a point inside another step, a build may be in
several states and a dispatcher running or not: then only what is impossible in all of them is reported.
"""

from collections.abc import Sequence

from hydra_notify_sim.contract.statuses import Status
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.jobsets import StoryJobset
from hydra_notify_sim.scenario.model import Scenario
from hydra_notify_sim.scenario.names import walk
from hydra_notify_sim.scenario.parts import DeletedRow
from hydra_notify_sim.scenario.problems import Finding, Path_

States = frozenset[str]
"""The states in which a thing may be at this moment of the story."""

ABSENT, QUEUED, WAITING, BUILDING, DONE = (
    frozenset({state}) for state in ("absent", "queued", "waiting", "building", "finished")
)
"""Of a build. Queued: no step of it was begun in this attempt; waiting: some were, and none is under way."""
OPEN = QUEUED | WAITING | BUILDING
UP, DOWN = (frozenset({state}) for state in ("running", "not running"))
"""Of the dispatcher, and of the server."""

PLAYED_WITHOUT_SERVER = (verbs.Advance, verbs.Release, verbs.ExpectStep, verbs.Repeat, verbs.Unknown)
"""Steps that need no server; of the dispatcher's and the server's own, `_World` says what is possible."""

TAKES_DEPENDENTS = frozenset(
    {
        Status.failed,
        Status.timed_out,
        Status.unsupported_system,
        Status.log_limit_exceeded,
        Status.nar_size_limit_exceeded,
        Status.not_deterministic,
    }
)
"""A build that finishes so takes its unfinished dependents with it (docs/reference/hydra.md, section 2)."""

MAY_TAKE_DEPENDENTS = frozenset({Status.aborted, Status.cached_failure})

BEFORE_ANY_STEP = frozenset({Status.unsupported_system, Status.cached_failure})
"""What the queue runner sees before it sends a step to a machine."""

_CHANGES: dict[type[verbs.StepBase], tuple[States, States | None]] = {
    verbs.Start: (OPEN, BUILDING),
    verbs.StepEnds: (OPEN, WAITING | BUILDING),
    verbs.Abort: (BUILDING, WAITING | BUILDING),
    verbs.Finish: (OPEN, DONE),
    verbs.Build: (OPEN, DONE),
    verbs.MarkOnly: (OPEN, DONE),
    verbs.Substitute: (QUEUED, DONE),
    verbs.Cancel: (OPEN, DONE),
    verbs.Restart: (DONE, QUEUED),
    verbs.Bump: (OPEN | DONE, None),
}
"""The states that a verb needs its builds to be in, and the state that it leaves them in."""


def check(scenario: Scenario) -> list[Finding]:
    """Return what cannot happen in this order."""
    world = _World(scenario)
    world.play(scenario.story, ("story",))
    return list(dict.fromkeys(world.found))


class _World:
    """What may be so at this moment of the story."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.found: list[Finding] = []
        self._dispatcher = DOWN
        self._server = UP
        self._evaluated: dict[str, Path_] = {}
        """Builds that an evaluation of the story queues, and the first that does."""
        for path, step in walk(scenario.story):
            if isinstance(step, verbs.Evaluate):
                for single in scenario.singles(step.evaluate.new):
                    self._evaluated.setdefault(single, path)
        self._builds = {name: self._at_first(name) for name in scenario.builds}
        before = frozenset(name for name, states in self._builds.items() if states != ABSENT)
        self._jobset = StoryJobset(scenario, before)

    def _at_first(self, name: str) -> States:
        build = self._scenario.builds[name]
        if build.row == "later" or (name in self._evaluated and build.finished is None):
            return ABSENT
        return DONE if build.finished is not None else QUEUED

    def play(self, steps: Sequence[verbs.StepBase], path: Path_) -> None:
        for index, step in enumerate(steps):
            self._play(step, (*path, index))

    def _play(self, step: verbs.StepBase, path: Path_) -> None:
        before, was, server = dict(self._builds), self._dispatcher, self._server
        self._needs_server(step, path)
        self._happens(step, path)
        if not step.do:
            return
        starts = isinstance(step, verbs.Dispatcher) and step.dispatcher in {"start", "restart"}
        if was == DOWN and not starts and not isinstance(step, verbs.Repeat):
            self._say((*path, "at"), f"the dispatcher is not running, so it does not get to {step.at}")
        # The steps under `do` come somewhere between the parts of this step, or after all of them.
        self._builds = {name: states | before[name] for name, states in self._builds.items()}
        after = dict(self._builds)
        outcome, self._dispatcher = self._dispatcher, UP
        if isinstance(step, verbs.Evaluate | verbs.Repeat) and any(
            isinstance(inner, verbs.Evaluate | verbs.Delete) for _, inner in walk(step.do)
        ):
            self._jobset.order_is_unknown()
        self.play(step.do, (*path, "do"))
        self._builds = {name: states | (after[name] - before[name]) for name, states in self._builds.items()}
        if isinstance(step, verbs.Repeat):
            self._server = self._server | server
        if isinstance(step, verbs.Dispatcher) and step.dispatcher != "start":
            self._dispatcher = self._dispatcher | outcome

    def _needs_server(self, step: verbs.StepBase, path: Path_) -> None:
        """See that nothing is written or looked at while the server is stopped."""
        match step:
            case verbs.Postgres(postgres="start"):
                if self._server == UP:
                    self._say(
                        (*path, "postgres"), "the server is running already; stop it first, or write restart"
                    )
                self._server = UP
            case verbs.Postgres(postgres=what) if what in {"stop", "restart"} or self._server == DOWN:
                if self._server == DOWN:
                    self._say(
                        (*path, "postgres"), f"the server is stopped, so it cannot {what}; start it first"
                    )
                self._server = DOWN if what == "stop" else UP
            case verbs.Dispatcher(dispatcher="crash" | "stop" | "freeze" | "thaw"):
                pass
            case _ if self._server == DOWN and not isinstance(step, PLAYED_WITHOUT_SERVER):
                self._say(path, f"the server is stopped, so there can be no '{step.verb}'; start it first")

    def _happens(self, step: verbs.StepBase, path: Path_) -> None:
        if type(step) in _CHANGES:
            wanted, then = _CHANGES[type(step)]
            self._each(step, path, wanted, then)
            return
        match step:
            case verbs.Dispatcher():
                self._dispatcher_does(step, path)
            case verbs.Connection() if self._dispatcher == DOWN:
                self._say(path, "no dispatcher is running whose connection could be lost")
            case verbs.Settle() if self._dispatcher == DOWN:
                self._say(path, "the dispatcher is not running, so it does not settle; start it first")
            case verbs.Evaluate():
                self._evaluate(step, path)
            case verbs.Delete() | verbs.EditJobset() | verbs.Insert() | verbs.Lock():
                self._rows_change(step, path)
            case verbs.Repeat():
                # What goes wrong at all goes wrong by the second time.
                for _ in range(min(step.repeat.times, 2)):
                    self.play(step.repeat.steps, (*path, "repeat", "steps"))

    def _rows_change(
        self, step: verbs.Delete | verbs.EditJobset | verbs.Insert | verbs.Lock, path: Path_
    ) -> None:
        here = (*path, step.verb, "build")
        match step:
            case verbs.Delete(delete=row):
                self._delete(row, path)
            case verbs.Lock(lock=row):
                self._one(row.build, here, "lock", OPEN | DONE, None)
            case verbs.EditJobset() if self._there_is_a_jobset((*path, "edit_jobset")):
                self._jobset.edited(step.edit_jobset)
            case verbs.Insert(insert=row) if row.build is not None:
                self._insert(row.build, here)

    def _dispatcher_does(self, step: verbs.Dispatcher, path: Path_) -> None:
        here = (*path, "dispatcher")
        if step.dispatcher == "start":
            if self._dispatcher == UP:
                self._say(here, "the dispatcher is running already; stop or crash it first, or write restart")
            self._dispatcher = UP
        else:
            if self._dispatcher == DOWN:
                self._say(
                    here, f"the dispatcher is not running, so it cannot {step.dispatcher}; start it first"
                )
            self._dispatcher = UP if step.dispatcher in {"restart", "freeze", "thaw"} else DOWN

    def _delete(self, row: DeletedRow, path: Path_) -> None:
        if row.build is not None:
            self._one(row.build, (*path, "delete", "build"), "delete", OPEN | DONE, ABSENT)
            self._jobset.build_is_deleted(row.build)
        elif row.evaluation is not None:
            self._jobset.evaluation_is_deleted(row.evaluation)
        elif row.jobset is not None or row.project is not None:
            if self._there_is_a_jobset((*path, "delete")) and row.jobset not in {None, self._jobset.nickname}:
                self._say((*path, "delete", "jobset"), f"the story's jobset is {self._jobset.nickname} here")
            self._jobset.is_deleted()
            self._builds = dict.fromkeys(self._builds, ABSENT)

    def _there_is_a_jobset(self, path: Path_) -> bool:
        if self._jobset.deleted:
            self._say(path, "the jobset was deleted before, with its evaluations and builds")
        return not self._jobset.deleted

    def _evaluate(self, step: verbs.Evaluate, path: Path_) -> None:
        evaluation = step.evaluate
        here = (*path, "evaluate")
        if not self._there_is_a_jobset(here):
            return
        existing = len(self.found)
        for index, nickname in enumerate(evaluation.cached):
            for name in self._scenario.singles((nickname,)):
                self._one(name, (*here, "cached", index), "find", OPEN | DONE, None)
        for index, nickname in enumerate(evaluation.new):
            for name in self._scenario.singles((nickname,)):
                if "absent" not in self._builds[name]:
                    self._say(
                        (*here, "new", index),
                        f"{name} exists already, so it is not new; an evaluation finds it 'cached'",
                    )
                self._builds[name] = QUEUED
        if len(self.found) == existing:
            self.found += self._jobset.problems(evaluation, here, impossible=step.impossible)
        self._jobset.evaluated(evaluation)

    def _each(self, step: verbs.StepBase, path: Path_, wanted: States, then: States | None) -> None:
        nicknames: tuple[str, ...] = getattr(step, step.verb)
        status = (
            step.status if isinstance(step, verbs.Finish | verbs.Build | verbs.MarkOnly) else Status.succeeded
        )
        if status in BEFORE_ANY_STEP and not isinstance(step, verbs.Start):
            wanted = wanted & (QUEUED | WAITING)
        for index, nickname in enumerate(nicknames):
            for name in self._scenario.singles((nickname,)):
                here = (*path, step.verb, index)
                if (
                    isinstance(step, verbs.Start)
                    and self._builds[name] == BUILDING
                    and self._is_the_last_step(name)
                ):
                    self._say(
                        here, f"the last step of {name} is under way already, so there is none to start"
                    )
                self._one(name, here, step.verb, wanted, then)
                if isinstance(step, verbs.Finish | verbs.Build | verbs.MarkOnly):
                    self._take_twins(name, certainly=status is not Status.cached_failure)
                if status in TAKES_DEPENDENTS | MAY_TAKE_DEPENDENTS:
                    self._take_dependents(name, certainly=status in TAKES_DEPENDENTS)

    def _is_the_last_step(self, name: str) -> bool:
        return self._scenario.builds[name].steps == 1

    def _take_twins(self, name: str, *, certainly: bool) -> None:
        """Take along the unfinished builds of the same derivation: one step is for all of them."""
        for other in self._scenario.twins.get(name, ()):
            states = self._builds[other]
            if states & OPEN:
                self._builds[other] = (states - OPEN if certainly else states) | DONE

    def _take_dependents(self, name: str, *, certainly: bool) -> None:
        for dependent in self._scenario.dependents_of(name):
            states = self._builds[dependent]
            if states & OPEN:
                self._builds[dependent] = (states - OPEN if certainly else states) | DONE

    def _one(self, name: str, path: Path_, verb: str, wanted: States, then: States | None) -> None:
        states = self._builds[name]
        if not states & wanted:
            self._say(path, self._why_not(name, verb, states))
        if then is not None and states != ABSENT:
            self._builds[name] = then

    def _why_not(self, name: str, verb: str, states: States) -> str:
        if states == ABSENT and self._jobset.deleted:
            return f"{name} is gone at '{verb}': its jobset was deleted"
        if states == ABSENT and name in self._evaluated:
            return f"{name} is not queued yet at '{verb}': the evaluation that queues it comes later"
        if states == ABSENT:
            return f"there is no row of {name} at '{verb}': an 'insert' step has to come first"
        if verb == "abort" and not states & DONE:
            return f"no step of {name} is under way at 'abort'; start it first"
        if verb == "substitute" and not states & DONE:
            return f"a step of {name} was begun, and Hydra looks for its outputs before that; cancel and restart it first"
        if not states & DONE and verb != "restart":
            return (
                f"a step of {name} is under way, and such an end comes before any step is sent to a machine"
            )
        if verb == "restart":
            return f"{name} is not finished, so nobody can restart it"
        return f"{name} is finished already, so '{verb}' is impossible; restart it first"

    def _insert(self, name: str, path: Path_) -> None:
        if not self._there_is_a_jobset(path):
            return
        if "absent" not in self._builds[name]:
            self._say(
                path, f"the row of {name} is there already; a build given with 'row: later' can be inserted"
            )
        build = self._scenario.builds[name]
        self._builds[name] = DONE if build.finished is not None else QUEUED

    def _say(self, path: Path_, message: str) -> None:
        self.found.append(Finding(path, message))
