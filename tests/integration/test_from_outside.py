"""The stories that ask of a dispatcher what can be seen of it from outside: each kind of event around each trouble."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from hydra_notify_sim import engine, history
from hydra_notify_sim.contract import channels
from hydra_notify_sim.engine import events
from hydra_notify_sim.scenario import load_all

SCENARIOS = Path(__file__).parents[2] / "scenarios"
STORIES = (
    "all-channels-around-each-loss",
    "failures-of-every-kind-around-each-loss",
    "lost-with-every-kind-of-event-in-hand",
    "named-and-not-the-newest",
    "sigterm-with-a-queue",
)
"""All that they need can be forced on a process, so what holds in process holds of a conformance run from outside."""

Cell = tuple[str, str, str]
"""A channel, a trouble, and where the event stood when it came."""

TROUBLES = {history.Disconnected: "connection lost", history.Crashed: "crash", history.Stopping: "stop"}


@cache
def played() -> tuple[events.ScenarioFinished, ...]:
    files = load_all([SCENARIOS / f"{name}.yaml" for name in STORIES])
    return tuple(
        one for one in engine.play_all(files, engine.Options()) if isinstance(one, events.ScenarioFinished)
    )


def test_each_is_told_as_written() -> None:
    assert [one.name for one in played() if one.passed] == list(STORIES)


@pytest.mark.parametrize("channel", channels.CHANNELS)
@pytest.mark.parametrize("trouble", TROUBLES.values())
def test_each_kind_of_event_stands_everywhere_when_trouble_comes(channel: str, trouble: str) -> None:
    """What was told before may come back, what waits may come twice, what is stored may get lost, and the rest must come."""
    wanted = {"told before", "told after", "stored"}
    wanted |= {"in hand", "waiting"} if trouble == "connection lost" else {"emitted while down"}
    found = {where for one in played() for a, b, where in _cells(one.history) if (a, b) == (channel, trouble)}
    assert wanted - found == set()


def test_sigterm_meets_a_queue_of_all_kinds_and_a_retry_that_is_due() -> None:
    waiting: Counter[str] = Counter()
    story = next(one for one in played() if one.name == "sigterm-with-a-queue")
    stops = list(_queues(story.history))
    assert len(stops) == 3
    for queue, due in stops:
        assert sum(queue.values()) >= 5
        assert len(queue) >= 3
        assert due
        waiting += queue
    assert set(waiting) >= {*channels.CHANNELS} - {"build_queued"}


def _cells(records: Iterable[history.AnyRecord]) -> Iterator[Cell]:
    where: dict[str, set[str]] = {"told before": set(), "in hand": set(), "waiting": set(), "stored": set()}
    up, trouble = False, ""
    for record in records:
        match record:
            case history.Up():
                up = True
            case history.Disconnected() | history.Crashed() | history.Stopping():
                up, trouble = False, TROUBLES[type(record)]
                yield from ((one, trouble, place) for place, found in where.items() for one in found)
                where["waiting"] = set()
            case history.Commit() if up:
                where["waiting"] |= {one.channel for one in record.notifications}
            case history.Commit() if trouble:
                yield from ((one.channel, trouble, "emitted while down") for one in record.notifications)
            case history.Called() if up and trouble:
                yield record.hook, trouble, "told after"
            case _:
                pass
        _note(record, where)


def _note(record: history.AnyRecord, where: dict[str, set[str]]) -> None:
    """Note where the events stand after a record."""
    match record:
        case history.Called():
            where["in hand"] = {record.hook}
            where["waiting"] -= {record.hook}
        case history.Returned() | history.Raised() | history.CutOff():
            where["told before"] |= where["in hand"]
            where["in hand"] = set()
        case history.Observed():
            where["stored"] = {task.channel for task in record.tasks}
        case history.Settled():
            where["waiting"] = set()
        case _:
            pass


def _queues(records: Iterable[history.AnyRecord]) -> Iterator[tuple[Counter[str], bool]]:
    """Yield for each SIGTERM with an event in hand what waits behind it, and whether a retry is due."""
    waiting: Counter[str] = Counter()
    due = False
    for record in records:
        match record:
            case history.Commit():
                waiting.update(
                    one.channel for one in record.notifications if one.channel in channels.CHANNELS
                )
            case history.Settled() | history.PointReached():
                waiting.clear()
            case history.Observed():
                due = any(task.due <= record.t for task in record.tasks)
            case history.Stopping(busy=True):
                yield waiting.copy(), due
            case _:
                pass
