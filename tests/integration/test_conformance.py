"""``conformance``: the reference conforms in process and as a process, a known-bad one does not, an example where it claims to."""

import glob
import json
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from hydra_notify_sim.cli import main
from hydra_notify_sim.conformance import generated
from hydra_notify_sim.contract.promises import PROMISES
from hydra_notify_sim.scenario import shipped

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "dispatcher"
TARGET = f"exec:{sys.executable} {EXAMPLE / 'dispatcher.py'}"


def conformance(tmp_path: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    report = tmp_path / "report.json"
    code = main(["conformance", *arguments, "--json", str(report)])
    value: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return code, value


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {one["promise"]: one["verdict"] for one in report["conformance"]["promises"]}


@pytest.mark.slow
def test_the_reference_conforms_in_process_and_as_a_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junit = tmp_path / "junit.xml"
    code, here = conformance(tmp_path, "--workers", "2", "--junit", str(junit))
    assert code == 0, capsys.readouterr().out
    assert verdicts(here) == {one.id: "held" for one in PROMISES}
    assert here["summary"]["scenarios"] == len(shipped.load()) + generated.IN_PROCESS
    assert here["conformance"]["not_played_as_told"] == {}
    suite = ET.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == (str(len(PROMISES)), "0", "0")

    code, there = conformance(tmp_path, "--dispatcher", "reference-process")
    assert code == 0, capsys.readouterr().out
    assert verdicts(there) == verdicts(here)
    assert there["conformance"]["not_played_as_told"].keys() == {
        "finished-while-the-dispatcher-starts",
        "the-answer-to-a-commit-is-lost",
        "a-failure-whose-storing-was-not-confirmed",
    }
    # The same stories, the same verdicts: but for what cannot be forced, or is seen in process only.
    differing = {
        (one["name"], promise): (mine, theirs[promise])
        for one, other in zip(_shipped(here), _shipped(there), strict=True)
        for theirs in [{each["promise"]: each["verdict"] for each in other["verdicts"]}]
        for promise, mine in ((each["promise"], each["verdict"]) for each in one["verdicts"])
        if mine != theirs[promise]
    }
    assert not {verdict for pair in differing.values() for verdict in pair} & {"violated", "known"}
    # A dispatcher is lenient in the same way, wherever it lives.
    assert _lenient(here) == _lenient(there)
    assert {one["kind"] for one in here["conformance"]["leniencies"]} >= {
        "leading zeros",
        "an id beyond int4",
    }


def _shipped(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in report["scenarios"] if not one["name"].startswith(generated.PREFIX)]


def _lenient(report: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["kind"], one["outcome"]) for one in report["conformance"]["leniencies"]}


@pytest.mark.slow
def test_the_example_conforms_where_it_claims_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = ["--known", str(EXAMPLE / "known.yaml"), "--patience", "0.4"]
    code, report = conformance(tmp_path, "--dispatcher", TARGET, *known)
    assert code == 0, capsys.readouterr().out
    found = verdicts(report)
    held = {promise for promise, verdict in found.items() if verdict == "held"}
    claimed = {one["promise"] for one in report["conformance"]["promises"] if one["claimed"]}
    assert held == claimed
    assert held >= {"B-recover", "B-clear-after", "B-clear-own", "B-unfinished", "L-stop", "L-split"}


def test_a_known_bad_one_does_not_and_every_report_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    junit, page, summary = tmp_path / "junit.xml", tmp_path / "page.md", tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    bad = ["--dispatcher", "known-bad:drops-cached-builds", "--section", "C", "--github"]
    code, report = conformance(tmp_path, *bad, "--junit", str(junit), "--markdown", str(page))
    said = capsys.readouterr().out
    assert code == 1
    assert verdicts(report) == {"C-at-most-once": "not_exercised", "C-live": "violated", "C-gone": "held"}
    assert "does not conform: 1 promise violated" in said
    assert "scenarios/a-cached-build-whose-post-failed.yaml" in said
    assert "::error title=C-live violated::" in said
    (failure,) = ET.parse(junit).getroot().iter("failure")
    assert "C-live was broken" in str(failure.get("message"))
    assert "❌ violated" in page.read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8") == summary.read_text(encoding="utf-8")


def test_a_deviation_that_is_not_found_any_more_fails_the_run(tmp_path: Path) -> None:
    known = tmp_path / "known.yaml"
    known.write_text("- {promise: C-live, reason: it was once so}\n")
    arguments = ["--section", "C", "--known", str(known)]
    code, report = conformance(tmp_path, *arguments)
    assert (code, report["summary"]["outlived"]) == (1, ["known-1"])
    assert conformance(tmp_path, *arguments, "--known-lenient")[0] == 0
    code, report = conformance(tmp_path, *arguments, "--dispatcher", "known-bad:drops-cached-builds")
    assert verdicts(report)["C-live"] == "known"
    assert code == 4  # C-at-most-once is claimed, and was never put to the test


def test_a_dispatcher_that_never_comes_up_ends_the_run_soon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = conformance(tmp_path, "--dispatcher", "exec:/bin/false", "--section", "B")
    assert code == 3
    assert len(report["scenarios"]) == 3
    assert "none of the first 3 could be played" in capsys.readouterr().out


def test_the_list_names_every_promise_and_every_story(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "--list"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{one.id}\n" in f"\n{said}" for one in PROMISES)
    assert all(f"{path.stem}:" in said for path, _, _ in shipped.load())
    assert main(["conformance", "--list", "--section", "q", "--json", "-"]) == 0
    listed = json.loads(capsys.readouterr().out)["promises"]
    assert [one["promise"] for one in listed] == [one.id for one in PROMISES if one.id[0] == "Q"]
    assert all(len(one["scenarios"]) >= 2 for one in listed)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--section", "X"], 2, "there are P (payloads)"),
        (["--known", "no/such.yaml"], 2, "no/such.yaml: there is no such file"),
        (["--dispatcher", "known-bad:never-scan"], 2, "Did you mean 'known-bad:never-scans'"),
        (
            ["--kill-matrix", "--dispatcher", "reference"],
            2,
            "--dispatcher cannot be combined with --kill-matrix",
        ),
        (["--kill-matrix", "--markdown", "no/such/page.md"], 3, "make it first"),
        (["--json", "no/such/report.json"], 3, "make it first"),
        (["--junit", "/dev"], 3, "is a directory"),
    ],
)
def test_what_is_asked_wrongly_is_told_before_anything_is_played(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["conformance", *arguments]) == code
    captured = capsys.readouterr()
    assert says in captured.err
    assert "Conformance of" not in captured.out


def test_an_interruption_ends_it_at_once_and_leaves_a_report(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "hydra_notify_sim", "conformance", "--dispatcher", "reference-process"]
    process = subprocess.Popen(
        [*command, "--workers", "2", "--json", str(report)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Conformance of")
    assert "PostgreSQL" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    said, complaints = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Exit status 130" in said
    assert "Traceback" not in complaints
    assert json.loads(report.read_text(encoding="utf-8"))["conformance"]["exit_status"] == 130


def test_the_scenarios_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_checkout = {path.name for path in (ROOT / "scenarios").rglob("*.yaml")}
    monkeypatch.chdir(tmp_path)
    assert {path.name for path, _, _ in shipped.load()} == in_the_checkout
    assert shipped.directory().is_absolute()
    monkeypatch.chdir(ROOT)
    assert shipped.directory() == Path("scenarios")


def test_the_wheel_brings_the_scenarios() -> None:
    """What the build backend is told to take; `.ci/run` plays them from the built wheel."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = configuration["tool"]["setuptools"]["package-data"]["hydra_notify_sim"]
    package = ROOT / "hydra_notify_sim"
    taken = {
        Path(file).name
        for pattern in patterns
        for file in glob.glob(pattern, root_dir=package, recursive=True)  # noqa: PTH207  # as setuptools looks
    }
    assert taken >= {path.name for path, _, _ in shipped.load()}
