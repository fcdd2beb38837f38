"""The fake evaluator: looks at a jobset and queues what is new (docs/reference/hydra.md, section 3)."""

from collections.abc import Iterable

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
    Jobset,
    distinct,
    nicknames,
)
from hydra_notify_sim.simulator.world import World
from hydra_notify_sim.simulator.writer import Written

EVALUATION_ERROR = "error: attribute 'release' missing"
FETCH_ERROR = "error: unable to download 'https://git.example.org/src.git': HTTP error 503"


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
        error_changed: bool = False,
    ) -> Evaluation:
        """Evaluate a jobset: queue the new builds, and say of the others that they were found.

        One transaction. If there is no new build, and the others are those of the previous evaluation,
        ``hasnewbuilds`` is 0 and no members are written. ``error_changed`` is sent with payloads 2026-09 only.

        Raises:
            ImpossibleActionError: a new build has a row already, a known one has none, or one belongs to another jobset.

        """
        fresh = list(distinct(new))
        known = [build for build in distinct(cached) if build not in fresh]
        home = jobset or next((build.jobset for build in [*fresh, *known]), self.world.jobset())
        self._check(fresh, known, home)
        trace = self._begin(home)
        previous = home.last_evaluation
        evaluation = self.world.new_evaluation(home, name or "", (*fresh, *known), trace)
        changed = bool(fresh) or set(known) != set(previous.builds if previous is not None else ())
        self._commit(
            "evaluation", self._evaluated(evaluation, fresh, known, changed=changed, flag=error_changed)
        )
        for build in fresh:
            build.exists = True
        self.world.evaluation_done(evaluation)
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
        previous = home.last_evaluation
        if previous is None:
            raise ImpossibleActionError(
                f"{home.nickname}: it cannot be unchanged, there is no evaluation of it; evaluate it first"
            )
        trace = self._begin(home)
        self._announce("eval_cached", EvalCached(trace, home.id, previous.id), previous.nickname)

    def fails(
        self,
        message: str = EVALUATION_ERROR,
        *,
        jobset: Jobset | None = None,
        error_changed: bool = False,
    ) -> None:
        """Fail to evaluate: the jobset's error, then eval_failed."""
        self._failed(
            "eval_error", "errormsg={},errortime={}", message, jobset=jobset, error_changed=error_changed
        )

    def fetch_fails(
        self, message: str = FETCH_ERROR, *, jobset: Jobset | None = None, error_changed: bool = False
    ) -> None:
        """Fail to fetch an input: the jobset's fetch error, then eval_failed."""
        self._failed(
            "fetch_error",
            "fetcherrormsg={},lastcheckedtime={}",
            message,
            jobset=jobset,
            error_changed=error_changed,
        )

    def _failed(
        self, action: str, columns: str, message: str, *, jobset: Jobset | None, error_changed: bool
    ) -> None:
        world = self.world
        home = jobset or world.jobset()
        text = world.quoting.text(message)
        trace = self._begin(home)
        values = columns.format(text, world.clock.now())
        self._commit(
            action,
            Written(about=home.nickname, statements=[f"UPDATE jobsets SET {values} WHERE id={home.id}"]),
        )
        flag = None if world.payloads == "2026-08" else int(error_changed)
        self._announce("eval_failed", EvalFailed(trace, home.id, flag), home.nickname)

    def _begin(self, jobset: Jobset) -> str:
        self._runs += 1
        trace = self.world.names.trace(self._runs)
        self._announce("eval_started", EvalStarted(trace, jobset.id), jobset.nickname)
        return trace

    def _announce(self, action: str, event: Event, about: str) -> None:
        self._commit(action, Written(about=about, notifications=(self.world.notification(event),)))

    def _check(self, fresh: list[Build], known: list[Build], home: Jobset) -> None:
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

    def _evaluated(
        self, evaluation: Evaluation, fresh: list[Build], known: list[Build], *, changed: bool, flag: bool
    ) -> Written:
        world = self.world
        now = world.clock.now()
        row = world.quoting.row
        id_ = evaluation.id
        count = len(fresh) + len(known)
        values = row(id_, evaluation.jobset.id, now, 1, 2, int(changed), evaluation.hash, count)
        statements = [
            world.sequence_of("jobsetevals"),
            (
                "INSERT INTO jobsetevals (id,jobset_id,timestamp,checkouttime,evaltime,hasnewbuilds,hash,nrbuilds) "
                f"VALUES {values}"
            ),
        ]
        if fresh:
            statements += [world.sequence_of("builds"), *rows.new_builds(world.quoting, fresh, now)]
        if changed:
            statements += self._members(evaluation, fresh, known)
        inputs = row(id_, "src", 0, "git", "https://git.example.org/src.git", evaluation.revision)
        statements.append(f"INSERT INTO jobsetevalinputs (eval,name,altnr,type,uri,revision) VALUES {inputs}")
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
        return Written(
            about=f"{evaluation.nickname}: {nicknames(evaluation.builds) or 'nothing new'}",
            statements=statements,
            notifications=notifications,
            rows=[
                RowChange("inserted", "jobsetevals", str(id_), evaluation.nickname),
                *[RowChange("inserted", "builds", str(build.id), build.nickname) for build in fresh],
            ],
        )

    def _members(self, evaluation: Evaluation, fresh: list[Build], known: list[Build]) -> list[str]:
        row = self.world.quoting.row
        members = [row(evaluation.id, build.id, 1) for build in fresh]
        members += [row(evaluation.id, build.id, 0) for build in known]
        statements = []
        if members:
            statements.append(f"INSERT INTO jobsetevalmembers (eval,build,isnew) VALUES {','.join(members)}")
        constituents = [row(build.id, part.id) for build in fresh for part in build.constituents]
        if constituents:
            statements.append(
                f"INSERT INTO aggregateconstituents (aggregate,constituent) VALUES {','.join(constituents)}"
            )
        return statements

    def _commit(self, action: str, written: Written) -> None:
        self.world.commit("evaluator", action, written)
