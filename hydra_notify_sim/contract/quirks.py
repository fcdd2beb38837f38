"""Known deviations of the real Hydra: what happens, and which promises it breaks (docs/reference/hydra.md).

Read from and partly run against NixOS/hydra at commit 14332fbf of 2026-08-21. A quirk that breaks no promise is
listed because a report or a plugin's author may meet it.
"""

import difflib
from dataclasses import dataclass
from typing import Literal

from hydra_notify_sim import errors

By = Literal["queue runner", "web", "hydra-notify"]


class UnknownQuirkError(errors.UsageError, KeyError):
    """There is no quirk with this id; the message names the nearest one."""

    def __str__(self) -> str:
        """Return the message as it is; KeyError would quote it."""
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Quirk:
    """One way in which Hydra differs from the contract, or surprises."""

    id: str
    what: str
    """What happens."""
    by: By
    """The program that does it."""
    breaks: tuple[str, ...] = ()
    """Ids of the promises that it breaks, the one it breaks most directly first."""
    may_break: tuple[str, ...] = ()
    """Ids of further promises that it was seen to break now and then, depending on timing or on the order of plugins."""
    timing: bool = False
    """Whether it depends on timing, or on which other plugins are installed, that a story for it shows it."""


QUIRKS: tuple[Quirk, ...] = (
    Quirk(
        id="qr-notify-gap",
        what=(
            "Marking a build as finished and notifying of it are two transactions, and the second is not "
            "retried: a queue runner that dies between them leaves only the mark."
        ),
        by="queue runner",
    ),
    Quirk(
        id="qr-self-dependent",
        what="After a permanent failure build_finished lists every affected build as dependent, the main build again included.",
        by="queue runner",
    ),
    Quirk(
        id="qr-split",
        what=(
            "A build_finished above 7,000 bytes is split: every part repeats the main build, all parts are "
            "sent in one transaction, and the hook is called once per part."
        ),
        by="queue runner",
    ),
    Quirk(
        id="qr-no-dependents",
        what="The build_finished of a successful build never carries dependents.",
        by="queue runner",
    ),
    Quirk(
        id="web-cancel-silent",
        what="A build that is cancelled at the web page sends no build_finished, and its mark is not set.",
        by="web",
    ),
    Quirk(
        id="hn-first-success-clears",
        what=(
            "The mark is cleared after each plugin's success, for the build and its dependents: a crash "
            "inside the second plugin, or SIGTERM there, loses the event for it for ever, with no retry "
            "stored. Stock Hydra always has one such plugin, declarative jobsets."
        ),
        by="hydra-notify",
        breaks=("B-clear-after", "B-at-least-once"),
    ),
    Quirk(
        id="hn-stale-clear",
        what=(
            "Clearing compares nothing: a build that is restarted and finished again while a plugin runs has "
            "the new outcome's mark cleared by the old event, and a crash before the new event is over then loses "
            "the success, of which nobody is told who believes in the failure."
        ),
        by="hydra-notify",
        breaks=("B-clear-own", "B-at-least-once", "B-each-outcome"),
        may_break=("B-clear-after",),
    ),
    Quirk(
        id="hn-truncated-dependents",
        what=(
            "A payload that names a missing dependent, one that never was or was deleted meanwhile, fails for the first "
            "plugin, reaches the next one with a shortened list of dependents, and clears the mark. Where that one "
            "fails, too, the task that is stored names the whole list."
        ),
        by="hydra-notify",
        breaks=("P-missing-row", "P-arguments", "B-clear-after", "B-dependents", "R-stored", "R-backoff"),
    ),
    Quirk(
        id="hn-deaf-after-reconnect",
        what=(
            "After its backend is terminated while the server stays up it lives on without LISTEN and hears "
            "nothing; a second loss, or a retry that falls due, ends it with exit 255, and so does a loss "
            "while the server is down."
        ),
        by="hydra-notify",
        breaks=("L-reconnect", "L-lives"),
    ),
    Quirk(
        id="hn-lost-wakeup",
        what=(
            "It waits on the socket before it looks at what the client library already holds: a notification "
            "that arrives while a query runs on the listening handle is not seen until the next one arrives, "
            "for ever if none does. Who drives it must kick it, or take a stall for a loss."
        ),
        by="hydra-notify",
        breaks=("L-no-stall", "E-live", "B-live", "C-live"),
        timing=True,
    ),
    Quirk(
        id="hn-retry-livelock",
        what=(
            "A stored task whose plugin is gone or not interested is neither deleted nor put off: it is "
            "looked at again and again without a pause, and later tasks starve."
        ),
        by="hydra-notify",
        breaks=("R-gone-plugin", "R-backoff"),
    ),
    Quirk(
        id="hn-poison-retry",
        what="A stored task with a channel or payload that cannot be parsed makes the process exit with 255, at every start.",
        by="hydra-notify",
        breaks=("R-poison", "L-lives"),
    ),
    Quirk(
        id="hn-never-cleared",
        what="Where no plugin has buildFinished the mark stays, and the build is delivered again at each start.",
        by="hydra-notify",
        breaks=("B-clear",),
        timing=True,
    ),
    Quirk(
        id="hn-recovery-unfinished",
        what=(
            "A restarted build is reported as finished from its stale mark at every start until it finishes; "
            "also from a late notification, and from a stored task."
        ),
        by="hydra-notify",
        breaks=("B-unfinished",),
    ),
    Quirk(
        id="hn-no-sigterm",
        what="It handles no SIGTERM: the signal ends it in the middle of a plugin.",
        by="hydra-notify",
        breaks=("L-stop",),
    ),
    Quirk(
        id="hn-loose-parse",
        what=(
            "A trailing tab or a trailing newline is accepted, which P-malformed reports and does not judge; and so is a "
            "newline at the end of a field in the middle, which it judges."
        ),
        by="hydra-notify",
        breaks=("P-malformed",),
    ),
    Quirk(
        id="hn-unicode-digits",
        what=(
            "Any Unicode digit passes for one in an id, and the number that comes of it names no row: the payload is "
            "stored for retry."
        ),
        by="hydra-notify",
        breaks=("P-malformed",),
    ),
    Quirk(
        id="hn-empty-trace",
        what="An empty trace is accepted: eval_added with the payload `⇥1⇥1` is executed, and stored for retry when it fails.",
        by="hydra-notify",
        breaks=("P-malformed",),
    ),
    Quirk(
        id="hn-old-payloads",
        what="Up to August 2026 it takes eval_added and eval_failed with `error_changed` for malformed, and drops them.",
        by="hydra-notify",
        breaks=("E-live",),
    ),
    Quirk(
        id="hn-stale-rows",
        what="Rows are loaded once per event and shared: the second plugin sees what the first one saw.",
        by="hydra-notify",
    ),
    Quirk(
        id="hn-retry-duplicates",
        what="If every plugin failed the mark stays, and each start adds a further stored task per plugin.",
        by="hydra-notify",
    ),
    Quirk(
        id="hn-no-dependents-on-recovery",
        what="Recovery does not know the dependents: each marked build is an event of its own with an empty list.",
        by="hydra-notify",
    ),
    Quirk(
        id="hn-early-retry",
        what=(
            "Due times are counted in whole seconds: the first retry comes 1.28 to 1.85 s after the failure, "
            "which is within R-backoff's tolerance."
        ),
        by="hydra-notify",
    ),
)
"""All quirks: the queue runner's, the web page's, hydra-notify's, in the reference's order."""


def quirk(quirk_id: str) -> Quirk:
    """Return the quirk with this id.

    Raises:
        UnknownQuirkError: there is none.

    """
    for found in QUIRKS:
        if found.id == quirk_id:
            return found
    near = difflib.get_close_matches(quirk_id, [found.id for found in QUIRKS], n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"The quirks are {', '.join(one.id for one in QUIRKS)}."
    raise UnknownQuirkError(f"There is no quirk {quirk_id[:60]!r} of Hydra. {hint}")


def breaking(promise_id: str) -> tuple[Quirk, ...]:
    """Return the quirks that break this promise: what makes its violation *known*."""
    return tuple(found for found in QUIRKS if promise_id in (*found.breaks, *found.may_break))
