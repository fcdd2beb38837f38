import errno
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from hydra_notify_sim import checks, errors, history
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import directory, json_report, junit
from hydra_notify_sim.reports.report import Report, ReportNotWrittenError

Started = Callable[[int], events.RunStarted]
OVER = events.RunFinished(interrupted=False, seconds=1.5)


def feed(report: Report, *run: events.Event) -> None:
    for event in run:
        report.take(event)


def broken(error: Exception) -> events.ScenarioFailed:
    return events.ScenarioFailed("sto\x1bry", Path("s.yaml"), "A story", error, "replay s.yaml")


class TestJson:
    def test_the_document_is_exactly_as_documented(
        self,
        tmp_path: Path,
        started: Started,
        held: events.ScenarioFinished,
        violated: events.ScenarioFinished,
    ) -> None:
        file = tmp_path / "report.json"
        feed(json_report.JsonReport(file), started(2), held, violated, OVER)
        value = json.loads(file.read_text(encoding="utf-8"))
        assert list(value) == [
            "version",
            "seed",
            "dispatcher",
            "profile",
            "summary",
            "scenarios",
            "not_claimed",
        ]
        assert (value["version"], value["seed"], value["dispatcher"], value["profile"]) == (
            1,
            7,
            "reference",
            "strict",
        )
        assert value["summary"] == {
            "scenarios": 2,
            "passed": 1,
            "failed": 1,
            "not_claimed": 0,
            "outcome": "a promise or an expectation was broken",
            "outlived": [],
            "promises": {"held": 1, "violated": 1, "known": 1, "not_exercised": 1},
        }
        story = value["scenarios"][1]
        assert list(story) == ["name", "file", "passed", "verdicts", "allowed", "expectations"]
        assert (story["name"], story["file"], story["passed"]) == (violated.name, str(violated.file), False)
        assert story["verdicts"][1] == {
            "promise": "B-clear-after",
            "verdict": "violated",
            "explanation": "The mark of build 2 was cleared though github had not been shown the outcome.",
            "records": [4, 9],
        }
        assert story["allowed"] == [
            {
                "what": "lost: build_queued iso for github: nobody listened; E-gone allows it",
                "promise": "E-gone",
                "records": [2],
            }
        ]
        assert [one["met"] for one in story["expectations"]] == [True, False]
        assert story["expectations"][1]["line"] == 24

    def test_why_a_scenario_was_not_exercised_stands_among_its_expectations(
        self, started: Started, unexercised: events.ScenarioFinished
    ) -> None:
        stream = io.StringIO()
        feed(json_report.JsonReport(stream), started(1), unexercised, OVER)
        [story] = json.loads(stream.getvalue())["scenarios"]
        assert story["expectations"] == [
            {
                "text": "the scenario is exercised",
                "met": False,
                "found": "before_store was never reached",
                "line": 0,
            }
        ]

    def test_a_scenario_that_could_not_be_played_has_an_error_without_a_password(
        self, started: Started
    ) -> None:
        stream = io.StringIO()
        error = errors.EnvironmentFailedError("postgres://u:geheim@h is unreachable")
        feed(json_report.JsonReport(stream), started(1), broken(error), OVER)
        value = json.loads(stream.getvalue())
        assert value["summary"]["failed"] == 1
        assert value["scenarios"][0]["error"] == "postgres://u:***@h is unreachable"
        assert value["scenarios"][0]["verdicts"] == []

    def test_an_interrupted_run_is_written_as_far_as_it_went(
        self, tmp_path: Path, started: Started, held: events.ScenarioFinished
    ) -> None:
        file = tmp_path / "report.json"
        feed(json_report.JsonReport(file), started(9), held, events.RunFinished(interrupted=True, seconds=1))
        assert json.loads(file.read_text(encoding="utf-8"))["summary"]["scenarios"] == 1

    def test_a_place_that_cannot_be_written_is_said_before_the_run(self, tmp_path: Path) -> None:
        with pytest.raises(ReportNotWrittenError, match="there is no directory"):
            json_report.JsonReport(tmp_path / "missing" / "report.json")
        with pytest.raises(ReportNotWrittenError, match="is a directory"):
            json_report.JsonReport(tmp_path)

    def test_a_full_disk_leaves_the_earlier_report_and_no_rubbish(
        self, tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "report.json"
        file.write_text("earlier")
        report = json_report.JsonReport(file)

        def full(*_: object) -> Path:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(ReportNotWrittenError, match="No space left on device") as caught:
            feed(report, started(0), OVER)
        assert caught.value.exit_code == 3
        assert file.read_text() == "earlier"
        assert list(tmp_path.iterdir()) == [file]

    def test_a_link_is_written_through_and_a_device_is_written_to(
        self, tmp_path: Path, started: Started
    ) -> None:
        target, link = tmp_path / "target.json", tmp_path / "link.json"
        target.write_text("")
        target.chmod(0o640)
        link.symlink_to(target)
        feed(json_report.JsonReport(link), started(0), OVER)
        assert link.is_symlink()
        assert json.loads(target.read_text(encoding="utf-8"))["version"] == 1
        assert target.stat().st_mode & 0o777 == 0o640
        feed(json_report.JsonReport(Path("/dev/null")), started(0), OVER)
        assert Path("/dev/null").is_char_device()


class TestJUnit:
    def test_there_is_a_test_case_for_each_scenario(
        self,
        tmp_path: Path,
        started: Started,
        held: events.ScenarioFinished,
        violated: events.ScenarioFinished,
        unexercised: events.ScenarioFinished,
    ) -> None:
        file = tmp_path / "report.xml"
        run = [held, violated, unexercised, broken(RuntimeError("oh"))]
        feed(junit.JUnitReport(file), started(4), *run, OVER)
        root = ET.fromstring(file.read_bytes())
        [suite] = root.findall("testsuite")
        assert [suite.get(key) for key in ("tests", "failures", "errors")] == ["4", "1", "2"]
        cases = suite.findall("testcase")
        assert [case.get("name") for case in cases[:3]] == [one.name for one in (held, violated, unexercised)]
        assert [[child.tag for child in case] for case in cases] == [
            [],
            ["failure", "system-out"],
            ["error"],
            ["error"],
        ]
        failure = cases[1].find("failure")
        assert failure is not None
        assert failure.get("message") == "B-clear-after violated, 1 expectation not met"
        text = failure.text or ""
        assert "The mark of build 2 (iso) was cleared" in text
        assert "scenarios/deploy-between-two-plugins.yaml:24" in text
        assert violated.command in text

    def test_no_character_makes_the_xml_invalid(
        self, tmp_path: Path, started: Started, violated: events.ScenarioFinished
    ) -> None:
        file = tmp_path / "report.xml"
        nasty = "".join(map(chr, [*range(32), 0x7F, 0x85, 0xD800, 0xFFFE, 0xFFFF, 0x1F600])) + "<&]]>"
        expectation = checks.Expectation(nasty, met=False, found=nasty)
        feed(
            junit.JUnitReport(file),
            started(1),
            replace(
                violated,
                name=nasty,
                log=(nasty,),
                verdict=replace(violated.verdict, expectations=(expectation,)),
            ),
            OVER,
        )
        name = ET.fromstring(file.read_bytes()).find(".//testcase").get("name")
        assert name is not None
        assert name.endswith("\U0001f600<&]]>")


class TestDirectory:
    def test_a_run_is_written_with_all_that_is_needed_to_judge_it_again(
        self, tmp_path: Path, started: Started, violated: events.ScenarioFinished
    ) -> None:
        out = tmp_path / "deep" / "out"
        feed(directory.DirectoryReport(out), started(1), violated, OVER)
        folder = out / violated.name
        assert sorted(one.name for one in folder.iterdir()) == [
            "history.jsonl",
            "scenario.yaml",
            "verdicts.json",
        ]
        assert (folder / "scenario.yaml").read_text() == violated.history.header.document
        assert history.load(folder / "history.jsonl").records == violated.history.records
        verdicts = json.loads((folder / "verdicts.json").read_text())
        assert verdicts["verdicts"][1]["verdict"] == "violated"
        assert verdicts["nicknames"] == {"2": "iso"}
        run = json.loads((out / "run.json").read_text())
        assert run["finished"] is True
        assert run["server"] == "PostgreSQL 18.6 at postgresql://ci:***@db/hydra"
        assert run["scenarios"][0]["directory"] == violated.name
        assert directory.histories(out) == [folder / "history.jsonl"]
        assert directory.histories(folder) == [folder / "history.jsonl"]

    def test_scenarios_are_written_as_they_finish(
        self, tmp_path: Path, started: Started, held: events.ScenarioFinished
    ) -> None:
        feed(directory.DirectoryReport(tmp_path), started(2), held)
        assert (tmp_path / held.name / "history.jsonl").is_file()
        assert json.loads((tmp_path / "run.json").read_text())["finished"] is False

    def test_an_earlier_run_is_replaced_and_nothing_else(
        self,
        tmp_path: Path,
        started: Started,
        held: events.ScenarioFinished,
        violated: events.ScenarioFinished,
    ) -> None:
        feed(directory.DirectoryReport(tmp_path), started(2), held, violated, OVER)
        (tmp_path / violated.name / "notes.txt").write_text("mine")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "scenario.yaml").write_text("mine")
        feed(directory.DirectoryReport(tmp_path), started(0), OVER)
        left = sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file())
        assert left == [f"{violated.name}/notes.txt", "mine/scenario.yaml", "run.json"]

    def test_files_of_somebody_else_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "run.json").write_text('{"name": "not ours"}')
        with pytest.raises(errors.UsageError, match="not empty and holds no run"):
            directory.DirectoryReport(tmp_path)
        with pytest.raises(errors.UsageError, match="is a file"):
            directory.DirectoryReport(tmp_path / "run.json")

    def test_names_are_safe_and_unique(self) -> None:
        taken = {"run.json"}
        names = ["../../etc", "a b/c", "A B/C", "…", "run.json", "x" * 300]
        assert [directory.unique_name(name, taken) for name in names] == [
            "etc", "a-b-c", "A-B-C-2", "scenario", "run.json-2", "x" * 100,
        ]  # fmt: skip

    def test_a_full_disk_is_a_sentence(
        self, tmp_path: Path, started: Started, held: events.ScenarioFinished, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        report = directory.DirectoryReport(tmp_path)
        report.take(started(1))

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(history, "save", full)
        with pytest.raises(ReportNotWrittenError, match="cannot be written: No space left on device"):
            report.take(held)

    def test_a_path_without_a_history_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(history.HistoryFileError, match=r"holds no history\.jsonl"):
            directory.histories(tmp_path)
        with pytest.raises(history.HistoryFileError, match="no such file"):
            directory.histories(tmp_path / "missing")
