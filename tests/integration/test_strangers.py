"""Bugs that strangers invented: those that were missed at first are found by the story and the promises that docs/strangers.md names."""

import json
import re
import sys
from pathlib import Path

import pytest

from hydra_notify_sim.cli import main

ROOT = Path(__file__).parents[2]
FIRST = Path(__file__).parent / "strangers" / "first.py"
ROWS = re.findall(
    r"^\| `([\w-]+)` \|.*\| ([\w-]+) \| ([A-Z]-[\w, -]+) \| missed at first",
    (ROOT / "docs" / "strangers.md").read_text(),
    re.MULTILINE,
)


def violated(tmp_path: Path, story: str, *options: str) -> set[str]:
    report = tmp_path / "report.json"
    target = f"exec:{sys.executable} {FIRST} {' '.join(options)}"
    main(["replay", str(ROOT / "scenarios" / f"{story}.yaml"), "--dispatcher", target, "--json", str(report)])
    (found,) = json.loads(report.read_text(encoding="utf-8"))["scenarios"]
    return {one["promise"] for one in found["verdicts"] if one["verdict"] == "violated"}


@pytest.mark.slow
@pytest.mark.parametrize(("bug", "story", "promises"), ROWS)
def test_what_was_missed_is_found_now_and_only_with_the_bug(
    bug: str, story: str, promises: str, tmp_path: Path
) -> None:
    assert violated(tmp_path, story, "--bug", bug) & set(promises.split(", "))
    assert violated(tmp_path, story) == set()


def test_the_page_names_what_was_missed_and_is_found_now() -> None:
    assert len(ROWS) >= 7
