"""The promises E-*: channels whose events nobody repeats, and what holds for the calls of all channels."""

from hydra_notify_sim.contract.promises.model import Promise

EPHEMERAL: tuple[Promise, ...] = (
    Promise(
        id="E-live",
        text=(
            "Emitted while up, and settled before it was lost: for every interested plugin each emission has "
            "succeeded, its failure is stored, or it was given up."
        ),
        source="manual",
        why=(
            "A dispatcher that is running has no excuse: a pull request whose status never turned to pending, "
            "though nothing was down, is a bug and not the price of an ephemeral channel."
        ),
    ),
    Promise(
        id="E-once",
        text=(
            "One emission is at most one successful call per plugin; a further call of the same plugin for it "
            "only follows a failed one. A call whose task was still stored when the dispatcher was lost may "
            "be repeated."
        ),
        source="derived",
        why=(
            "A plugin that sends mail or counts has no way to see that it was called twice for one event. A "
            "retry that calls all plugins instead of the failed one is how it happens."
        ),
    ),
    Promise(
        id="E-gone",
        text="Emitted while no dispatcher was up or starting: never delivered, not at start-up, not later.",
        source="manual",
        why=(
            "A build that was queued or started hours ago may be finished by now. Replaying the old event "
            "would turn a green status back to pending, and nothing would turn it green again."
        ),
    ),
    Promise(
        id="E-no-phantom",
        text=(
            "(All channels.) No call without a cause, and one cause answers for one successful call per "
            "plugin (E-once's exception applies). Causes: an emission with those arguments; a stored task; "
            "for buildFinished without dependents, a mark at a start or a reconnection. A refused statement is "
            "none: a mark that could not be cleared is cleared later, and nobody is told again."
        ),
        source="derived",
        why=(
            "Without it a dispatcher that calls every plugin for every build at every turn would keep all "
            "promises that ask for at least one call. Plugins would announce what never happened. One that took a "
            "locked row for a lost connection told one outcome twenty times."
        ),
    ),
    Promise(
        id="E-order",
        text=(
            "(All channels.) A plugin's first calls for emissions (retries, and calls for a mark, aside) begin in "
            "commit order, across these channels."
        ),
        source="behaviour",
        why=(
            "Queued, started, finished: a plugin that copies them to a page as they come shows the last one "
            "that it heard. In another order a finished build is shown as running for ever."
        ),
    ),
)
