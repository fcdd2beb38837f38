"""A scenario: what is given, the story, and which promises it exists for."""

from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from hydra_notify_sim.contract import channels, quirks
from hydra_notify_sim.scenario.base import (
    HOOK_SCHEMA,
    TEXT_SCHEMA,
    BuildStatus,
    Entry,
    Nickname,
    SomeText,
    Text,
    as_list,
    as_text,
    as_written,
    check_hook,
    choose,
    distinct,
    shown,
)
from hydra_notify_sim.scenario.durations import Duration
from hydra_notify_sim.scenario.parts import Flake, Jobset, Names, NamesOrNone, Times
from hydra_notify_sim.scenario.promise_ids import PromiseIds
from hydra_notify_sim.scenario.steps import Step

DEFAULT_MESSAGE = "raised because the scenario says so"
"""What a plugin raises where the scenario gives no message."""

MOST_BUILDS = 5_000
"""Builds in all, copies counted; a payload is split at about 1,400 dependents."""

MOST_NEEDS = 20_000
"""Pairs of a build and one that it needs, copies counted."""


class GivenBuild(Entry):
    """A build that the story can name."""

    job: Text | None = None
    """Name of the job; None: one is made up."""
    name: Text | None = None
    """Name and version of the package (``builds.nixname``); None: one is made up."""
    system: Text = "x86_64-linux"
    """The platform that it is built on."""
    needs: NamesOrNone = ()
    """Builds that this one depends on: if one of them fails, this one fails with it."""
    steps: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    """Steps that building it takes; all but the last are dependencies of its own derivation."""
    outputs: NamesOrNone = ("out",)
    """Names of its outputs."""
    constituents: NamesOrNone = ()
    """The builds that it stands for, if it is an aggregate job; it needs each of them."""
    maintainers: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...],
        BeforeValidator(as_list),
        PlainSerializer(as_written),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ] = ()
    """Mail addresses of its maintainers."""
    same_derivation_as: Nickname | None = None
    """A build of the same derivation, and of the same job if none is given: what a reverted change makes anew."""
    products: Annotated[int, Field(ge=0, le=1000, strict=True)] = 0
    """How many products a successful build has."""
    metrics: dict[str, Annotated[float, Field(strict=True)]] = Field(default_factory=dict)
    """Metrics of a successful build, by name."""
    finished: BuildStatus | None = None
    """It was finished before the story begins, with this status."""
    pending: bool = Field(default=False, strict=True)
    """With ``finished``: its mark is still there, for it was never announced."""
    row: Literal["now", "later"] = "now"
    """``later``: no row exists until an ``insert`` step, though payloads can name its id before."""
    copies: Annotated[int, Field(ge=1, le=MOST_BUILDS, strict=True)] = 1
    """The nickname ``many`` stands for this many builds, ``many.1`` and so on for each."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.pending and self.finished is None:
            raise PydanticCustomError(
                "pending", "'pending' needs 'finished': a mark belongs to a finished build"
            )
        if self.row == "later" and self.copies > 1:
            raise PydanticCustomError("row", "a build that comes later has no copies")
        if self.same_derivation_as is not None and self.copies > 1:
            raise PydanticCustomError("same", "a build of the same derivation as another one has no copies")
        if self.same_derivation_as is not None and self.model_fields_set & {"name", "system", "outputs"}:
            raise PydanticCustomError(
                "same", "name, system and outputs are those of the build that it has the same derivation as"
            )
        return self


class Raises(Entry):
    """When a plugin's calls fail; ``first`` and ``for`` together: the first calls for that build."""

    always: bool = Field(default=False, strict=True)
    """Every call."""
    first: Times | None = None
    """Only so many calls, from the first one."""
    for_: Names | None = Field(default=None, validation_alias="for", serialization_alias="for")
    """Only calls whose main build is one of these."""
    message: SomeText = DEFAULT_MESSAGE
    """What the exception says."""

    @classmethod
    def from_yaml(cls, data: Any) -> Any:
        """Read the word ``always``."""
        if data == "always":
            return {"always": True}
        if not isinstance(data, dict):
            raise PydanticCustomError(
                "raises", "write always, {first: 2} or {for: build}, not {shown}", {"shown": shown(data)}
            )
        return data

    @model_validator(mode="after")
    def _when(self) -> Self:
        if self.always == (self.first is not None or self.for_ is not None):
            raise PydanticCustomError("raises", "say when it raises: always, or first: 2, or for: a build")
        return self

    @model_serializer(mode="wrap")
    def _written(self, handler: Any) -> Any:
        data = handler(self)
        return "always" if data == {"always": True} else data


def _hooks(value: Any) -> Any:
    if value == "all":
        return channels.CHANNELS
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise PydanticCustomError(
            "hooks", "write all or a list of hooks, not {shown}", {"shown": shown(value)}
        )
    return value


def _written_hooks(value: tuple[str, ...]) -> Any:
    return "all" if value == channels.CHANNELS else list(value)


class GivenPlugin(Entry):
    """A plugin of the dispatcher."""

    hooks: Annotated[
        tuple[Annotated[str, BeforeValidator(check_hook)], ...],
        BeforeValidator(_hooks),
        AfterValidator(distinct),
        PlainSerializer(_written_hooks),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": ["all", *channels.CHANNELS]},
                    {"type": "array", "uniqueItems": True, "items": HOOK_SCHEMA},
                ]
            }
        ),
    ] = channels.CHANNELS
    """The hooks that it has; `all` by default."""
    raises: Raises | None = None
    """Which of its calls fail."""
    takes: Duration = 0.0
    """Seconds that each call takes."""
    holds: bool = Field(default=False, strict=True)
    """Calls do not return until a ``release`` step."""


class Given(Entry):
    """How the world is when the story begins."""

    jobset: Jobset = "nixpkgs:trunk"
    """``project:name``."""
    flake: Flake | None = None
    """The reference of the flake that the jobset evaluates; None: it evaluates an expression inside an input."""
    builds: dict[Nickname, GivenBuild] = Field(default_factory=dict)
    """The builds of the story, by nickname; one that no evaluation queues has its row before the story begins."""
    plugins: dict[Nickname, GivenPlugin] = Field(default_factory=dict)
    """The dispatcher's plugins, by nickname."""
    dispatcher: Literal["in process", "process"] = "in process"
    """``process``: the story needs signals and sockets, so the dispatcher has to be a process."""
    payloads: channels.PayloadVersion | None = None
    """The form of eval_added and eval_failed that the story is about: 2026-09 has one field more. None: the one that the
    dispatcher reads."""
    first_build: Annotated[int, Field(ge=1, le=2_000_000_000, strict=True)] | None = None
    """Id of the first build, where it matters, as for the length of a payload; else it is made up."""
    first_evaluation: Annotated[int, Field(ge=1, le=2_000_000_000, strict=True)] | None = None
    """Id of the story's first evaluation, where it matters, as where it equals a build's; else it is made up."""

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        copies = {nickname: build.copies for nickname, build in self.builds.items()}
        needs = sum(
            copies.get(name, 1) * build.copies
            for build in self.builds.values()
            for name in (*build.needs, *build.constituents)
        )
        if sum(copies.values()) > MOST_BUILDS or needs > MOST_NEEDS:
            raise PydanticCustomError(
                "builds",
                "too many builds: at most {builds} with their copies, and {needs} pairs of one and what it needs",
                {"builds": MOST_BUILDS, "needs": MOST_NEEDS},
            )
        return self

    @property
    def version(self) -> channels.PayloadVersion:
        """Return the version of the payloads that the story is told in."""
        return self.payloads or channels.DEFAULT_PAYLOADS

    @property
    def project(self) -> str:
        """Return the project's name."""
        return self.jobset.split(":")[0]


SENTENCE = r"^\S.*$"
"""What stands in one line, and does not begin with a space."""


def _sentence(value: Any) -> Any:
    if isinstance(value, str) and (value != value.strip() or len(value.splitlines()) != 1):
        raise PydanticCustomError("sentence", "say in one line what happens; the rest belongs under why")
    return value


def _quirk(value: Any) -> Any:
    known = tuple(quirk.id for quirk in quirks.QUIRKS)
    return choose(value, known, "a quirk that is known")


QuirkId = Annotated[str, BeforeValidator(_quirk)]
"""The id of a known deviation of Hydra's, such as ``hn-stale-clear``."""


class Scenario(Entry):
    """One story, as one file tells it."""

    scenario: Annotated[
        str,
        BeforeValidator(_sentence),
        BeforeValidator(as_text),
        WithJsonSchema({**TEXT_SCHEMA, "pattern": SENTENCE}),
    ]
    """One sentence: what happens."""
    why: SomeText
    """The incident or the promise behind it."""
    exercises: Annotated[PromiseIds, Field(min_length=1)]
    """The promises that the file exists for."""
    known: dict[QuirkId, PromiseIds] = Field(default_factory=dict)
    """Quirk id to the promises that it breaks on dispatchers with that quirk."""
    may_break: dict[QuirkId, PromiseIds] = Field(default_factory=dict)
    """Quirk id to promises that it breaks as well now and then, depending on timing or on the order of the plugins."""
    given: Given = Given()
    """How the world is when the story begins."""
    story: Annotated[tuple[Step, ...], Field(min_length=1)]
    """What happens, step by step."""

    @cached_property
    def builds(self) -> dict[str, GivenBuild]:
        """Every single build, copies told apart as ``many.1`` …; ``needs`` names single builds, constituents too."""
        found: dict[str, GivenBuild] = {}
        for nickname, build in self.given.builds.items():
            parts = self.singles(build.constituents)
            needs = tuple(dict.fromkeys([*self.singles(build.needs), *parts]))
            single = build.model_copy(update={"needs": needs, "constituents": parts, "copies": 1})
            found.update(dict.fromkeys(singles_of(nickname, build), single))
        return found

    def singles(self, nicknames: tuple[str, ...]) -> tuple[str, ...]:
        """Return the single builds that nicknames stand for, in order."""
        given = self.given.builds
        return tuple(
            single
            for nickname in nicknames
            for single in (singles_of(nickname, given[nickname]) if nickname in given else (nickname,))
        )

    @cached_property
    def twins(self) -> dict[str, tuple[str, ...]]:
        """The other builds of a build's derivation, by single build; those that are alone are left out."""
        groups: dict[str, list[str]] = {}
        for name, build in self.builds.items():
            if build.same_derivation_as is not None:
                first = build.same_derivation_as
                while (before := self.builds[first].same_derivation_as) is not None:
                    first = before
                groups.setdefault(first, [first]).append(name)
        return {
            name: tuple(other for other in group if other != name)
            for group in groups.values()
            for name in group
        }

    def job_of(self, single: str) -> str | None:
        """Return the job of a build, as far as the file says it; its own where none is made up twice."""
        build = self.builds[single]
        if build.job is not None or build.same_derivation_as is None:
            return build.job
        return self.job_of(build.same_derivation_as)

    def same_job_and_derivation(self, one: str, other: str) -> bool:
        """Tell whether an evaluation would take two builds for the same."""
        return other in self.twins.get(one, ()) and self.job_of(one) == self.job_of(other)

    def dependents_of(self, single: str) -> tuple[str, ...]:
        """Return the single builds that need this one, directly or through others, in the order given."""
        reached: set[str] = set()
        waiting = [single]
        while waiting:
            for name in self._direct_dependents.get(waiting.pop(), ()):
                if name not in reached:
                    reached.add(name)
                    waiting.append(name)
        return tuple(name for name in self.builds if name in reached) if reached else ()

    @cached_property
    def _direct_dependents(self) -> dict[str, list[str]]:
        direct: dict[str, list[str]] = {}
        for nickname, build in self.builds.items():
            for name in build.needs:
                direct.setdefault(name, []).append(nickname)
        return direct


def singles_of(nickname: str, build: GivenBuild) -> tuple[str, ...]:
    """Return the single builds of one nickname: itself, or ``many.1`` to ``many.n``."""
    if build.copies == 1:
        return (nickname,)
    return tuple(f"{nickname}.{number}" for number in range(1, build.copies + 1))
