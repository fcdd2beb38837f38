"""The promises Q-*: what the simulated queue runner and evaluator themselves must keep."""

from hydra_notify_sim.contract.promises.model import Promise

SIMULATOR: tuple[Promise, ...] = (
    Promise(
        id="Q-transactions",
        text=(
            "Rows and notifications are written in the transactions, and in the order, of the Hydra "
            "reference; each deviation is a named fault of a scenario."
        ),
        source="behaviour",
        why=(
            "A dispatcher that passes against rows which Hydra never writes that way has passed nothing. The "
            "gap between marking a build and notifying of it (qr-notify-gap) exists only because these are "
            "two transactions."
        ),
    ),
    Promise(
        id="Q-substituted",
        text=(
            "A substituted or already valid build emits build_finished only: no build_started, no "
            "step_finished."
        ),
        source="manual",
        why=(
            "Plugins that wait for build_started before they expect build_finished must fail here as they "
            "would in production, where a binary cache may have the outputs of any build."
        ),
    ),
    Promise(
        id="Q-cached-once",
        text="Per evaluation and build at most one cached_build_finished or cached_build_queued is emitted.",
        source="manual",
        why=(
            "C-at-most-once counts deliveries per emission; if the simulator emitted twice, a plugin called "
            "twice would look right."
        ),
    ),
    Promise(
        id="Q-restart",
        text="A restart resets `finished` and `isCachedBuild` and nothing else.",
        source="behaviour",
        why=(
            "The stale mark, status and times that a restart leaves in the row are what makes a dispatcher "
            "report a build as finished that is not (hn-recovery-unfinished). A tidy simulator would hide it."
        ),
    ),
)
