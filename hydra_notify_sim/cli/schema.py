"""``schema``: prints the JSON Schema of a file format, for editors."""

import json
import sys
from typing import Any

import click

from hydra_notify_sim import scenario
from hydra_notify_sim.recorders import schema as recorder


@click.group("schema")
def command() -> None:
    """Print the JSON Schema of a file format, for completion in an editor."""


@command.command("scenario")
def scenario_schema() -> int:
    """Print the JSON Schema of a scenario.

    Save it and name it in a scenario's first line: # yaml-language-server: $schema=FILE
    """
    return _print(scenario.json_schema())


@command.command("recorder")
def recorder_schema() -> int:
    """Print the JSON Schema of the messages between a recorder plugin and the harness.

    What happens when is told in docs/reference/recorder.md.
    """
    return _print(recorder.json_schema())


def _print(schema: dict[str, Any]) -> int:
    sys.stdout.write(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
    return 0
