"""The ten channels as typed, immutable values: parse a payload, format an event (promises P-*).

A payload is the text of one NOTIFY; its fields are separated by tabs (docs/reference/hydra.md, section 1).
Parsing is strict about what the manual fixes (number of fields, no empty field, ids in ASCII digits) and
takes what it leaves open, such as leading zeros.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

PayloadVersion = Literal["2026-08", "2026-09"]
PAYLOAD_VERSIONS: tuple[PayloadVersion, ...] = ("2026-08", "2026-09")
DEFAULT_PAYLOADS: PayloadVersion = "2026-08"

INT4_MAX = 2**31 - 1
BEYOND_ANY_ID = 2**63 - 1
"""What an id of more than 18 digits is read as: larger than any row's (P-missing-row)."""

MAX_PAYLOAD_BYTES = 7_999
"""PostgreSQL refuses a longer payload (SQLSTATE 22023)."""

DUMP_METRICS = "hydra_notify_dump_metrics"
"""The eleventh channel: a person asks for the metrics on stderr; no plugin hears of it."""

_DIGITS = re.compile(r"[0-9]+")


class MalformedPayloadError(ValueError):
    """The payload is not one that the channel allows (P-malformed); the message says why."""


@dataclass(frozen=True, slots=True)
class BuildQueued:
    """A new build exists."""

    channel: ClassVar[str] = "build_queued"
    build: int


@dataclass(frozen=True, slots=True)
class BuildStarted:
    """A step of this build was sent to a machine."""

    channel: ClassVar[str] = "build_started"
    build: int


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A build step ended; ``log_path`` is None where the payload says ``-``."""

    channel: ClassVar[str] = "step_finished"
    build: int
    step: int
    log_path: str | None


@dataclass(frozen=True, slots=True)
class BuildFinished:
    """A build ended, together with the builds that depend on it, as listed."""

    channel: ClassVar[str] = "build_finished"
    build: int
    dependents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CachedBuildFinished:
    """An evaluation found this build, already finished."""

    channel: ClassVar[str] = "cached_build_finished"
    evaluation: int
    build: int


@dataclass(frozen=True, slots=True)
class CachedBuildQueued:
    """An evaluation found this build, queued but not finished."""

    channel: ClassVar[str] = "cached_build_queued"
    evaluation: int
    build: int


@dataclass(frozen=True, slots=True)
class EvalStarted:
    """The evaluator began with a jobset."""

    channel: ClassVar[str] = "eval_started"
    trace: str
    jobset: int


@dataclass(frozen=True, slots=True)
class EvalAdded:
    """A new evaluation was written; ``error_changed`` only with payloads 2026-09."""

    channel: ClassVar[str] = "eval_added"
    trace: str
    jobset: int
    evaluation: int
    error_changed: int | None = None


@dataclass(frozen=True, slots=True)
class EvalCached:
    """The inputs were unchanged; ``evaluation`` is the previous one."""

    channel: ClassVar[str] = "eval_cached"
    trace: str
    jobset: int
    evaluation: int


@dataclass(frozen=True, slots=True)
class EvalFailed:
    """Fetching or evaluating failed; ``error_changed`` only with payloads 2026-09."""

    channel: ClassVar[str] = "eval_failed"
    trace: str
    jobset: int
    error_changed: int | None = None


Event = (
    BuildQueued
    | BuildStarted
    | StepFinished
    | BuildFinished
    | CachedBuildFinished
    | CachedBuildQueued
    | EvalStarted
    | EvalAdded
    | EvalCached
    | EvalFailed
)

CHANNELS: tuple[str, ...] = (
    "build_queued",
    "build_started",
    "step_finished",
    "build_finished",
    "cached_build_finished",
    "cached_build_queued",
    "eval_started",
    "eval_added",
    "eval_cached",
    "eval_failed",
)
"""The channels that have a plugin hook; a hook has the channel's name."""

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "build_queued": ("build",),
    "build_started": ("build",),
    "build_finished": ("build", "dependents"),
    "step_finished": ("step", "log_path"),
    "cached_build_finished": ("evaluation", "build"),
    "cached_build_queued": ("evaluation", "build"),
    "eval_started": ("trace_id", "jobset"),
    "eval_failed": ("trace_id", "jobset", "error_changed"),
    "eval_added": ("trace_id", "jobset", "evaluation", "error_changed"),
    "eval_cached": ("trace_id", "jobset", "evaluation"),
}
"""Hook to the names of its arguments, in order; ``error_changed`` comes with payloads ``2026-09`` only."""

CACHED_CHANNELS = frozenset({"cached_build_finished", "cached_build_queued"})
EPHEMERAL_CHANNELS = frozenset(CHANNELS) - CACHED_CHANNELS - {"build_finished"}


def parse(channel: str, payload: str, version: PayloadVersion = DEFAULT_PAYLOADS) -> Event:
    """Read one notification.

    Raises:
        MalformedPayloadError: an unknown channel, a wrong number of fields, an empty field, or an id that is
            not ASCII digits (P-malformed).

    """
    parser = _PARSERS.get(channel)
    if parser is None:
        raise MalformedPayloadError(f"unknown channel {channel!r}")
    fields = payload.split("\t")
    if "" in fields:
        raise MalformedPayloadError(f"{channel}: field {fields.index('') + 1} is empty")
    return parser(fields, version)


def format_payload(event: Event, version: PayloadVersion = DEFAULT_PAYLOADS) -> str:
    """Write an event as its payload; the inverse of `parse` (P-format).

    With payloads 2026-08 ``error_changed`` is left out; with 2026-09 an unknown one (None) is written as 0.

    Raises:
        MalformedPayloadError: the event cannot be written so that `parse` reads it again: a negative id, a text
            that is empty or contains a tab, a log path ``-``, or an ``error_changed`` other than 0 or 1.

    """
    match event:
        case BuildQueued(build) | BuildStarted(build):
            fields = _ids(event, build)
        case StepFinished(build, step, log_path):
            fields = [*_ids(event, build, step), _log_path(log_path)]
        case BuildFinished(build, dependents):
            fields = _ids(event, build, *dependents)
        case CachedBuildFinished(evaluation, build) | CachedBuildQueued(evaluation, build):
            fields = _ids(event, evaluation, build)
        case EvalStarted(trace, jobset):
            fields = [trace, *_ids(event, jobset)]
        case EvalCached(trace, jobset, evaluation):
            fields = [trace, *_ids(event, jobset, evaluation)]
        case EvalAdded(trace, jobset, evaluation, error_changed):
            fields = [trace, *_ids(event, jobset, evaluation), *_flags(event, error_changed, version)]
        case EvalFailed(trace, jobset, error_changed):
            fields = [trace, *_ids(event, jobset), *_flags(event, error_changed, version)]
    if any(not field or "\t" in field for field in fields):
        raise MalformedPayloadError(f"{event.channel}: no field may be empty or contain a tab: {fields!r}")
    return "\t".join(fields)


def _ids(event: Event, *ids: int) -> list[str]:
    if min(ids) < 0:
        raise MalformedPayloadError(f"{event.channel}: {min(ids)} is not an id: none is negative")
    return [str(number) for number in ids]


def _log_path(log_path: str | None) -> str:
    if log_path == "-":
        raise MalformedPayloadError("step_finished: the log path '-' means no log; write None for it")
    return "-" if log_path is None else log_path


def _flags(event: Event, error_changed: int | None, version: PayloadVersion) -> list[str]:
    if error_changed not in {None, 0, 1}:
        raise MalformedPayloadError(f"{event.channel}: error_changed is 0 or 1, not {error_changed}")
    return [] if version == "2026-08" else [str(error_changed or 0)]


def _id(channel: str, text: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise MalformedPayloadError(f"{channel}: {text[:40]!r} is not an id in decimal digits")
    significant = text.lstrip("0") or "0"
    return int(significant) if len(significant) <= 18 else BEYOND_ANY_ID


def _take(channel: str, fields: list[str], count: int) -> list[str]:
    if len(fields) != count:
        raise MalformedPayloadError(f"{channel}: {count} fields expected, {len(fields)} found")
    return fields


def _flag(channel: str, fields: list[str]) -> int:
    if fields[-1] not in {"0", "1"}:
        raise MalformedPayloadError(f"{channel}: error_changed is 0 or 1, not {fields[-1][:40]!r}")
    return int(fields[-1])


def _build_queued(fields: list[str], _: PayloadVersion) -> Event:
    return BuildQueued(_id("build_queued", *_take("build_queued", fields, 1)))


def _build_started(fields: list[str], _: PayloadVersion) -> Event:
    return BuildStarted(_id("build_started", *_take("build_started", fields, 1)))


def _step_finished(fields: list[str], _: PayloadVersion) -> Event:
    build, step, log_path = _take("step_finished", fields, 3)
    return StepFinished(
        _id("step_finished", build), _id("step_finished", step), None if log_path == "-" else log_path
    )


def _build_finished(fields: list[str], _: PayloadVersion) -> Event:
    build, *dependents = (_id("build_finished", field) for field in fields)
    return BuildFinished(build, tuple(dependents))


def _cached_build_finished(fields: list[str], _: PayloadVersion) -> Event:
    evaluation, build = _take("cached_build_finished", fields, 2)
    return CachedBuildFinished(_id("cached_build_finished", evaluation), _id("cached_build_finished", build))


def _cached_build_queued(fields: list[str], _: PayloadVersion) -> Event:
    evaluation, build = _take("cached_build_queued", fields, 2)
    return CachedBuildQueued(_id("cached_build_queued", evaluation), _id("cached_build_queued", build))


def _eval_started(fields: list[str], _: PayloadVersion) -> Event:
    trace, jobset = _take("eval_started", fields, 2)
    return EvalStarted(trace, _id("eval_started", jobset))


def _eval_added(fields: list[str], version: PayloadVersion) -> Event:
    if version == "2026-08":
        trace, jobset, evaluation = _take("eval_added", fields, 3)
        return EvalAdded(trace, _id("eval_added", jobset), _id("eval_added", evaluation))
    trace, jobset, evaluation, _changed = _take("eval_added", fields, 4)
    return EvalAdded(
        trace, _id("eval_added", jobset), _id("eval_added", evaluation), _flag("eval_added", fields)
    )


def _eval_cached(fields: list[str], _: PayloadVersion) -> Event:
    trace, jobset, evaluation = _take("eval_cached", fields, 3)
    return EvalCached(trace, _id("eval_cached", jobset), _id("eval_cached", evaluation))


def _eval_failed(fields: list[str], version: PayloadVersion) -> Event:
    if version == "2026-08":
        trace, jobset = _take("eval_failed", fields, 2)
        return EvalFailed(trace, _id("eval_failed", jobset))
    trace, jobset, _changed = _take("eval_failed", fields, 3)
    return EvalFailed(trace, _id("eval_failed", jobset), _flag("eval_failed", fields))


_PARSERS: dict[str, Callable[[list[str], PayloadVersion], Event]] = {
    "build_queued": _build_queued,
    "build_started": _build_started,
    "step_finished": _step_finished,
    "build_finished": _build_finished,
    "cached_build_finished": _cached_build_finished,
    "cached_build_queued": _cached_build_queued,
    "eval_started": _eval_started,
    "eval_added": _eval_added,
    "eval_cached": _eval_cached,
    "eval_failed": _eval_failed,
}
