"""The promises R-*: plugins that fail, and the tasks by which they are called again."""

from hydra_notify_sim.contract.promises.model import Promise

PLUGINS: tuple[Promise, ...] = (
    Promise(
        id="R-isolated",
        text=(
            "One plugin's failure, of whatever kind, keeps no other plugin from its call. (A plugin that does "
            "not return has not failed; a lost connection excuses.)"
        ),
        source="behaviour",
        why=(
            "A farm loads plugins that know nothing of each other. When one service is down, the others' "
            "statuses must still be set."
        ),
    ),
    Promise(
        id="R-stored",
        text=(
            "A failed call is stored durably before the dispatcher goes on: a crash right after it loses no "
            "retry. A connection lost before it could be stored counts as a crash."
        ),
        source="behaviour",
        why=(
            "Once another plugin has succeeded, the stored task is all that remembers the failed call. Kept "
            "in memory only, it is gone with the next deploy."
        ),
    ),
    Promise(
        id="R-backoff",
        text=(
            "The n-th failed attempt sets the due time 2^min(10, n) seconds later, give or take whole seconds "
            "(-1 to +2 s); it is retried once that has passed, without needing a notification, and not "
            "before; a retry calls only the plugin that failed; attempt 102 is the last, then the task is "
            "dropped and counted."
        ),
        source="behaviour",
        why=(
            "A service that answers 403 because of its rate limit is made worse by retries at once. The "
            "ladder takes 26.5 hours, so an outage of a day loses nothing; and it ends, so a call that can "
            "never succeed does not stay for ever."
        ),
    ),
    Promise(
        id="R-gone-plugin",
        text=(
            "A task whose plugin is gone or no longer interested is dropped and counted; it holds up no other "
            "task and burns no processor (under a quarter of a core over one settled second)."
        ),
        source="derived",
        why=(
            "After a plugin is taken out of the configuration its tasks stay in the table. The real "
            "dispatcher then spins on the oldest of them and never comes to the later ones "
            "(hn-retry-livelock)."
        ),
    ),
    Promise(
        id="R-poison",
        text=(
            "A stored task that cannot be parsed is removed, or parked never to be due, and counted; the "
            "dispatcher lives."
        ),
        source="derived",
        why=(
            "The table outlives the program: an older or newer version may have written the row. The real "
            "dispatcher ends at it, at every start, until a person deletes the row (hn-poison-retry)."
        ),
    ),
    Promise(
        id="R-delete",
        text=(
            "A task that succeeded is deleted, and never run again. A call whose task was still stored when "
            "the dispatcher was lost may be repeated."
        ),
        source="behaviour",
        why=(
            "A task that stays is a call that is repeated up to a hundred times over a day: the same mail, "
            "the same comment, again and again."
        ),
    ),
)
