"""Payloads as a story writes them: fields with nicknames, or raw text with ``{nickname}`` in it."""

import re
from collections.abc import Callable

from hydra_notify_sim.contract import channels

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_+.-]*)\}")
"""In a raw payload: ``{iso}`` stands for the id of what is called iso."""

THE_JOBSET = "jobset"
"""In a payload: stands for the id of the scenario's jobset."""

Payload = str | tuple[str | int, ...]
"""Raw text, or fields."""

_FIELDS: dict[str, tuple[str, ...]] = {
    "build_queued": ("build",),
    "build_started": ("build",),
    "step_finished": ("build", "number", "text"),
    "cached_build_finished": ("evaluation", "build"),
    "cached_build_queued": ("evaluation", "build"),
    "eval_started": ("text", "jobset"),
    "eval_added": ("text", "jobset", "evaluation"),
    "eval_cached": ("text", "jobset", "evaluation"),
    "eval_failed": ("text", "jobset"),
}
_FLAGGED = frozenset({"eval_added", "eval_failed"})


def fields_of(channel: str, count: int, version: channels.PayloadVersion) -> tuple[str, ...] | None:
    """Return what each of so many fields is: build, evaluation, jobset, number or text.

    None if the channel's payload does not have so many (P-format). On channels without a fixed form all is text.
    """
    if channel == "build_finished":
        return ("build",) * count
    kinds = _FIELDS.get(channel)
    if kinds is None:
        return ("text",) * count
    if channel in _FLAGGED and version != "2026-08":
        kinds = (*kinds, "number")
    return kinds if len(kinds) == count else None


def payload_text(
    channel: str,
    payload: Payload,
    id_of: Callable[[str], int],
    singles: Callable[[tuple[str, ...]], tuple[str, ...]],
    version: channels.PayloadVersion = channels.DEFAULT_PAYLOADS,
    *,
    step_of: Callable[[str, int], int] = lambda _build, nth: nth,
) -> str:
    """Return the text to send: ids for the nicknames, tabs between fields.

    ``id_of`` gives the id of a single build, an evaluation, or the word ``jobset``; ``singles`` is
    `Scenario.singles`: a build with copies gives one field each; ``step_of`` gives the number of a build's n-th step.
    """
    if isinstance(payload, str):
        return PLACEHOLDER.sub(lambda found: str(id_of(found[1])), payload)
    kinds = fields_of(channel, len(payload), version) or ("text",) * len(payload)
    texts: list[str] = []
    for field, kind in zip(payload, kinds, strict=True):
        named = payload[0]
        if (
            channel == "step_finished"
            and kind == "number"
            and isinstance(field, int)
            and isinstance(named, str)
        ):
            texts.append(str(step_of(named, field)))
        elif isinstance(field, int) or kind in {"text", "number"}:
            texts.append(str(field))
        elif kind == "build":
            texts += [str(id_of(single)) for single in singles((field,))]
        else:
            texts.append(str(id_of(field)))
    return "\t".join(texts)
