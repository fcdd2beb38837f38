"""The JSON Schema that editors read from docs/reference is the one that the command prints."""

import json
from pathlib import Path

from hydra_notify_sim.scenario import json_schema

FILE = Path(__file__).parents[3] / "docs" / "reference" / "scenario.schema.json"


def test_the_file_is_what_the_code_says() -> None:
    assert json.loads(FILE.read_text()) == json_schema(), (
        "write it anew: hydra-notify-sim schema scenario > docs/reference/scenario.schema.json"
    )
