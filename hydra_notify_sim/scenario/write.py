"""A scenario as the YAML text that a person would write; reading it gives the same scenario.

Keys stand in the order of the language's description. A list or mapping stands on one line where it fits and
is not deep; steps, and what is given, stand one to a line.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra_notify_sim.scenario import document
from hydra_notify_sim.scenario.model import Scenario
from hydra_notify_sim.scenario.steps import VERBS

WIDTH = 100
"""Characters of a line, where a line can be broken."""

_DEEPEST_ON_A_LINE = 2
_ALWAYS_BLOCK = frozenset({"given", "builds", "plugins", "story", "do", "steps"})
_LAST = ("at", "do")
_PLAIN = re.compile(r"[^\W]|/")
_NOT_PLAIN = re.compile(r": |:\Z| #|[\"\\`]| \Z")
_NOT_IN_FLOW = re.compile(r"[,\[\]{}:]")
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def to_yaml(scenario: Scenario) -> str:
    """Return the text of a scenario file, with a newline at its end."""
    data = scenario.model_dump(by_alias=True, exclude_defaults=True)
    data["story"] = [_ordered(step) for step in data["story"]]
    return "\n".join(_mapping(data, 0)) + "\n"


def _ordered(step: dict[str, Any]) -> Any:
    """Put the verb first, then its options, then ``at`` and ``do``."""
    if step == {"settle": True}:
        return "settle"
    verb = next(key for key in step if key in VERBS)
    ordered = {verb: step[verb]}
    ordered |= {key: value for key, value in step.items() if key != verb and key not in _LAST}
    ordered |= {key: step[key] for key in _LAST if key in step}
    if "do" in ordered:
        ordered["do"] = [_ordered(inner) for inner in ordered["do"]]
    if verb == "repeat":
        ordered["repeat"] = {
            **step["repeat"],
            "steps": [_ordered(inner) for inner in step["repeat"]["steps"]],
        }
    return ordered


def _mapping(value: Mapping[str, Any], indent: int) -> Iterator[str]:
    for key, item in value.items():
        yield from _entry(f"{' ' * indent}{_scalar(key)}:", key, item, indent)


def _entry(head: str, key: str, value: Any, indent: int) -> Iterator[str]:
    is_block = key in _ALWAYS_BLOCK and isinstance(value, Mapping | list | tuple) and value
    line = None if is_block else _on_a_line(value, WIDTH - len(head) - 1)
    if line is not None:
        yield f"{head} {line}"
        return
    yield head
    if isinstance(value, Mapping):
        yield from _mapping(value, indent + 2)
    else:
        yield from _items(value, indent + 2)


def _items(value: Sequence[Any], indent: int) -> Iterator[str]:
    for item in value:
        dash = f"{' ' * indent}- "
        if isinstance(item, Mapping) and item and (len(item) == 1 or not _fits(item, WIDTH - len(dash))):
            lines = list(_mapping(item, indent + 2))
            yield dash + lines[0].lstrip(" ")
            yield from lines[1:]
        elif isinstance(item, Mapping):
            yield dash + _flow(item)
        else:
            yield dash + _scalar(item)


def _fits(item: Mapping[str, Any], room: int) -> bool:
    is_step = next(iter(item)) in VERBS
    return not is_step and _on_a_line(item, room) is not None


def _on_a_line(value: Any, room: int) -> str | None:
    """Return a value on one line, or None if it is better written on several."""
    if not isinstance(value, Mapping | list | tuple):
        return _scalar(value)
    line = _flow(value)
    return line if not value or (len(line) <= room and _depth(value) <= _DEEPEST_ON_A_LINE) else None


def _depth(value: Any) -> int:
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list | tuple):
        return 0
    return 1 + max(map(_depth, value), default=0)


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{_scalar(key, flow=True)}: {_flow(item)}" for key, item in value.items()) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value, flow=True)


def _scalar(value: Any, *, flow: bool = False) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    if _is_plain(value) and not (flow and _NOT_IN_FLOW.search(value)):
        return value
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def _is_plain(text: str) -> bool:
    """Whether YAML reads the bare text as this text."""
    return (
        bool(_PLAIN.match(text))
        and text.isprintable()
        and not _NOT_PLAIN.search(text)
        and _reads_as(text) == text
    )


def _reads_as(text: str) -> Any:
    try:
        return document.plain_value(text)
    except ValueError:
        return None
