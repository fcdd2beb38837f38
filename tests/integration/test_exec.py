"""``--dispatcher exec:COMMAND``: what the example dispatcher does not claim is found, and a wrong command is told."""

import json
import re
import sys
from pathlib import Path

import pytest

from hydra_notify_sim.cli import main
from hydra_notify_sim.scenario import shipped

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "dispatcher"
TARGET = f"exec:{sys.executable} {EXAMPLE / 'dispatcher.py'}"


README = (EXAMPLE / "README.md").read_text(encoding="utf-8")


def claimed() -> str:
    """Return the expression after -k in the example's README."""
    found = re.search(r"-k '([^']+)'", README)
    assert found is not None
    return found[1]


def test_the_stories_that_its_readme_names_are_there() -> None:
    names = [path.stem for path, _, _ in shipped.load()]
    assert all(any(word in name for name in names) for word in claimed().split(" or "))


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
