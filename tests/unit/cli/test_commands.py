"""The command with a run made by hand: what it says, and every exit code."""

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hydra_notify_sim import checks, cli, engine, errors, history
from hydra_notify_sim.checks.verdicts import Judgements, Verdict
from hydra_notify_sim.cli import ending
from hydra_notify_sim.engine import events
from hydra_notify_sim.known_bad import KNOWN_BAD
from hydra_notify_sim.known_good import KNOWN_GOOD

STORY = """\
scenario: A build is announced
why: It is what all this is for
exercises: [B-live]
given:
  builds: {hello: {}}
  plugins: {github: {hooks: [build_finished]}}
story:
  - dispatcher: start
  - build: hello
  - settle
"""

Playing = Callable[..., Iterator[events.Event]]


@pytest.fixture
def story(tmp_path: Path) -> str:
    file = tmp_path / "a-build-is-announced.yaml"
    file.write_text(STORY)
    return str(file)


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HYDRA_NOTIFY_SIM_DSN", "FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def finished(
    verdict: str = "held", *, calls: bool = True, not_exercised: tuple[str, ...] = ()
) -> events.ScenarioFinished:
    call = history.Called(t=0, call=1, life=1, plugin="github", hook="build_finished", args={})
    header = history.Header(name="a-build-is-announced", document=STORY)
    return events.ScenarioFinished(
        name="a-build-is-announced",
        file=Path("a-build-is-announced.yaml"),
        sentence="A build is announced",
        history=history.History(header, [call] if calls else []),
        verdict=checks.StoryVerdict(
            Judgements((Verdict("B-live", verdict, "so it was", (0,)),), ()), unplayed=not_exercised
        ),
        seconds=0.5,
        command="hydra-notify-sim replay a-build-is-announced.yaml",
    )


def plays(monkeypatch: pytest.MonkeyPatch, *run: events.Event | BaseException) -> list[engine.Options]:
    """Let the engine yield these events, or raise; return the options it is called with."""
    seen: list[engine.Options] = []

    def play_all(scenarios: object, options: engine.Options) -> Iterator[events.Event]:
        del scenarios
        seen.append(options)
        yield events.RunStarted(
            1, options.dispatcher, options.profile, options.seed, "PostgreSQL 18.6", options.command
        )
        for event in run:
            if isinstance(event, BaseException):
                raise event
            yield event
        yield events.RunFinished(interrupted=False, seconds=0.5)

    monkeypatch.setattr(engine, "play_all", play_all)
    return seen


def failed(error: Exception) -> events.ScenarioFailed:
    return events.ScenarioFailed(
        "a-build-is-announced", Path("a.yaml"), "A build is announced", error, "play it"
    )


@pytest.mark.parametrize(
    ("event", "code", "words"),
    [
        (finished(), 0, "Exit status 0: every promise that was exercised held."),
        (finished("violated"), 1, "Exit status 1: a promise or an expectation was broken."),
        (failed(errors.UsageError("the story cannot be")), 2, "the story cannot be"),
        (failed(errors.EnvironmentFailedError("no server")), 3, "no server"),
        (finished(calls=False), 4, "no plugin was called in the whole run"),
        (finished(not_exercised=("never",)), 4, "Not exercised: never"),
        (failed(RuntimeError("boom")), 5, "RuntimeError: boom"),
    ],
)
def test_a_run_ends_with_its_exit_code(  # noqa: PLR0917 - pytest hands its fixtures by name
    event: events.Event,
    code: int,
    words: str,
    story: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plays(monkeypatch, event)
    assert cli.main(["replay", story]) == code
    assert words in capsys.readouterr().out


def test_a_fault_of_the_harness_says_what_to_report(
    story: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plays(monkeypatch, failed(RuntimeError("boom at postgres://u:geheim@h/d")))
    assert cli.main(["replay", story]) == 5
    said = capsys.readouterr().err
    for part in (
        "not in the dispatcher",
        "Python 3.",
        "PostgreSQL 18.6",
        "scenario: a.yaml",
        "traceback begins",
        "play it",
    ):
        assert part in said
    assert "geheim" not in said


def test_a_fault_outside_a_scenario_is_reported_as_well(
    story: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plays(monkeypatch, ZeroDivisionError("oh"))
    assert cli.main(["replay", story]) == 5
    assert "ZeroDivisionError: oh" in capsys.readouterr().err


def test_an_environment_that_fails_is_a_sentence_and_no_traceback(
    story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    report.write_text("of an earlier run")
    plays(monkeypatch, errors.EnvironmentFailedError("password=geheim is refused"))
    assert cli.main(["replay", story, "--json", str(report)]) == 3
    assert capsys.readouterr().err == "error: password=*** is refused\n"
    assert json.loads(report.read_text())["summary"]["scenarios"] == 0


def test_an_interrupted_run_is_summed_up(
    story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    plays(monkeypatch, finished(), KeyboardInterrupt())
    assert cli.main(["replay", story, "--json", str(report)]) == 130
    assert "Exit status 130: interrupted." in capsys.readouterr().out
    assert json.loads(report.read_text())["summary"]["passed"] == 1


def test_sigterm_ends_a_run_as_cleanly(
    story: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def play_all(*_: object) -> Iterator[events.Event]:
        yield events.RunStarted(1, "reference", "strict", 0, "", "")
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigtimedwait([], 0)
        except KeyboardInterrupt:
            yield events.RunFinished(interrupted=True, seconds=0.1)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(engine, "play_all", play_all)
    assert cli.main(["replay", story]) == 143
    assert "Exit status 143: asked to end." in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_report_that_cannot_be_written_does_not_end_the_run(
    story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    plays(monkeypatch, finished("violated"))
    monkeypatch.setattr(history, "save", full)
    assert cli.main(["replay", story, "--out", str(tmp_path / "out")]) == 3
    said = capsys.readouterr()
    assert "FAILED  a-build-is-announced: B-live violated" in said.out
    assert "Exit status 3" in said.out
    assert "No space left on device" in said.err


def test_json_on_standard_output_is_all_there_is_on_it(
    story: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plays(monkeypatch, finished())
    assert cli.main(["replay", story, "--json", "-"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["summary"]["passed"] == 1
    assert "1 scenario played: 1 passed" in said.err


def test_the_program_is_named_as_it_can_be_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ending.shutil, "which", lambda _name: "/usr/bin/hydra-notify-sim")
    assert ending.program() == ["hydra-notify-sim"]
    monkeypatch.setattr(ending.shutil, "which", lambda _name: None)
    monkeypatch.setattr(ending.sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    assert ending.program() == ["python", "-m", "hydra_notify_sim"]
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "hydra-notify-sim").touch()
    monkeypatch.chdir(tmp_path)
    assert ending.program() == [".venv/bin/hydra-notify-sim"]


def test_options_reach_the_engine(story: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = plays(monkeypatch, finished())
    monkeypatch.setattr(ending, "program", lambda: ["hydra-notify-sim"])
    options = ["--dispatcher", "known-bad:x", "--profile", "manual", "--seed", "7", "--wipe", "mine", "-x"]
    cli.main(["replay", story, *options, "--dsn", "postgres://u:geheim@h/d"])
    [one] = seen
    assert (one.dispatcher, one.profile, one.seed, one.wipe, one.stop_at_first) == (
        "known-bad:x",
        "manual",
        7,
        "mine",
        True,
    )
    assert one.dsn == "postgres://u:geheim@h/d"
    assert (
        one.command
        == "hydra-notify-sim replay --dispatcher known-bad:x --profile manual --seed 7 --wipe mine"
    )


def test_the_dsn_may_come_from_the_environment(story: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = plays(monkeypatch, finished())
    monkeypatch.setattr(ending, "program", lambda: ["hydra-notify-sim"])
    monkeypatch.setenv("HYDRA_NOTIFY_SIM_DSN", "host=/run/pg")
    cli.main(["replay", story])
    cli.main(["replay", story, "--dsn", "host=other"])
    monkeypatch.setenv("HYDRA_NOTIFY_SIM_DSN", "")
    cli.main(["replay", story])
    assert [one.dsn for one in seen] == ["host=/run/pg", "host=other", None]
    assert [one.command for one in seen] == [
        "hydra-notify-sim replay",
        "hydra-notify-sim replay --dsn host=other",
        "hydra-notify-sim replay",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay"],
        ["nonsense"],
        ["replay", "x.yaml", "--nonsense"],
        ["replay", "x.yaml", "--profile", "lenient"],
        ["replay", "x.yaml", "--seed", "seven"],
        ["replay", "missing.yaml"],
        ["replay", "x.yaml", "-k", "a and"],
        ["check"],
        ["check", "missing.jsonl"],
        ["explain", "B-claer-own"],
        ["schema", "nonsense"],
        [],
    ],
)
def test_wrong_usage_is_2_without_a_traceback(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    assert said.err


def test_a_wrong_file_plays_nothing(story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = plays(monkeypatch, finished())
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("scenario: x\nstroy: []\n")
    assert cli.main(["replay", story, str(wrong)]) == 2
    assert not seen


def test_a_dry_run_only_looks(
    story: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = plays(monkeypatch)
    assert cli.main(["replay", "--dry-run", story]) == 0
    assert capsys.readouterr().out == f"{story}: A build is announced\n"
    assert cli.main(["replay", "--dry-run", "-k", "nothing-like-it", story]) == 4
    assert "-k matched none of 1 name" in capsys.readouterr().err
    assert not seen


def test_a_help_text_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    for name in ("replay", "check", "explain", "dispatchers", "dispatch", "db", "schema"):
        assert f"\n  {name} " in said
    assert cli.main(["--version"]) == 0


def test_an_unknown_promise_is_helped_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "B-claer-own"]) == 2
    assert "Did you mean B-clear-own" in capsys.readouterr().err


def test_a_promise_is_explained_with_its_scenarios_and_quirks(
    story: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        cli.main(
            ["explain", "b-live", "B-clear-own", "hn-stale-clear", "--scenarios", str(Path(story).parent)]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert said.startswith("B-live (build finished)\n")
    assert f"    {story}\n        A build is announced\n" in said
    assert "hn-stale-clear (hydra-notify): " in said
    assert "  Breaks: B-clear-own, B-at-least-once" in said
    assert "No scenario lists it" in said


def test_every_promise_and_quirk_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain"]) == 0
    said = capsys.readouterr().out
    for name in ("P-format", "Q-restart", "hn-no-sigterm", "qr-split"):
        assert f"  {name} " in said


def test_the_dispatchers_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dispatchers"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("reference\n")
    assert (
        said.count("\nknown-good:") == len(KNOWN_GOOD) + 1
    )  # and the line that says what the name stands for
    assert said.count("    as ") == len(KNOWN_GOOD)
    assert said.count("\nknown-bad:") == len(KNOWN_BAD) + 1
    assert said.count("    breaks ") == len(KNOWN_BAD)


def test_the_schema_of_a_scenario_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema", "scenario"]) == 0
    assert "story" in json.loads(capsys.readouterr().out)["properties"]


def run(*arguments: str, **more: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "hydra_notify_sim", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **more)


def test_a_closed_pipe_is_no_traceback() -> None:
    shell = f"{sys.executable} -m hydra_notify_sim explain | head -c 10 >/dev/null; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stderr == ""
    assert ended.stdout.strip() in {"141", "0"}, "0 where all of it fitted into the pipe before it was closed"


def test_a_full_disk_under_standard_output_is_3() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "hydra_notify_sim", "explain"]
        ended = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert ended.returncode == 3
    assert ended.stderr.startswith("error: standard output cannot be written: No space left on device. ")
    assert ended.stderr.count("\n") == 1


def test_help_imports_nothing_heavy() -> None:
    ended = run("--help", env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
    assert ended.returncode == 0
    for heavy in ("psycopg", "pydantic", "rich", "hydra_notify_sim.engine", "msgspec"):
        assert f" {heavy}\n" not in ended.stderr, heavy


def test_an_output_that_is_not_unicode_is_no_error() -> None:
    ended = run("explain", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 0, ended.stderr


def test_a_package_that_is_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> None:
        raise ImportError("no pq wrapper available.\nAttempts made: ...")

    monkeypatch.setattr(importlib, "import_module", missing)
    assert cli.main(["db"]) == 3
    said = capsys.readouterr().err
    assert "`db` needs a package" in said
    assert "no pq wrapper available." in said
    assert "Traceback" not in said
