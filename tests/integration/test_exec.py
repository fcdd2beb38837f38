"""``--dispatcher exec:COMMAND``: the example dispatcher conforms where it claims to, and a wrong command is told."""

import json
import re
import sys
from pathlib import Path

import pytest

from hydra_notify_sim.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "dispatcher"
TARGET = f"exec:{sys.executable} {EXAMPLE / 'dispatcher.py'}"


def claimed() -> str:
    """Return the expression after -k in the example's README."""
    found = re.search(r"-k '([^']+)'", (EXAMPLE / "README.md").read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


@pytest.mark.slow
def test_the_example_keeps_what_its_readme_claims(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    code = main(
        ["replay", str(ROOT / "scenarios"), "--dispatcher", TARGET, "-k", claimed(), "--json", str(report)]
    )
    document = json.loads(report.read_text(encoding="utf-8"))
    played = {one["name"]: one["passed"] for one in document["scenarios"]}
    assert all(any(word in name for name in played) for word in claimed().split(" or "))
    assert all(played.values())
    assert code == 0
    held = {v["promise"] for one in document["scenarios"] for v in one["verdicts"] if v["verdict"] == "held"}
    assert held >= {"B-recover", "B-clear-after", "B-clear-own", "B-unfinished", "L-stop", "B-at-least-once"}


def test_what_it_does_not_claim_is_found(tmp_path: Path) -> None:
    story = str(ROOT / "scenarios" / "a-crash-right-after-a-failure-was-stored.yaml")
    report = tmp_path / "report.json"
    assert main(["replay", story, "--dispatcher", TARGET, "--patience", "0.2", "--json", str(report)]) == 1
    (scenario,) = json.loads(report.read_text(encoding="utf-8"))["scenarios"]
    assert "R-stored" in {v["promise"] for v in scenario["verdicts"] if v["verdict"] == "violated"}


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ("exec:", 2, "names no command"),
        ("exec:'python", 2, "No closing quotation"),
        ("exec:/no/such/program --now", 3, "/no/such/program: No such file or directory"),
        (f"exec:{sys.executable} -c 'print(4711)'", 3, "4711"),
        ("exce:python", 2, "Did you mean 'exec:COMMAND'"),
    ],
)
def test_a_command_that_is_none_is_told(
    target: str, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    story = str(ROOT / "scenarios" / "a-step-without-a-log.yaml")
    assert main(["replay", story, "--dispatcher", target]) == code
    captured = capsys.readouterr()
    assert says in captured.out + captured.err
    assert "Traceback" not in captured.out + captured.err
