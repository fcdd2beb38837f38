"""Splitting a long build_finished: every part is short enough, repeats the head, and loses nobody."""

from hypothesis import given
from hypothesis import strategies as st

from hydra_notify_sim.contract.channels import BuildFinished, format_payload
from hydra_notify_sim.simulator import split_finished

IDS = st.integers(1, 2**31 - 1)


@given(IDS, st.lists(IDS, max_size=3000))
def test_parts_repeat_the_head_and_lose_nobody(head: int, dependents: list[int]) -> None:
    parts = split_finished(head, dependents)
    assert all(part.build == head for part in parts)
    assert [d for part in parts for d in part.dependents] == dependents
    assert all(len(format_payload(part)) <= 7000 for part in parts)


def test_seven_thousand_bytes_are_one_part_and_one_more_are_two() -> None:
    exactly = [1000] * 1399  # "10000" and 1,399 times a tab and four digits: 7,000 bytes
    assert len(format_payload(*split_finished(10000, exactly))) == 7000
    assert [len(part.dependents) for part in split_finished(100000, exactly)] == [1398, 1]


def test_a_build_without_dependents_is_one_event() -> None:
    assert split_finished(5, []) == [BuildFinished(5)]
