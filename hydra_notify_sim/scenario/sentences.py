"""What pydantic found wrong, in sentences that a Hydra administrator understands."""

from typing import Any

from pydantic import ValidationError

from hydra_notify_sim.scenario.base import Reading, shown
from hydra_notify_sim.scenario.document import Document
from hydra_notify_sim.scenario.problems import Finding, Path_, hint_for

_PLAIN = {
    "string_type": "write a text here, not {input}",
    "int_type": "write a whole number here, not {input}",
    "int_from_float": "write a whole number here, not {input}",
    "float_type": "write a number here, not {input}",
    "finite_number": "write a number here, not {input}",
    "bool_type": "write true or false here, not {input}",
    "dict_type": "write a mapping here (key: value), not {input}",
    "model_type": "write a mapping here (key: value), not {input}",
    "model_attributes_type": "write a mapping here (key: value), not {input}",
    "tuple_type": "write a list here, not {input}",
    "greater_than_equal": "{input} is too small: at least {ge}",
    "less_than_equal": "{input} is too large: at most {le}",
    "string_too_short": "there is nothing here; write something",
    "too_short": "the list is empty: name at least one",
    "string_pattern_mismatch": "{input} does not look as it should: project:name, such as nixpkgs:trunk",
}
"""By pydantic's type of error; the other types are our own, with sentences of their own."""


def findings_of(error: ValidationError | None, reading: Reading, document: Document) -> list[Finding]:
    """Return what is wrong: unknown keys, and what pydantic said of the rest."""
    found = [
        _unknown(document.paths[place], key, reading.classes[place].keys()) for place, key in reading.unknown
    ]
    found += [
        Finding(
            (*document.paths[place], key),
            "nothing stands here; give a value or leave the key out",
            at_key=True,
        )
        for place, key in reading.empty
    ]
    emptied = {finding.path for finding in found}
    for details in error.errors(include_url=False) if error is not None else ():
        path = _path(details["loc"])
        told = details["type"] == "missing" and path in emptied
        # A list whose only items are wrong is called too short as well, and a mapping without its only value
        # is called empty: that is not what is wrong with them.
        told |= details["type"] == "too_short" and bool(details["input"])
        told |= details["type"] == "expect" and any(empty[: len(path)] == path for empty in emptied)
        if not told:
            found.append(_finding(details, path))
    return found


def _unknown(path: Path_, key: str, valid: tuple[str, ...]) -> Finding:
    return Finding((*path, key), f"unknown key '{shown(key)}'", hint_for(key, valid), at_key=True)


def _path(loc: Path_) -> Path_:
    """Return a place without the names of the members of unions, which are written as tags."""
    return tuple(part for part in loc if part != "[key]" and not (isinstance(part, str) and part[:1] == "<"))


def _finding(details: Any, path: Path_) -> Finding:
    context = details.get("ctx") or {}
    at_key = "[key]" in details["loc"]
    kind = details["type"]
    if kind == "missing":
        return Finding(path[:-1], f"the key '{path[-1]}' is missing", at_key=True)
    if kind in {"verb", "two_verbs"} and context.get("key"):
        valid = context.get("valid") or []
        return Finding(
            (*path, context["key"]),
            details["msg"],
            hint_for(context["key"], valid) if valid else "",
            at_key=True,
        )
    if kind == "literal_error":
        valid = _literals(details["ctx"]["expected"])
        word = shown(details["input"])
        return Finding(path, f"'{word}' is not valid here", hint_for(word, valid), at_key)
    if kind in _PLAIN:
        given = details["input"]
        text = f"'{shown(given)}'" if isinstance(given, str) else shown(given)
        message = _PLAIN[kind].format(input=text, **context)
        if kind == "string_type" and isinstance(given, int | float):
            message += "; in quotes it is a text"
        return Finding(path, message, at_key=at_key)
    hint = hint_for(str(context.get("value", "")), context["valid"]) if "valid" in context else ""
    return Finding(path, details["msg"], hint, at_key)


def _literals(expected: str) -> list[str]:
    """Read pydantic's ``'start', 'stop' or 'crash'``."""
    words = expected.replace(" or ", ", ").split(", ")
    return [{"True": "true", "False": "false"}.get(word, word.strip("'")) for word in words]
