"""How many generated scenarios a second a campaign plays, beside a campaign in which next to nothing happens."""

import resource
import time
from contextlib import closing

from hydra_notify_sim.exploration.campaigns import campaign, pool, state, tasks

WORKERS = 2
SCENARIOS = 2_000
WANTED = 150
MEMORY = 200


def main() -> None:
    """Measure both, from the first answer on: starting the workers is not counted."""
    for what, plan in (("generated", tasks.Plan(seed=1)), ("empty", tasks.Plan(seed=1, empty=True))):
        begun, before = 0.0, 0
        with closing(state.Directory(None, plan)) as kept, closing(pool.Pool(plan, WORKERS)) as workers:
            current = campaign.Campaign(plan, campaign.Limits(scenarios=SCENARIOS), workers, kept)
            for result in current.run():
                if not begun and result.tally.scenarios:
                    begun, before = time.perf_counter(), result.tally.scenarios
            seconds = time.perf_counter() - begun
        wanted = f" (wanted: {WANTED} or more)" if what == "generated" else ""
        tally = result.tally
        print(
            f"{what}: {(tally.scenarios - before) / seconds:.0f} scenarios/s with {WORKERS} workers{wanted}, "
            f"{tally.actions / tally.scenarios:.1f} actions each, {len(tally.violations)} promises broken"
        )
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"memory: the largest process had {most:.0f} MB (wanted: under {MEMORY})")


if __name__ == "__main__":
    main()
