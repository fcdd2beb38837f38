"""How many examples a second the Hypothesis machine plays and judges, beside an empty machine and itself with targets, in one run."""

import statistics
import time
from collections.abc import Callable

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule, run_state_machine_as_test

from hydra_notify_sim import strategies

EXAMPLES = 300
ROUNDS = 3
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


class Climbing(strategies.DispatcherMachine):
    """The same, with Hypothesis's phase target."""


def _quick(examples: int) -> settings:
    return settings(strategies.settings_of(examples), database=None)


def _climbing(examples: int) -> settings:
    quick = _quick(examples)
    return settings(quick, phases=(*quick.phases, Phase.target))


def main() -> None:
    """Measure all in turns; each round has other examples."""
    strategies.run(Watched, settings=_quick(30))
    strategies.run(Climbing, settings=_quick(30))
    rates: dict[str, list[float]] = {"empty": [], "machine": [], "climbing": []}
    for _ in range(ROUNDS):
        rates["empty"].append(
            EXAMPLES / _seconds(lambda: run_state_machine_as_test(Empty, settings=_quick(EXAMPLES)))
        )
        rates["machine"].append(_rate(Watched, _quick(EXAMPLES)))
        rates["climbing"].append(_rate(Climbing, _climbing(EXAMPLES)))
    ours, climbing, theirs = (statistics.median(rates[name]) for name in ("machine", "climbing", "empty"))
    print(
        f"machine: {ours:.0f} examples/s (wanted: {WANTED} or more), {_actions(Watched):.1f} actions each; an empty one: "
        f"{theirs:.0f}/s; {ours / theirs:.2f} of it; with the phase target: {climbing:.0f}/s, {_actions(Climbing):.1f} actions each"
    )
    for name, machine in (("without", Watched), ("with", Climbing)):
        print(f"{name} the phase target: {strategies.account(machine.tally)}")


def _rate(machine: type[strategies.DispatcherMachine], how: settings) -> float:
    before = machine.tally.scenarios
    seconds = _seconds(lambda: strategies.run(machine, settings=how))
    return (machine.tally.scenarios - before) / seconds


def _actions(machine: type[strategies.DispatcherMachine]) -> float:
    return machine.tally.actions / machine.tally.scenarios


def _seconds(what: Callable[[], object]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
