"""What stories that nobody wrote are made of: builds, plugins, endings, payloads, tasks, points and what goes wrong there.

Each part is the data that a scenario file would hold for it, chosen from a source of chance. Whether it can happen at
a moment is the business of who tells the story.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from hydra_notify_sim.contract import channels
from hydra_notify_sim.exploration.chance import Chance

Step = dict[str, Any]
"""A step of a story, or a part of one, as its file would hold it."""

FAILURES = (
    "failed",
    "failed",
    "aborted",
    "timed_out",
    "cached_failure",
    "not_deterministic",
    "failed_with_output",
)
TAKES_ALONG = frozenset({"failed", "timed_out", "not_deterministic"})
"""Failures that the builds which need this one fail with."""
MAY_TAKE_ALONG = frozenset({"aborted", "cached_failure"})
"""Failures that sometimes do: where it matters, they do not happen, for nobody would know what is finished."""

ONCE_EACH = ("before_call", "inside_call", "after_call")
CALLS = (*ONCE_EACH, "inside_call", "after_call")
CLEARS = ("before_clear", "after_clear")
STORES = ("before_store", "after_store", "before_store")
AT_START = ("between_listen_and_scan", "during_scan", *CALLS, "before_clear")

NEARLY_VALID = (
    "{a}\t", "\t{a}", "{a}\tx", "0{a}", "{a}\n", "{a} ", "{a} {a}", "{a}\t2147483648", "{a}\t{a}\t", "{a}.0",
)  # fmt: skip
"""Raw payloads that are almost right; ``{a}`` stands for a build's id."""
HOSTILE = ("", "x", "-1", "99999999999", "\uff11")
"""Raw payloads of whom nobody knows what they want."""
RAW = (
    "", "x", "{a}\t", "\t{a}", "{a}\tx", "0{a}", "{a}\n", "{a} ", "{a} {a}", "-1", "99999999999", "{a}\t2147483648",
    "{a}\t{a}\t", "{a}.0", "\uff11",
)  # fmt: skip
"""Both."""


def build(chance: Chance, earlier: Sequence[str]) -> Step:
    """Return a build that is given; it may need one of those that were given earlier."""
    made: Step = {}
    if earlier and chance.happens(0.4):
        made["constituents" if chance.happens(0.2) else "needs"] = [chance.choice(earlier)]
    if chance.happens(0.2):
        made["steps"] = 2
    if chance.happens(0.2):
        made["finished"] = chance.choice(("succeeded", "succeeded", "failed"))
        if chance.happens(0.5):
            made["pending"] = True
    elif chance.happens(0.08):
        made["row"] = "later"
    return made


def needs(build: Mapping[str, Any], name: str) -> bool:
    """Tell whether a build that is given needs another one."""
    return name in build.get("needs", ()) or name in build.get("constituents", ())


ERRORS = "in job 'docs':\nerror: attribute 'docs' missing"
"""What a job says that does not evaluate."""


def found(chance: Chance, new: Sequence[str], cached: Sequence[str]) -> Step:
    """Return what an evaluation finds, as its step's keys: some jobs beside it may not evaluate."""
    made: Step = {}
    if new:
        made["new"] = list(new)
    if cached:
        made["cached"] = list(cached)
    if chance.happens(0.15):
        made["errors"] = ERRORS
    return made


def edit(chance: Chance) -> Step:
    """Return what a person changes of a jobset that goes on being evaluated."""
    return chance.choice(
        ({"hidden": True}, {"name": "4711"}, {"name": "4711-closed", "hidden": True}, {"enabled": True})
    )


def plugin(chance: Chance, about: str) -> Step:
    """Return a plugin that is given; ``about`` is the build that it fails for, where it does for one only."""
    made: Step = {}
    if chance.happens(0.5):
        made["hooks"] = sorted(
            {"build_finished", *chance.sample(channels.CHANNELS, chance.between(0, 3))} if chance.happens(0.85)
            else set(chance.sample(channels.CHANNELS, chance.between(1, 4)))
        )  # fmt: skip
    if chance.happens(0.4):
        made["raises"] = chance.choice(
            ({"first": 1}, {"first": 2}, {"first": 3}, "always", {"for": about}, {"first": 1, "for": about})
        )
    if chance.happens(0.1):
        made["takes"] = chance.choice((1, 2, 5))
    return made


def ending(chance: Chance, *, certain: bool, log: bool = True) -> Step:
    """Return how a build ends, as options of its step.

    ``certain``: only as lets everybody know whether the builds that need it end with it. ``log``: it may have none.
    """
    made: Step = {}
    if chance.happens(0.4):
        made["status"] = chance.choice(FAILURES)
        if certain and made["status"] in MAY_TAKE_ALONG:
            made["status"] = "failed"
    if chance.happens(0.2):
        made["same_second"] = True
    if log and chance.happens(0.2):
        made["log"] = False
    return made


def raw(chance: Chance, name: str) -> Step:
    """Return a notification with a raw payload about a build."""
    channel = chance.choice((*channels.CHANNELS, "build_finished", "build_finished", "no_such_channel"))
    return {"channel": channel, "payload": chance.choice(RAW).replace("{a}", f"{{{name}}}")}


def notification(chance: Chance, name: str, builds: Sequence[str]) -> Step:
    """Return a notification about a build as Hydra, or a person by hand, would send it."""
    channel = chance.choice(("build_finished", "build_finished", "build_queued", "build_started"))
    payload: list[Any] = [name]
    if channel == "build_finished" and chance.happens(0.4):
        payload.append(chance.choice([*builds, 4711]))
    notify: Step = {"channel": channel, "payload": payload}
    if chance.happens(0.2):
        notify |= {"times": 2, "in": chance.choice(("same transaction", "separate", "rolled back"))}
    return notify


def task(chance: Chance, plugin: str, about: str) -> Step:
    """Return a stored task that a person or an older version left."""
    channel = chance.choice(("build_finished", "build_started", "no_such_channel"))
    payload = chance.choice(([about], [about], "not an id", ""))
    made: Step = {"plugin": plugin, "channel": channel, "payload": payload}
    if chance.happens(0.3):
        made["due_in"] = 3
    if chance.happens(0.3):
        made["attempts"] = chance.choice((3, 9, 100, 101))
    return made


def points(
    step: Mapping[str, Any], heard: Collection[str], stores: Callable[[], Sequence[str]], *, shown: bool
) -> tuple[str, ...]:
    """Return the points that the dispatcher most likely gets to by what a step causes.

    Args:
        step: the step.
        heard: the hooks that some plugin has.
        stores: asked, where a plugin is called, for the points of storing a failure: none if none is likely.
        shown: whether the build that a notification names is finished.

    """
    if step.keys() & {"build", "finish", "substitute"}:
        return (*CALLS, *CLEARS, *stores()) if "build_finished" in heard else CLEARS
    if "start" in step or "step" in step:
        hook = "build_started" if "start" in step else "step_finished"
        return (*ONCE_EACH, *stores()) if hook in heard else ()
    if "notify" in step and isinstance(step["notify"]["payload"], list):
        channel = step["notify"]["channel"]
        return (*ONCE_EACH, *stores()) if (shown or channel != "build_finished") and channel in heard else ()
    if "evaluate" in step:
        return (*ONCE_EACH, *stores()) if "eval_started" in heard else ()
    return ()


def which(chance: Chance, at: str, plugins: Sequence[str]) -> Any:
    """Return a point, perhaps with which one of its kind."""
    if at == "during_scan":
        return {at: 1}
    if at in CALLS and chance.happens(0.4):
        return {at: chance.choice((1, 2, *plugins))}
    return at


def fault(chance: Chance, at: str) -> Step:
    """Return something that goes wrong at a point."""
    chosen = chance.choice(("crash", "crash", "crash", "stop", "lost", "reply lost", "reply lost"))
    if at == "before_store" and chance.happens(0.5):
        # The one write that may be there twice, or not at all, and nobody knows.
        chosen = "reply lost"
    if chosen in {"crash", "stop"}:
        return {"dispatcher": chosen}
    if chosen == "lost" or not at.startswith("before_"):
        return {"connection": "lost"}
    return {"connection": "lost", "reply_lost": True}


def again(chance: Chance, about: str) -> Step:
    """Return how a build that was restarted at a point ends once more, perhaps with a crash in the middle of that."""
    made: Step = {"build": about, "status": chance.choice(("succeeded", "failed"))}
    if chance.happens(0.5):
        made["same_second"] = True
    if chance.happens(0.4):
        made |= {"at": "inside_call", "do": [{"dispatcher": "crash"}]}
    return made


AT_ENDS = (*CALLS, *CLEARS, *STORES)
"""Points of a build that ends."""
AT_EVENTS = (*CALLS, *STORES)
"""Points of other events."""


def trouble(chance: Chance, points: Sequence[str], about: str) -> Step:
    """Return what happens at a point of a step about a build, as ``at`` and ``do``.

    The build may end once more there, and the dispatcher or its connections may be lost.
    """
    at = chance.choice(points)
    do: list[Step] = []
    if at not in STORES and about and chance.happens(0.35):
        once_more = again(chance, about)
        do += [{"restart": about}, once_more]
        if "do" in once_more or chance.happens(0.7):
            return {"at": which(chance, at, ()), "do": do}
    return {"at": which(chance, at, ()), "do": [*do, fault(chance, at)]}
