"""Hydra's known deviations cite promises that exist."""

import pytest

from hydra_notify_sim import errors
from hydra_notify_sim.contract import promises, quirks

BY_PREFIX = {"qr": "queue runner", "web": "web", "hn": "hydra-notify"}


def test_every_quirk_of_the_reference_is_there_once() -> None:
    assert [quirk.id for quirk in quirks.QUIRKS] == [
        "qr-notify-gap",
        "qr-self-dependent",
        "qr-split",
        "qr-no-dependents",
        "web-cancel-silent",
        "hn-first-success-clears",
        "hn-stale-clear",
        "hn-truncated-dependents",
        "hn-deaf-after-reconnect",
        "hn-lost-wakeup",
        "hn-retry-livelock",
        "hn-poison-retry",
        "hn-never-cleared",
        "hn-recovery-unfinished",
        "hn-no-sigterm",
        "hn-loose-parse",
        "hn-unicode-digits",
        "hn-empty-trace",
        "hn-old-payloads",
        "hn-stale-rows",
        "hn-retry-duplicates",
        "hn-no-dependents-on-recovery",
        "hn-early-retry",
    ]


@pytest.mark.parametrize("quirk", quirks.QUIRKS, ids=lambda quirk: quirk.id)
def test_a_quirk_breaks_promises_that_exist_and_names_who_does_it(quirk: quirks.Quirk) -> None:
    all_broken = (*quirk.breaks, *quirk.may_break)
    for name in all_broken:
        assert promises.promise(name).id == name
    assert len(set(all_broken)) == len(all_broken)
    assert quirk.by == BY_PREFIX[quirk.id.split("-")[0]]
    assert quirk.what.endswith(".")


def test_ids_named_in_the_reasons_of_promises_are_quirks() -> None:
    known = {quirk.id for quirk in quirks.QUIRKS}
    words = [word.strip("().,:;") for promise in promises.PROMISES for word in promise.why.split()]
    cited = {word for word in words if word.startswith(("qr-", "hn-", "web-"))}
    assert cited
    assert cited <= known


def test_only_the_dispatchers_own_quirks_explain_a_violation() -> None:
    assert {quirk.by for quirk in quirks.QUIRKS if quirk.breaks} == {"hydra-notify"}
    assert [quirk.id for quirk in quirks.breaking("B-at-least-once")] == [
        "hn-first-success-clears",
        "hn-stale-clear",
    ]
    assert [quirk.id for quirk in quirks.breaking("L-lives")] == [
        "hn-deaf-after-reconnect",
        "hn-poison-retry",
    ]
    assert quirks.breaking("P-format") == ()


def test_a_quirk_is_found_by_its_id() -> None:
    assert quirks.quirk("hn-stale-clear").breaks == ("B-clear-own", "B-at-least-once", "B-each-outcome")
    with pytest.raises(errors.UsageError, match="Did you mean 'hn-stale-clear'"):
        quirks.quirk("hn-stale-claer")
    with pytest.raises(KeyError):
        quirks.quirk("q")
