"""The promises L-*: what the dispatcher survives, and how it ends."""

from hydra_notify_sim.contract.promises.model import Promise

LIFE: tuple[Promise, ...] = (
    Promise(
        id="L-lives",
        text=(
            "It ends, and loses connections, only when the scenario makes it. A refused statement is no reason to."
        ),
        source="derived",
        why=(
            "Every end is a gap in which ephemeral events are lost. The real dispatcher ends by itself at a "
            "poisoned task and at a second lost connection (hn-poison-retry, hn-deaf-after-reconnect). Others ended "
            "at the first migration of the schema."
        ),
    ),
    Promise(
        id="L-reconnect",
        text=(
            "After losing its connections it connects again, listens again, scans again. What was emitted "
            "while the server was closed to it counts as emitted while down; from then until up, as starting. "
            "Of what it had shown before, only the acknowledgement is owed. Never settling after a loss "
            "violates this."
        ),
        source="derived",
        why=(
            "PostgreSQL is restarted for an update, fails over, or an administrator ends a session. The real "
            "dispatcher then ends or, where the server stayed up, lives on without LISTEN: it hears nothing "
            "any more, while every monitor shows it running (hn-deaf-after-reconnect)."
        ),
    ),
    Promise(
        id="L-no-stall",
        text=(
            "A notification that arrives while it is busy with something else is delivered without waiting "
            "for another one."
        ),
        source="derived",
        why=(
            "The client library may take a notification in while a query runs. Who then waits on the socket "
            "does not see it until the next one arrives: on a quiet farm, hours later or never "
            "(hn-lost-wakeup: 309 of 1,650 events stalled)."
        ),
    ),
    Promise(
        id="L-stop",
        text=(
            "SIGTERM: the event in hand (the notification or retry already begun, with all its plugins, "
            "storing and clearing) is finished, unless a row stays locked or the connections are gone; no other is "
            "begun; exit 0 within the deadline all the same."
        ),
        source="derived",
        why=(
            "Every deploy sends SIGTERM. The real dispatcher has no handler, so it ends in the middle of a "
            "plugin, and the plugins after it lose the event for ever (hn-no-sigterm, "
            "hn-first-success-clears)."
        ),
    ),
    Promise(
        id="L-split",
        text=(
            "While up: a build_finished split over several notifications is one delivery per part, each part "
            "with its own dependents, none lost."
        ),
        source="behaviour",
        why=(
            "A payload holds 7,999 bytes, so when something at the root of nixpkgs fails, the queue runner "
            "splits the list (qr-split). A dispatcher that takes the parts for repetitions leaves a thousand "
            "statuses pending."
        ),
    ),
)
