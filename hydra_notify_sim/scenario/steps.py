"""The steps of a story: one class for each verb, its fields named as in the file."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PrivateAttr,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from hydra_notify_sim.contract import statuses
from hydra_notify_sim.scenario.base import Entry, Text, as_list, as_written, at_least_one, shown
from hydra_notify_sim.scenario.durations import Span
from hydra_notify_sim.scenario.expect import Expect
from hydra_notify_sim.scenario.parts import (
    DeletedRow,
    Evaluation,
    FinishStatus,
    InsertedRow,
    JobsetEdit,
    Names,
    NamesOrNone,
    Notification,
    StepStatus,
    Times,
)
from hydra_notify_sim.scenario.points import Point
from hydra_notify_sim.scenario.server import DatabaseSettings, LockedRow, Migration


class StepBase(Entry):
    """One step: a verb, its options, and perhaps what happens while the dispatcher works on it."""

    # Built with the first scenario that is read, once, and not verb by verb as this module is imported.
    model_config = ConfigDict(defer_build=True)

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
    """Start, stop (SIGTERM), crash (SIGKILL), or stop and start the dispatcher; freeze it (SIGSTOP), and thaw it."""

    dispatcher: Literal["start", "stop", "crash", "restart", "freeze", "thaw"]
    """What is done to it."""
    plugins: NamesOrNone | None = None
    """With start or restart: the plugins of this life, where they are not all that are given."""

    @model_validator(mode="after")
    def _plugins_of_a_start(self) -> Self:
        if self.plugins is not None and self.dispatcher not in {"start", "restart"}:
            raise PydanticCustomError(
                "plugins", "'plugins' belongs to start or restart, not to {verb}", {"verb": self.dispatcher}
            )
        return self


class Evaluate(StepBase):
    """The evaluator runs."""

    evaluate: Evaluation
    impossible: bool = Field(default=False, strict=True)
    """Write it although Hydra never would; the history says so."""


class Start(StepBase):
    """A step of each of these builds is sent to a machine: build_started."""

    start: Names


class StepEnds(StepBase):
    """The step under way of this build ends, and it was not the last one: step_finished."""

    step: Names
    status: StepStatus = statuses.Status.succeeded
    """How it ends."""
    log: bool = Field(default=True, strict=True)
    """False: there is no log, the payload says ``-``."""


class Finish(StepBase):
    """The steps under way end and the builds finish: step_finished, then build_finished with the dependents."""

    finish: Names
    status: FinishStatus = statuses.Status.succeeded
    """How it ends."""
    same_second: bool = Field(default=False, strict=True)
    """The simulated clock does not move for it."""
    log: bool = Field(default=True, strict=True)
    """False: its steps have no log, the payload says ``-``."""


class Build(StepBase):
    """Start, the steps, and finish, for each of these builds in turn."""

    build: Names
    status: FinishStatus = statuses.Status.succeeded
    """How it ends."""
    same_second: bool = Field(default=False, strict=True)
    """The simulated clock does not move for it."""
    log: bool = Field(default=True, strict=True)
    """False: its steps have no log, the payload says ``-``."""


class Substitute(StepBase):
    """The outputs are fetched from a binary cache: build_finished only (Q-substituted)."""

    substitute: Names
    already_valid: bool = Field(default=False, strict=True)
    """The outputs were there already: not even a step is written."""
    same_second: bool = Field(default=False, strict=True)
    """The simulated clock does not move for it."""


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
    """How it ends."""
    same_second: bool = Field(default=False, strict=True)
    """The simulated clock does not move for it."""


class Notify(StepBase):
    """A person, or a program that is not Hydra, sends a notification."""

    notify: Notification


class Delete(StepBase):
    """A person deletes a row; what hangs on it goes with it."""

    delete: DeletedRow


class EditJobset(StepBase):
    """A person renames, hides, disables or enables the jobset at the web page; its builds go on."""

    edit_jobset: JobsetEdit


class Insert(StepBase):
    """A row appears."""

    insert: InsertedRow


class Connection(StepBase):
    """The dispatcher's connections to the database are lost, or fall silent without an end; the server stays up."""

    connection: Literal["lost", "silent"]
    """How they go: ``silent`` ones pass nothing on any more, and neither side is told."""
    reply_lost: bool = Field(default=False, strict=True)
    """The commit under way was applied, only its answer was not seen."""

    @model_validator(mode="after")
    def _a_reply_of_lost_ones(self) -> Self:
        if self.reply_lost and self.connection != "lost":
            raise PydanticCustomError("reply_lost", "'reply_lost' belongs to lost connections")
        return self


class Postgres(StepBase):
    """The database server stops and starts, or is for reading only: the dispatcher's connections are lost each time."""

    postgres: Literal["restart", "stop", "start", "read_only", "writable"]
    """What becomes of it; while it is stopped nobody writes rows or sends notifications."""


class Settings(StepBase):
    """An administrator changes settings of the database; sessions that there are keep theirs."""

    settings: DatabaseSettings


class Lock(StepBase):
    """Somebody locks a build's row, and gives it back after a while of the story's clock."""

    lock: LockedRow


class Migrate(StepBase):
    """Hydra's schema is migrated while the dispatcher runs."""

    migrate: Migration


class Release(StepBase):
    """The plugin that holds its call lets it return, and holds no more calls."""

    release: Text


class Advance(StepBase):
    """Time passes; what falls due on the way is played in its order."""

    advance: Span
    """Seconds, or `until due`: until the next stored task is due, and those that are due in the same second."""
    real_time: bool = Field(default=False, strict=True)
    """Wait it out in real time and send nothing meanwhile: what falls due has to be run without being told."""


def _settle(value: Any) -> Any:
    return True if value is None else value


class Settle(StepBase):
    """Wait until the dispatcher has done all it has to do."""

    lone_keys: ClassVar[frozenset[str]] = frozenset({"settle"})

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


UNKNOWN = ("crash", "down", "connection lost")
"""What may have happened to a dispatcher that nobody watched."""


class Unknown(StepBase):
    """An open place: what the dispatcher met since the open place before it, or since the beginning, nobody saw.

    A story with one cannot be played; ``explore --fill`` tries what may stand there.
    """

    unknown: Annotated[
        tuple[Literal["crash", "down", "connection lost"], ...],
        BeforeValidator(as_list),
        AfterValidator(at_least_one),
        PlainSerializer(as_written),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": [*UNKNOWN]},
                    {"type": "array", "items": {"enum": [*UNKNOWN]}, "minItems": 1, "uniqueItems": True},
                ]
            }
        ),
    ]
    """What may have happened: it crashed and was started again, it was down, its connections were lost."""

    @model_validator(mode="after")
    def _nothing_happens_in_it(self) -> Self:
        if self.at is not None:
            raise PydanticCustomError("at_do", "an open place has no 'at': it says where nobody looked")
        return self


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
    "edit_jobset": EditJobset,
    "insert": Insert,
    "connection": Connection,
    "postgres": Postgres,
    "settings": Settings,
    "lock": Lock,
    "migrate": Migrate,
    "release": Release,
    "advance": Advance,
    "settle": Settle,
    "repeat": Repeat,
    "expect": ExpectStep,
    "unknown": Unknown,
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


# An alias by name keeps pydantic from going down into every verb's steps inside every other verb's.
Step = TypeAliasType(
    "Step",
    Annotated[
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
        | Annotated[EditJobset, Tag("<edit_jobset>")]
        | Annotated[Insert, Tag("<insert>")]
        | Annotated[Connection, Tag("<connection>")]
        | Annotated[Postgres, Tag("<postgres>")]
        | Annotated[Settings, Tag("<settings>")]
        | Annotated[Lock, Tag("<lock>")]
        | Annotated[Migrate, Tag("<migrate>")]
        | Annotated[Release, Tag("<release>")]
        | Annotated[Advance, Tag("<advance>")]
        | Annotated[Settle, Tag("<settle>")]
        | Annotated[Repeat, Tag("<repeat>")]
        | Annotated[ExpectStep, Tag("<expect>")]
        | Annotated[Unknown, Tag("<unknown>")],
        Discriminator(_tag),
        BeforeValidator(_one_verb),
    ],
)
"""Any step of a story."""
