"""What became of payloads that the manual leaves open, read from histories made by hand."""

import pytest

from hydra_notify_sim import history
from hydra_notify_sim.conformance import leniencies

T = 1_790_000_000.0


def sent(payload: str, *after: history.AnyRecord, up: bool = True) -> list[leniencies.Leniency]:
    header = history.Header(name="story", plugins={"chat": ("build_started",)})
    commit = history.Commit(
        t=T,
        actor="person",
        action="notify",
        notifications=(history.Notification("build_started", payload, raw=True),),
    )
    before = [history.Up(t=T, life=1)] if up else []
    records = [*before, commit, history.Committed(t=T, commit=len(before)), *after, history.Settled(t=T)]
    return list(leniencies.found(history.History(header, records)))


def called(build: int) -> history.Called:
    args = {"build": {"id": build, "finished": 0}}
    return history.Called(t=T, call=1, life=1, plugin="chat", hook="build_started", args=args)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [("007", "leading zeros"), ("7\t", "a tab at the end"), ("7\n", "a line break at the end")],
)
def test_a_call_says_accepted_and_none_says_refused(payload: str, kind: str) -> None:
    assert [(one.kind, one.outcome) for one in sent(payload, called(7))] == [(kind, "accepted")]
    assert [(one.kind, one.outcome) for one in sent(payload)] == [(kind, "refused")]
    assert [(one.kind, one.outcome) for one in sent(payload, called(8))] == [(kind, "refused")]


@pytest.mark.parametrize("payload", ["2147483648", "99999999999999999999999999"])
def test_an_id_beyond_int4_is_kept_or_refused(payload: str) -> None:
    task = history.Task(1, "build_started", "chat", payload, 1, T + 2)
    kept = sent(payload, history.Observed(t=T, marks={}, tasks=(task,)))
    assert [(one.kind, one.outcome) for one in kept] == [("an id beyond int4", "kept for retry")]
    assert [one.outcome for one in sent(payload)] == ["refused"]


def test_one_that_it_dies_of_is_told() -> None:
    ended = history.Ended(t=T, life=1, exit_status=1, message="ValueError")
    assert [one.outcome for one in sent("7\t", ended)] == ["ended"]


def test_what_is_plain_malformed_or_unheard_is_none_of_it() -> None:
    assert sent("7", called(7)) == []
    assert sent("x") == []
    assert sent("7\t\t") == []
    assert sent("007", called(7), up=False) == []
    assert sent("007", history.Crashed(t=T, life=1)) == []
