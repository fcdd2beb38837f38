"""A run made by hand: one scenario that holds, one that breaks B-clear-after, one that exercises too little."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hydra_notify_sim import checks, history
from hydra_notify_sim.checks.verdicts import Allowed, Judgements, Verdict
from hydra_notify_sim.engine import events

START = 1_790_000_000.0


def _build(number: int, status: int | None = 0) -> dict[str, Any]:
    return {"id": number, "finished": 1 if status is not None else 0, "buildstatus": status}


def _history(name: str) -> history.History:
    """A crash between two plugins: the mark was cleared after the first."""
    header = history.Header(
        name=name,
        scenario="A deploy between two plugins leaves a GitHub status pending",
        file=f"scenarios/{name}.yaml",
        document="scenario: A deploy between two plugins\n",
        exercises=("B-clear-after",),
        plugins={"declarative": ("build_finished",), "github": ("build_finished",)},
    )
    plugins = dict(header.plugins)
    inserted = history.RowChange("inserted", "builds", "2", "iso")
    records: list[history.AnyRecord] = [
        history.Starting(t=START, life=1, plugins=plugins),
        history.Up(t=START, life=1),
        history.Commit(
            t=START, actor="evaluator", action="evaluate", about="e1", rows=(inserted,),
            notifications=(history.Notification("build_queued", "2"),),
        ),
        history.Committed(t=START, commit=2),
        history.Commit(
            t=START + 1, actor="queue_runner", action="finish_build", about="iso",
            outcomes=(history.Outcome(2, 0, 1_790_000_000, 1_790_000_001, pending=True),),
            notifications=(history.Notification("build_finished", "2"),),
        ),
        history.Committed(t=START + 1, commit=4),
        history.Observed(t=START + 1, marks={2: 1_790_000_001}),
        history.Called(
            t=START + 1, call=1, life=1, plugin="declarative", hook="build_finished",
            args={"build": _build(2), "dependents": []},
        ),
        history.Returned(t=START + 1, call=1),
        history.Observed(t=START + 1, marks={}),
        history.PointReached(t=START + 1, point="after_call: 1"),
        history.Crashed(t=START + 1, life=1),
        history.Starting(t=START + 2, life=2, plugins=plugins),
        history.Up(t=START + 2, life=2),
        history.Settled(t=START + 2),
    ]  # fmt: skip
    return history.History(header, records)


@pytest.fixture
def make_history() -> Callable[[str], history.History]:
    return _history


@pytest.fixture
def violated() -> events.ScenarioFinished:
    verdicts = (
        Verdict("P-format", "held", "2 notifications were written as the manual has them."),
        Verdict(
            "B-clear-after",
            "violated",
            "The mark of build 2 was cleared though github had not been shown the outcome.",
            (4, 9),
        ),
        Verdict(
            "B-recover",
            "known",
            "Build 2 was reported from a stale mark.",
            (9,),
            quirk="hn-recovery-unfinished",
        ),
        Verdict("L-stop", "not_exercised", "No SIGTERM was sent."),
    )
    allowed = (
        Allowed("lost", "build_queued iso for github: nobody listened; E-gone allows it", "E-gone", (2,)),
    )
    return events.ScenarioFinished(
        name="deploy-between-two-plugins",
        file=Path("scenarios/deploy-between-two-plugins.yaml"),
        sentence="A deploy between two plugins leaves a GitHub status pending",
        history=_history("deploy-between-two-plugins"),
        verdict=checks.StoryVerdict(
            Judgements(verdicts, allowed, ("github accepts a trailing tab",)),
            (
                checks.Expectation("marks: []", met=True, line=20),
                checks.Expectation("github.build_finished: {build: iso, at_least: 1}", met=False, found="no call", line=24),
            ),
        ),
        seconds=0.25,
        command="hydra-notify-sim replay scenarios/deploy-between-two-plugins.yaml --seed 7",
        log=("hello from the dispatcher",),
        nicknames={2: "iso"},
    )  # fmt: skip


@pytest.fixture
def held() -> events.ScenarioFinished:
    return events.ScenarioFinished(
        name="a-build-is-announced",
        file=Path("scenarios/a-build-is-announced.yaml"),
        sentence="A build is announced",
        history=_history("a-build-is-announced"),
        verdict=checks.StoryVerdict(
            Judgements(
                (
                    Verdict("P-format", "held", "2 notifications."),
                    Verdict("B-clear-after", "held", "1 mark was cleared."),
                    Verdict("B-recover", "held", "1 mark was found."),
                    Verdict("L-stop", "not_exercised", "No SIGTERM was sent."),
                ),
                (Allowed("repeated", "build_finished iso for github", "B-at-least-once", (9,)),),
            )
        ),
        seconds=0.031,
        command="hydra-notify-sim replay scenarios/a-build-is-announced.yaml --seed 7",
        nicknames={2: "iso"},
    )


@pytest.fixture
def unexercised() -> events.ScenarioFinished:
    return events.ScenarioFinished(
        name="never-there",
        file=Path("scenarios/never-there.yaml"),
        sentence="A point is never reached",
        history=_history("never-there"),
        verdict=checks.StoryVerdict(
            Judgements((Verdict("B-clear-after", "not_exercised", "No mark was cleared."),), ()),
            unplayed=("before_store was never reached",),
        ),
        seconds=0.01,
        command="hydra-notify-sim replay scenarios/never-there.yaml",
    )


@pytest.fixture
def started() -> Callable[[int], events.RunStarted]:
    def make(scenarios: int) -> events.RunStarted:
        return events.RunStarted(
            scenarios=scenarios,
            dispatcher="reference",
            profile="strict",
            seed=7,
            server="PostgreSQL 18.6 at postgresql://ci:geheim@db/hydra",
            command="hydra-notify-sim replay scenarios --seed 7",
        )

    return make
