"""An independent dispatcher conforms as a process, and each of its bugs, for which no story was written, is found from outside."""

import json
import sys
from pathlib import Path

import pytest

from hydra_notify_sim.cli import main

HERE = Path(__file__).parent / "independent"
SCENARIOS = Path(__file__).parents[2] / "scenarios"

sys.path.insert(0, str(HERE))
try:
    import bugs
finally:
    sys.path.remove(str(HERE))


def replay(tmp_path: Path, program: str, *stories: str) -> tuple[int, set[str]]:
    report = tmp_path / "report.json"
    files = [str(SCENARIOS / f"{story}.yaml") for story in stories]
    target = ["--dispatcher", f"exec:{sys.executable} {HERE / program}", "--patience", "0.4"]
    code = main(["replay", *files, *target, "--json", str(report)])
    found = json.loads(report.read_text(encoding="utf-8"))
    return code, {
        verdict["promise"]
        for one in found["scenarios"]
        for verdict in one["verdicts"]
        if verdict["verdict"] == "violated"
    }


@pytest.mark.slow
def test_without_a_bug_every_promise_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The control: all that finds a bug below finds none here."""
    stories = sorted({story for _, story, _ in bugs.BUGS.values()})
    assert replay(tmp_path, "dispatcher.py", *stories) == (0, set()), capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", bugs.BUGS)
def test_each_bug_is_found(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, story, promises = bugs.BUGS[name]
    code, violated = replay(tmp_path, f"bugs.py {name}", story)
    assert code == 1, capsys.readouterr().out
    assert violated & set(promises), violated
