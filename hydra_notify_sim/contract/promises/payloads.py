"""The promises P-*: what a payload looks like, and what reaches a plugin of it."""

from hydra_notify_sim.contract.promises.model import Promise

PAYLOADS: tuple[Promise, ...] = (
    Promise(
        id="P-format",
        text=(
            "Exactly: cached_build_finished, cached_build_queued `eval⇥build`; build_queued, build_started "
            "`build`; step_finished `build⇥step⇥log path`; build_finished `build[⇥dependent…]`; eval_started, "
            "eval_failed `trace⇥jobset`; eval_added, eval_cached `trace⇥jobset⇥eval`. Ids are decimal digits, "
            "trace and log path any text without a tab, no field is empty; a raw payload that a scenario "
            "sends is exempt."
        ),
        source="manual",
        why=(
            "Queue runner, evaluator and dispatcher are different programs in different languages, and the "
            "payload is all they share. A field more, less or in another order reaches every plugin as "
            "another event, or as none: upstream's `error_changed` of September 2026 is such a change."
        ),
    ),
    Promise(
        id="P-arguments",
        text=(
            "A plugin receives the rows that the payload names, all of them, in order, and nothing else: the "
            "step's log path (none for `-`), the trace unchanged, the dependents as listed, the build itself "
            "among them if listed."
        ),
        source="manual",
        why=(
            "A plugin that is handed a shortened list of dependents never sets the status of the missing "
            "ones, and cannot know. Hydra really lists a failed build among its own dependents "
            "(qr-self-dependent) and drops missing ones silently for later plugins (hn-truncated-dependents)."
        ),
    ),
    Promise(
        id="P-malformed",
        text=(
            "A malformed payload (wrong number of fields, an empty field, an id that is not ASCII digits) "
            "reaches no plugin, stores no task and stops nothing: the next event is delivered (leniencies "
            "that the manual leaves open, leading zeros, a trailing tab or newline, are reported, not "
            "judged). So does a notification on an unknown channel, if heard. (That it is logged and counted "
            "is judged in process only, here and in the promises R.)"
        ),
        source="behaviour",
        why=(
            "Anyone who may connect to the database may NOTIFY. One slip of a hand in psql must not stop the "
            "notifications of the whole farm, and a stored task that can never be parsed would come back at "
            "every start."
        ),
    ),
    Promise(
        id="P-missing-row",
        text=(
            "A payload that names a row that does not exist is a failed execution for every interested plugin "
            "alike (none is called with part of the arguments); it is retried, for the row may yet appear. An "
            "id beyond int4, however long, names no row."
        ),
        source="behaviour",
        why=(
            "Rows are deleted while notifications are under way, and a person may notify by hand before the "
            "row is there. If the first plugin fails and the second is called with the rest, the mark is "
            "cleared and the first one's status is lost for ever (hn-truncated-dependents)."
        ),
    ),
)
