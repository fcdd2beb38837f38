"""The steps of a story: one class for each verb, its fields named as in the file."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    PrivateAttr,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from hydra_notify_sim.contract import channels, statuses
from hydra_notify_sim.scenario.base import (
    Entry,
    Nickname,
    Status,
    as_list,
    as_written,
    at_least_one,
    distinct,
    shown,
)
from hydra_notify_sim.scenario.durations import Duration
from hydra_notify_sim.scenario.expect import Expect
from hydra_notify_sim.scenario.points import Point

Names = Annotated[
    tuple[Nickname, ...], BeforeValidator(as_list), AfterValidator(at_least_one), PlainSerializer(as_written)
]
"""One nickname or a list of them."""

NamesOrNone = Annotated[tuple[Nickname, ...], BeforeValidator(as_list), AfterValidator(distinct)]
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


FinishStatus = Annotated[Status, AfterValidator(_finish_status)]
StepStatus = Annotated[Status, AfterValidator(_step_status)]


class StepBase(Entry):
    """One step: a verb, its options, and perhaps what happens while the dispatcher works on it."""

    at: Point | None = None
    """The point at which ``do`` is played."""
    do: "tuple[Step, ...]" = ()
    """Steps that are played when the dispatcher, working on what this step caused, reaches ``at``."""
    _line: int = PrivateAttr(default=0)

    @property
    def line(self) -> int:
        """Line of the file, from 1; 0 for a step that was not read from a file."""
        return self._line

    @property
    def verb(self) -> str:
        """The verb, as in the file."""
        return verb_of_class(type(self))

    def placed(self, line: int) -> Self:
        """Note the line of the file where the step begins, and return the step."""
        self._line = line
        return self

    def __eq__(self, other: object) -> bool:
        """Compare what the steps say, not where they stand."""
        if not isinstance(other, StepBase):
            return NotImplemented
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), self.at, self.do))

    @model_validator(mode="after")
    def _at_and_do(self) -> Self:
        if self.at is not None and not self.do:
            raise PydanticCustomError(
                "at_do", "'at' without 'do': say what happens at {point}", {"point": str(self.at)}
            )
        if self.do and self.at is None:
            raise PydanticCustomError(
                "at_do", "'do' without 'at': say at which point, such as at: before_clear"
            )
        return self


class Dispatcher(StepBase):
    """Start, stop (SIGTERM), crash (SIGKILL), or stop and start the dispatcher."""

    dispatcher: Literal["start", "stop", "crash", "restart"]
    plugins: NamesOrNone | None = None
    """With start or restart: the plugins of this life, where they are not all that are given."""

    @model_validator(mode="after")
    def _plugins_of_a_start(self) -> Self:
        if self.plugins is not None and self.dispatcher not in {"start", "restart"}:
            raise PydanticCustomError(
                "plugins", "'plugins' belongs to start or restart, not to {verb}", {"verb": self.dispatcher}
            )
        return self


def _failure(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, str) and value):
        return value
    raise PydanticCustomError(
        "failure", "write true or the error's message, not {shown}", {"shown": shown(value)}
    )


Failure = Annotated[bool | str, Field(union_mode="left_to_right"), BeforeValidator(_failure)]
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


class Evaluate(StepBase):
    """The evaluator runs."""

    evaluate: Evaluation


class Start(StepBase):
    """A step of each of these builds is sent to a machine: build_started."""

    start: Names


class StepEnds(StepBase):
    """The step under way of this build ends, and it was not the last one: step_finished."""

    step: Names
    status: StepStatus = statuses.Status.succeeded
    log: bool = Field(default=True, strict=True)
    """False: there is no log, the payload says ``-``."""


class Finish(StepBase):
    """The steps under way end and the builds finish: step_finished, then build_finished with the dependents."""

    finish: Names
    status: FinishStatus = statuses.Status.succeeded
    same_second: bool = Field(default=False, strict=True)
    """The simulated clock does not move for it."""
    log: bool = Field(default=True, strict=True)


class Build(StepBase):
    """Start, the steps, and finish, for each of these builds in turn."""

    build: Names
    status: FinishStatus = statuses.Status.succeeded
    same_second: bool = Field(default=False, strict=True)
    log: bool = Field(default=True, strict=True)


class Substitute(StepBase):
    """The outputs are fetched from a binary cache: build_finished only (Q-substituted)."""

    substitute: Names
    already_valid: bool = Field(default=False, strict=True)
    """The outputs were there already: not even a step is written."""
    same_second: bool = Field(default=False, strict=True)


class Abort(StepBase):
    """The machine is lost: the step under way ends as aborted and can be started again; the build goes on."""

    abort: Names


class Cancel(StepBase):
    """A person cancels the builds at the web page: finished, and no build_finished."""

    cancel: Names


class Restart(StepBase):
    """A person restarts finished builds at the web page (Q-restart)."""

    restart: Names


class Bump(StepBase):
    """A person gives the builds more priority at the web page."""

    bump: Names


class MarkOnly(StepBase):
    """The queue runner marks the builds as finished and dies before it notifies (quirk qr-notify-gap)."""

    mark_only: Names
    status: FinishStatus = statuses.Status.succeeded
    same_second: bool = Field(default=False, strict=True)


MOST_TIMES = 100_000
"""How often anything is repeated at most; the whole retry ladder takes 102."""

Times = Annotated[int, Field(ge=1, le=MOST_TIMES, strict=True)]


def _payload(value: Any) -> Any:
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
    for item in value:
        if isinstance(item, bool) or not isinstance(item, str | int):
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
]
"""The fields (a nickname of a build or evaluation, or ``jobset``, stands for its id), or the whole text as it is
sent, in which ``{nickname}`` stands for the id."""


def _channel(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", value):
        raise PydanticCustomError(
            "channel", "'{shown}' is not the name of a channel", {"shown": shown(value)}
        )
    return value


Channel = Annotated[str, BeforeValidator(_channel)]


class Notification(Entry):
    """A notification that a person sends by hand."""

    channel: Channel
    payload: Payload
    times: Times = 1
    in_: Literal["same transaction", "separate", "rolled back"] = Field(
        default="separate", validation_alias="in", serialization_alias="in"
    )
    """All in one transaction, each in its own, or all in one that is rolled back."""


class Notify(StepBase):
    """A person, or a program that is not Hydra, sends a notification."""

    notify: Notification


class StepRow(Entry):
    """A row of buildsteps, by its build and number."""

    build: Nickname
    number: Annotated[int, Field(ge=1, le=10**6, strict=True)] = 1


class TaskRows(Entry):
    """Rows of taskretries: those for which all that is given is so."""

    plugin: str | None = None
    channel: Channel | None = None
    payload: Payload | None = None


class NewTask(Entry):
    """A row of taskretries as a person or an older version left it; nothing about it has to be valid."""

    plugin: str
    channel: str
    payload: Payload
    attempts: Annotated[int, Field(ge=0, le=10**6, strict=True)] = 1
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
                "name one row: a {kinds}",
                {"kinds": ", or a ".join(self.keys()), "valid": list(self.keys())},
            )
        return self


class DeletedRow(OneRow):
    """The row that goes: ``{build: iso}``, ``{evaluation: e1}``, ``{step: {build: iso}}``, ``{task: {plugin: github}}``."""

    build: Nickname | None = None
    evaluation: Nickname | None = None
    step: StepRow | None = None
    task: TaskRows | None = None


class InsertedRow(OneRow):
    """The row that comes: ``{build: iso}`` (given with ``row: later``), or ``{task: {…}}``."""

    build: Nickname | None = None
    task: NewTask | None = None


class Delete(StepBase):
    """A person deletes a row; what hangs on it goes with it."""

    delete: DeletedRow


class Insert(StepBase):
    """A row appears."""

    insert: InsertedRow


class Connection(StepBase):
    """The dispatcher's connections to the database are lost; the server stays up."""

    connection: Literal["lost"]
    reply_lost: bool = Field(default=False, strict=True)
    """The commit under way was applied, only its answer was not seen."""


class Postgres(StepBase):
    """The database server restarts: every connection is lost, and for a moment none can be made."""

    postgres: Literal["restart"]


class Release(StepBase):
    """The plugin that holds its call lets it return, and holds no more calls."""

    release: str


class Advance(StepBase):
    """Time passes; what falls due on the way is played in its order."""

    advance: Duration
    """Seconds."""


def _settle(value: Any) -> Any:
    return True if value is None else value


class Settle(StepBase):
    """Wait until the dispatcher has done all it has to do."""

    settle: Annotated[Literal[True], BeforeValidator(_settle)]

    @classmethod
    def from_yaml(cls, data: Any) -> Any:
        """Read the bare word."""
        return {"settle": True} if data == "settle" else data


class Repetition(Entry):
    """How often, and what."""

    times: Times
    steps: "Annotated[tuple[Step, ...], Field(min_length=1)]"


class Repeat(StepBase):
    """The same steps several times."""

    repeat: Repetition


class ExpectStep(StepBase):
    """Look at what happened so far."""

    expect: Expect


VERBS: dict[str, type[StepBase]] = {
    "dispatcher": Dispatcher,
    "evaluate": Evaluate,
    "start": Start,
    "step": StepEnds,
    "finish": Finish,
    "build": Build,
    "substitute": Substitute,
    "abort": Abort,
    "cancel": Cancel,
    "restart": Restart,
    "bump": Bump,
    "mark_only": MarkOnly,
    "notify": Notify,
    "delete": Delete,
    "insert": Insert,
    "connection": Connection,
    "postgres": Postgres,
    "release": Release,
    "advance": Advance,
    "settle": Settle,
    "repeat": Repeat,
    "expect": ExpectStep,
}
"""Every verb, in the order in which the language's description has them."""

_VERB_OF = {cls: verb for verb, cls in VERBS.items()}


def verb_of_class(cls: type[StepBase]) -> str:
    """Return the verb of a class of steps."""
    return _VERB_OF[cls]


def _tag(value: Any) -> str | None:
    if isinstance(value, StepBase):
        return f"<{value.verb}>"
    if value == "settle":
        return "<settle>"
    return f"<{next(key for key in value if key in VERBS)}>"


def _one_verb(value: Any) -> Any:
    """See that there is exactly one verb before anything else of the step is looked at."""
    if isinstance(value, StepBase) or value == "settle":
        return value
    valid = list(VERBS)
    if isinstance(value, str):
        raise PydanticCustomError(
            "verb",
            "'{value}' is not a step: a step is a verb and what it is about",
            {"value": shown(value), "valid": valid},
        )
    if not isinstance(value, dict):
        raise PydanticCustomError(
            "verb",
            "a step is a verb and what it is about, not {shown}",
            {"shown": shown(value), "valid": valid},
        )
    verbs = [key for key in value if key in VERBS]
    if len(verbs) > 1:
        raise PydanticCustomError(
            "two_verbs",
            "two verbs in one step: {verbs}; make it two steps",
            {"verbs": " and ".join(verbs), "key": verbs[1]},
        )
    if not verbs:
        key = next(iter(value), "")
        raise PydanticCustomError(
            "verb",
            "'{value}' is not a verb" if key else "a step without a verb",
            {"value": shown(key), "key": key, "valid": valid},
        )
    return value


Step = Annotated[
    Annotated[Dispatcher, Tag("<dispatcher>")]
    | Annotated[Evaluate, Tag("<evaluate>")]
    | Annotated[Start, Tag("<start>")]
    | Annotated[StepEnds, Tag("<step>")]
    | Annotated[Finish, Tag("<finish>")]
    | Annotated[Build, Tag("<build>")]
    | Annotated[Substitute, Tag("<substitute>")]
    | Annotated[Abort, Tag("<abort>")]
    | Annotated[Cancel, Tag("<cancel>")]
    | Annotated[Restart, Tag("<restart>")]
    | Annotated[Bump, Tag("<bump>")]
    | Annotated[MarkOnly, Tag("<mark_only>")]
    | Annotated[Notify, Tag("<notify>")]
    | Annotated[Delete, Tag("<delete>")]
    | Annotated[Insert, Tag("<insert>")]
    | Annotated[Connection, Tag("<connection>")]
    | Annotated[Postgres, Tag("<postgres>")]
    | Annotated[Release, Tag("<release>")]
    | Annotated[Advance, Tag("<advance>")]
    | Annotated[Settle, Tag("<settle>")]
    | Annotated[Repeat, Tag("<repeat>")]
    | Annotated[ExpectStep, Tag("<expect>")],
    Discriminator(_tag),
    BeforeValidator(_one_verb),
]
"""Any step of a story."""

_RECURSIVE: tuple[type[Entry], ...] = (*VERBS.values(), Repetition)
for _class in _RECURSIVE:
    _class.model_rebuild()
