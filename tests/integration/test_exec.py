"""``--dispatcher exec:COMMAND``: the example dispatcher conforms where it claims to, and a wrong command is told."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from hydra_notify_sim.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "dispatcher"
TARGET = f"exec:{sys.executable} {EXAMPLE / 'dispatcher.py'}"


README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
PROMISE = r"\b[PECBRL]-[a-z-]+[a-z]"


def claimed() -> str:
    """Return the expression after -k in the example's README."""
    found = re.search(r"-k '([^']+)'", README)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any]]:
    """All stories but the longest played against the example: exit code and report."""
    report = tmp_path_factory.mktemp("example") / "report.json"
    short = "not (ladder or split or poison or newer or without-the-hook or livelock)"
    options = ["--dispatcher", TARGET, "--patience", "0.3", "-k", short, "--json", str(report)]
    code = main(["replay", str(ROOT / "scenarios"), *options])
    document: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return code, document


def judged(document: dict[str, Any], verdict: str) -> set[str]:
    return {v["promise"] for one in document["scenarios"] for v in one["verdicts"] if v["verdict"] == verdict}


@pytest.mark.slow
def test_the_example_keeps_what_its_readme_claims(everything: tuple[int, dict[str, Any]]) -> None:
    _, document = everything
    words = claimed().split(" or ")
    played = {one["name"]: one["passed"] for one in document["scenarios"]}
    chosen = {name: passed for name, passed in played.items() if any(word in name for word in words)}
    assert all(any(word in name for name in chosen) for word in words)
    assert {name for name, passed in chosen.items() if not passed} == set()
    claims = set(
        re.findall(PROMISE, README[README.index("it claims") : README.index("B-at-least-once as long")])
    )
    assert len(claims) >= 9
    assert claims <= judged(document, "held") | {"L-split"}  # the stories of split announcements are long
    assert claims & judged(document, "violated") == set()


@pytest.mark.slow
def test_the_example_breaks_what_its_readme_says_and_nothing_else(
    everything: tuple[int, dict[str, Any]],
) -> None:
    code, document = everything
    told = set(re.findall(PROMISE, README[README.index("Broken are") :]))
    long_stories = {"R-gone-plugin", "R-poison", "R-backoff"}
    assert code == 1
    assert told - long_stories <= judged(document, "violated") <= told


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
