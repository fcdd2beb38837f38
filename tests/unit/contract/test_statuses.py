"""Status codes have the numbers that Hydra's tables hold."""

import pytest

from hydra_notify_sim.contract import statuses


def test_codes_are_hydras() -> None:
    assert {status.name: int(status) for status in statuses.Status} == {
        "succeeded": 0,
        "failed": 1,
        "dependency_failed": 2,
        "aborted": 3,
        "cancelled": 4,
        "failed_with_output": 6,
        "timed_out": 7,
        "cached_failure": 8,
        "unsupported_system": 9,
        "log_limit_exceeded": 10,
        "nar_size_limit_exceeded": 11,
        "not_deterministic": 12,
        "resolved": 13,
    }


@pytest.mark.parametrize("status", statuses.Status)
def test_a_code_is_shown_by_its_name(status: statuses.Status) -> None:
    assert statuses.status_name(int(status)) == status.name


@pytest.mark.parametrize(("code", "shown"), [(None, "none"), (5, "5"), (14, "14"), (-1, "-1")])
def test_what_hydra_has_no_name_for_is_shown_as_it_is(code: int | None, shown: str) -> None:
    assert statuses.status_name(code) == shown


def test_only_steps_are_cached_failures_or_resolved() -> None:
    assert {status.name for status in statuses.STEP_ONLY} == {"cached_failure", "resolved"}
