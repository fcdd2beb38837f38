"""The promises C-*: builds that an evaluation found already finished or already queued."""

from hydra_notify_sim.contract.promises.model import Promise

CACHED: tuple[Promise, ...] = (
    Promise(
        id="C-at-most-once",
        text=(
            "At most once per evaluation: per emission and plugin at most one successful call, never again "
            "after a restart or a reconnection (a notification that a person sends again by hand is an "
            "emission of its own). A call whose task was still stored when the dispatcher was lost may be "
            "repeated."
        ),
        source="manual",
        why=(
            "An evaluation of nixpkgs finds tens of thousands of finished builds. Announcing all of them "
            "again at every restart would flood whoever receives them, and run into rate limits."
        ),
    ),
    Promise(
        id="C-live",
        text=(
            "As E-live: emitted while up, and settled before it was lost: for every interested plugin each "
            "emission has succeeded, its failure is stored, or it was given up."
        ),
        source="manual",
        why=(
            "A cached build is never built again, so no build_finished will follow: this call is the only one "
            "from which the status of a pull request can come."
        ),
    ),
    Promise(
        id="C-gone",
        text=(
            "As E-gone: emitted while no dispatcher was up or starting: never delivered, not at start-up, not "
            "later."
        ),
        source="derived",
        why=(
            "No mark is kept for cached builds, so nothing can be recovered. The person whose status never "
            "came needs to read that nobody listened and that the contract allows this loss, rather than look "
            "for a bug."
        ),
    ),
)
