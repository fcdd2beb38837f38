"""Which stories a dispatcher claims, and in which version of the payloads they are told."""

from typing import get_args

import pytest

from hydra_notify_sim.contract import channels
from hydra_notify_sim.engine import claims
from hydra_notify_sim.scenario import Scenario, load_text, to_yaml

STORY = """
scenario: a story
why: a test
exercises: [E-live]
given: {builds: {iso: {}}%s}
story: [dispatcher: start]
"""


def story(payloads: str = "") -> Scenario:
    return load_text(STORY % (f", payloads: {payloads}" if payloads else ""))


@pytest.mark.parametrize("reads", [None, ("2026-08",), ("2026-08", "2026-09")])
def test_a_story_that_names_no_version_is_told_in_the_usual_one(reads: claims.Reads | None) -> None:
    assert claims.as_read(story(), reads).given.version == "2026-08"


def test_a_story_that_names_no_version_is_told_in_one_that_is_read() -> None:
    told = claims.as_read(story(), ("2026-09",))
    assert told.given.version == "2026-09"
    assert told.given.builds == story().given.builds


@pytest.mark.parametrize("named", get_args(channels.PayloadVersion))
def test_a_story_that_names_a_version_is_claimed_by_who_reads_it(named: channels.PayloadVersion) -> None:
    assert claims.as_read(story(named), None).given.version == named
    assert claims.as_read(story(named), (named,)).given.version == named
    (other,) = set(channels.PAYLOAD_VERSIONS) - {named}
    with pytest.raises(claims.NotClaimedError, match=f"reads payloads {other}; the story is of {named}"):
        claims.as_read(story(named), (other,))


def test_who_reads_no_version_that_we_know_claims_no_story() -> None:
    with pytest.raises(claims.NotClaimedError, match="of no version that this program knows"):
        claims.as_read(story(), ())


def test_a_version_that_a_story_names_is_written_also_if_it_is_the_usual_one() -> None:
    assert "payloads: 2026-08" in to_yaml(story("2026-08"))
    assert "payloads" not in to_yaml(story())
