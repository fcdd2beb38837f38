"""Generated stories in a conformance run: what only they find is shrunk, written down, and shown as any story is."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from hydra_notify_sim.cli import main
from hydra_notify_sim.conformance import generated
from hydra_notify_sim.scenario import load_all, shipped

ROOT = Path(__file__).parents[2]
BLIND = "evaluations-of-all-kinds"
"""A story in which no build finishes, so that nothing is found of marks."""


@pytest.fixture
def one_blind_story(monkeypatch: pytest.MonkeyPatch) -> None:
    stories = load_all([ROOT / "scenarios" / f"{BLIND}.yaml"])
    monkeypatch.setattr(shipped, "load", lambda: stories)


def conformance(tmp_path: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    report = tmp_path / "report.json"
    code = main(["conformance", *arguments, "--json", str(report)])
    value: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return code, value


@pytest.mark.usefixtures("one_blind_story")
def test_what_only_generated_stories_find_is_shrunk_and_shown_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, junit, page = tmp_path / "found", tmp_path / "junit.xml", tmp_path / "page.md"
    reports = ["--junit", str(junit), "--markdown", str(page)]
    bad = ["--dispatcher", "known-bad:clears-before-calling"]
    code, report = conformance(tmp_path, *bad, "--generated", "12", "--out", str(out), *reports)
    said = capsys.readouterr().out
    assert code == 1
    assert report["conformance"]["generated"] == 12
    (promise,) = (one for one in report["conformance"]["promises"] if one["promise"] == "B-clear-after")
    assert promise["verdict"] == "violated"
    smallest = promise["findings"][0]
    file = Path(smallest["file"])
    assert file.parent == out
    assert file.stem == smallest["scenario"]
    assert file.stem.startswith("B-")  # shrunk for this promise, or for another one that it breaks too
    as_generated = {
        Path(one["file"]) for one in promise["findings"] if one["scenario"].startswith("generated-0-")
    }
    assert as_generated
    assert as_generated <= set(out.iterdir())
    assert all(f" {one}\n" in one.read_text(encoding="utf-8") for one in as_generated), (
        "Again: with its directory"
    )
    for text in (said, junit.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")):
        assert f"in {file.stem}" in text or f"**{file.stem}**" in text
        assert str(file) in text
    # The commands that are shown play them again, and show it again.
    program, *again = shlex.split(smallest["command"])
    assert Path(program).name == "hydra-notify-sim"
    assert main(again) == 0
    assert "B-clear-after" in capsys.readouterr().out
    (one,) = load_all([file])
    assert len(one[1].story) <= 4
    assert main([*again[:-1], str(min(as_generated))]) == 1


@pytest.mark.usefixtures("one_blind_story")
def test_the_same_stories_every_time_and_others_with_another_seed(tmp_path: Path) -> None:
    def names(*arguments: str) -> list[str]:
        _, report = conformance(tmp_path, "--generated", "5", *arguments)
        return [one["name"] for one in report["scenarios"]]

    assert names() == names() == sorted([BLIND, *(f"generated-0-{number}" for number in range(5))])
    assert names("--seed", "7") == sorted([BLIND, *(f"generated-7-{number}" for number in range(5))])


def test_no_generated_story_asks_a_process_for_what_it_cannot_do() -> None:
    made = generated.stories(generated.Source(generated.IN_A_PROCESS), 0, in_process=False)
    assert len(made) == generated.IN_A_PROCESS
    text = "".join(str(story) for _, story, _ in made)
    assert "between_listen_and_scan" not in text
    assert "reply_lost=True" not in text
    everything = generated.stories(generated.Source(generated.IN_PROCESS), 0, in_process=True)
    assert "between_listen_and_scan" in "".join(str(story) for _, story, _ in everything)


def test_a_section_has_none_unless_they_are_asked_for(tmp_path: Path) -> None:
    _, report = conformance(tmp_path, "--section", "C")
    assert report["conformance"]["generated"] == 0
    assert not any(one["name"].startswith("generated-") for one in report["scenarios"])


@pytest.mark.usefixtures("one_blind_story")
def test_a_good_dispatcher_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, report = conformance(tmp_path, "--dispatcher", "known-good:polls", "--generated", "20")
    assert {one["verdict"] for one in report["conformance"]["promises"]} <= {"held", "not_exercised"}
    assert [one.name for one in tmp_path.iterdir()] == ["report.json"]
