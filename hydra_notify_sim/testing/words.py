"""The scenario language's own checks, for words that a test uses: what is wrong becomes one sentence."""

import difflib
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hydra_notify_sim import errors
from hydra_notify_sim.scenario.points import Point

__tracebackhide__ = True
"""Pytest shows a failure where the test is, not in here."""

Model = TypeVar("Model", bound=BaseModel)


def made(model: type[Model], **values: Any) -> Model:
    """Return a part of a scenario. Raises UsageError, with the words of the scenario language."""
    return read(model, values)


def read(model: type[Model], value: Any) -> Model:
    """Return a part of a scenario from its written form. Raises UsageError."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise errors.UsageError(_sentence(error)) from None


def point(name: str, which: int | str | None, hook: str | None) -> Point:
    """Return a point. Raises UsageError if there is none like it."""
    written: dict[str, Any] = {"name": name, "which": which}
    return read(Point, written | ({} if hook is None else {"hook": hook}))


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    context = first.get("ctx", {})
    valid = context.get("valid")
    told = f"{place}: {first['msg']}" if place else str(first["msg"])
    if valid:
        near = difflib.get_close_matches(str(context.get("value", "")), valid, 1)
        told += f". Did you mean {near[0]!r}?" if near else "."
        told += f" Valid: {', '.join(valid)}"
    return told
