"""What the verbs of a story are about: names, statuses, evaluations, notifications, rows."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from hydra_notify_sim.contract import channels, statuses
from hydra_notify_sim.scenario.base import (
    NICKNAME_SCHEMA,
    TEXT_SCHEMA,
    Entry,
    Nickname,
    Status,
    Text,
    as_list,
    as_text,
    as_written,
    at_least_one,
    distinct,
    enum_schema,
    shown,
    status_among,
)
from hydra_notify_sim.scenario.durations import Duration

Names = Annotated[
    tuple[Nickname, ...],
    BeforeValidator(as_list),
    AfterValidator(at_least_one),
    PlainSerializer(as_written),
    WithJsonSchema(
        {
            "anyOf": [
                NICKNAME_SCHEMA,
                {"type": "array", "items": NICKNAME_SCHEMA, "minItems": 1, "uniqueItems": True},
            ]
        }
    ),
]
"""One nickname or a list of them."""

NamesOrNone = Annotated[
    tuple[Nickname, ...],
    BeforeValidator(as_list),
    AfterValidator(distinct),
    WithJsonSchema(
        {"anyOf": [NICKNAME_SCHEMA, {"type": "array", "items": NICKNAME_SCHEMA, "uniqueItems": True}]}
    ),
]
"""A list of nicknames, which may be empty."""

_BY_OTHER_MEANS = {
    statuses.Status.dependency_failed: "let the build that it needs fail: its dependents follow by themselves",
    statuses.Status.cancelled: "use the verb cancel",
    statuses.Status.resolved: "only a step is ever resolved",
}

FINISH_STATUSES = tuple(status for status in statuses.Status if status not in _BY_OTHER_MEANS)
"""How the queue runner can let a build finish; ``cached_failure`` is a failure known before it was started."""

STEP_STATUSES = tuple(status for status in FINISH_STATUSES if status is not statuses.Status.cached_failure)
"""How a step that is not the last one can end."""


def _finish_status(value: statuses.Status) -> statuses.Status:
    if value in _BY_OTHER_MEANS:
        raise PydanticCustomError(
            "status",
            "no build is finished as {name} by hand: {hint}",
            {"name": value.name, "hint": _BY_OTHER_MEANS[value]},
        )
    return value


def _step_status(value: statuses.Status) -> statuses.Status:
    if value not in STEP_STATUSES:
        raise PydanticCustomError("status", "no step ends as {name} in a story", {"name": value.name})
    return value


FinishStatus = Annotated[
    Status,
    BeforeValidator(status_among(FINISH_STATUSES)),
    AfterValidator(_finish_status),
    WithJsonSchema(enum_schema(FINISH_STATUSES)),
]
StepStatus = Annotated[
    Status,
    BeforeValidator(status_among(STEP_STATUSES)),
    AfterValidator(_step_status),
    WithJsonSchema(enum_schema(STEP_STATUSES)),
]


def _failure(value: Any) -> Any:
    text = value if isinstance(value, bool) else as_text(value)
    if isinstance(text, bool) or (isinstance(text, str) and text):
        return text
    raise PydanticCustomError(
        "failure", "write true or the error's message, not {shown}", {"shown": shown(value)}
    )


Failure = Annotated[
    bool | str,
    Field(union_mode="left_to_right"),
    BeforeValidator(_failure),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": ["string", "number"], "minLength": 1}]}),
]
"""Whether something fails, and with which message."""


class Evaluation(Entry):
    """What the evaluator finds; `{}` is an evaluation in which nothing is new."""

    name: Nickname | None = None
    """Nickname of the evaluation, for later steps."""
    new: NamesOrNone = ()
    """Builds that it queues: build_queued."""
    cached: NamesOrNone = ()
    """Builds that exist: cached_build_finished where they are finished, else cached_build_queued."""
    unchanged: bool = Field(default=False, strict=True)
    """The inputs are as they were: eval_cached with the previous evaluation."""
    fails: Failure = False
    """The evaluation fails, with this message or one made up: eval_failed."""
    fetch_fails: Failure = False
    """Fetching an input fails, with this message or one made up: eval_failed."""
    error_changed: bool = Field(default=False, strict=True)
    """With payloads 2026-09: the flag of eval_added and eval_failed."""

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        ends = {
            "new or cached": bool(self.new or self.cached),
            "unchanged": self.unchanged,
            "fails": bool(self.fails),
            "fetch_fails": bool(self.fetch_fails),
        }
        chosen = [name for name, is_so in ends.items() if is_so]
        if len(chosen) > 1:
            raise PydanticCustomError(
                "evaluate", "an evaluation ends in one way, not in {ways}", {"ways": " and ".join(chosen)}
            )
        if self.name and chosen and chosen != ["new or cached"]:
            raise PydanticCustomError(
                "evaluate",
                "an evaluation that is '{way}' writes no row, so it has no name",
                {"way": chosen[0]},
            )
        both = [name for name in self.new if name in self.cached]
        if both:
            raise PydanticCustomError("evaluate", "'{name}' is new or cached, not both", {"name": both[0]})
        return self


MOST_TIMES = 100_000
"""How often anything is repeated at most; the whole retry ladder takes 102."""

Times = Annotated[int, Field(ge=1, le=MOST_TIMES, strict=True)]


def _payload_field(value: Any) -> Any:
    """Take what is no plain whole number for text: ``007.50`` is a trace, and ``007`` is not the id 7."""
    if isinstance(value, int) and not isinstance(value, bool) and as_text(value) == str(int(value)):
        return value
    return as_text(value)


def _payload(value: Any) -> Any:
    value = as_text(value)
    if isinstance(value, str):
        if "\0" in value:
            raise PydanticCustomError("payload", "PostgreSQL takes no NUL character in a payload")
        size = len(value.encode("utf-8", "surrogatepass"))
        if size > channels.MAX_PAYLOAD_BYTES:
            raise PydanticCustomError(
                "payload",
                "PostgreSQL takes {most} bytes of payload at most; this has {size}",
                {"most": channels.MAX_PAYLOAD_BYTES, "size": size},
            )
        return value
    if not isinstance(value, list | tuple):
        raise PydanticCustomError(
            "payload", "write a list of fields or a string, not {shown}", {"shown": shown(value)}
        )
    value = [_payload_field(item) for item in value]
    for item in value:
        if not isinstance(item, str | int):
            raise PydanticCustomError(
                "payload", "a field is a nickname, a number or text, not {shown}", {"shown": shown(item)}
            )
        if isinstance(item, str) and (not item or "\t" in item or "\0" in item):
            raise PydanticCustomError(
                "payload",
                "a field may not be empty or contain a tab; to send that, write the whole payload as a string",
            )
        if isinstance(item, int) and abs(item) >= 10**18:
            raise PydanticCustomError(
                "payload",
                "the number {shown} is too large; in quotes it is taken as it stands",
                {"shown": shown(item)},
            )
    if not value:
        raise PydanticCustomError("payload", "the list is empty; an empty payload is written as ''")
    return tuple(value)


Payload = Annotated[
    str | tuple[str | int, ...],
    Field(union_mode="left_to_right"),
    BeforeValidator(_payload),
    PlainSerializer(lambda value: value if isinstance(value, str) else list(value)),
    WithJsonSchema(
        {
            "anyOf": [
                TEXT_SCHEMA,
                {"type": "array", "minItems": 1, "items": {**TEXT_SCHEMA, "minLength": 1}},
            ]
        }
    ),
]
"""The fields (a nickname of a build or evaluation, or ``jobset``, stands for its id), or the whole text as it is
sent, in which ``{nickname}`` stands for the id."""


CHANNEL = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
"""What the name of a channel looks like: an identifier of PostgreSQL's."""


def _channel(value: Any) -> Any:
    if not isinstance(value, str) or not re.match(CHANNEL, value) or value.endswith("\n"):
        raise PydanticCustomError(
            "channel", "'{shown}' is not the name of a channel", {"shown": shown(value)}
        )
    return value


Channel = Annotated[str, BeforeValidator(_channel), WithJsonSchema({"type": "string", "pattern": CHANNEL})]


class Notification(Entry):
    """A notification that a person sends by hand."""

    channel: Channel
    """The channel; it may be one that nobody listens to."""
    payload: Payload
    """Its fields, in which nicknames stand for ids, or the whole text, in which {nickname} does."""
    times: Times = 1
    """How often it is sent."""
    in_: Literal["same transaction", "separate", "rolled back"] = Field(
        default="separate", validation_alias="in", serialization_alias="in"
    )
    """All in one transaction, each in its own, or all in one that is rolled back."""


class StepRow(Entry):
    """A row of buildsteps, by its build and number."""

    build: Nickname
    """The build that the step belongs to."""
    number: Annotated[int, Field(ge=1, le=10**6, strict=True)] = 1
    """Number of the step, from 1 (``stepnr``)."""


class TaskRows(Entry):
    """Rows of taskretries: those for which all that is given is so."""

    plugin: Text | None = None
    """Tasks of this plugin."""
    channel: Channel | None = None
    """Tasks for events of this channel."""
    payload: Payload | None = None
    """Tasks with this payload."""


class NewTask(Entry):
    """A row of taskretries as a person or an older version left it; nothing about it has to be valid."""

    plugin: Text
    """The plugin that it is for; it may be one that is gone."""
    channel: Text
    """The channel of the event."""
    payload: Payload
    """The payload of the event, as under notify."""
    attempts: Annotated[int, Field(ge=0, le=10**6, strict=True)] = 1
    """Failures so far."""
    due_in: Duration = 0.0
    """Seconds from now until it is due."""


class OneRow(Entry):
    """A row of one table."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "row",
                "name one row: {kinds}",
                {"kinds": " or ".join(self.keys()), "valid": list(self.keys())},
            )
        return self


class DeletedRow(OneRow):
    """The row that goes: ``{build: iso}``, ``{evaluation: e1}``, ``{step: {build: iso}}``, ``{task: {plugin: github}}``."""

    build: Nickname | None = None
    """A build, with its steps."""
    evaluation: Nickname | None = None
    """An evaluation; its builds stay."""
    step: StepRow | None = None
    """A step of a build."""
    task: TaskRows | None = None
    """Every stored task that is so."""


class InsertedRow(OneRow):
    """The row that comes: ``{build: iso}`` (given with ``row: later``), or ``{task: {…}}``."""

    build: Nickname | None = None
    """A build that was given with ``row: later``, or deleted."""
    task: NewTask | None = None
    """A stored task."""
