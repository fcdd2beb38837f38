"""The promises B-*: a finished build is announced, whatever was lost, and its mark says whether it still has to be."""

from hydra_notify_sim.contract.promises.model import Promise

BUILD_FINISHED: tuple[Promise, ...] = (
    Promise(
        id="B-at-least-once",
        text=(
            "At every settled moment, for every finished build whose present outcome committed pending: each "
            "interested plugin is covered, has a stored task naming the build, or has given up; provided its "
            "NOTIFY was committed while up or starting, or a start or reconnection came since. Whatever was "
            "lost, however often. (Replaced by a restart or a later outcome before the next settled moment: "
            "owes nothing more. NOTIFY never sent, or only as dependent of a main build that was unfinished "
            "by then: owed from the next start on.)"
        ),
        source="manual",
        why=(
            "This is what people rely on: a finished build turns its pull request green or red, though the "
            "dispatcher was deployed, crashed or cut off meanwhile. A status that stays pending for ever "
            "blocks a merge, and nobody sees an error."
        ),
    ),
    Promise(
        id="B-live",
        text=(
            "Emitted while up, and settled before it was lost, the main build finished throughout: every "
            "interested plugin is called with that main build and those dependents, mark or no mark; it "
            "succeeded, its failure is stored, or it has given up."
        ),
        source="manual",
        why=(
            "The mark is for recovery only: a build that carries none (a notification sent again by hand, a "
            "split payload whose first part cleared it) is announced all the same. The dependents are known "
            "here and nowhere else."
        ),
    ),
    Promise(
        id="B-recover",
        text=(
            "At start-up every finished build with a mark is treated as a received build_finished without "
            "dependents. (Stricter than the manual, which says every row with a mark.)"
        ),
        source="manual",
        why=(
            "PostgreSQL keeps no notification for who does not listen. What finished while the dispatcher was "
            "down, and what a queue runner marked before it died (qr-notify-gap), is known by its mark alone."
        ),
        manual_text=(
            "At start-up every build with a mark, finished or not, is treated as a received build_finished "
            "without dependents."
        ),
    ),
    Promise(
        id="B-listen-first",
        text="It listens before it scans: nothing that finishes around start-up falls between the two.",
        source="derived",
        why=(
            "A build that finishes after the scan and before LISTEN is in neither. It would wait for the next "
            "start, perhaps for weeks; on a busy farm every deploy would lose some."
        ),
    ),
    Promise(
        id="B-clear-after",
        text=(
            "A mark is cleared only when every interested plugin has been shown that outcome, or failed by "
            "P-missing-row, and either succeeded or had its failure stored for retry. Never before, never by "
            "the first plugin for all."
        ),
        source="manual",
        why=(
            "A deploy between two plugins left a GitHub status pending: the first plugin's success had "
            "cleared the mark, and nothing remembered the second (hn-first-success-clears). Stock Hydra "
            "always has another plugin that may come first, declarative jobsets."
        ),
    ),
    Promise(
        id="B-clear",
        text=(
            "Once settled, no mark is left on a finished build whose present outcome one event showed to "
            "every interested plugin, all returning, with no transition since that event's first call; nor, "
            "P-missing-row aside, on one whose event found no interested plugin. While a failure is stored "
            "the mark may be kept or cleared; where a retry came last it may stay until the next start."
        ),
        source="manual",
        why=(
            "A mark that stays is announced again at every start: the marks pile up, start-up takes longer "
            "each time, and plugins hear of builds of last year (hn-never-cleared)."
        ),
    ),
    Promise(
        id="B-clear-own",
        text=(
            "Processing an outcome clears that outcome's mark only: not the mark of a later outcome that "
            "committed meanwhile, not even one of the same second that differs in its status."
        ),
        source="derived",
        why=(
            "A build was restarted and turned green while its red status was being posted; the old event "
            "cleared the new outcome's mark, and a crash lost the green one. Hydra's page said succeeded, "
            "GitHub said failure, for ever (hn-stale-clear)."
        ),
    ),
    Promise(
        id="B-unfinished",
        text=(
            "No row handed over as main build is unfinished: not from a stale mark at start-up, not from a "
            "late notification, not from a retry. Such an event calls nobody and clears nothing. A task in "
            "that state is put off, and not dropped while it names other builds."
        ),
        source="derived",
        why=(
            "A restart leaves the old mark and the old status in the row (Q-restart). Announced as it stands, "
            "a build that is running again is reported as failed, at every start until it finishes "
            "(hn-recovery-unfinished)."
        ),
    ),
    Promise(
        id="B-each-outcome",
        text=(
            "While up and settled between them, a failure, a restart and a success are two outcomes and two "
            "deliveries: no de-duplication by build id, however soon they follow each other. Where "
            'B-at-least-once owes it, the last delivery shows the last outcome. (The manual says "at least '
            'twice" without the condition; a later outcome that replaces an unseen one is a weakening we '
            "accept.)"
        ),
        source="manual",
        why=(
            "A dispatcher that remembers build ids against repetition swallows the success after the restart. "
            "The status stays red, and restarting again does not help."
        ),
        manual_text=(
            "A build that fails, is restarted and succeeds is delivered at least twice, once for each "
            "outcome: no de-duplication by build id."
        ),
    ),
    Promise(
        id="B-dependents",
        text=(
            "Dependents that finished with the build are handed over with it, and their marks are cleared "
            "with it; one that is unfinished by then is handed over as it is and keeps its mark."
        ),
        source="behaviour",
        why=(
            "When a kernel fails, hundreds of builds fail with it and send no notification of their own. If "
            "their marks stay, all are announced again at the next start; if an unfinished one loses its "
            "mark, its own end may be lost."
        ),
    ),
    Promise(
        id="B-fresh",
        text="The rows handed to a plugin are at least as new as the emission.",
        source="derived",
        why=(
            "A dispatcher that loads rows ahead, or keeps them in a cache, hands over a build as it was "
            "before it finished: the right event with the old status."
        ),
    ),
)
