"""How fast sweeps are: every kind, on one story and on all that are shipped, with one and with two workers."""

import time
from pathlib import Path

from hydra_notify_sim import engine, scenario
from hydra_notify_sim.exploration import sweeps

SECONDS = 60.0
"""After so long a sweep is left, and told as not finished."""

RUNS: tuple[tuple[sweeps.Kind, int, int], ...] = (
    ("crash", 1, 1),
    ("crash", 1, 2),
    ("disconnect", 1, 2),
    ("interleave", 3, 2),
    ("crash", 2, 2),
)
"""Kind, bound, workers."""


def main() -> None:
    """Print variants and seconds of each."""
    loaded = [
        (path, one)
        for path, one, _ in scenario.load_all([Path("scenarios")])
        if one.given.dispatcher == "in process"
    ]
    for kind, bound, workers in RUNS:
        settings = sweeps.Settings(kind=kind, bound=bound, workers=workers, options=engine.Options())
        matrix = sweeps.Matrix()
        begun = time.monotonic()
        finished = True
        results = iter(sweeps.sweep(loaded, settings))
        for tried in results:
            matrix.add(tried)
            if time.monotonic() - begun > SECONDS:
                finished = False
                break
        seconds = time.monotonic() - begun
        print(
            f"{kind}, bound {bound}, {workers} workers: {matrix.tried} variants in {seconds:.1f} s, "
            f"{matrix.tried / seconds:.0f}/s, {matrix.violated} violated, {matrix.pruned} pruned"
            + ("" if finished else " (not finished)")
        )


if __name__ == "__main__":
    main()
