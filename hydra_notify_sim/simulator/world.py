"""What the three actors share: the handles and their ids, the names, and where transactions are recorded."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import psycopg

from hydra_notify_sim import errors, history
from hydra_notify_sim.contract import channels
from hydra_notify_sim.contract.statuses import Status
from hydra_notify_sim.simulator import bystanders, rows
from hydra_notify_sim.simulator.builds import (
    Build,
    Evaluation,
    ImpossibleActionError,
    Jobset,
    distinct,
    unfinished_dependents,
)
from hydra_notify_sim.simulator.ids import Ids
from hydra_notify_sim.simulator.names import Names
from hydra_notify_sim.simulator.writer import Clock, Writer, Written

DEFAULT_JOBSET = "nixpkgs:trunk"

_NO_FAILURE_OF_ITS_OWN = frozenset(
    {Status.succeeded, Status.dependency_failed, Status.cancelled, Status.failed_with_output}
)


class World(Writer):
    """What there is: shared by the queue runner, the evaluator and the person at the web page.

    It has to be the only writer of builds and evaluations in its database: it hands out their ids itself and keeps
    the sequences in step. In an empty database they begin where the seed says, among rows that nobody speaks of
    (`ids`, `bystanders`); else they go on from where the sequences stand. Every transaction
    becomes a `history.Commit`, recorded when COMMIT is about to be sent, and a `history.Committed` once it returned.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        record: Callable[[history.AnyRecord], int],
        clock: Clock,
        *,
        seed: int = 0,
        payloads: channels.PayloadVersion = channels.DEFAULT_PAYLOADS,
        busy: Callable[[], bool] = lambda: False,
        jobset: str = DEFAULT_JOBSET,
        first_build: int | None = None,
        flake: str = "",
        detailed: bool = False,
    ) -> None:
        """Make a world; nothing is sent to the database yet.

        Args:
            connection: in autocommit mode; each transaction is one query on it where that is possible.
            record: takes a record and returns its number, as `history.History.append` does.
            clock: the time that rows and records get.
            seed: the same seed gives the same names, ids and rows.
            payloads: the payload version that the evaluator writes.
            busy: whether the dispatcher is held at a point or inside a call right now.
            jobset: ``project:name`` of builds and evaluations that name no other.
            first_build: id of the first build, if it matters.
            flake: the reference of the flake that this jobset evaluates, if it is one.
            detailed: also write the states that a step goes through on its machine (decision 0020).

        Raises:
            errors.UsageError: the connection is not in autocommit mode.

        """
        super().__init__(connection, record, clock, busy)
        self.payloads = payloads
        self.detailed = detailed
        self.names = Names(seed, any_text=connection.info.encoding == "utf-8")
        self.ids = Ids(self.names)
        self.builds: list[Build] = []
        self.deletions = False
        """A person deleted rows, so that a payload may name what is gone."""
        self._default_jobset = jobset
        self._flake = flake
        self._jobsets: dict[str, Jobset] = {}
        self._first_build = first_build
        self.next_evaluation: int | None = None
        """Id of the next evaluation, if it matters."""
        self._last_build = self._last_evaluation = -1
        """-1: the sequences have not been looked at; 0: nothing was ever handed out."""
        self._evaluations = 0
        self._same_derivation: dict[str, list[Build]] = {}
        self._machines = 0

    def jobset(self, nickname: str = "") -> Jobset:
        """Return a jobset by ``project:name``; its row, its project's and its owner's are written when first asked for."""
        nickname = nickname or self._default_jobset
        known = self._jobsets.get(nickname)
        if known is None:
            flake = self._flake if nickname == self._default_jobset else ""
            known = self._jobsets[nickname] = self._create_jobset(nickname, flake)
        return known

    @property
    def jobset_deleted(self) -> bool:
        """Tell whether the jobset of builds that name no other was deleted."""
        known = self._jobsets.get(self._default_jobset)
        return known is not None and not known.exists

    def jobsets_of(self, project: str) -> list[Jobset]:
        """Return the jobsets of a project that are known and have a row."""
        return [jobset for jobset in self._jobsets.values() if jobset.project == project and jobset.exists]

    def known_jobset(self, nickname: str) -> Jobset | None:
        """Return a jobset by ``project:name`` if it was asked for before; None if not."""
        return self._jobsets.get(nickname)

    def renamed(self, jobset: Jobset, name: str) -> None:
        """Take note that a jobset has another name."""
        del self._jobsets[jobset.nickname]
        if self._default_jobset == jobset.nickname:
            self._default_jobset = f"{jobset.project}:{name}"
        jobset.name = name
        self._jobsets[jobset.nickname] = jobset

    def build(
        self,
        nickname: str,
        *,
        job: str = "",
        name: str = "",
        jobset: str = "",
        needs: Iterable[Build] = (),
        steps: int = 1,
        system: str = "x86_64-linux",
        outputs: Sequence[str] = ("out",),
        products: int = 0,
        metrics: Mapping[str, float] | None = None,
        constituents: Sequence[Build] = (),
        maintainers: Sequence[str] = (),
        same_derivation_as: Build | None = None,
    ) -> Build:
        """Make up a build and reserve its id; its row is written by an evaluation or an insert.

        Args:
            nickname: what people call it.
            job: the job's name; else one is made up.
            name: ``nixname``, such as ``hello-2.12.1``; else one is made up.
            jobset: ``project:name``; else the world's.
            needs: builds whose permanent failure takes this one along.
            steps: how many steps building it takes; all but the last are for derivations that it needs.
            system: the platform that its steps ask for.
            outputs: names of the derivation's outputs.
            products: how many products a success leaves.
            metrics: metrics that a success leaves, by name.
            constituents: the builds that it stands for, if it is an aggregate: it depends on each of them.
            maintainers: mail addresses of its maintainers.
            same_derivation_as: a build of the same derivation, and, if ``job`` is empty, of the same job: one step
                finishes both. Name, system and outputs are its.

        """
        if steps < 1:
            raise ImpossibleActionError(f"{nickname}: a build takes at least one step, not {steps}")
        home = self.jobset(jobset)
        number = len(self.builds) + 1
        package = self.names.package(number, name)
        paths = rows.output_paths(package, outputs)
        if same_derivation_as is not None:
            package, paths = same_derivation_as.package, dict(same_derivation_as.outputs)
            system, job = same_derivation_as.system, job or same_derivation_as.job
        self._last_build = self._next("builds", self._last_build)
        build = Build(
            id=self._last_build,
            nickname=nickname,
            job=job or f"{package.attribute}.{system}",
            jobset=home,
            system=system,
            steps=steps,
            package=package,
            drv_path=package.drv_path,
            outputs=paths,
            needs=list(distinct([*needs, *constituents])),
            products=products,
            metrics=dict(metrics or {}),
            constituents=tuple(constituents),
            first_step=self.ids.first_step(self._last_build),
            twin=self.ids.twin(self._last_build, number),
            maintainers=tuple(maintainers),
        )
        for needed in build.needs:
            needed.needed_by.append(build)
        self.builds.append(build)
        self._same_derivation.setdefault(build.drv_path, []).append(build)
        return build

    def new_evaluation(
        self, jobset: Jobset, nickname: str, found: tuple[Build, ...], trace: str
    ) -> Evaluation:
        """Reserve an evaluation's id."""
        wanted, self.next_evaluation = self.next_evaluation, None
        self._last_evaluation = wanted or self._next("jobsetevals", self._last_evaluation)
        self._evaluations += 1
        number = self._evaluations
        return Evaluation(
            id=self._last_evaluation,
            nickname=nickname or f"evaluation {number}",
            jobset=jobset,
            builds=found,
            trace=trace,
            hash=self.names.sha256(number),
            revision=self.names.revision(number),
        )

    def evaluation_done(self, evaluation: Evaluation) -> None:
        """Take note that an evaluation was committed."""
        evaluation.jobset.evaluations.append(evaluation)

    def direct(self, build: Build) -> list[Build]:
        """Return the unfinished builds of a build's derivation, itself among them, in id order."""
        return [b for b in self._same_derivation[build.drv_path] if b.exists and not b.finished]

    def last_failed(self, drv_path: str) -> Build | None:
        """Return the last build of a derivation that finished with a failure of its own."""
        failed = [
            b
            for b in self._same_derivation.get(drv_path, ())
            if b.exists and b.finished and b.status not in _NO_FAILURE_OF_ITS_OWN
        ]
        return failed[-1] if failed else None

    def dependents(self, builds: Iterable[Build]) -> list[Build]:
        """Return the unfinished builds that need one of these, through however many others, in id order."""
        return unfinished_dependents(builds)

    def next_machine(self) -> str:
        """Return the machine that takes the next step."""
        self._machines += 1
        return self.names.machine(self._machines)

    def sequence_of(self, table: str) -> str:
        """Return the statement that brings a table's sequence in step with the ids handed out."""
        last = self._last_build if table == "builds" else self._last_evaluation
        return f"SELECT setval('{table}_id_seq',{last})"

    def _create_jobset(self, nickname: str, flake: str) -> Jobset:
        project, _, name = nickname.partition(":")
        if not project or not name:
            raise errors.UsageError(f"{nickname!r} is not the name of a jobset; write project:name")
        quote = self.quoting.text
        found = self.query(
            "SELECT b.last_value-(NOT b.is_called)::int,e.last_value-(NOT e.is_called)::int,"
            "j.last_value-(NOT j.is_called)::int,"
            f"(SELECT id FROM jobsets WHERE project={quote(project)} AND name={quote(name)}) "
            "FROM builds_id_seq b,jobsetevals_id_seq e,jobsets_id_seq j"
        )[0]
        empty = self._last_build < 0 and not any(found)
        if self._last_build < 0:
            self._last_build, self._last_evaluation = found[0], found[1]
        if found[3] is not None:
            return Jobset(found[3], project, name, flake)
        jobset = Jobset(self._next("jobsets", found[2]), project, name, flake)
        statements = rows.new_jobset(self.quoting, jobset)
        if empty:
            statements += self.surroundings(jobset)
        self.commit(
            "person",
            "insert",
            Written(
                about=nickname,
                statements=statements,
                rows=(history.RowChange("inserted", "jobsets", str(jobset.id), nickname),),
            ),
        )
        return jobset

    def surroundings(self, jobset: Jobset) -> list[str]:
        """Return the statements for the rows around the first jobset of an empty database."""
        return bystanders.statements(
            self.quoting,
            self.names,
            jobset,
            evaluation=self.ids.first("jobsetevals"),
            build=self._first_build or self.ids.first("builds"),
            now=self.clock.now(),
        )

    def _next(self, table: str, last: int) -> int:
        """Return the id that a table hands out after another one; 0: it has handed out none."""
        if last:
            return self.ids.after(table, last)
        return self._first_build if table == "builds" and self._first_build else self.ids.first(table)

    # Notifications

    def missing(self, event: channels.Event) -> tuple[str, ...]:
        """Return the rows that an event names and that do not exist, as `history.Notification.missing` has them."""
        return rows.missing(self.query, [event])[0]

    def notification(self, event: channels.Event) -> history.Notification:
        """Return an event as the notification that says it."""
        missing = self.missing(event) if self.deletions else ()
        return history.Notification(
            event.channel, channels.format_payload(event, self.payloads), missing=missing
        )

    def notification_of_new(self, event: channels.Event) -> history.Notification:
        """Return an event whose rows the same transaction writes, or checked before, as its notification."""
        return history.Notification(event.channel, channels.format_payload(event, self.payloads))
