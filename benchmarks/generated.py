"""How many generated scenarios it takes to catch each known-bad dispatcher: writes docs/generated.md's table.

``python -m benchmarks generated`` plays, for each of three seeds, until a promise is broken, 2,000 scenarios at
most, shrinks the first failure of the first seed, and plays the story that is left ten times.
"""

import contextlib
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from hydra_notify_sim.engine.environment import Environment, opened
from hydra_notify_sim.exploration.campaigns import session, tasks
from hydra_notify_sim.known_bad import KNOWN_BAD

SEEDS = (1, 2, 3)
MOST = 2_000
PLAYS = 800
REPLAYS = 10
PAGE = Path(__file__).parent.parent / "docs" / "generated.md"
MARK = "<!-- below: written by `python -m benchmarks generated` -->"

CANNOT = {
    "ignores-sigterm": "needs a process and its signals; campaigns play in this process",
    "gives-up-without-a-server": "needs a server that is stopped for a while; campaigns never stop theirs",
}
"""Known-bad dispatchers that are not tried, with why."""


def main() -> None:
    """Measure, print, and write the page's table; ``python -m benchmarks.generated NAME`` measures one and writes nothing."""
    only = [name for name in sys.argv[1:] if name in KNOWN_BAD]
    rows = []
    with opened(None, None, None) as environment:
        for name in only or KNOWN_BAD:
            if name in CANNOT:
                rows.append(f"| {name} | | | | | {CANNOT[name]} |")
                continue
            rows.append(_row(name, environment))
            print(rows[-1], flush=True)
    if only:
        return
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0] if PAGE.exists() else ""
    table = "\n".join(
        [
            "| known-bad dispatcher | scenarios needed, seeds 1, 2, 3 | median | actions of the story | replays alike | broken first |",
            "|---|---|---|---|---|---|",
            *rows,
        ]
    )
    PAGE.write_text(f"{head}{MARK}\n\n{table}\n", encoding="utf-8")


def _row(name: str, environment: Environment) -> str:
    needed: list[int | None] = []
    story = alike = broken = ""
    for seed in SEEDS:
        plan = tasks.Plan(dispatcher=f"known-bad:{name}", seed=seed)
        own = session.Session(plan, environment)
        outcome = next(_failing(own), None)
        needed.append(None if outcome is None else outcome.index + 1)
        if outcome is None or broken:
            continue
        main_one = next(
            (one for one in KNOWN_BAD[name].breaks if one in outcome.violated), outcome.violated[0]
        )
        found = own.do(tasks.Shrink(outcome.index, main_one, PLAYS))
        broken = main_one
        if isinstance(found, tasks.Found) and found.text:
            story = str(found.actions)
            alike = f"{_replays_alike(own, found)} of {REPLAYS}"
    caught = [one for one in needed if one is not None]
    median = f"{statistics.median(caught):.0f}" if len(caught) == len(SEEDS) else "none"
    shown = ", ".join("none" if one is None else str(one) for one in needed)
    return f"| {name} | {shown} | {median} | {story} | {alike} | {broken} |"


def _replays_alike(own: session.Session, found: tasks.Found) -> int:
    """Play a counter-example again and again; return how often it broke what it broke before, and nothing else."""
    answers = [own.do(tasks.Replay(found.name, found.text)) for _ in range(REPLAYS)]
    return sum(
        isinstance(answer, tasks.Replayed) and not answer.error and answer.violated == found.violated
        for answer in answers
    )


def _failing(own: session.Session) -> Iterator[tasks.Outcome]:
    """Yield the scenarios that break a promise."""
    for index in range(MOST):
        with contextlib.suppress(StopIteration):
            answer = own.do(tasks.Play((index,)))
            assert isinstance(answer, tasks.Played)
            (outcome,) = answer.outcomes
            if outcome.lost:
                raise RuntimeError(outcome.lost)
            if outcome.violated:
                yield outcome


if __name__ == "__main__":
    main()
