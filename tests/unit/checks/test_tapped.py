"""What can be judged of a tap's recording, and what is only reported."""

from hydra_notify_sim import checks, history
from hydra_notify_sim.checks.verdicts import Judgements


def judged(*records: history.AnyRecord) -> Judgements:
    return checks.judge(history.History(history.Header(name="tape", tap=True), records))


def heard(channel: str, payload: str, backend: int = 7) -> history.Heard:
    return history.Heard(t=2.0, since=1.0, channel=channel, payload=payload, backend=backend)


def verdicts(judgements: Judgements) -> dict[str, str]:
    return {one.promise: one.verdict for one in judgements.verdicts if one.verdict != "not_exercised"}


def test_payloads_are_judged_and_nothing_that_only_a_dispatcher_shows() -> None:
    good = judged(heard("build_finished", "1\t1\t2"), heard("builds_restarted", ""), history.Closed(t=3.0))
    assert verdicts(good) == {"P-format": "held"}
    assert good.allowed == good.reported == ()
    assert verdicts(judged(heard("build_finished", "one"))) == {"P-format": "violated"}
    assert verdicts(judged(history.Closed(t=3.0))) == {}


def test_a_cached_build_announced_twice_breaks_a_promise_unless_somebody_else_did_it() -> None:
    first = heard("cached_build_finished", "30\t1")
    again = judged(first, heard("cached_build_queued", "30\t1"), history.Closed(t=3.0))
    assert verdicts(again)["Q-cached-once"] == "violated"
    by_hand = judged(first, heard("cached_build_finished", "30\t1", backend=9), history.Closed(t=3.0))
    assert verdicts(by_hand)["Q-cached-once"] == "held"
    assert "sent again by hand" in by_hand.reported[0]


def test_gaps_overdue_tasks_and_a_recording_cut_short_are_reported() -> None:
    late = history.Task(1, "build_finished", "GitHub", "1", 1, 10.0)
    soon = history.Task(2, "build_finished", "GitHub", "1", 1, 990.0)
    changed = history.Changed(t=5.0, since=4.0, stored=(late, soon))
    found = judged(changed, history.Gap(t=9.0, since=6.0), history.Closed(t=1000.0)).reported
    assert "heard nothing for 3.0 s" in found[0]
    assert found[1].startswith("1 stored tasks were overdue when the recording ended, the oldest by 990 s")
    gone = judged(changed, history.Changed(t=6.0, since=5.0, gone=(1, 2))).reported
    assert gone == ("the recording was not ended in order: its last moments may be missing",)
