"""What a step ``expect`` may say of calls, marks, retries, losses, promises and the log."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from hydra_notify_sim.contract import channels
from hydra_notify_sim.scenario.base import (
    NICKNAMES_SCHEMA,
    TEXT_SCHEMA,
    BuildStatus,
    Entry,
    Hook,
    Nickname,
    Text,
    as_list,
    as_text,
    choose,
    shown,
)
from hydra_notify_sim.scenario.durations import Duration
from hydra_notify_sim.scenario.promise_ids import PromiseId, PromiseIds

Ended = Literal["returned", "raised", "cut off"]
ENDED: tuple[Ended, ...] = ("returned", "raised", "cut off")
"""How a call ends: it returned, it raised, or the dispatcher was gone before either."""

Nicknames = Annotated[tuple[Nickname, ...], BeforeValidator(as_list), WithJsonSchema(NICKNAMES_SCHEMA)]
"""Nicknames in an order; one may come twice, as a build does among its own dependents (quirk qr-self-dependent)."""


def _ended(value: Any) -> Any:
    return choose(value, ENDED, "a way in which a call ends")


class Call(Entry):
    """One call of a plugin; what is None is not looked at."""

    ended: Annotated[Ended, BeforeValidator(_ended)] | None = None
    """How the call ended."""
    build: Nickname | None = None
    """The main build."""
    status: BuildStatus | None = None
    """Status in the row that was handed over as main build."""
    dependents: Nicknames | None = None
    """The dependents that were handed over, in whatever order."""
    hook: Hook | None = None
    """The hook; of use where the key names the plugin alone."""

    @classmethod
    def from_yaml(cls, data: Any) -> Any:
        """Read ``raised`` as ``{ended: raised}``."""
        if isinstance(data, str):
            return {"ended": data}
        if not isinstance(data, dict):
            raise PydanticCustomError(
                "call",
                "write returned, raised, cut off, or {build: …}, not {shown}",
                {"shown": shown(data)},
            )
        return data

    @model_serializer(mode="wrap")
    def _written(self, handler: Any) -> Any:
        data = handler(self)
        return data["ended"] if set(data) == {"ended"} else data


class CallCount(Entry):
    """How many calls of this kind there were, in whatever order; with neither bound, at least one."""

    ended: Annotated[Ended, BeforeValidator(_ended)] | None = None
    """How the call ended."""
    build: Nickname | None = None
    """The main build."""
    status: BuildStatus | None = None
    """Status in the row that was handed over as main build."""
    dependents: Nicknames | None = None
    """The dependents that were handed over, in whatever order."""
    hook: Hook | None = None
    """The hook; of use where the key names the plugin alone."""
    at_least: Annotated[int, Field(ge=0, le=10**6, strict=True)] | None = None
    """So many of these calls, or more."""
    at_most: Annotated[int, Field(ge=0, le=10**6, strict=True)] | None = None
    """So many of these calls, or fewer."""

    @property
    def bounds(self) -> tuple[int, int | None]:
        """Return the least and the greatest number of calls; None where there is no greatest."""
        if self.at_least is None and self.at_most is None:
            return 1, None
        return self.at_least or 0, self.at_most

    @model_validator(mode="after")
    def _in_order(self) -> "CallCount":
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise PydanticCustomError(
                "bounds", "at_least is greater than at_most: no number of calls is both"
            )
        return self


def _kind(value: Any) -> str | None:
    if isinstance(value, list | tuple):
        return "<list>"
    return "<count>" if isinstance(value, dict | CallCount) else None


Calls = Annotated[
    Annotated[tuple[Call, ...], Tag("<list>")] | Annotated[CallCount, Tag("<count>")],
    Discriminator(
        _kind,
        custom_error_type="calls",
        custom_error_message="write a list of calls in their order, [] for none, or {build: …, at_least: …}",
    ),
]


class Retry(Entry):
    """A stored task for a failed call; what is None is not looked at."""

    plugin: Text
    """The plugin that failed."""
    attempts: Annotated[int, Field(ge=0, le=10**6, strict=True)] | None = None
    """Failures so far."""
    due_in: Duration | None = None
    """Seconds from now until it is due, give or take R-backoff's tolerance; 0: due."""
    hook: Hook | None = None
    """The hook; of use where the key names the plugin alone."""
    build: Nickname | None = None
    """The build that the stored payload names first."""


class Allowance(Entry):
    """What the contract allows to be lost or repeated: ``{cached_build_finished: hello, allowed_by: C-gone}``."""

    hidden_keys: ClassVar[frozenset[str]] = frozenset({"hook", "about"})
    further_keys: ClassVar[tuple[str, ...]] = channels.CHANNELS

    hook: Hook
    about: Nickname
    """Nickname of the build, or of the evaluation for the hooks ``eval_…``."""
    allowed_by: PromiseId
    """The promise that allows it."""
    plugin: Text | None = None
    """The plugin that it was lost for, or repeated for."""

    @classmethod
    def from_yaml(cls, data: Any) -> Any:
        """Read the one key that is a hook as the hook, and its value as the nickname."""
        if not isinstance(data, dict) or "hook" in data:
            return data
        hooks = [key for key in data if key in channels.CHANNELS]
        if len(hooks) != 1:
            raise PydanticCustomError(
                "allowance",
                "name one hook and what it was about, as in {cached_build_finished: hello, allowed_by: C-gone}",
                {"valid": list(channels.CHANNELS)},
            )
        rest = {key: value for key, value in data.items() if key != hooks[0]}
        return {"hook": hooks[0], "about": data[hooks[0]], **rest}

    @model_serializer(mode="wrap")
    def _written(self, handler: Any) -> Any:
        data = handler(self)
        return {data.pop("hook"): data.pop("about"), **data}


def _pattern(value: Any) -> Any:
    value = as_text(value)
    if not isinstance(value, str) or not value:
        raise PydanticCustomError(
            "pattern", "write a regular expression, not {shown}", {"shown": shown(value)}
        )
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise PydanticCustomError(
            "pattern", "not a regular expression: {reason}", {"reason": str(error)}
        ) from error
    return value


class Expect(Entry):
    """What should be so at this moment of the story; what is None is not looked at."""

    calls: dict[str, Calls] | None = None
    """By plugin or ``plugin.hook``: all calls since the story began, in order, or how many."""
    last: dict[str, Call] | None = None
    """By plugin or ``plugin.hook``: the last call."""
    marks: Nicknames | None = None
    """The builds that carry a mark now, and no others."""
    retries: tuple[Retry, ...] | None = None
    """The stored tasks now, and no others, in any order."""
    lost: tuple[Allowance, ...] | None = None
    """What was lost so far and the contract allows; each must be found, there may be more."""
    repeated: tuple[Allowance, ...] | None = None
    """What was delivered again so far and the contract allows; each must be found, there may be more."""
    violated: PromiseIds | None = None
    """For a dispatcher that is known to be bad: the promises that it has broken at the end of the run."""
    log: Annotated[str, BeforeValidator(_pattern), WithJsonSchema({**TEXT_SCHEMA, "minLength": 1})] | None = (
        None
    )
    """A regular expression (`re.search`) that something in the dispatcher's log matches."""

    @model_validator(mode="after")
    def _says_something(self) -> "Expect":
        if not self.model_fields_set:
            raise PydanticCustomError("expect", "nothing is expected here", {"valid": list(self.keys())})
        return self
