"""Durations as a person writes them: a number of seconds, or a number with s, m, h or d."""

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
"""Seconds in each unit."""

LONGEST = 366 * 86400.0
"""A year, in seconds: the retry ladder takes 26.5 hours, and more than this is a slip of the pen."""

PATTERN = r"^[0-9]+(\.[0-9]+)?[smhd]$"
"""How a duration with a unit looks."""

_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")


def parse_duration(value: object) -> float:
    """Return the seconds that ``6``, ``6s``, ``2m``, ``26.5h`` or ``3d`` stand for.

    Raises:
        PydanticCustomError: it is no number, is negative, has another unit, or is longer than a year.

    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _wrong(value)
    if isinstance(value, str):
        written = _WRITTEN.fullmatch(value)
        if written is None or len(value) > 20:
            raise _wrong(value)
        seconds = float(written[1]) * UNITS[written[2]]
    elif isinstance(value, int) and abs(value) > LONGEST:
        raise _wrong(value)
    else:
        seconds = float(value)
    if not math.isfinite(seconds) or seconds < 0 or seconds > LONGEST:
        raise _wrong(value)
    return seconds + 0.0


def format_duration(seconds: float) -> str | float:
    """Write seconds in the unit that reads best; `parse_duration` gives the same number back."""
    for unit in "dhms":
        amount = seconds / UNITS[unit]
        text = f"{amount:g}{unit}"
        short = len(text) <= 5 and amount >= 1
        if _WRITTEN.fullmatch(text) and (short or unit == "s") and parse_duration(text) == seconds:
            return text
    return seconds


def _wrong(value: object) -> PydanticCustomError:
    shown = str(value)[:40]
    return PydanticCustomError(
        "duration",
        "'{shown}' is not a duration: write a number of seconds, or 6s, 2m, 26.5h or 3d, at most 366d",
        {"shown": shown},
    )


def _serialize(value: float) -> Any:
    return format_duration(value)


_SECONDS: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": LONGEST}
_WITH_UNIT: dict[str, Any] = {"type": "string", "pattern": PATTERN}

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(_serialize),
    WithJsonSchema({"anyOf": [_SECONDS, _WITH_UNIT]}),
]
"""Seconds, as a float."""

UntilDue = Literal["until due"]
UNTIL_DUE: UntilDue = "until due"


def parse_span(value: object) -> float | UntilDue:
    """Return seconds, or ``until due`` as it stands.

    Raises:
        PydanticCustomError: it is neither.

    """
    if value == UNTIL_DUE:
        return UNTIL_DUE
    try:
        return parse_duration(value)
    except PydanticCustomError as error:
        raise PydanticCustomError("span", "{told}; or `until due`", {"told": error.message()}) from None


Span = Annotated[
    float | UntilDue,
    BeforeValidator(parse_span),
    PlainSerializer(lambda value: value if value == UNTIL_DUE else format_duration(value)),
    WithJsonSchema({"anyOf": [{"const": UNTIL_DUE}, _SECONDS, _WITH_UNIT]}),
]
"""Seconds, or until the next stored task is due."""
