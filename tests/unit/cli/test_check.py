"""``check`` on histories written by hand."""

import json
import re
from pathlib import Path

import pytest

from hydra_notify_sim import cli, history

PLUGINS = {"github": ("build_queued",)}


def saved(folder: Path, *records: history.AnyRecord, exercises: tuple[str, ...] = ("E-live",)) -> Path:
    """A history in which a build is queued and announced, and what more is given."""
    added = history.RowChange("inserted", "builds", "1", "hello")
    queued = history.Commit(
        t=1,
        actor="person",
        action="notify",
        rows=(added,),
        notifications=(history.Notification("build_queued", "1", raw=True),),
    )
    begin: list[history.AnyRecord] = [
        history.Starting(t=0, life=1, plugins=PLUGINS),
        history.Up(t=0, life=1),
        queued,
        history.Committed(t=1, commit=2),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    header = history.Header(
        name=folder.name,
        scenario="A build is queued",
        file=f"scenarios/{folder.name}.yaml",
        exercises=exercises,
        plugins=PLUGINS,
        seed=7,
    )
    history.save(history.History(header, [*begin, *records]), folder / "history.jsonl")
    return folder / "history.jsonl"


def called(number: int) -> list[history.AnyRecord]:
    build = {"id": 1, "finished": 0, "buildstatus": None, "starttime": None, "stoptime": None}
    return [
        history.Called(
            t=1,
            call=number,
            life=1,
            plugin="github",
            hook="build_queued",
            args={"build": {**build, "notificationpendingsince": None}},
        ),
        history.Returned(t=1, call=number),
    ]


SETTLED = history.Settled(t=2)


def test_a_history_that_holds_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path / "good", *called(1), SETTLED)
    assert cli.main(["check", str(file)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^passed  good \([0-9.]+ s\)$", said, re.MULTILINE)
    assert "1 scenario judged: 1 passed, 0 failed" in said


def test_a_call_too_many_is_1_with_the_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path / "twice", *called(1), *called(2), SETTLED)
    assert cli.main(["check", str(file)]) == 1
    said = capsys.readouterr().out
    assert "E-once was broken" in said
    assert re.search(r"^    > .*github +build_queued hello \(unfinished\): returned$", said, re.MULTILINE)
    assert f" check {file}" in said


def test_a_history_that_exercises_too_little_is_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path / "few", *called(1), SETTLED, exercises=("L-stop",))
    assert cli.main(["check", str(file)]) == 4
    assert "Not exercised: L-stop" in capsys.readouterr().out


def test_a_history_that_was_cut_is_2_and_the_others_are_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = saved(tmp_path / "run" / "good", *called(1), SETTLED)
    cut = saved(tmp_path / "run" / "cut", *called(1), SETTLED)
    cut.write_bytes(cut.read_bytes()[:-5])
    assert good.is_file()
    assert cli.main(["check", str(tmp_path / "run")]) == 2
    said = capsys.readouterr()
    assert "passed  good" in said.out
    assert f"{cut}: line 8 was cut off" in said.out
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize("content", ["", "{}\n", "not JSON\n", '{"version": 99, "name": "x"}\n'])
def test_what_is_no_history_is_2(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text(content)
    assert cli.main(["check", str(file)]) == 2
    assert str(file) in capsys.readouterr().out


@pytest.mark.parametrize("kept", [1, 4, 6])
def test_a_history_that_lost_whole_records_is_2(
    kept: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path / "good", *called(1), SETTLED)
    whole = file.read_text().splitlines(keepends=True)
    file.write_text("".join(whole[:kept]))
    assert cli.main(["check", str(file)]) == 2
    assert f"7 records were saved and {kept - 1} are here" in capsys.readouterr().out
    file.write_text("".join([*whole[:5], *whole[6:]]))
    assert cli.main(["check", str(file)]) == 2


def test_what_was_expected_stands_in_the_history_and_is_cited_by_the_scenarios_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unmet = history.Expected(t=2, text="marks: [x]", met=False, found="no marks", line=24)
    file = saved(tmp_path / "good", *called(1), unmet, SETTLED)
    (file.parent / "verdicts.json").write_text("[]")
    assert cli.main(["check", str(file.parent)]) == 1
    captured = capsys.readouterr()
    assert "Expectation not met, line 24 of the scenario, scenarios/good.yaml" in captured.out
    assert "expected: marks: [x]" in captured.out
    assert "history.jsonl:24" not in captured.out
    assert "its nicknames are left out" in captured.err


def test_a_history_of_version_1_is_judged_by_what_it_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path / "good", *called(1), SETTLED)
    file.write_text(file.read_text().replace('"version":2', '"version":1', 1))
    assert cli.main(["check", str(file)]) == 0
    assert "1 of 1 histories were written by an older version" in capsys.readouterr().err
    file.write_text(file.read_text().replace('"version":1', '"version":3', 1))
    assert cli.main(["check", str(file)]) == 2
    assert "this program reads versions 1 and 2" in capsys.readouterr().out


def test_the_report_is_the_one_of_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path / "good", *called(1), SETTLED)
    assert cli.main(["check", str(file), "--json", "-", "--profile", "manual"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["version"], value["profile"], value["seed"]) == (1, "manual", 7)
    assert value["summary"]["scenarios"] == 1
    assert value["scenarios"][0]["name"] == "good"
