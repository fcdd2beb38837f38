"""What the simulated queue runner and evaluator themselves must keep: the promises Q-* and P-format."""

from hydra_notify_sim import history
from hydra_notify_sim.checks.events import read
from hydra_notify_sim.checks.findings import Findings
from hydra_notify_sim.checks.world import World
from hydra_notify_sim.contract import channels, transactions

NEVER_BUILT = frozenset({"substituted", "already_valid"})
ENDS_A_BUILD = frozenset({"announce_finished", "cached_failure", *NEVER_BUILT})
RESTART_CHANGES = frozenset({"finished", "iscachedbuild"})


class Simulated:
    """Judges each transaction against the table of Hydra's own (`contract.transactions`)."""

    def __init__(self, world: World, findings: Findings) -> None:
        self.world = world
        self.findings = findings
        self._last: dict[tuple[str, str], str] = {}
        self._built: set[int] = set()
        self._never_built: dict[int, int] = {}
        self._newest_evaluation = 0
        self._found: dict[int, tuple[int, set[int]]] = {}
        """By jobset: its last evaluation with new builds, and the builds that this one found; absent if not known."""

    def commit(self, number: int, record: history.Commit) -> None:
        """Judge one transaction; what a plugin writes by itself is nothing that is simulated."""
        if record.actor == "plugin":
            return
        self._transaction(number, record)
        self._never_started(number, record)
        if record.notifications:
            self._format(number, record)
            self._cached_once(number, record)
            if record.action == "evaluation":
                self._evaluation(number, record)
        for row in record.rows:
            if row.change == "deleted":
                self._deleted(row)
        if record.restarted:
            self._restart(number, record)

    def _format(self, number: int, record: history.Commit) -> None:
        for notification in record.notifications:
            if notification.raw or notification.channel not in channels.CHANNELS:
                continue
            self.findings.exercise("P-format", number)
            _, written, problem = read(notification.channel, notification.payload, self.world.header.payloads)
            if not problem and written != notification.payload:
                problem = "it is not written as it should be"
            if problem:
                self.findings.violate(
                    "P-format",
                    f"the simulator should emit payloads exactly as the contract says; it emitted {notification.payload!r} on "
                    f"{notification.channel}: {problem}.",
                    [number],
                )

    def _transaction(self, number: int, record: history.Commit) -> None:
        if record.fault or record.actor not in {"queue_runner", "evaluator"}:
            return
        self.findings.exercise("Q-transactions", number)
        if record.action not in transactions.ACTIONS:
            self._wrong(number, f"the {record.actor} knows no transaction {record.action!r}")
            return
        kind = transactions.transaction(record.action)
        named = [n.channel for n in record.notifications if not n.raw]
        problem = transactions.order_problem(record.action, named)
        if problem:
            self._wrong(number, problem)
        if record.actor not in kind.actors:
            self._wrong(number, f"{record.action} is no transaction of the {record.actor}")
        if record.outcomes and not kind.finishes:
            self._wrong(number, f"in {record.action} no build should finish; {len(record.outcomes)} did")
        if record.restarted and not kind.restarts:
            self._wrong(number, f"in {record.action} no build should be restarted")
        for table in {row.table for row in record.rows} - kind.writes:
            self._wrong(number, f"{record.action} should not write {table}")
        self._order(number, record, kind)

    def _order(self, number: int, record: history.Commit, kind: transactions.Transaction) -> None:
        # The queue runner works on many builds at once; the evaluator does one thing after the other.
        key = (record.actor, record.about.split(",")[0] if record.actor == "queue_runner" else "")
        before = self._last.get(key, "")
        if kind.follows and before not in kind.follows:
            self._wrong(
                number,
                f"{record.action} of {record.about or 'the jobset'} should follow {' or '.join(sorted(kind.follows))}; "
                f"it follows {before or 'nothing'}",
            )
        if record.action in ENDS_A_BUILD:
            self._last.pop(key, None)
        else:
            self._last[key] = record.action

    def _wrong(self, number: int, problem: str) -> None:
        self.findings.violate(
            "Q-transactions", f"the simulator departs from Hydra's transactions: {problem}.", [number]
        )

    def _never_started(self, number: int, record: history.Commit) -> None:
        for outcome in record.outcomes:
            if record.action in NEVER_BUILT:
                self.findings.exercise("Q-substituted", number)
                if outcome.build in self._built:
                    self._started_anyway(number, number, outcome.build)
                self._never_built[outcome.build] = number
            self._built.discard(outcome.build)
        for build in record.restarted:
            self._never_built.pop(build, None)
        if record.actor != "queue_runner":
            return
        if record.action == "reset_busy_steps":
            # It was restarted, and looks for the outputs of all builds again.
            self._built.clear()
        for notification in record.notifications:
            if notification.channel in {"build_started", "step_finished"} and not notification.raw:
                build = _number(notification.payload.partition("\t")[0])
                self._built.add(build)
                if build in self._never_built:
                    self._started_anyway(number, self._never_built[build], build)

    def _started_anyway(self, number: int, substituted: int, build: int) -> None:
        self.findings.exercise("Q-substituted", number)
        self.findings.violate(
            "Q-substituted",
            f"{self.world.build(build)} was substituted or already valid: the simulator should emit build_finished only; it also emitted "
            "build_started or step_finished.",
            [substituted, number],
        )

    def _cached_once(self, number: int, record: history.Commit) -> None:
        seen: set[tuple[int, str]] = set()
        newest = self._newest_evaluation
        for notification in record.notifications:
            if notification.channel not in channels.CACHED_CHANNELS or notification.raw:
                continue
            self.findings.exercise("Q-cached-once", number)
            named, _, build = notification.payload.partition("\t")
            evaluation = _number(named)
            # All of an evaluation is emitted in one transaction, so an older one's may not come again.
            old = 0 <= evaluation <= self._newest_evaluation
            if (evaluation, build) in seen or old:
                self.findings.violate(
                    "Q-cached-once",
                    f"per evaluation and build the simulator should emit one cached_build_finished or cached_build_queued; for evaluation "
                    f"{evaluation} and build {build} it emitted another.",
                    [number],
                )
            seen.add((evaluation, build))
            newest = max(newest, evaluation)
        self._newest_evaluation = newest

    def _evaluation(self, number: int, record: history.Commit) -> None:
        """See that what was found cached belongs to the jobset's last evaluation with new builds."""
        queued: set[int] = set()
        cached: set[int] = set()
        jobset = evaluation = -1
        for sent in record.notifications:
            event = read(sent.channel, sent.payload, self.world.header.payloads)[0]
            match event:
                case channels.BuildQueued(build):
                    queued.add(build)
                case channels.CachedBuildFinished(_, build) | channels.CachedBuildQueued(_, build):
                    cached.add(build)
                case channels.EvalAdded(_, jobset, evaluation):
                    pass
                case _:
                    pass
        known = self._found.get(jobset)
        strange = cached - known[1] if known is not None else set()
        if strange and not record.fault:
            names = ", ".join(self.world.build(build) for build in sorted(strange))
            self._wrong(
                number,
                f"evaluation {evaluation} found {names} cached, which is no member of the jobset's last evaluation with "
                f"new builds",
            )
        if queued or (known is not None and len(known[1]) != len(cached)):
            self._found[jobset] = (evaluation, queued | cached)

    def _deleted(self, row: history.RowChange) -> None:
        id_ = _number(row.id)
        for jobset, (evaluation, builds) in list(self._found.items()):
            if row.table == "builds":
                builds.discard(id_)
            elif (row.table, id_) in {("jobsetevals", evaluation), ("jobsets", jobset)}:
                # The one before it counts again, and is not remembered.
                del self._found[jobset]

    def _restart(self, number: int, record: history.Commit) -> None:
        self.findings.exercise("Q-restart", number)
        for row in record.rows:
            if row.table == "builds" and row.change == "updated":
                extra = {column.lower() for column in row.columns} - RESTART_CHANGES
                if extra or "finished" not in {column.lower() for column in row.columns}:
                    self.findings.violate(
                        "Q-restart",
                        f"a restart should reset `finished` and `isCachedBuild` and nothing else; of {self.world.build(_number(row.id))} it "
                        f"changed {', '.join(row.columns) or 'nothing'}.",
                        [number],
                    )


def _number(text: str) -> int:
    """Return an id; -1 if it is none (then P-format says so)."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1
