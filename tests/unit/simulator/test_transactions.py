"""The table of transactions: what may be emitted in which, and in what order."""

import pytest

from hydra_notify_sim.contract import channels, transactions


@pytest.mark.parametrize(
    ("action", "emitted"),
    [
        ("insert_step", ["step_started"]),
        ("mark_finished", []),
        ("announce_finished", ["build_finished"] * 3),
        ("evaluation", ["eval_added"]),
        (
            "evaluation",
            ["build_queued", "cached_build_finished", "build_queued", "eval_added", "builds_added"],
        ),
        ("notify", ["weather", "build_queued"]),
    ],
)
def test_what_hydra_emits_is_in_order(action: str, emitted: list[str]) -> None:
    assert transactions.order_problem(action, emitted) == ""


@pytest.mark.parametrize(
    ("action", "emitted", "problem"),
    [
        ("insert_step", [], "should emit step_started at place 1; it emits nothing more"),
        ("mark_finished", ["build_finished"], "should emit nothing at place 1; it emits build_finished"),
        ("substituted", ["build_finished"] * 2, "should emit nothing at place 2"),
        (
            "evaluation",
            ["eval_added", "build_queued"],
            "should emit nothing at place 2; it emits build_queued",
        ),
        ("evaluation", ["build_queued", "builds_added"], "should emit eval_added at place 2"),
    ],
)
def test_what_hydra_does_not_emit_is_named(action: str, emitted: list[str], problem: str) -> None:
    assert problem in transactions.order_problem(action, emitted)


def test_the_table_names_known_channels_and_actions_only() -> None:
    known = set(channels.CHANNELS) | transactions.OTHER_CHANNELS
    emitted = {
        channel
        for transaction in transactions.TRANSACTIONS
        for run in transaction.emits or ()
        for channel in run.channels
    }
    assert emitted == known
    for transaction in transactions.TRANSACTIONS:
        assert transaction.follows <= transactions.ACTIONS
        assert transactions.transaction(transaction.action) is transaction
    assert len(transactions.ACTIONS) == len(transactions.TRANSACTIONS)
