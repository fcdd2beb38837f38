"""The fake evaluator: looks at a jobset and queues what is new (docs/reference/hydra.md, section 3)."""

from collections.abc import Iterable, Sequence

from hydra_notify_sim.contract.channels import (
    BuildQueued,
    CachedBuildFinished,
    CachedBuildQueued,
    EvalAdded,
    EvalCached,
    EvalFailed,
    EvalStarted,
    Event,
)
from hydra_notify_sim.contract.transactions import BUILDS_ADDED
from hydra_notify_sim.history import Notification, RowChange
from hydra_notify_sim.simulator import rows
from hydra_notify_sim.simulator.builds import (
    Build,
    Evaluation,
    ImpossibleActionError,
    Input,
    Jobset,
    distinct,
    nicknames,
)
from hydra_notify_sim.simulator.world import World
from hydra_notify_sim.simulator.writer import Written

EVALUATION_ERROR = "error: attribute 'release' missing"
FETCH_ERROR = "error: unable to download 'https://git.example.org/src.git': HTTP error 503"

DISABLED, ONE_SHOT = 0, 2
"""``jobsets.enabled``: it is not evaluated; it is evaluated once more and then disabled."""


class Evaluator:
    """Writes what Hydra's evaluator writes, transaction by transaction; eval_started is always the first."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._runs = 0

    def evaluate(
        self,
        new: Iterable[Build] = (),
        cached: Iterable[Build] = (),
        name: str | None = None,
        *,
        jobset: Jobset | None = None,
        errors: str = "",
        flake: str = "",
        inputs: Iterable[Input] | None = None,
        error_changed: bool = False,
        impossible: bool = False,
    ) -> Evaluation:
        """Evaluate a jobset: queue the new builds, and say of the others that they were found.

        If no build is new, and there are as many as in the last evaluation with new builds, ``hasnewbuilds`` is 0 and
        neither members nor inputs are written.

        Args:
            new: builds to queue.
            cached: builds of the last evaluation with new builds, found again.
            name: what people call the evaluation.
            jobset: the jobset; else that of the builds.
            errors: the errors of the jobs that do not evaluate, as they are stored; eval_added is sent all the same.
            flake: the locked reference that a flake's jobset evaluates; else one is made up.
            inputs: what was checked out; else one is made up. A flake has none.
            error_changed: sent with payloads 2026-09 only.
            impossible: write it although Hydra never would; the record says so (fault ``impossible``).

        Raises:
            ImpossibleActionError: Hydra would not do this; the message says why.

        """
        fresh = list(distinct(new))
        known = [build for build in distinct(cached) if build not in fresh]
        named = next((build.jobset for build in [*fresh, *known]), None)
        home = jobset or named or self.world.jobset()
        self._check(fresh, known, home)
        if not impossible:
            self._check_that_hydra_would(fresh, known, home)
        _check_sources(home, flake, inputs)
        error = self.world.quoting.text(errors)
        trace = self._begin(home)
        self._begin_errors(home)
        previous = home.last_with_new_builds
        evaluation = self.world.new_evaluation(home, name or "", (*fresh, *known), trace)
        count = len(evaluation.builds)
        evaluation.has_new_builds = bool(fresh) or (previous is not None and len(previous.members) != count)
        evaluation.flake = home.flake and (flake or locked(home.flake, evaluation.revision))
        written = self._evaluated(evaluation, fresh, known, inputs, error, flag=error_changed)
        if impossible:
            written.fault = "impossible"
        self._commit("evaluation", written)
        for build in fresh:
            build.exists = build.current = True
        if home.enabled == ONE_SHOT:
            home.enabled = DISABLED
        self.world.evaluation_done(evaluation)
        self._note_current(home)
        return evaluation

    def nothing_new(self, name: str | None = None, *, error_changed: bool = False) -> Evaluation:
        """Evaluate a jobset in which there is nothing: eval_added all the same."""
        return self.evaluate(name=name, error_changed=error_changed)

    def unchanged(self, *, jobset: Jobset | None = None) -> None:
        """Find the inputs as they were: eval_cached with the previous evaluation.

        Raises:
            ImpossibleActionError: there is no previous evaluation.

        """
        home = jobset or self.world.jobset()
        _check_jobset(home)
        previous = home.last_evaluation
        if previous is None:
            raise ImpossibleActionError(
                f"{home.nickname}: it cannot be unchanged, there is no evaluation of it; evaluate it first"
            )
        trace = self._begin(home)
        self._commit(
            "eval_cached",
            Written(
                about=previous.nickname,
                statements=[self._jobset_is("fetcherrormsg=NULL", home)],
                notifications=(self.world.notification(EvalCached(trace, home.id, previous.id)),),
            ),
        )

    def fails(
        self,
        message: str = EVALUATION_ERROR,
        *,
        jobset: Jobset | None = None,
        error_changed: bool = False,
    ) -> None:
        """Fail to evaluate: the jobset's error and eval_failed."""
        home = jobset or self.world.jobset()
        self._failed(home, message, in_fetching=False, error_changed=error_changed)

    def fetch_fails(
        self, message: str = FETCH_ERROR, *, jobset: Jobset | None = None, error_changed: bool = False
    ) -> None:
        """Fail to fetch an input: the jobset's fetch error and eval_failed.

        A flake has no inputs: that it cannot be fetched is an error of the evaluation.
        """
        home = jobset or self.world.jobset()
        self._failed(home, message, in_fetching=True, error_changed=error_changed)

    def _failed(self, home: Jobset, message: str, *, in_fetching: bool, error_changed: bool) -> None:
        world = self.world
        _check_jobset(home)
        text = world.quoting.text(message)
        now = world.clock.now()
        trace = self._begin(home)
        if not in_fetching:
            self._begin_errors(home)
        values = (
            f"fetcherrormsg={text}"
            if in_fetching and not home.flake
            else f"errormsg={text},errortime={now},fetcherrormsg=NULL"
        )
        flag = None if world.payloads == "2026-08" else int(error_changed)
        self._commit(
            "eval_failed",
            Written(
                about=home.nickname,
                statements=[self._jobset_is(values, home)],
                notifications=(world.notification(EvalFailed(trace, home.id, flag)),),
            ),
        )

    def _begin(self, jobset: Jobset) -> str:
        self._runs += 1
        trace = self.world.names.trace(self._runs)
        self._commit(
            "eval_started",
            Written(
                about=jobset.nickname,
                notifications=(self.world.notification(EvalStarted(trace, jobset.id)),),
            ),
        )
        return trace

    def _begin_errors(self, jobset: Jobset) -> None:
        """Make the row that the errors of single jobs will be in; an evaluation that fails leaves it empty."""
        self._commit(
            "evaluation_errors",
            Written(
                about=jobset.nickname,
                statements=[
                    f"INSERT INTO evaluationerrors (errormsg,errortime) VALUES ('',{self.world.clock.now()})"
                ],
            ),
        )

    def _jobset_is(self, values: str, jobset: Jobset) -> str:
        now = self.world.clock.now()
        return f"UPDATE jobsets SET lastcheckedtime={now},{values} WHERE id={jobset.id}"

    def _check(self, fresh: list[Build], known: list[Build], home: Jobset) -> None:
        """Refuse what cannot even be written."""
        _check_jobset(home)
        for build in fresh:
            if build.exists:
                raise ImpossibleActionError(
                    f"{build.nickname}: it cannot be new, its row exists; an evaluation finds it cached"
                )
        for build in known:
            build.must_be("being found by an evaluation", finished=None)
        for build in [*fresh, *known]:
            if build.jobset is not home:
                raise ImpossibleActionError(
                    f"{build.nickname}: it belongs to {build.jobset.nickname}, not to {home.nickname}"
                )

    def _check_that_hydra_would(self, fresh: list[Build], known: list[Build], home: Jobset) -> None:
        if home.enabled == DISABLED:
            raise ImpossibleActionError(
                f"{home.nickname}: it is disabled, and Hydra evaluates no such jobset; enable it first"
            )
        last = home.last_with_new_builds
        members = last.members if last is not None else []
        for build in known:
            if not build.can_be_found:
                raise ImpossibleActionError(not_a_member(build.nickname))
        jobs = {(build.job, build.drv_path): build for build in members}
        for build in fresh:
            same = jobs.setdefault((build.job, build.drv_path), build)
            if same is not build:
                raise ImpossibleActionError(
                    f"{build.nickname}: it cannot be new, for {same.nickname} is the same derivation of the same job; "
                    "Hydra finds that one"
                )

    def _evaluated(
        self,
        evaluation: Evaluation,
        fresh: list[Build],
        known: list[Build],
        inputs: Iterable[Input] | None,
        error: str,
        *,
        flag: bool,
    ) -> Written:
        world = self.world
        jobset = evaluation.jobset
        now = world.clock.now()
        statements = [
            world.sequence_of("jobsetevals"),
            rows.new_evaluation(
                world.quoting, evaluation, now, errors_id="currval('evaluationerrors_id_seq')"
            ),
        ]
        if fresh:
            statements += [world.sequence_of("builds"), *rows.new_builds(world.quoting, fresh, now)]
        if evaluation.has_new_builds:
            statements += rows.members(world.quoting, evaluation, new=fresh)
            statements += rows.constituents(world.quoting, evaluation)
            if not jobset.flake:
                statements += rows.inputs(
                    world.quoting, evaluation, _made_up(evaluation) if inputs is None else inputs
                )
        if error != "''":
            statements.append(
                f"UPDATE evaluationerrors SET errormsg={error} WHERE id=currval('evaluationerrors_id_seq')"
            )
        disabled = ",enabled=0" if jobset.enabled == ONE_SHOT else ""
        statements.append(
            self._jobset_is(
                f"forceeval=NULL,errormsg={error},errortime={now},fetcherrormsg=NULL{disabled}", jobset
            )
        )
        return Written(
            about=f"{evaluation.nickname}: {nicknames(evaluation.builds) or 'nothing new'}",
            statements=statements,
            notifications=self._notifications(evaluation, fresh, known, flag=flag),
            rows=[
                RowChange("inserted", "jobsetevals", str(evaluation.id), evaluation.nickname),
                *[RowChange("inserted", "builds", str(build.id), build.nickname) for build in fresh],
            ],
        )

    def _notifications(
        self, evaluation: Evaluation, fresh: Sequence[Build], known: Sequence[Build], *, flag: bool
    ) -> list[Notification]:
        world = self.world
        id_ = evaluation.id
        events: list[Event] = [BuildQueued(build.id) for build in fresh]
        events += [
            CachedBuildFinished(id_, build.id) if build.finished else CachedBuildQueued(id_, build.id)
            for build in known
        ]
        error_changed = None if world.payloads == "2026-08" else int(flag)
        events.append(EvalAdded(evaluation.trace, evaluation.jobset.id, id_, error_changed))
        notifications = [world.notification_of_new(event) for event in events]
        if fresh:
            notifications.append(Notification(BUILDS_ADDED, ""))
        return notifications

    def _note_current(self, jobset: Jobset) -> None:
        """Write which builds are members of the last evaluation with new builds, where that has changed."""
        last = jobset.last_with_new_builds
        if last is None:
            return
        members = set(map(id, last.members))
        for value in (True, False):
            changed = [
                build
                for build in self.world.builds
                if build.jobset is jobset
                and build.exists
                and build.current is not value
                and (id(build) in members) is value
            ]
            if not changed:
                continue
            ids = ",".join([str(build.id) for build in changed])
            self._commit(
                "current_builds",
                Written(
                    about=nicknames(changed),
                    statements=[f"UPDATE builds SET iscurrent={int(value)} WHERE id IN ({ids})"],
                    rows=[
                        RowChange("updated", "builds", str(build.id), build.nickname, ("iscurrent",))
                        for build in changed
                    ],
                ),
            )
            for build in changed:
                build.current = value

    def _commit(self, action: str, written: Written) -> None:
        self.world.commit("evaluator", action, written)


def not_a_member(nickname: str) -> str:
    """Return why Hydra does not find a build cached, and what happens in its place."""
    return (
        f"{nickname} cannot be found cached: it is no member of the jobset's last evaluation with new builds. Hydra "
        "queues a new build of the same derivation (same_derivation_as), and the queue runner finds its outputs valid. "
        "Say `impossible` to have it all the same"
    )


def locked(flake: str, revision: str) -> str:
    """Return a flake reference with the revision that it stood at, as ``nix flake metadata`` writes it."""
    if flake.startswith(("github:", "gitlab:", "sourcehut:")):
        kind, _, path = flake.partition(":")
        return f"{kind}:{'/'.join(path.partition('?')[0].split('/')[:2])}/{revision}"
    return f"{flake}{'&' if '?' in flake else '?'}rev={revision}"


def _made_up(evaluation: Evaluation) -> list[Input]:
    return [Input("src", uri="https://git.example.org/src.git", revision=evaluation.revision)]


def _check_jobset(jobset: Jobset) -> None:
    if not jobset.exists:
        raise ImpossibleActionError(f"{jobset.nickname}: it cannot be evaluated, it was deleted")


def _check_sources(jobset: Jobset, flake: str, inputs: Iterable[Input] | None) -> None:
    if flake and not jobset.flake:
        raise ImpossibleActionError(
            f"{jobset.nickname}: it evaluates an expression inside an input, so its evaluation has no flake"
        )
    if inputs is not None and jobset.flake:
        raise ImpossibleActionError(f"{jobset.nickname}: it is a flake, so its evaluation has no inputs")
