from hypothesis import given
from hypothesis import strategies as st

from hydra_notify_sim.dispatcher import retries


def test_the_ladder_is_the_contract_s() -> None:
    assert [retries.delay(n) for n in (1, 2, 3, 10, 11, 101)] == [2, 4, 8, 1024, 1024, 1024]


def test_the_whole_ladder_takes_26_and_a_half_hours() -> None:
    assert round(sum(retries.delay(n) for n in range(1, retries.LAST_ATTEMPT)) / 3600, 1) == 26.5


@given(st.integers(min_value=1, max_value=10_000))
def test_a_later_attempt_never_waits_for_less(attempts: int) -> None:
    assert retries.delay(attempts) <= retries.delay(attempts + 1) <= 1024


def test_attempt_102_is_the_last() -> None:
    assert [retries.is_last(n) for n in (1, 101, 102, 103)] == [False, False, True, True]
