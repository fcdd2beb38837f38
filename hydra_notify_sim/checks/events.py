"""From records to events: what a call's arguments, or a stored task, say; which rows an event names."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from hydra_notify_sim import history
from hydra_notify_sim.contract import channels


@lru_cache(maxsize=4096)
def read(
    channel: str, payload: str, version: channels.PayloadVersion
) -> tuple[channels.Event | None, str, str]:
    """Return a notification's event, how the event would be written, and what is wrong with the payload.

    Without an event the second is empty; with one the third is. Remembers the last few thousand answers, for
    every family of checks asks.
    """
    try:
        event = channels.parse(channel, payload, version)
    except channels.MalformedPayloadError as error:
        return None, "", str(error)
    # An id beyond any row's was not read as the number it is.
    return event, payload if names_no_row(event) else channels.format_payload(event, version), ""


def read_leniently(
    channel: str, payload: str, version: channels.PayloadVersion
) -> tuple[channels.Event | None, bool]:
    """Return a notification's event, None if it is malformed, and whether the manual leaves open that it is one.

    It leaves open leading zeros, and a tab or line break at the end (P-malformed).
    """
    event, written, _ = read(channel, payload, version)
    if event is not None:
        return event, written != payload
    return read(channel, payload.rstrip("\t\n"), version)[0], True


def task_event(task: history.Task, payloads: channels.PayloadVersion) -> channels.Event | None:
    """Return what a task would call its plugin with; None if it cannot be read (R-poison)."""
    return read(task.channel, task.payload, payloads)[0]


def called_event(hook: str, args: Mapping[str, Any]) -> channels.Event | None:
    """Return the event that a call's arguments say it is for; None if they name nothing (P-arguments)."""
    reader = _READERS.get(hook)
    if reader is None:
        return None
    try:
        return reader(args)
    except (KeyError, TypeError, AttributeError):
        return None


_TELLING = {"build": "finished", "step": "status", "evaluation": "jobset_id", "jobset": "name"}
"""A column that rows of one table have, and rows of the others lack: an id alone may belong to any."""


def _row(args: Mapping[str, Any], argument: str) -> Any:
    row = args[argument]
    row[_TELLING[argument]]
    return row


def _id(value: Any) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _flag(args: Mapping[str, Any]) -> int | None:
    value = args.get("error_changed")
    return None if value is None else _id(value)


_READERS: dict[str, Callable[[Mapping[str, Any]], channels.Event]] = {
    "build_queued": lambda a: channels.BuildQueued(_id(_row(a, "build")["id"])),
    "build_started": lambda a: channels.BuildStarted(_id(_row(a, "build")["id"])),
    "build_finished": lambda a: channels.BuildFinished(
        _id(_row(a, "build")["id"]), tuple([_id(build["id"]) for build in a["dependents"]])
    ),
    "step_finished": lambda a: channels.StepFinished(
        _id(_row(a, "step")["build"]),
        _id(a["step"]["stepnr"]),
        None if a["log_path"] is None else _text(a["log_path"]),
    ),
    "cached_build_finished": lambda a: channels.CachedBuildFinished(
        _id(_row(a, "evaluation")["id"]), _id(_row(a, "build")["id"])
    ),
    "cached_build_queued": lambda a: channels.CachedBuildQueued(
        _id(_row(a, "evaluation")["id"]), _id(_row(a, "build")["id"])
    ),
    "eval_started": lambda a: channels.EvalStarted(_text(a["trace_id"]), _id(_row(a, "jobset")["id"])),
    "eval_added": lambda a: channels.EvalAdded(
        _text(a["trace_id"]), _id(_row(a, "jobset")["id"]), _id(_row(a, "evaluation")["id"]), _flag(a)
    ),
    "eval_cached": lambda a: channels.EvalCached(
        _text(a["trace_id"]), _id(_row(a, "jobset")["id"]), _id(_row(a, "evaluation")["id"])
    ),
    "eval_failed": lambda a: channels.EvalFailed(
        _text(a["trace_id"]), _id(_row(a, "jobset")["id"]), _flag(a)
    ),
}


def first_id(event: channels.Event) -> object:
    """Return what identifies an event although its other arguments may be wrong."""
    match event:
        case channels.CachedBuildFinished(_, build) | channels.CachedBuildQueued(_, build):
            return build
        case (
            channels.EvalStarted(trace)
            | channels.EvalAdded(trace)
            | channels.EvalCached(trace)
            | channels.EvalFailed(trace)
        ):
            return trace
        case channels.StepFinished(build, step, _):
            return build, step
        case _:
            return event.build


def names_no_row(event: channels.Event) -> bool:
    """Tell whether an id is so long that it was not read as the number it is (P-missing-row)."""
    match event:
        case channels.BuildFinished(build, dependents):
            return channels.BEYOND_ANY_ID in {build, *dependents}
        case channels.CachedBuildFinished(evaluation, build) | channels.CachedBuildQueued(evaluation, build):
            return channels.BEYOND_ANY_ID in {evaluation, build}
        case channels.EvalAdded(_, jobset, evaluation) | channels.EvalCached(_, jobset, evaluation):
            return channels.BEYOND_ANY_ID in {jobset, evaluation}
        case channels.EvalStarted(_, jobset) | channels.EvalFailed(_, jobset):
            return jobset == channels.BEYOND_ANY_ID
        case channels.StepFinished(build, step, _):
            return channels.BEYOND_ANY_ID in {build, step}
        case _:
            return event.build == channels.BEYOND_ANY_ID


def rows_named(event: channels.Event) -> list[tuple[str, str]]:
    """Return the rows that an event names, as table and id."""
    match event:
        case channels.BuildFinished(build, dependents):
            return [("builds", str(id_)) for id_ in (build, *dependents)]
        case channels.BuildQueued(build) | channels.BuildStarted(build):
            return [("builds", str(build))]
        case channels.StepFinished(build, step, _):
            return [("buildsteps", f"{build}/{step}")]
        case channels.CachedBuildFinished(evaluation, build) | channels.CachedBuildQueued(evaluation, build):
            return [("jobsetevals", str(evaluation)), ("builds", str(build))]
        case channels.EvalAdded(_, jobset, evaluation) | channels.EvalCached(_, jobset, evaluation):
            return [("jobsets", str(jobset)), ("jobsetevals", str(evaluation))]
        case channels.EvalStarted(_, jobset) | channels.EvalFailed(_, jobset):
            return [("jobsets", str(jobset))]
