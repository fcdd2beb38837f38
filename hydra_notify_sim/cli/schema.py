"""``schema``: prints the JSON Schema of a file format, for editors."""

import json
import sys

import click

from hydra_notify_sim import scenario


@click.group("schema")
def command() -> None:
    """Print the JSON Schema of a file format, for completion in an editor."""


@command.command("scenario")
def scenario_schema() -> int:
    """Print the JSON Schema of a scenario.

    Save it and name it in a scenario's first line: # yaml-language-server: $schema=FILE
    """
    sys.stdout.write(json.dumps(scenario.json_schema(), indent=2, ensure_ascii=False) + "\n")
    return 0
