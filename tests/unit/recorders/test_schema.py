"""The JSON Schema of the recorder protocol accepts what both sides say, and nothing that the harness refuses."""

import json
from typing import Any

import jsonschema
import pytest

from hydra_notify_sim.cli import main
from hydra_notify_sim.contract import channels
from hydra_notify_sim.recorders import messages
from hydra_notify_sim.recorders.schema import json_schema

VALIDATOR = jsonschema.Draft202012Validator(json_schema())
BUILD = {
    "id": 5,
    "finished": 1,
    "buildstatus": 0,
    "starttime": 1,
    "stoptime": 2,
    "notificationpendingsince": None,
    "job": "iso",
}
ARGUMENTS: dict[str, Any] = {
    "build": BUILD,
    "dependents": [BUILD],
    "step": {"build": 5, "stepnr": 1, "status": None},
    "log_path": None,
    "evaluation": {"id": 1, "jobset_id": 1},
    "jobset": {"id": 1, "project": "nixpkgs", "name": "trunk"},
    "trace_id": "12.5.7",
    "error_changed": 1,
}


def call(hook: str) -> dict[str, Any]:
    return {
        "call": 1,
        "hook": hook,
        "args": {name: ARGUMENTS[name] for name in messages.ARGUMENTS[hook]},
        "colour": "red",
    }


def test_it_is_a_schema_and_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert main(["schema", "recorder"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


@pytest.mark.parametrize("hook", channels.CHANNELS)
def test_a_call_of_every_hook_is_accepted_and_read(hook: str) -> None:
    VALIDATOR.validate(call(hook))
    assert messages.read_call(json.dumps(call(hook)).encode(), "alpha", 1).hook == hook
    without = call(hook)
    without["args"].pop(messages.ARGUMENTS[hook][0])
    assert not VALIDATOR.is_valid(without)


def test_payloads_of_august_have_no_error_changed() -> None:
    august = call("eval_failed")
    del august["args"]["error_changed"]
    VALIDATOR.validate(august)


def test_what_the_harness_says_is_accepted() -> None:
    for line in (
        messages.hooks_message(("build_finished", "step_finished")),
        messages.answer_message(None),
        messages.answer_message("403 rate limited"),
        messages.error_message("another version"),
    ):
        VALIDATOR.validate(json.loads(line))


@pytest.mark.parametrize(
    "hello",
    [
        {"hello": 1, "plugin": "alpha", "pid": 4242},
        {"hello": 1, "plugin": "a", "pid": 1, "task_name": "A", "concurrent": True, "quiet_ms": 200},
        {"hello": 1, "plugin": "a", "pid": 1, "payloads": ["2026-08", "2027-01"]},
    ],
)
def test_a_hello_is_accepted(hello: dict[str, Any]) -> None:
    VALIDATOR.validate(hello)


@pytest.mark.parametrize(
    "message",
    [
        {"hello": 2, "plugin": "alpha", "pid": 1},
        {"hello": 1, "pid": 1},
        {"hello": 1, "plugin": "a", "pid": 1, "payloads": "2026-08"},
        {"hello": 1, "plugin": "a", "pid": 1, "payloads": []},
        {"call": 0, "hook": "build_queued", "args": {"build": BUILD}},
        {"call": 1, "hook": "buildQueued", "args": {"build": BUILD}},
        {"call": 1, "hook": "build_queued", "args": {"build": {**BUILD, "finished": "1"}}},
        {"do": "raise"},
        {"do": "retry"},
        {"hooks": ["buildFinished"]},
        {},
    ],
)
def test_what_is_not_the_protocol_is_not_accepted(message: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(message)
