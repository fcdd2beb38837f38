"""Open places: what they may say and where they stand, and that no story with one is played."""

from pathlib import Path

import pytest

from hydra_notify_sim import scenario
from hydra_notify_sim.cli import ending

STORY = """\
scenario: An incident
why: a test
exercises: [B-at-least-once]
given:
  builds: {iso: {}}
  plugins: {github: {}}
story:
  - dispatcher: start
  - build: iso
  - unknown: [crash, connection lost]
  - unknown: down
  - settle
"""


def test_they_are_read_and_written() -> None:
    one = scenario.load_text(STORY)
    assert [place.unknown for place in scenario.open_places(one)] == [("crash", "connection lost"), ("down",)]
    assert "  - unknown: [crash, connection lost]\n  - unknown: down\n" in scenario.to_yaml(one)
    assert scenario.load_text(scenario.to_yaml(one)) == one


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("unknown: []", "the list is empty"),
        ("unknown: [crash, crash]", "'crash' stands here twice"),
        ("unknown: [fire]", "'fire' is not valid here"),
        ("unknown:", "nothing stands here"),
        ("{unknown: crash, at: before_clear, do: [settle]}", "an open place has no 'at'"),
        ("{build: iso, at: before_clear, do: [{unknown: crash}]}", "not under 'do' or 'repeat'"),
        ("repeat: {times: 2, steps: [{unknown: crash}]}", "not under 'do' or 'repeat'"),
    ],
)
def test_what_they_cannot_say(place: str, said: str) -> None:
    with pytest.raises(scenario.ScenarioFileError, match=said):
        scenario.load_text(STORY.replace("unknown: down", place))


@pytest.mark.parametrize("command", [["replay"], ["replay", "--dry-run"], ["explore", "--sweep", "crash"]])
def test_a_story_with_one_is_not_played(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "incident.yaml"
    file.write_text(STORY)
    assert ending.main([*command, str(file)]) == 2
    assert "what happened in 2 places (lines 10, 11) is left open" in capsys.readouterr().err
