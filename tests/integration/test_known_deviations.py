"""``--known FILE``: what is excused, what is not, and a baseline that outlives what it excuses."""

import json
from pathlib import Path

import pytest

from hydra_notify_sim.cli import main
from hydra_notify_sim.contract import promises
from hydra_notify_sim.contract.deviations import UPSTREAM
from hydra_notify_sim.scenario import deviations
from hydra_notify_sim.scenario.problems import ScenarioFileError

SCENARIO = str(Path(__file__).parents[2] / "scenarios" / "deploy-between-two-plugins.yaml")
BAD = "known-bad:clears-after-the-first-plugin"
FOUND = """
- {promise: B-clear-after, reason: it clears after the first plugin, id: our-first}
- {promise: B-at-least-once, reason: a crash loses the second plugin, scenario: deploy-between-two-plugins}
"""


def replay(tmp_path: Path, known: str, dispatcher: str, *options: str) -> tuple[int, dict[str, object]]:
    file = tmp_path / "baseline.yaml"
    file.write_text(known, encoding="utf-8")
    report = tmp_path / "report.json"
    arguments = ["replay", SCENARIO, "--dispatcher", dispatcher, "--known", str(file), "--json", str(report)]
    code = main([*arguments, "--out", str(tmp_path / "out"), *options])
    return code, json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}


def known_in(report: dict[str, object]) -> dict[str, str]:
    (scenario,) = report["scenarios"]  # type: ignore[misc]  # JSON
    return {one["promise"]: one["deviation"] for one in scenario["verdicts"] if one["verdict"] == "known"}


def test_what_is_known_fails_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = replay(tmp_path, FOUND, BAD)
    assert code == 0
    assert known_in(report) == {"B-clear-after": "our-first", "B-at-least-once": "baseline-2"}
    # The history says it by itself.
    assert main(["check", str(tmp_path / "out")]) == 0
    capsys.readouterr()


def test_what_is_known_elsewhere_or_not_at_all_fails_it(tmp_path: Path) -> None:
    elsewhere = FOUND.replace("scenario: deploy-between-two-plugins", "scenario: another")
    assert replay(tmp_path, elsewhere, BAD)[0] == 1
    assert replay(tmp_path, "[]", BAD)[0] == 1


def test_what_is_not_found_any_more_fails_it_unless_it_depends_on_timing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = replay(tmp_path, FOUND, "reference")
    assert code == 1
    assert report["summary"]["outlived"] == ["our-first", "baseline-2"]  # type: ignore[index]  # JSON
    assert "Take it out of the --known file" in capsys.readouterr().out
    assert replay(tmp_path, FOUND, "reference", "--known-lenient")[0] == 0
    assert replay(tmp_path, FOUND.replace("}", ", timing: true}"), "reference")[0] == 0
    not_played = "- {promise: B-clear-after, reason: r, scenario: another}"
    assert replay(tmp_path, not_played, "reference")[0] == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- {promise: B-claer, reason: r}", "1:13: [1].promise: the contract has no promise 'B-claer'"),
        ("- {promise: B-clear}", "1:3: [1].reason: this key is missing"),
        ("- {promise: B-clear, reason: r, scenaro: x}", "Did you mean 'scenario'"),
        ("promise: B-clear", "is a list"),
        ("- {promise: [", "baseline.yaml:"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "baseline.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioFileError) as error:
        deviations.read(file)
    assert says in str(error.value)


UPSTREAM_STORY = str(Path(SCENARIO).parent / "upstream" / "hn-first-success-clears.yaml")


def upstream(tmp_path: Path, story: str, dispatcher: str, *options: str) -> tuple[int, dict[str, object]]:
    report = tmp_path / "report.json"
    arguments = ["replay", story, "--dispatcher", dispatcher, "--profile", "upstream", "--json", str(report)]
    code = main([*arguments, "--out", str(tmp_path / "upstream"), *options])
    return code, json.loads(report.read_text(encoding="utf-8"))


def test_profile_upstream_knows_what_a_quirk_breaks(tmp_path: Path) -> None:
    code, report = upstream(tmp_path, UPSTREAM_STORY, BAD)
    assert code == 0
    assert set(known_in(report).values()) == {"hn-first-success-clears"}


@pytest.mark.parametrize(
    ("story", "dispatcher", "promise"),
    [
        # A quirk loses builds in crashes; this one forgets them while it is down.
        ("substituted-while-down", "never-scans", "B-at-least-once"),
        # A quirk starves tasks behind one whose plugin is gone; here nobody is gone.
        ("a-502-is-retried", "retries-at-once", "R-backoff"),
        # A quirk leaves marks where nobody is interested; here somebody is.
        ("a-day-without-trouble", "never-clears", "B-clear"),
    ],
)
def test_profile_upstream_does_not_know_the_same_promise_broken_otherwise(
    tmp_path: Path, story: str, dispatcher: str, promise: str
) -> None:
    file = str(Path(SCENARIO).with_name(f"{story}.yaml"))
    code, report = upstream(tmp_path, file, f"known-bad:{dispatcher}")
    assert code == 1
    (scenario,) = report["scenarios"]  # type: ignore[misc]  # JSON
    violated = {one["promise"] for one in scenario["verdicts"] if one["verdict"] == "violated"}
    assert promise in violated


def test_a_quirk_that_its_story_does_not_find_any_more_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = upstream(tmp_path, UPSTREAM_STORY, "reference")
    assert code == 1
    assert report["summary"]["outlived"] == ["hn-first-success-clears"]  # type: ignore[index]  # JSON
    said = capsys.readouterr().out
    assert (
        "Known issue hn-first-success-clears of Hydra: stories that exercise it ran, and none found it."
        in said
    )
    assert "--known file" not in said
    assert main(["check", str(tmp_path / "upstream")]) == 1
    assert main(["check", "--profile", "strict", str(tmp_path / "upstream")]) == 0
    assert upstream(tmp_path, UPSTREAM_STORY, "reference", "--known-lenient")[0] == 0
    never_cleared = UPSTREAM_STORY.replace("first-success-clears", "never-cleared")
    assert upstream(tmp_path, never_cleared, "reference")[0] == 0


def test_upstream_is_such_a_list_and_says_each_once() -> None:
    ids = [(one.id, one.promise) for one in UPSTREAM]
    assert len(ids) == len(set(ids))
    assert {promise for _, promise in ids} <= {promise.id for promise in promises.PROMISES}
