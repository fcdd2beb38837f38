"""The contract as values: ids, families, sources, look-up."""

import dataclasses
import pickle

import pytest

from hydra_notify_sim import errors
from hydra_notify_sim.contract import promises

# Ids are cited by reports and histories of last year: this list may only grow.
IDS = {
    "P": ["P-format", "P-arguments", "P-malformed", "P-missing-row"],
    "E": ["E-live", "E-once", "E-gone", "E-no-phantom", "E-order"],
    "C": ["C-at-most-once", "C-live", "C-gone"],
    "B": [
        "B-at-least-once",
        "B-live",
        "B-recover",
        "B-listen-first",
        "B-clear-after",
        "B-clear",
        "B-clear-own",
        "B-unfinished",
        "B-each-outcome",
        "B-dependents",
        "B-fresh",
    ],
    "R": ["R-isolated", "R-stored", "R-backoff", "R-gone-plugin", "R-poison", "R-delete"],
    "L": ["L-lives", "L-reconnect", "L-no-stall", "L-stop", "L-split"],
    "Q": ["Q-transactions", "Q-substituted", "Q-cached-once", "Q-restart"],
}
BY_SOURCE = {
    "manual": {
        "P-format",
        "P-arguments",
        "E-live",
        "E-gone",
        "C-at-most-once",
        "C-live",
        "B-at-least-once",
        "B-live",
        "B-recover",
        "B-clear-after",
        "B-clear",
        "B-each-outcome",
        "Q-substituted",
        "Q-cached-once",
    },
    "behaviour": {
        "P-malformed",
        "P-missing-row",
        "E-order",
        "B-dependents",
        "R-isolated",
        "R-stored",
        "R-backoff",
        "R-delete",
        "L-split",
        "Q-transactions",
        "Q-restart",
    },
    "derived": {
        "E-once",
        "E-no-phantom",
        "C-gone",
        "B-listen-first",
        "B-clear-own",
        "B-unfinished",
        "B-fresh",
        "R-gone-plugin",
        "R-poison",
        "L-lives",
        "L-reconnect",
        "L-no-stall",
        "L-stop",
    },
}


def test_every_promise_is_there_once_in_the_contracts_order() -> None:
    assert [promise.id for promise in promises.PROMISES] == [name for names in IDS.values() for name in names]


def test_the_letter_of_an_id_names_its_family() -> None:
    assert list(promises.FAMILIES) == list(IDS)
    for letter, names in IDS.items():
        assert {promises.promise(name).family for name in names} == {promises.FAMILIES[letter]}


def test_every_promise_has_the_source_that_the_contract_names() -> None:
    found: dict[str, set[str]] = {}
    for promise in promises.PROMISES:
        found.setdefault(promise.source, set()).add(promise.id)
    assert found == BY_SOURCE


@pytest.mark.parametrize("promise", promises.PROMISES, ids=lambda promise: promise.id)
def test_a_promise_says_what_and_why_in_whole_sentences(promise: promises.Promise) -> None:
    for text in filter(None, (promise.text, promise.why, promise.manual_text)):
        assert text == " ".join(text.split())
        assert text.endswith((".", ".)"))
        assert "|" not in text, "the tables of docs/reference/contract.md could not hold it"
    assert promise.why != promise.text


def test_the_manual_words_two_promises_in_its_own_way() -> None:
    differing = {promise.id for promise in promises.PROMISES if promise.manual_text}
    assert differing == {"B-recover", "B-each-outcome"}
    for promise in promises.PROMISES:
        assert promise.text_under("strict") == promise.text_under("upstream") == promise.text
        assert promise.text_under("manual") == (promise.manual_text or promise.text)
    assert "finished or not" in promises.promise("B-recover").text_under("manual")
    assert "at least twice" in promises.promise("B-each-outcome").text_under("manual")


def test_the_numbers_of_the_contract_are_in_its_texts() -> None:
    backoff = promises.promise("R-backoff").text
    for number in ("2^min(10, n)", "-1 to +2 s", "attempt 102 is the last"):
        assert number in backoff
    assert "a quarter of a core over one settled second" in promises.promise("R-gone-plugin").text
    assert "exit 0 within the deadline" in promises.promise("L-stop").text


def test_promises_are_values() -> None:
    promise = promises.promise("B-clear-own")
    with pytest.raises(dataclasses.FrozenInstanceError):
        promise.id = "B-other"
    assert pickle.loads(pickle.dumps(promise)) == promise


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("B-clear-onw", "B-clear-own"), ("B-CLEAR-OWN", "B-clear-own"), ("R-back-off", "R-backoff")],
)
def test_a_mistyped_id_is_answered_with_the_one_that_was_meant(wrong: str, meant: str) -> None:
    with pytest.raises(promises.UnknownPromiseError) as caught:
        promises.promise(wrong)
    assert str(caught.value).endswith(f"Did you mean '{meant}'?")


def test_an_id_like_no_other_is_answered_with_its_family_or_all_families() -> None:
    with pytest.raises(promises.UnknownPromiseError, match="family C: C-at-most-once, C-live, C-gone"):
        promises.promise("C-xxxxxxxxxxxxxxxx")
    with pytest.raises(promises.UnknownPromiseError, match=r"Q \(simulator\)"):
        promises.promise("")


def test_an_unknown_id_is_a_wrong_use_and_a_missing_key() -> None:
    with pytest.raises(KeyError):
        promises.promise("Z")
    with pytest.raises(errors.UsageError) as caught:
        promises.promise("Z")
    assert caught.value.exit_code == 2


def test_the_words_of_the_contract_are_all_explained() -> None:
    assert list(promises.WORDS) == [
        "Emission",
        "Before, after a commit",
        "Outcome",
        "Pending",
        "Its NOTIFY",
        "Lost",
        "Refused",
        "Starting",
        "Up",
        "Interested",
        "Settled",
        "Covers",
        "Given up",
    ]
    assert all(meaning.endswith((".", ".)")) for meaning in promises.WORDS.values())
