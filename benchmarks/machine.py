"""How many examples a second the Hypothesis machine plays and judges, beside an empty machine, in one run."""

import statistics
import time
from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule, run_state_machine_as_test

from hydra_notify_sim import strategies

EXAMPLES = 300
ROUNDS = 3
STEPS = 12
"""Two of them give builds and plugins; with the dispatcher's start and the end of the story that is about ten actions."""
WANTED = 60


class Empty(RuleBasedStateMachine):
    """A machine with nothing to do."""

    things = Bundle("things")

    @rule(target=things, number=st.integers(0, 3))
    def make(self, number: int) -> int:
        """Make a thing."""
        return number

    @rule(thing=things)
    def use(self, thing: int) -> None:
        """Use it."""

    @rule(flag=st.booleans())
    def idle(self, flag: bool) -> None:
        """Do nothing."""


class Watched(strategies.DispatcherMachine):
    """The machine for the reference dispatcher."""


def _quick(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def main() -> None:
    """Measure both in turns; each round has other examples."""
    strategies.run(Watched, settings=_quick(30))
    rates: dict[str, list[float]] = {"empty": [], "machine": []}
    actions = 0.0
    for _ in range(ROUNDS):
        rates["empty"].append(
            EXAMPLES / _seconds(lambda: run_state_machine_as_test(Empty, settings=_quick(EXAMPLES)))
        )
        before, acted = Watched.tally.scenarios, Watched.tally.actions
        seconds = _seconds(lambda: strategies.run(Watched, settings=_quick(EXAMPLES)))
        played = Watched.tally.scenarios - before
        rates["machine"].append(played / seconds)
        actions = (Watched.tally.actions - acted) / played
    ours, theirs = (statistics.median(rates[name]) for name in ("machine", "empty"))
    print(
        f"machine: {ours:.0f} examples/s (wanted: {WANTED} or more), {actions:.1f} actions each; an empty one: {theirs:.0f}/s; "
        f"{ours / theirs:.2f} of it"
    )
    print(strategies.account(Watched.tally))


def _seconds(what: Callable[[], object]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
