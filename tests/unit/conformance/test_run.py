"""Which stories are played once more, and in what order all are played."""

from pathlib import Path

from hydra_notify_sim import checks, history
from hydra_notify_sim.checks.verdicts import Judgements, Verdict
from hydra_notify_sim.conformance import run
from hydra_notify_sim.engine import events
from hydra_notify_sim.scenario import shipped


def ended(
    *verdicts: Verdict, met: bool = False, in_process: bool = False
) -> events.ScenarioFinished | events.ScenarioFailed:
    return events.ScenarioFinished(
        name="s",
        file=Path("s.yaml"),
        sentence="",
        history=history.History(history.Header(name="s", in_process=in_process), []),
        verdict=checks.StoryVerdict(
            Judgements(verdicts, ()), (checks.Expectation("retries: none", met=met),)
        ),
        seconds=0.0,
        command="",
    )


def test_a_process_is_given_a_second_chance_only_where_an_expectation_alone_was_not_met() -> None:
    held = Verdict("B-clear", "held", "once", (0,), exercised=1)
    assert run._only_unmet(ended(held))
    assert not run._only_unmet(ended(held, met=True))
    assert not run._only_unmet(ended(held, in_process=True))
    assert not run._only_unmet(ended(Verdict("B-clear", "violated", "it was not", (0,))))
    assert not run._only_unmet(ended(Verdict("B-clear", "known", "it was not", (0,), "k-1")))
    assert not run._only_unmet(events.ScenarioFailed("s", Path("s.yaml"), "", OSError("no"), ""))


def test_what_takes_long_where_it_is_broken_comes_first_and_nothing_is_left_out() -> None:
    scenarios = [scenario for _, scenario, _ in shipped.load()]
    order = run._longest_first(scenarios)
    assert sorted(order) == list(range(len(scenarios)))
    first = scenarios[order[0]]
    assert {"R-poison", "R-gone-plugin"} & set(first.exercises)
