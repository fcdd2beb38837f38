"""Which transactions Hydra's queue runner, evaluator and web page write, and what each may emit: pure data.

The source is docs/reference/hydra.md, sections 2 and 3; `history.Commit.action` is one of these names. The promise
Q-transactions says that what is simulated keeps to this table; a transaction with a named fault is exempt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Actor = Literal["queue_runner", "evaluator", "person", "harness"]

STEP_STARTED = "step_started"
BUILDS_ADDED = "builds_added"
OTHER_CHANNELS = frozenset({STEP_STARTED, BUILDS_ADDED})
"""Channels that Hydra's programs send on and hydra-notify does not listen on. (What triggers send is not recorded.)"""


@dataclass(frozen=True, slots=True)
class Emits:
    """A run of notifications on one channel, or on several in any mix."""

    channels: frozenset[str]
    least: int = 0
    most: int | None = None
    """None: any number."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One kind of transaction."""

    action: str
    actors: frozenset[Actor]
    summary: str
    """What it is, for people."""
    writes: frozenset[str]
    """The tables that it may write."""
    emits: tuple[Emits, ...] | None = ()
    """What is emitted in it, in this order; None: whatever a person sends."""
    finishes: bool = False
    """Builds may become finished in it."""
    restarts: bool = False
    """Builds may become unfinished in it."""
    follows: frozenset[str] = frozenset()
    """The actions of which one has to be the last that the same actor committed about the same builds."""


def _one(channel: str) -> tuple[Emits, ...]:
    return (Emits(frozenset({channel}), 1, 1),)


def _some(channel: str) -> tuple[Emits, ...]:
    return (Emits(frozenset({channel}), 1),)


def _queue_runner(
    action: str,
    summary: str,
    writes: str = "",
    emits: tuple[Emits, ...] = (),
    *,
    finishes: bool = False,
    follows: str = "",
) -> Transaction:
    return Transaction(
        action,
        frozenset({"queue_runner"}),
        summary,
        frozenset(writes.split()),
        emits,
        finishes=finishes,
        follows=frozenset(follows.split()),
    )


def _evaluator(
    action: str, summary: str, writes: str = "", emits: tuple[Emits, ...] = (), *, follows: str = ""
) -> Transaction:
    return Transaction(
        action,
        frozenset({"evaluator"}),
        summary,
        frozenset(writes.split()),
        emits,
        follows=frozenset(follows.split()),
    )


def _by_hand(
    action: str,
    summary: str,
    writes: str = "",
    emits: tuple[Emits, ...] | None = (),
    *,
    finishes: bool = False,
    restarts: bool = False,
) -> Transaction:
    return Transaction(
        action,
        frozenset({"person", "harness"}),
        summary,
        frozenset(writes.split()),
        emits,
        finishes=finishes,
        restarts=restarts,
    )


_BUILD_ROWS = "builds buildoutputs buildproducts buildmetrics"
_STEP_ROWS = "buildsteps buildstepoutputs"
_PER_JOB = frozenset({"build_queued", "cached_build_finished", "cached_build_queued"})

TRANSACTIONS: tuple[Transaction, ...] = (
    _queue_runner("insert_step", "a step is sent to a machine", _STEP_ROWS, _one(STEP_STARTED)),
    _queue_runner(
        "announce_started",
        "build_started, with nothing written",
        emits=_one("build_started"),
        follows="insert_step",
    ),
    _queue_runner("step_state", "the step under way goes on to its next state", "buildsteps"),
    _queue_runner("finish_step", "a step ends", "buildsteps", _one("step_finished")),
    _queue_runner(
        "mark_finished",
        "the builds of a successful step are marked as finished",
        _BUILD_ROWS,
        finishes=True,
        follows="finish_step",
    ),
    _queue_runner(
        "fail_builds",
        "the builds of a failed step and all that depend on them are marked as finished",
        f"builds {_STEP_ROWS}",
        finishes=True,
        follows="finish_step",
    ),
    _queue_runner(
        "unsupported_system",
        "no machine builds for this system: the build and all that depend on it are marked as finished",
        f"builds {_STEP_ROWS}",
        finishes=True,
    ),
    _queue_runner(
        "announce_finished",
        "build_finished for builds marked before, with nothing written; not retried",
        emits=_some("build_finished"),
        follows="mark_finished fail_builds unsupported_system",
    ),
    _queue_runner(
        "cached_failure",
        "a failure known before the build was started",
        f"builds {_STEP_ROWS}",
        _one("build_finished"),
        finishes=True,
    ),
    _queue_runner(
        "already_valid",
        "the outputs are in the store already",
        _BUILD_ROWS,
        _one("build_finished"),
        finishes=True,
    ),
    _queue_runner(
        "substituted",
        "the outputs were fetched from a binary cache",
        f"{_BUILD_ROWS} {_STEP_ROWS}",
        _one("build_finished"),
        finishes=True,
    ),
    _queue_runner("reset_busy_steps", "the queue runner starts or stops: no step is under way", "buildsteps"),
    _evaluator("eval_started", "the evaluator begins with a jobset", emits=_one("eval_started")),
    _evaluator(
        "eval_cached",
        "the inputs are as they were at the previous evaluation",
        "jobsets",
        _one("eval_cached"),
        follows="eval_started",
    ),
    _evaluator(
        "evaluation_errors",
        "an empty row for the errors of single jobs",
        "evaluationerrors",
        follows="eval_started",
    ),
    _evaluator(
        "eval_failed",
        "an input cannot be fetched, or the expression cannot be evaluated",
        "jobsets",
        _one("eval_failed"),
        follows="eval_started evaluation_errors",
    ),
    _evaluator(
        "evaluation",
        "the jobs that were found, new or known",
        "jobsets jobsetevals jobsetevalmembers jobsetevalinputs evaluationerrors builds buildoutputs "
        "aggregateconstituents",
        (
            Emits(_PER_JOB),
            Emits(frozenset({"eval_added"}), 1, 1),
            Emits(frozenset({BUILDS_ADDED}), 0, 1),
        ),
        follows="evaluation_errors",
    ),
    _evaluator(
        "current_builds",
        "which builds belong to the last evaluation with new builds",
        "builds",
        follows="evaluation current_builds",
    ),
    _by_hand("cancelled", "a person cancels builds; pending is not set", "builds", finishes=True),
    _by_hand("restarted", "a person restarts builds", "builds", restarts=True),
    _by_hand("bumped", "a person gives builds more priority", "builds"),
    _by_hand("jobset_edited", "a person renames, hides, disables or enables a jobset", "jobsets"),
    _by_hand("notify", "a person sends notifications", emits=None),
    _by_hand(
        "insert",
        "rows appear",
        "users projects jobsets jobsetevals jobsetevalmembers aggregateconstituents evaluationerrors taskretries "
        f"{_BUILD_ROWS} {_STEP_ROWS}",
        finishes=True,
    ),
    _by_hand(
        "delete",
        "rows are deleted, and what hangs on them",
        "projects jobsets jobsetevals builds buildsteps taskretries",
    ),
)
"""Every kind of transaction, in the order of the reference."""

_BY_ACTION = {transaction.action: transaction for transaction in TRANSACTIONS}

ACTIONS: frozenset[str] = frozenset(_BY_ACTION)


def transaction(action: str) -> Transaction:
    """Return the entry of an action.

    Raises:
        KeyError: there is no such action.

    """
    return _BY_ACTION[action]


def order_problem(action: str, channels: Sequence[str]) -> str:
    """Say what is wrong with the channels that a transaction emits on, in their order; empty if nothing is."""
    emits = _BY_ACTION[action].emits
    if emits is None:
        return ""
    at = 0
    for run in emits:
        begin = at
        while (
            at < len(channels)
            and channels[at] in run.channels
            and (run.most is None or at - begin < run.most)
        ):
            at += 1
        if at - begin < run.least:
            wanted = " or ".join(sorted(run.channels))
            found = channels[at] if at < len(channels) else "nothing more"
            return f"{action} should emit {wanted} at place {at + 1}; it emits {found}"
    if at < len(channels):
        return f"{action} should emit nothing at place {at + 1}; it emits {channels[at]}"
    return ""
