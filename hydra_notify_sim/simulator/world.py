"""What the three actors share: the connection, the handles and their ids, the names, and where transactions are recorded."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import psycopg

from hydra_notify_sim import errors, history
from hydra_notify_sim.contract import channels
from hydra_notify_sim.contract.transactions import Actor
from hydra_notify_sim.simulator import rows, wire
from hydra_notify_sim.simulator.builds import (
    Build,
    Evaluation,
    ImpossibleActionError,
    Jobset,
    unfinished_dependents,
)
from hydra_notify_sim.simulator.names import Names
from hydra_notify_sim.simulator.sql import Quoting

DEFAULT_JOBSET = "nixpkgs:trunk"

_BAD_VALUES = frozenset({"22023", "22021", "22P05"})
"""PostgreSQL's codes for a value that it takes from nobody: a payload too long, a text it cannot encode."""


class RefusedValueError(errors.UsageError):
    """PostgreSQL refused a value, such as a payload of 8,000 bytes; nothing of its transaction happened."""


class WriteFailedError(errors.EnvironmentFailedError):
    """A transaction could not be written: the connection is gone, or the tables are not Hydra's."""


class Clock(Protocol):
    """Where every time that the simulator writes comes from."""

    def now(self) -> int:
        """Return Unix seconds."""


@dataclass(slots=True)
class Written:
    """What one transaction did, as its record will say."""

    about: str = ""
    notifications: Sequence[history.Notification] = ()
    outcomes: Sequence[history.Outcome] = ()
    restarted: Sequence[int] = ()
    rows: Sequence[history.RowChange] = ()
    fault: str = ""
    statements: list[str] = field(default_factory=list)
    """SQL to run before the notifications are sent."""


class World:
    """What there is: shared by the queue runner, the evaluator and the person at the web page.

    It has to be the only writer of builds and evaluations in its database: it hands out their ids itself, going on
    where the sequences stand when it is first asked for one, and keeps the sequences in step. Every transaction
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
        detailed: bool = False,
    ) -> None:
        """Make a world; nothing is sent to the database yet.

        Args:
            connection: in autocommit mode; each transaction is one query on it where that is possible.
            record: takes a record and returns its number, as `history.History.append` does.
            clock: the time that rows and records get.
            seed: the same seed gives the same names.
            payloads: the payload version that the evaluator writes.
            busy: whether the dispatcher is held at a point or inside a call right now.
            jobset: ``project:name`` of builds and evaluations that name no other.
            detailed: also write the states that a step goes through on its machine (decision 0020).

        Raises:
            errors.UsageError: the connection is not in autocommit mode.

        """
        if not connection.autocommit:
            raise errors.UsageError(
                "the simulator's connection has to be in autocommit mode: psycopg.connect(…, autocommit=True)"
            )
        self.connection = connection
        self.record = record
        self.clock = clock
        self.payloads = payloads
        self.busy = busy
        self.detailed = detailed
        self.names = Names(seed)
        self.quoting = Quoting(connection)
        self.builds: list[Build] = []
        self.deletions = False
        """A person deleted rows, so that a payload may name what is gone."""
        self._default_jobset = jobset
        self._jobsets: dict[str, Jobset] = {}
        self._last_build = self._last_evaluation = -1
        self._same_derivation: dict[str, list[Build]] = {}
        self._machines = 0

    def use(self, connection: psycopg.Connection[Any]) -> None:
        """Go on with another connection, in autocommit mode, as after a restart of the server."""
        self.connection = connection
        self.quoting = Quoting(connection)

    # Handles

    def jobset(self, nickname: str = "") -> Jobset:
        """Return a jobset by ``project:name``; its row, its project's and its owner's are written when first asked for."""
        nickname = nickname or self._default_jobset
        known = self._jobsets.get(nickname)
        if known is None:
            known = self._jobsets[nickname] = self._create_jobset(nickname)
        return known

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
            constituents: the builds that it stands for, if it is an aggregate.
            same_derivation_as: a build of the same derivation: one step finishes both.

        """
        if steps < 1:
            raise ImpossibleActionError(f"{nickname}: a build takes at least one step, not {steps}")
        home = self.jobset(jobset)
        number = len(self.builds) + 1
        package = (
            self.names.package(number, name) if same_derivation_as is None else same_derivation_as.package
        )
        self._last_build += 1
        build = Build(
            id=self._last_build,
            nickname=nickname,
            job=job or f"{package.attribute}.{system}",
            jobset=home,
            system=system,
            steps=steps,
            package=package,
            drv_path=package.drv_path,
            outputs=rows.output_paths(package, outputs),
            needs=list(needs),
            products=products,
            metrics=dict(metrics or {}),
            constituents=tuple(constituents),
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
        self._last_evaluation += 1
        number = self._last_evaluation
        return Evaluation(
            id=number,
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
        """Return the last build of a derivation that is finished as failed."""
        failed = [b for b in self._same_derivation.get(drv_path, ()) if b.exists and b.finished and b.status]
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

    def _create_jobset(self, nickname: str) -> Jobset:
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
        if self._last_build < 0:
            self._last_build, self._last_evaluation = found[0], found[1]
        if found[3] is not None:
            return Jobset(found[3], project, name)
        jobset = Jobset(found[2] + 1, project, name)
        self.commit(
            "person",
            "insert",
            Written(
                about=nickname,
                statements=rows.new_jobset(self.quoting, jobset),
                rows=(history.RowChange("inserted", "jobsets", str(jobset.id), nickname),),
            ),
        )
        return jobset

    # Transactions

    def query(self, sql: str) -> list[Any]:
        """Read rows, outside of any record."""
        try:
            return self.connection.execute(sql, prepare=False).fetchall()
        except psycopg.Error as error:
            raise failure_of("a query", error) from error

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

    def commit(self, actor: Actor, action: str, written: Written) -> int:
        """Write one transaction as one query, record it, and return the number of its `history.Commit`.

        Raises:
            RefusedValueError: PostgreSQL takes such a value from nobody; the record says that nothing happened.
            WriteFailedError: it could not be written.

        """
        quoting = self.quoting
        text = ";".join(
            [*written.statements, *[quoting.notify(n.channel, n.payload) for n in written.notifications]]
        )
        number = self._record(actor, action, written)
        try:
            wire.run(self.connection, text)
        except psycopg.Error as error:
            self.record(history.Committed(t=float(self.clock.now()), commit=number, ok=False))
            raise failure_of(f"{action} {written.about}".rstrip(), error) from error
        self.record(history.Committed(t=float(self.clock.now()), commit=number))
        return number

    def _record(self, actor: Actor, action: str, written: Written) -> int:
        return self.record(
            history.Commit(
                t=float(self.clock.now()),
                actor=actor,
                action=action,
                about=written.about,
                notifications=tuple(dict.fromkeys(written.notifications)),
                outcomes=tuple(written.outcomes),
                restarted=tuple(written.restarted),
                rows=tuple(written.rows),
                fault=written.fault,
                busy=self.busy(),
            )
        )

    def begin(self) -> "OpenTransaction":
        """Begin a transaction that has to read what it is about to change."""
        return OpenTransaction(self)


class OpenTransaction:
    """A transaction of several queries; left without an ending, it is rolled back and not recorded."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open = False

    def __enter__(self) -> Self:
        return self

    def run(self, sql: str) -> list[tuple[list[str], list[Any]]]:
        """Run statements; return for each that yields rows the names of its columns, and the rows."""
        connection = self._world.connection
        text = sql if self._open else f"BEGIN;{sql}"
        self._open = True
        try:
            cursor = connection.execute(text, prepare=False)
        except psycopg.Error as error:
            raise failure_of("a transaction", error) from error
        found = []
        while True:
            if cursor.description is not None:
                found.append(([column.name for column in cursor.description], cursor.fetchall()))
            if not cursor.nextset():
                return found

    def commit(self, actor: Actor, action: str, written: Written) -> int:
        """Send the notifications, record, and commit; `Written.statements` are not looked at."""
        self._notify(written)
        world = self._world
        number = world._record(actor, action, written)  # noqa: SLF001 - the two classes are one thing in two parts
        try:
            world.connection.execute("COMMIT")
        except psycopg.Error as error:
            world.record(history.Committed(t=float(world.clock.now()), commit=number, ok=False))
            raise failure_of(f"{action} {written.about}".rstrip(), error) from error
        self._open = False
        world.record(history.Committed(t=float(world.clock.now()), commit=number))
        return number

    def roll_back(self, actor: Actor, action: str, written: Written) -> int:
        """Send the notifications and take them back: the record has none of them."""
        self._notify(written)
        world = self._world
        number = world._record(  # noqa: SLF001 - see commit
            actor, action, Written(about=written.about, fault="rolled back")
        )
        self._end()
        world.record(history.Committed(t=float(world.clock.now()), commit=number, ok=False))
        return number

    def _notify(self, written: Written) -> None:
        quoting = self._world.quoting
        if written.notifications:
            self.run(";".join([quoting.notify(n.channel, n.payload) for n in written.notifications]))

    def _end(self) -> None:
        self._open = False
        self._world.connection.execute("ROLLBACK")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open and not self._world.connection.broken:
            self._end()


def failure_of(what: str, error: psycopg.Error) -> errors.HydraNotifySimError:
    """Return what a person should read when PostgreSQL said no."""
    said = str(error).strip() or type(error).__name__
    if error.sqlstate in _BAD_VALUES:
        return RefusedValueError(f"{what}: PostgreSQL refuses it: {said}")
    return WriteFailedError(
        f"{what} could not be written: {said}. The server has to stay up, and the database to have Hydra's tables "
        "with nobody else writing to them."
    )
