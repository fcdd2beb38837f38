"""The person at the web page and at psql: restarts, cancels, bumps, sends notifications, deletes and inserts rows."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from hydra_notify_sim.contract import channels
from hydra_notify_sim.contract.statuses import STEP_ONLY, Status, status_name
from hydra_notify_sim.contract.transactions import Actor
from hydra_notify_sim.history import Notification, Outcome, RowChange
from hydra_notify_sim.simulator import rows
from hydra_notify_sim.simulator.builds import (
    Build,
    Evaluation,
    ImpossibleActionError,
    Jobset,
    as_status,
    distinct,
    nicknames,
)
from hydra_notify_sim.simulator.evaluator import locked
from hydra_notify_sim.simulator.queue_runner import FAILURES, SUCCESSES
from hydra_notify_sim.simulator.world import World
from hydra_notify_sim.simulator.writer import OpenTransaction, Written

How = Literal["separate", "same transaction", "rolled back"]

ENABLED = {"disabled": 0, "enabled": 1, "one_shot": 2, "one_at_a_time": 3}
"""Names for the values of ``jobsets.enabled``."""


class Person:
    """Writes what a person causes who has Hydra's web page and psql before them."""

    def __init__(self, world: World) -> None:
        self.world = world

    # The web page

    def restart(self, builds: Iterable[Build]) -> None:
        """Restart finished builds in one transaction: ``finished`` and ``iscachedbuild`` and nothing else (Q-restart).

        Raises:
            ImpossibleActionError: one of them is not finished, or has no row.

        """
        chosen = list(distinct(builds))
        for build in chosen:
            build.must_be("restart", finished=True)
        self._change("restarted", chosen, "finished=0,iscachedbuild=0")

    def cancel(self, builds: Iterable[Build]) -> None:
        """Cancel unfinished builds in one transaction: no mark is set, and no build_finished sent.

        Raises:
            ImpossibleActionError: one of them is finished, or has no row.

        """
        chosen = list(distinct(builds))
        for build in chosen:
            build.must_be("cancel", finished=False)
        now = self.world.clock.now()
        self._change(
            "cancelled",
            chosen,
            f"finished=1,buildstatus={int(Status.cancelled)},starttime={now},stoptime={now},iscachedbuild=0",
        )

    def bump(self, builds: Iterable[Build]) -> None:
        """Move builds to the front of the queue, in one transaction.

        Raises:
            ImpossibleActionError: one of them has no row.

        """
        chosen = list(distinct(builds))
        for build in chosen:
            build.must_be("bump", finished=None)
        self._change("bumped", chosen, f"globalpriority={self.world.clock.now()}")

    def edit_jobset(
        self,
        jobset: Jobset,
        *,
        name: str | None = None,
        hidden: bool | None = None,
        enabled: str | None = None,
    ) -> None:
        """Rename a jobset, hide or show it, and say whether it is evaluated (a key of `ENABLED`); None leaves it.

        Neither touches its builds: the queue runner builds those of a hidden or disabled jobset like any other.

        Raises:
            ImpossibleActionError: it was deleted, nothing is to be changed, or the name is taken.

        """
        world = self.world
        _must_exist(jobset)
        taken = None if name is None else world.known_jobset(f"{jobset.project}:{name}")
        if taken is not None and taken is not jobset and taken.exists:
            raise ImpossibleActionError(
                f"{jobset.nickname}: it cannot be renamed, there is a jobset {taken.nickname}"
            )
        values = {
            "name": None if name is None else world.quoting.text(name),
            "hidden": None if hidden is None else str(int(hidden)),
            "enabled": None if enabled is None else str(ENABLED[enabled]),
        }
        changed = {column: value for column, value in values.items() if value is not None}
        if not changed:
            raise ImpossibleActionError(
                f"{jobset.nickname}: nothing is changed; give name, hidden or enabled"
            )
        assignments = ",".join([f"{column}={value}" for column, value in changed.items()])
        world.commit(
            "person",
            "jobset_edited",
            Written(
                about=jobset.nickname,
                statements=[f"UPDATE jobsets SET {assignments} WHERE id={jobset.id}"],
                rows=[RowChange("updated", "jobsets", str(jobset.id), jobset.nickname, tuple(changed))],
            ),
        )
        if name is not None:
            world.renamed(jobset, name)
        if enabled is not None:
            jobset.enabled = ENABLED[enabled]

    def _change(self, action: str, builds: Sequence[Build], values: str) -> None:
        """Update builds and record what really changed: a mark may have come or gone unknown to the simulator."""
        if not builds:
            return
        ids = ",".join([str(build.id) for build in builds])
        named = {build.id: build for build in builds}
        with self.world.begin() as transaction:
            (columns, before), (_, after) = transaction.run(
                f"SELECT * FROM builds WHERE id IN ({ids}) ORDER BY id FOR UPDATE;"
                f"UPDATE builds SET {values} WHERE id IN ({ids}) RETURNING *"
            )
            old = {row["id"]: row for row in _dicts(columns, before)}
            written = {row["id"]: row for row in _dicts(columns, after)}
            new = {id_: written[id_] for id_ in named}
            turned = [row for row in new.values() if row["finished"] != old[row["id"]]["finished"]]
            transaction.commit(
                "person",
                action,
                Written(
                    about=nicknames(builds),
                    outcomes=[_outcome(row) for row in turned if row["finished"]],
                    restarted=[row["id"] for row in turned if not row["finished"]],
                    rows=[
                        RowChange(
                            "updated",
                            "builds",
                            str(id_),
                            named[id_].nickname,
                            tuple(column for column in columns if row[column] != old[id_][column]),
                        )
                        for id_, row in new.items()
                    ],
                ),
            )
        for row in turned:
            if row["finished"]:
                named[row["id"]].mark(row["buildstatus"], row["starttime"], row["stoptime"])
            else:
                named[row["id"]].reopen()

    # Notifications by hand

    def notify(
        self,
        channel: str,
        payload: str,
        times: int = 1,
        how: How = "separate",
        *,
        about: str = "",
    ) -> None:
        """Send a notification by hand: each in its own transaction, all in one, or all in one that is rolled back.

        ``about`` is what people read in its place. What it names and does not exist is looked up as it commits.

        Raises:
            RefusedValueError: PostgreSQL refuses it, such as 8,000 bytes of payload.

        """
        try:
            event = channels.parse(channel, payload, self.world.payloads)
        except channels.MalformedPayloadError:
            event = None
        transactions, each = (times, 1) if how == "separate" else (1, times)
        for _ in range(transactions):
            with self.world.begin() as transaction:
                missing = rows.missing(lambda sql, t=transaction: t.run(sql)[0][1], [event])[0]  # type: ignore[misc]  # the default binds this turn's transaction
                notification = Notification(channel, payload, raw=True, missing=missing)
                written = Written(about=about or channel, notifications=[notification] * each)
                if how == "rolled back":
                    transaction.roll_back("person", "notify", written)
                else:
                    transaction.commit("person", "notify", written)

    # Rows

    def insert_builds(
        self,
        builds: Iterable[Build],
        *,
        finished: Status | str | int | None = None,
        pending: bool = False,
        actor: Actor = "person",
    ) -> None:
        """Write rows of builds in one transaction without any evaluation: what is there before a story begins.

        ``finished``: with this status, and, if it was built, a step; ``pending``: with a mark, never announced.

        Raises:
            ImpossibleActionError: one of them has a row already, or is pending and not finished.

        """
        chosen = list(distinct(builds))
        status = None if finished is None else as_status(finished)
        _check_insert(chosen, status, pending=pending)
        if not chosen:
            return
        world = self.world
        now = world.clock.now()
        statements = [world.sequence_of("builds"), *rows.new_builds(world.quoting, chosen, now)]
        changes = [RowChange("inserted", "builds", str(build.id), build.nickname) for build in chosen]
        outcomes = []
        stepped = status is not None and status in SUCCESSES | FAILURES
        if status is not None:
            ids = ",".join([str(build.id) for build in chosen])
            mark = now if pending else "NULL"
            statements.append(
                f"UPDATE builds SET finished=1,buildstatus={int(status)},starttime={now},stoptime={now},"
                f"iscachedbuild=0,notificationpendingsince={mark} WHERE id IN ({ids})"
            )
            outcomes = [Outcome(build.id, int(status), now, now, pending=pending) for build in chosen]
            if stepped:
                statements += self._built(chosen, status, now)
                changes += [
                    RowChange("inserted", "buildsteps", f"{build.id}/{build.next_step}") for build in chosen
                ]
        world.commit(
            actor,
            "insert",
            Written(about=nicknames(chosen), statements=statements, outcomes=outcomes, rows=changes),
        )
        for build in chosen:
            build.exists = build.current = True
            if status is not None:
                build.mark(status, now, now)
                build.has_results = status in SUCCESSES and bool(build.products or build.metrics)
            if stepped:
                build.has_step(build.next_step)

    def insert_evaluation(self, builds: Sequence[Build], name: str, *, actor: Actor = "person") -> Evaluation:
        """Write the evaluation that builds of one jobset came from, which nobody was told of or will be."""
        world = self.world
        now = world.clock.now()
        evaluation = world.new_evaluation(builds[0].jobset, name, tuple(builds), trace="")
        evaluation.flake = evaluation.jobset.flake and locked(evaluation.jobset.flake, evaluation.revision)
        error = (
            f"WITH e AS (INSERT INTO evaluationerrors (errormsg,errortime) VALUES ('',{now}) RETURNING id) "
        )
        world.commit(
            actor,
            "insert",
            Written(
                about=name,
                statements=[
                    world.sequence_of("jobsetevals"),
                    error
                    + rows.new_evaluation(world.quoting, evaluation, now, errors_id="(SELECT id FROM e)"),
                    *rows.members(world.quoting, evaluation, new=builds),
                    *rows.constituents(world.quoting, evaluation),
                ],
                rows=[RowChange("inserted", "jobsetevals", str(evaluation.id), name)],
            ),
        )
        world.evaluation_done(evaluation)
        return evaluation

    def _built(self, builds: Sequence[Build], status: Status, now: int) -> list[str]:
        quoting = self.world.quoting
        step_status = 0 if status in SUCCESSES else int(status)
        steps = [
            quoting.row(
                build.id,
                build.next_step,
                rows.STEP_BUILDS,
                build.drv_path,
                0,
                step_status,
                now,
                now,
                self.world.next_machine(),
                build.system,
            )
            for build in builds
        ]
        statements = [
            (
                "INSERT INTO buildsteps (build,stepnr,type,drvpath,busy,status,starttime,stoptime,machine,system) "
                f"VALUES {','.join(steps)}"
            )
        ]
        outputs = [
            quoting.row(build.id, build.next_step, name, path)
            for build in builds
            for name, path in build.outputs.items()
        ]
        if outputs:
            statements.append(rows.new_step_outputs(outputs))
        if status in SUCCESSES:
            statements += [sql for build in builds for sql in rows.results(quoting, build, now)]
        return statements

    def delete_build(self, build: Build) -> None:
        """Delete a build's row, and with it its steps, outputs and places in evaluations.

        Raises:
            ImpossibleActionError: it has no row.

        """
        build.must_be("delete", finished=None)
        self._delete([build], [], [f"DELETE FROM builds WHERE id={build.id}"], build.nickname)

    def delete_jobset(self, jobset: Jobset) -> None:
        """Delete a jobset at the web page, with its evaluations and builds, and all that hangs on them.

        Raises:
            ImpossibleActionError: it was deleted already.

        """
        _must_exist(jobset)
        self._delete_jobsets([jobset], [], jobset.nickname)

    def delete_project(self, project: str) -> None:
        """Delete a project at the web page, with its jobsets, their evaluations and builds.

        Raises:
            ImpossibleActionError: there is no jobset of it, so none of its rows is known.

        """
        jobsets = self.world.jobsets_of(project)
        if not jobsets:
            raise ImpossibleActionError(
                f"{project}: delete is impossible, there is no jobset of this project"
            )
        statement = f"DELETE FROM projects WHERE name={self.world.quoting.text(project)}"
        self._delete_jobsets(jobsets, [statement], project, RowChange("deleted", "projects", project))

    def _delete_jobsets(
        self, jobsets: Sequence[Jobset], further: Sequence[str], about: str, *changes: RowChange
    ) -> None:
        ids = ",".join([str(jobset.id) for jobset in jobsets])
        builds = [build for build in self.world.builds if build.jobset in jobsets and build.exists]
        evaluations = [e for jobset in jobsets for e in jobset.evaluations if e.exists]
        statements = [
            *[
                f"DELETE FROM {table} WHERE {column} IN ({ids})"
                for table, column in (
                    ("jobsetevals", "jobset_id"),
                    ("builds", "jobset_id"),
                    ("jobsets", "id"),
                )
            ],
            *further,
        ]
        gone = [RowChange("deleted", "jobsets", str(jobset.id), jobset.nickname) for jobset in jobsets]
        self._delete(builds, evaluations, statements, about, *gone, *changes)
        for jobset in jobsets:
            jobset.exists = False

    def _delete(
        self,
        builds: Sequence[Build],
        evaluations: Sequence[Evaluation],
        statements: Sequence[str],
        about: str,
        *changes: RowChange,
    ) -> None:
        """Delete rows, and take note of all that goes with them: steps that came from a build go with it too."""
        ids = ",".join([str(build.id) for build in builds]) or "NULL"
        with self.world.begin() as transaction:
            (_, steps), *_ = transaction.run(
                ";".join(
                    [
                        (
                            "SELECT build,stepnr FROM buildsteps "
                            f"WHERE build IN ({ids}) OR propagatedfrom IN ({ids}) ORDER BY build,stepnr"
                        ),
                        *statements,
                    ]
                )
            )
            self._deleted(
                transaction,
                about,
                [
                    *[RowChange("deleted", "jobsetevals", str(e.id), e.nickname) for e in evaluations],
                    *[RowChange("deleted", "builds", str(build.id), build.nickname) for build in builds],
                    *[RowChange("deleted", "buildsteps", f"{owner}/{number}") for owner, number in steps],
                    *changes,
                ],
            )
        for evaluation in evaluations:
            evaluation.exists = False
        for build in builds:
            build.deleted()
        gone = {(owner, number) for owner, number in steps}
        for each in self.world.builds:
            each.step_numbers = [n for n in each.step_numbers if (each.id, n) not in gone]

    def delete_evaluation(self, evaluation: Evaluation) -> None:
        """Delete an evaluation's row and its members; the builds stay.

        Raises:
            ImpossibleActionError: it has no row.

        """
        if not evaluation.exists:
            raise ImpossibleActionError(f"{evaluation.nickname}: delete is impossible, there is no row of it")
        self._delete(
            [], [evaluation], [f"DELETE FROM jobsetevals WHERE id={evaluation.id}"], evaluation.nickname
        )

    def delete_step(self, build: Build, number: int) -> None:
        """Delete the row of a step.

        Raises:
            ImpossibleActionError: the build has no such step.

        """
        if number not in build.step_numbers:
            raise ImpossibleActionError(f"{build.nickname}: delete is impossible, it has no step {number}")
        with self.world.begin() as transaction:
            transaction.run(f"DELETE FROM buildsteps WHERE build={build.id} AND stepnr={number}")
            change = RowChange("deleted", "buildsteps", f"{build.id}/{number}")
            self._deleted(transaction, f"{build.nickname}, step {number}", [change])
        build.step_numbers.remove(number)
        build.under_way = [step for step in build.under_way if step.number != number]

    def delete_tasks(
        self,
        plugin: str | None = None,
        channel: str | None = None,
        payload: str | None = None,
        *,
        stored_as: str | None = None,
    ) -> tuple[int, ...]:
        """Delete the tasks for which all that is given is so; return their ids, none if there were none.

        ``stored_as`` is the name under which the dispatcher stores the plugin's failures, if it is another one.
        """
        given = {"pluginname": stored_as or plugin, "channel": channel, "payload": payload}
        quote = self.world.quoting.text
        conditions = [f"{column}={quote(text)}" for column, text in given.items() if text is not None]
        where = " AND ".join(conditions) or "true"
        with self.world.begin() as transaction:
            (_, found), *_ = transaction.run(f"DELETE FROM taskretries WHERE {where} RETURNING id")
            ids = tuple(sorted(row[0] for row in found))
            changes = [RowChange("deleted", "taskretries", str(id_)) for id_ in ids]
            transaction.commit("person", "delete", Written(about=_tasks(plugin, channel), rows=changes))
        return ids

    def insert_task(
        self,
        plugin: str,
        channel: str,
        payload: str,
        *,
        attempts: int = 1,
        due_in: float = 0.0,
        stored_as: str | None = None,
    ) -> int:
        """Write a row of ``taskretries``, valid or not, due in so many seconds; return its id.

        ``stored_as`` is the name under which the dispatcher stores the plugin's failures, if it is another one.
        """
        world = self.world
        due = world.clock.now() + int(due_in)
        values = world.quoting.row(channel, stored_as or plugin, payload, attempts, due)
        with world.begin() as transaction:
            (_, found), *_ = transaction.run(
                "INSERT INTO taskretries (channel,pluginname,payload,attempts,retry_at) "
                f"VALUES {values} RETURNING id"
            )
            id_ = int(found[0][0])
            change = RowChange("inserted", "taskretries", str(id_))
            transaction.commit("person", "insert", Written(about=_tasks(plugin, channel), rows=[change]))
        return id_

    def _deleted(self, transaction: OpenTransaction, about: str, changes: Sequence[RowChange]) -> None:
        transaction.commit("person", "delete", Written(about=about, rows=changes))
        self.world.deletions = True


def _must_exist(jobset: Jobset) -> None:
    if not jobset.exists:
        raise ImpossibleActionError(f"{jobset.nickname}: there is no row of it, it was deleted")


def _check_insert(builds: Sequence[Build], status: Status | None, *, pending: bool) -> None:
    for build in builds:
        if build.exists:
            raise ImpossibleActionError(f"{build.nickname}: insert is impossible, its row exists")
    if status in STEP_ONLY:
        raise ImpossibleActionError(f"a build never has the status {status_name(status)}, only a step")
    if pending and status is None:
        raise ImpossibleActionError("a build that is not finished cannot be pending")


def _dicts(columns: Sequence[str], found: Sequence[Any]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in found]


def _outcome(row: dict[str, Any]) -> Outcome:
    return Outcome(
        row["id"],
        row["buildstatus"],
        row["starttime"],
        row["stoptime"],
        pending=row["notificationpendingsince"] is not None,
        cached=bool(row["iscachedbuild"]),
    )


def _tasks(plugin: str | None, channel: str | None) -> str:
    return " ".join(["task", *[text for text in (plugin, channel) if text]])
