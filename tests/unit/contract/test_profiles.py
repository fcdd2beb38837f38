"""Profiles: which promises a violation of counts."""

import pytest

from hydra_notify_sim import errors
from hydra_notify_sim.contract import profiles, promises


@pytest.mark.parametrize("promise", promises.PROMISES, ids=lambda promise: promise.id)
def test_strict_and_upstream_judge_all_and_manual_what_the_manual_says(promise: promises.Promise) -> None:
    assert profiles.judged("strict", promise)
    assert profiles.judged("upstream", promise)
    assert profiles.judged("manual", promise) == (promise.source == "manual")
    assert [profile for profile in profiles.PROFILES if profiles.judged(profile, promise)] == list(
        promise.profiles
    )


def test_a_promise_may_be_named_by_its_id() -> None:
    assert profiles.judged("manual", "B-clear-after")
    assert not profiles.judged("manual", "B-clear-own")
    with pytest.raises(promises.UnknownPromiseError):
        profiles.judged("strict", "B-clear-onw")


def test_a_profile_is_found_by_its_name() -> None:
    assert [profiles.named(name) for name in profiles.PROFILES] == ["strict", "manual", "upstream"]
    assert profiles.DEFAULT_PROFILE == "strict"


def test_an_unknown_profile_is_a_wrong_use() -> None:
    with pytest.raises(errors.UsageError, match=r"strict, manual, upstream\. Did you mean 'strict'"):
        profiles.named("strickt")
    with pytest.raises(profiles.UnknownProfileError, match=r"strict, manual, upstream\.$"):
        profiles.named("x")
