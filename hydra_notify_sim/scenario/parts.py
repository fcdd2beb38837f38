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
    SomeText,
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


FLAKE = r"^[A-Za-z][^\s]*$"
"""What the reference of a flake looks like to Hydra's web page."""

Flake = Annotated[str, Field(pattern=FLAKE)]
"""The reference of a flake, such as ``github:example/farm``."""


class Input(Entry):
    """An input of an evaluation, as it was checked out."""

    type: Annotated[str, Field(pattern=r"^[a-z]+$")] = "git"
    """Its type in Hydra, such as ``git``, ``string`` or ``boolean``."""
    uri: SomeText | None = None
    """Where it was fetched from."""
    revision: SomeText | None = None
    """What was checked out."""
    value: Text | None = None
    """The value, where nothing is fetched."""


class Evaluation(Entry):
    """What the evaluator finds; `{}` is an evaluation that finds no job at all."""

    name: Nickname | None = None
    """Nickname of the evaluation, for later steps."""
    new: NamesOrNone = ()
    """Builds that it queues: build_queued."""
    cached: NamesOrNone = ()
    """Builds of the last evaluation with new builds: cached_build_finished where they are finished, else
    cached_build_queued."""
    errors: SomeText | None = None
    """What the jobs say that do not evaluate; what is new or cached is found all the same, and eval_added sent."""
    flake: Flake | None = None
    """With ``flake`` under given: the locked reference that is evaluated; None: one is made up."""
    inputs: dict[str, Input] | None = None
    """Name to input, as it was checked out; None: one is made up."""
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
        if chosen and chosen != ["new or cached"]:
            for key in ("name", "errors", "flake", "inputs"):
                if getattr(self, key) is not None:
                    raise PydanticCustomError(
                        "evaluate",
                        "an evaluation that is '{way}' writes no row, so it has no {key}",
                        {"way": chosen[0], "key": key},
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


def _jobset_name(value: Any) -> Any:
    # YAML takes `75` for a number, and a jobset may be called so.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


JOBSET_NAME = r"[A-Za-z0-9_.][A-Za-z0-9_.-]*"
"""What the name of a jobset looks like; those of declarative projects may begin with a digit."""
PROJECT_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"

JobsetName = Annotated[str, BeforeValidator(_jobset_name), Field(pattern=f"^{JOBSET_NAME}$")]
"""The name of a jobset, without its project."""

Jobset = Annotated[str, Field(pattern=f"^{PROJECT_NAME}:{JOBSET_NAME}$")]
"""``project:name``."""


def _enabled(value: Any) -> Any:
    return {True: "enabled", False: "disabled"}.get(value, value) if isinstance(value, bool) else value


class JobsetEdit(Entry):
    """What a person changes of the story's jobset at the web page; None leaves it as it is."""

    name: JobsetName | None = None
    """Its new name."""
    hidden: Annotated[bool, Field(strict=True)] | None = None
    """Whether it is left out of lists."""
    enabled: (
        Annotated[
            Literal["disabled", "enabled", "one_shot", "one_at_a_time"],
            BeforeValidator(_enabled),
            PlainSerializer(lambda value: {"enabled": True, "disabled": False}.get(value, value)),
            WithJsonSchema({"enum": [True, False, "one_shot", "one_at_a_time"]}),
        ]
        | None
    ) = None
    """Whether it is evaluated: ``false``, ``true``, ``one_shot`` (once, then disabled) or ``one_at_a_time``."""

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.name is None and self.hidden is None and self.enabled is None:
            raise PydanticCustomError(
                "edit_jobset",
                "nothing is changed here: give name, hidden or enabled",
                {"valid": list(self.keys())},
            )
        return self


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
    """The row that goes, with what hangs on it: ``{build: iso}``, ``{jobset: "pr:4711"}``, ``{task: {plugin: github}}``."""

    build: Nickname | None = None
    """A build, with its steps."""
    evaluation: Nickname | None = None
    """An evaluation; its builds stay."""
    step: StepRow | None = None
    """A step of a build."""
    task: TaskRows | None = None
    """Every stored task that is so."""
    jobset: Jobset | None = None
    """The story's jobset, with its evaluations and builds."""
    project: Annotated[str, Field(pattern=f"^{PROJECT_NAME}$")] | None = None
    """The project of the story's jobset, with all its jobsets."""


class InsertedRow(OneRow):
    """The row that comes: ``{build: iso}`` (given with ``row: later``), or ``{task: {…}}``."""

    build: Nickname | None = None
    """A build that was given with ``row: later``, or deleted."""
    task: NewTask | None = None
    """A stored task."""
