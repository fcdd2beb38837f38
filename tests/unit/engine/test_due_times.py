"""When a task of a process is due is told from when it was stored, however late a busy machine looks."""

import pytest

from hydra_notify_sim import history
from hydra_notify_sim.engine import expectations
from hydra_notify_sim.scenario.expect import Retry

T = 1_790_000_000.0
TASK = history.Task(1, "build_started", "chat", "2", 1, T + 2)


def met(*, now: float, in_process: bool = False, wish: float = 2, moved: float = 0) -> bool:
    records: list[history.AnyRecord] = [
        history.Observed(t=T - 5, marks={}),
        history.Commit(t=T, actor="person", action="notify"),
        history.Observed(t=T + 1.5, marks={}, tasks=(TASK,)),
    ]
    records += [history.TimeMoved(t=T + 2, seconds=moved)] if moved else []
    moment = expectations.Moment(
        so_far=history.History(history.Header(name="s", in_process=in_process), records),
        marks={},
        tasks=[TASK],
        now=now + moved,
        log=(),
        ids={},
        evaluations={},
        nicknames={},
        singles=lambda names: names,
    )
    _, found = expectations._retries([Retry(plugin="chat", attempts=1, due_in=wish)], moment)
    return not found


@pytest.mark.parametrize("now", [T, T + 1.5, T + 3, T + 30])
def test_real_time_goes_on_and_excuses_itself(now: float) -> None:
    assert met(now=now)
    assert not met(now=now, wish=8)


def test_a_simulated_clock_excuses_nothing() -> None:
    assert met(now=T, in_process=True)
    assert not met(now=T + 3, in_process=True)


def test_what_the_scenario_moved_is_not_what_passed() -> None:
    assert not met(now=T + 2, moved=60)
