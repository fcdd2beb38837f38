"""What all parts of a scenario have in common: frozen, no unknown keys, nicknames, names of statuses."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from hydra_notify_sim.contract import channels, statuses


@dataclass(slots=True)
class Reading:
    """What reading a file leaves behind for its errors; handed to pydantic as the validation context."""

    classes: dict[int, "type[Entry]"] = field(default_factory=dict)
    """Identity of a mapping to the part of the scenario that it was read as."""
    unknown: list[tuple[int, str]] = field(default_factory=list)
    """Identity of a mapping, and a key of it that does not belong there."""
    empty: list[tuple[int, str]] = field(default_factory=list)
    """Identity of a mapping, and a key of it without a value."""


class Entry(BaseModel):
    """A mapping of the file: immutable, its keys fixed."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, allow_inf_nan=False
    )

    hidden_keys: ClassVar[frozenset[str]] = frozenset()
    """Fields whose name is not a key of the file."""
    further_keys: ClassVar[tuple[str, ...]] = ()
    """Keys of the file that are no fields."""
    lone_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys that need no value."""

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """Return the keys that the file may have here, in the order a person would write them."""
        own = [
            str(info.validation_alias or name)
            for name, info in cls.model_fields.items()
            if name not in cls.hidden_keys
        ]
        return (*own, *cls.further_keys)

    @classmethod
    def from_yaml(cls, data: Any) -> Any:
        """Turn the written form into the fields; a part whose keys are its fields has nothing to do."""
        return data

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: Any, info: ValidationInfo) -> Any:
        reading = info.context
        if isinstance(reading, Reading) and isinstance(data, dict):
            reading.classes[id(data)] = cls
            valid = cls.keys()
            unknown = [key for key in data if key not in valid]
            reading.unknown.extend((id(data), key) for key in unknown)
            empty = [key for key in data if data[key] is None and key in valid and key not in cls.lone_keys]
            reading.empty.extend((id(data), key) for key in empty)
            if unknown or empty:
                data = {key: value for key, value in data.items() if key in valid and key not in empty}
        return cls.from_yaml(data)

    def replaced(self, **changes: Any) -> Self:
        """Return a copy with other values, validated again."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate(values | changes)


def as_text(value: Any) -> Any:
    """Take a number or a truth value for the text that stands there, as it was written in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return getattr(value, "written", str(value))
    return value


TEXT_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean"]}

Text = Annotated[str, BeforeValidator(as_text), WithJsonSchema(TEXT_SCHEMA)]
"""A text; a number or a truth value without quotes is one, too."""

SomeText = Annotated[
    str, Field(min_length=1), BeforeValidator(as_text), WithJsonSchema({**TEXT_SCHEMA, "minLength": 1})
]
"""A text that is not empty."""

NICKNAME = r"^[A-Za-z_][A-Za-z0-9_+-]*(\.[1-9][0-9]*)?$"
"""What a nickname looks like; ``many.3`` is the third of the builds that ``many`` with copies stands for."""

_NICKNAME = re.compile(NICKNAME[:-1] + r"\Z")


def check_nickname(value: Any) -> Any:
    """Say what a nickname is, if this is none."""
    if not isinstance(value, str) or len(value) > 100 or not _NICKNAME.match(value):
        raise PydanticCustomError(
            "nickname",
            "'{shown}' is not a nickname: use letters, digits, '-', '_' and '+', beginning with a letter",
            {"shown": _shown(value)},
        )
    return value


def as_list(value: Any) -> Any:
    """Take one thing for a list of one."""
    if isinstance(value, str | int) and not isinstance(value, bool):
        return (value,)
    if not isinstance(value, list | tuple):
        raise PydanticCustomError(
            "names", "write one nickname or a list of them, not {shown}", {"shown": _shown(value)}
        )
    return value


def as_written(value: tuple[Any, ...]) -> Any:
    """Write a list of one as that one."""
    return value[0] if len(value) == 1 else list(value)


def at_least_one(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse an empty list, and a name that stands in it twice."""
    if not value:
        raise PydanticCustomError("names", "the list is empty: name at least one")
    return distinct(value)


def distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a name that stands in the list twice."""
    twice = next((name for index, name in enumerate(value) if name in value[:index]), None)
    if twice is not None:
        raise PydanticCustomError("names", "'{twice}' stands here twice", {"twice": twice})
    return value


NICKNAME_SCHEMA: dict[str, Any] = {"type": "string", "pattern": NICKNAME, "maxLength": 100}
NICKNAMES_SCHEMA: dict[str, Any] = {"anyOf": [NICKNAME_SCHEMA, {"type": "array", "items": NICKNAME_SCHEMA}]}

Nickname = Annotated[str, BeforeValidator(check_nickname), WithJsonSchema(NICKNAME_SCHEMA)]


def choose(value: Any, valid: tuple[str, ...], what: str) -> str:
    """Return ``value`` if it is one of ``valid``; else raise an error that lists them."""
    if isinstance(value, str) and value in valid:
        return value
    raise PydanticCustomError(
        "choice",
        "'{shown}' is not {what}",
        {"shown": _shown(value), "what": what, "value": _shown(value), "valid": list(valid)},
    )


def check_hook(value: Any) -> str:
    """Return the name of a channel that has a plugin hook."""
    return choose(value, channels.CHANNELS, "a hook")


HOOK_SCHEMA: dict[str, Any] = {"enum": list(channels.CHANNELS)}

Hook = Annotated[str, BeforeValidator(check_hook), WithJsonSchema(HOOK_SCHEMA)]
"""A hook, which has the name of its channel."""


def status_among(expected: Iterable[statuses.Status]) -> Callable[[Any], statuses.Status]:
    """Return what reads the name of a status; for a name that is none, its error lists the expected ones."""
    names = tuple(status.name for status in expected)

    def read(value: Any) -> statuses.Status:
        if isinstance(value, statuses.Status):
            return value
        if isinstance(value, str) and value in statuses.Status.__members__:
            return statuses.Status[value]
        return statuses.Status[choose(value, names, "a status")]

    return read


BUILD_STATUSES = tuple(status for status in statuses.Status if status not in statuses.STEP_ONLY)


def _status_name(value: statuses.Status) -> str:
    return value.name


def enum_schema(values: Iterable[statuses.Status]) -> dict[str, Any]:
    """Return the JSON Schema of the names of some statuses."""
    return {"enum": [status.name for status in values]}


def _build_status(value: statuses.Status) -> statuses.Status:
    if value in statuses.STEP_ONLY:
        raise PydanticCustomError(
            "status", "a build never has the status {name}, only a step", {"name": value.name}
        )
    return value


Status = Annotated[
    statuses.Status,
    BeforeValidator(status_among(statuses.Status)),
    PlainSerializer(_status_name),
    WithJsonSchema(enum_schema(statuses.Status)),
]
"""A status of the contract, by its name."""

BuildStatus = Annotated[
    Status,
    BeforeValidator(status_among(BUILD_STATUSES)),
    AfterValidator(_build_status),
    WithJsonSchema(enum_schema(BUILD_STATUSES)),
]
"""A status that a build can have."""


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return text if len(text) <= 40 else text[:40] + "…"


shown = _shown
