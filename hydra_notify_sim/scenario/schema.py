"""The JSON Schema (draft 2020-12) of scenario files, for completion and checking in editors.

It accepts every form that the loader accepts. What a schema cannot say (unknown nicknames, impossible orders)
only the loader finds.
"""

import ast
import functools
import inspect
import itertools
import sys
from collections.abc import Iterator
from typing import Any

from hydra_notify_sim.contract import channels
from hydra_notify_sim.scenario import points, steps
from hydra_notify_sim.scenario.base import HOOK_SCHEMA, NICKNAME_SCHEMA, Entry
from hydra_notify_sim.scenario.model import Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_REF = "#/$defs/"


def json_schema() -> dict[str, Any]:
    """Return the schema, with a description of every key."""
    schema = Scenario.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs")
    for cls in _entries(Entry):
        definition = schema if cls is Scenario else definitions.get(cls.__name__)
        if definition is not None:
            _describe(definition, cls)
    _special_forms(definitions)
    members = [{"$ref": _REF + cls.__name__} for cls in steps.VERBS.values()]
    # What every step may have is checked once for a step and not once for each verb: otherwise the time to check
    # a file would grow by the number of verbs with each `do` inside a `do`.
    common = {key: dict(definitions["Settle"]["properties"][key]) for key in ("at", "do")}
    for cls in steps.VERBS.values():
        own = definitions[cls.__name__]["properties"]
        own |= {key: {"description": form["description"]} for key, form in common.items()}
    tidy = _tidied({**schema, "$defs": definitions}, members)
    tidy["$defs"]["step"] = {
        "description": "One step: a verb and its options.",
        "anyOf": [
            {"const": "settle"},
            {
                "type": "object",
                "properties": _tidied(common, members),
                "dependentRequired": {"at": ["do"], "do": ["at"]},
                "oneOf": members,
            },
        ],
    }
    return {"$schema": DIALECT, "title": "hydra-notify-sim scenario", **tidy}


def _special_forms(definitions: dict[str, Any]) -> None:
    """Put the written form of what is not written as its fields."""
    count = {"type": "integer", "minimum": 1}
    any_call: dict[str, Any] = {"anyOf": [{"type": "null"}, NICKNAME_SCHEMA, count]}
    which: dict[str, Any] = dict.fromkeys(points.CALL_POINTS, any_call)
    which |= {name: {"type": "null"} for name in points.LONE_POINTS}
    which |= dict.fromkeys(points.NUMBERED_POINTS, count)
    definitions["Point"] = {
        "description": definitions["Point"]["description"],
        "anyOf": [
            {"enum": [*points.CALL_POINTS, *points.LONE_POINTS]},
            {
                "type": "object",
                "properties": {
                    name: {**form, "description": f"The point {name}, and which one."}
                    for name, form in which.items()
                }
                | {"hook": {**HOOK_SCHEMA, "description": "Only on an event of this channel."}},
                "additionalProperties": False,
                "oneOf": [{"required": [name]} for name in points.POINTS],
            },
        ],
    }
    allowance = definitions["Allowance"]
    for name in ("hook", "about"):
        del allowance["properties"][name]
    allowance["properties"] |= {
        hook: {**NICKNAME_SCHEMA, "description": "Nickname of the build or evaluation that it was about."}
        for hook in channels.CHANNELS
    }
    allowance["required"] = ["allowed_by"]
    allowance["oneOf"] = [{"required": [hook]} for hook in channels.CHANNELS]
    definitions["Call"] = {"anyOf": [definitions["Call"]["properties"]["ended"], definitions["Call"]]}
    raises = definitions["Raises"]
    raises["anyOf"] = [
        {
            "properties": {"always": {"const": True}},
            "required": ["always"],
            "not": {"anyOf": [{"required": ["first"]}, {"required": ["for"]}]},
        },
        {
            "properties": {"always": {"const": False}},
            "anyOf": [{"required": ["first"]}, {"required": ["for"]}],
        },
    ]
    definitions["Raises"] = {"anyOf": [{"const": "always"}, raises]}
    definitions["Settle"]["properties"]["settle"] = {
        "enum": [True, None],
        "description": "Wait until the dispatcher has done all it has to do.",
    }
    definitions["Expect"]["minProperties"] = 1
    for name in ("DeletedRow", "InsertedRow"):
        definitions[name] |= {"minProperties": 1, "maxProperties": 1}


def _describe(definition: dict[str, Any], cls: type[Entry]) -> None:
    """Give each key the text that stands under its field in the source, or what its class is."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, Entry):
            texts |= _texts(base)
    for name, info in cls.model_fields.items():
        key = str(info.validation_alias or name)
        if key in definition["properties"] and name not in cls.hidden_keys:
            definition["properties"][key]["description"] = texts.get(name) or inspect.cleandoc(
                cls.__doc__ or ""
            )


def _texts(cls: type[Entry]) -> dict[str, str]:
    return _texts_of_module(cls.__module__).get(cls.__name__, {})


@functools.cache
def _texts_of_module(module: str) -> dict[str, dict[str, str]]:
    """Return, by class, the text under each field of a module."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {body.name: _texts_of_class(body) for body in tree.body if isinstance(body, ast.ClassDef)}


def _texts_of_class(body: ast.ClassDef) -> dict[str, str]:
    texts: dict[str, str] = {}
    for field, text in itertools.pairwise(body.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                texts[name] = " ".join(words.replace("`", "").split())
    return texts


def _entries(cls: type[Entry]) -> Iterator[type[Entry]]:
    for part in cls.__subclasses__():
        yield part
        yield from _entries(part)


def _tidied(value: Any, members: list[dict[str, str]]) -> Any:
    """Leave out what says nothing: titles, defaults of null, null as a value, each list of all verbs but one."""
    if isinstance(value, list):
        return [_tidied(item, members) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("oneOf") == members:
        return {"$ref": _REF + "step"}
    options = value.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options and value.get("default", 0) is None:
        options = [option for option in options if option != {"type": "null"}]
        form = options[0] if len(options) == 1 else {"anyOf": options}
        value = {**form, **{key: item for key, item in value.items() if key != "anyOf"}}
    if value.get("default") == 0 and "succeeded" in value.get("enum", ()):
        value = {**value, "default": "succeeded"}
    return {
        key: _tidied(item, members)
        for key, item in value.items()
        if not (key == "title" and isinstance(item, str))
        and not (key == "default" and item in (None, [], {}))
    }
