"""The JSON Schema (draft 2020-12) of the recorder protocol's messages, one JSON object a line.

It is for those who write a recorder in another language; what happens when is told in docs/reference/recorder.md.
Unknown fields are allowed, as both sides ignore them.
"""

from typing import Any

from hydra_notify_sim.contract import channels
from hydra_notify_sim.recorders import messages
from hydra_notify_sim.recorders.recorder import COMPARED

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_NULLABLE = frozenset({"buildstatus", "starttime", "stoptime", "notificationpendingsince", "status"})
_TEXT = frozenset({"project", "name"})
_ROWS = tuple(COMPARED)


def json_schema() -> dict[str, Any]:
    """Return the schema: any message of either side; each has a definition of its own."""
    definitions: dict[str, Any] = {
        "hello": _hello(),
        "hooks": _object(
            "Harness to plugin, the answer to a hello: the hooks that this plugin has, and no other.",
            hooks={"type": "array", "items": {"$ref": "#/$defs/hook"}, "uniqueItems": True},
        ),
        "call": {
            "description": "Plugin to harness: a hook was called.",
            "oneOf": [_call(hook, names) for hook, names in messages.ARGUMENTS.items()],
        },
        "return": _object(
            "Harness to plugin, the answer to a call: the hook returns.", do={"const": "return"}
        ),
        "raise": _object(
            "Harness to plugin, the answer to a call: the hook fails with this message.",
            do={"const": "raise"},
            message={"type": "string"},
        ),
        "error": _object(
            "Harness to plugin, before it hangs up: this is not the protocol, or not this version of it.",
            error={"type": "string"},
        ),
        "hook": {"enum": list(messages.ARGUMENTS)},
        **{row: _row(row) for row in _ROWS},
    }
    kinds = ("hello", "hooks", "call", "return", "raise", "error")
    return {
        "$schema": DIALECT,
        "title": f"hydra-notify-sim recorder protocol, version {messages.VERSION}",
        "description": (
            f"One message: a line of UTF-8 JSON on the Unix stream socket that {messages.SOCKET_VARIABLE} names."
        ),
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in kinds],
        "$defs": definitions,
    }


def _hello() -> dict[str, Any]:
    schema = _object(
        "Plugin to harness, once per connection.",
        hello={"const": messages.VERSION, "description": "The protocol's version."},
        plugin={"type": "string", "description": f"One of the names in {messages.PLUGINS_VARIABLE}."},
        pid={"type": "integer"},
    )
    schema["properties"] |= {
        "task_name": {
            "type": "string",
            "description": "The name under which its failures stand in taskretries.pluginname, if it is another one.",
        },
        "concurrent": {"type": "boolean", "description": "It works on several events at once."},
        "quiet_ms": {
            "type": "integer",
            "minimum": 0,
            "description": "Milliseconds of silence until it counts as settled.",
        },
        "payloads": {
            "type": "array",
            "items": {"type": "string", "examples": list(channels.PAYLOAD_VERSIONS)},
            "minItems": 1,
            "description": "The versions of the payloads that the dispatcher reads; all, if it does not say.",
        },
    }
    return schema


def _call(hook: str, names: tuple[str, ...]) -> dict[str, Any]:
    args = _object("", **{name: _argument(name) for name in names})
    args["required"] = [name for name in names if name != "error_changed"]
    del args["description"]
    counter = {"type": "integer", "minimum": 1, "description": "Counts up from 1 in this connection."}
    return _object(f"A call of {hook}.", call=counter, hook={"const": hook}, args=args)


def _argument(name: str) -> dict[str, Any]:
    if name in _ROWS:
        return {"$ref": f"#/$defs/{name}"}
    if name == "dependents":
        return {"type": "array", "items": {"$ref": "#/$defs/build"}, "description": "In the order given."}
    if name == "error_changed":
        return {"enum": [0, 1], "description": "With payloads 2026-09 only."}
    return {"type": ["string", "null"] if name == "log_path" else "string"}


def _row(row: str) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for column in COMPARED[row]:
        kind = "string" if column in _TEXT else "integer"
        columns[column] = {"type": [kind, "null"] if column in _NULLABLE else kind}
    return _object("A row; other columns may be there in any form, and are not compared.", **columns)


def _object(description: str, **properties: Any) -> dict[str, Any]:
    return {
        "description": description,
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }
