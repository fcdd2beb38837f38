"""A conformance run made by hand: what each verdict rests on, when a run conforms, and how each report says it."""

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from hydra_notify_sim import checks, errors, history
from hydra_notify_sim.checks.verdicts import Judgements, Verdict
from hydra_notify_sim.conformance import sections
from hydra_notify_sim.contract import profiles
from hydra_notify_sim.contract.deviations import Deviation
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports.conformance import documents, markdown, terminal
from hydra_notify_sim.reports.conformance.tally import Tally, outcome
from hydra_notify_sim.reports.report import ReportNotWrittenError

HELD = Verdict("E-live", "held", "put to the test 3 times.", (0,), exercised=3)
BROKEN = Verdict("E-once", "violated", "one call; there were | 2 of build 2", (1, 2), exercised=1)


def scenario(
    name: str,
    *verdicts: Verdict,
    exercises: Sequence[str] = (),
    expectations: Sequence[checks.Expectation] = (),
    unplayed: Sequence[str] = (),
    **more: object,
) -> events.ScenarioFinished:
    call = history.Called(t=0, call=1, life=1, plugin="github", hook="build_started", args={})
    return events.ScenarioFinished(
        name=name,
        file=Path(f"scenarios/{name}.yaml"),
        sentence="A story",
        history=history.History(history.Header(name=name, exercises=tuple(exercises)), [call]),
        verdict=checks.StoryVerdict(
            Judgements(tuple(verdicts), ()), tuple(expectations), tuple(unplayed), tuple(exercises)
        ),
        command=f"hydra-notify-sim replay --dsn postgresql://u:secret@h/d scenarios/{name}.yaml",
        nicknames={2: "iso"},
        **{"seconds": 1.0, **more},  # type: ignore[arg-type]  # a test says only what differs
    )


def tally(
    *scenarios: events.Event,
    ids: Sequence[str] = ("E-live", "E-once"),
    profile: profiles.Profile = "strict",
    known: Sequence[Deviation] = (),
) -> Tally:
    taken = Tally([one for one in sections.of(()) if one.id in ids], profile, known)
    taken.take(events.RunStarted(len(scenarios), "exec:./d", profile, 0, "PostgreSQL 18", "hydra-notify-sim"))
    for one in scenarios:
        taken.take(one)
    taken.take(events.RunFinished(interrupted=False, seconds=2.0))
    return taken


ONCE = Verdict("E-once", "held", "put to the test once.", (0,), exercised=1)


def test_all_that_is_wanted_was_put_to_the_test_and_held() -> None:
    taken = tally(scenario("a", HELD, ONCE), scenario("b", HELD))
    assert taken.exit_code == 0
    assert outcome(taken) == "exec:./d conforms as far as E goes: 2 promises held"
    assert taken.results["E-live"].proof == "put to the test 6 times in 2 scenarios"


def test_one_violation_outweighs_all_else_and_is_told_with_nicknames_and_place() -> None:
    taken = tally(scenario("b", HELD, ONCE), scenario("a", BROKEN))
    assert taken.exit_code == 1
    result = taken.results["E-once"]
    assert result.judgement == "violated"
    assert result.proof == "broken in 1 of 2 scenarios: a"
    assert result.findings[0].explanation == "one call; there were | 2 of build 2 (iso)"


def test_what_was_never_put_to_the_test_fails_the_run_unless_it_is_not_claimed() -> None:
    story = scenario("a", HELD, exercises=["E-live", "E-once"], unplayed=("line 3: the point x: no",))
    taken = tally(story)
    assert taken.exit_code == 4
    assert "E-once never put to the test" in outcome(taken)
    assert taken.results["E-once"].proof == (
        "not put to the test by the story that exists for it: a (line 3: the point x: no)"
    )
    assert taken.unplayed == {"a": ("line 3: the point x: no",)}
    known = [Deviation("k-1", "E-once", "it does not hear it")]
    taken = tally(story, known=known)
    assert taken.exit_code == 0
    assert taken.results["E-once"].verdict == "not exercised"


def test_a_promise_that_only_unclaimed_stories_exist_for_is_not_claimed_either() -> None:
    reason = "the dispatcher reads payloads 2026-08; the story is of 2026-09"
    unclaimed = events.ScenarioNotClaimed("p", Path("scenarios/p.yaml"), "A story", ("E-once",), reason)
    taken = tally(scenario("a", HELD), unclaimed)
    assert taken.exit_code == 0
    assert not taken.results["E-once"].claimed
    assert taken.results["E-once"].proof == f"not claimed: {reason} (p)"
    assert taken.missing() == []
    assert documents.value(taken)["promises"][1]["claimed"] is False
    suite = ET.fromstring(documents.junit(taken).partition("\n")[2])
    skipped = {case.get("name") for case in suite.iter("testcase") if case.find("skipped") is not None}
    assert (skipped, suite.get("errors")) == ({"E-once", "p"}, "0")
    assert f"- p: {reason}" in markdown.page(taken)
    stream = io.StringIO()
    screen = terminal.ConformanceTerminal(taken, stream)
    screen.take(events.RunFinished(interrupted=False, seconds=2.0))
    assert f"p: {reason}" in stream.getvalue()
    assert ", 1 not claimed" in stream.getvalue()
    # One that another story exists for too, which was played and did not exercise it, is owed.
    tried = scenario("a", HELD, exercises=["E-once"])
    assert tally(tried, unclaimed).exit_code == 4


def test_a_run_of_which_nothing_is_claimed_proves_nothing() -> None:
    unclaimed = events.ScenarioNotClaimed("p", Path("p.yaml"), "A story", ("E-live", "E-once"), "no")
    taken = tally(unclaimed)
    assert taken.exit_code == 4
    assert "no scenario was played, for the dispatcher claims none" in outcome(taken)


def test_a_story_that_could_not_be_forced_fails_nothing_if_another_exercised_its_promise() -> None:
    forced = scenario("b", HELD, ONCE)
    not_forced = scenario("a", HELD, exercises=["E-once"], unplayed=("line 3: the point x: no",))
    assert tally(forced, not_forced).exit_code == 0


def test_an_expectation_counts_only_where_no_promise_says_why() -> None:
    unmet = (checks.Expectation("marks: nothing", met=False, found="iso", line=7),)
    alone = scenario("a", HELD, ONCE, expectations=unmet)
    assert tally(alone).exit_code == 1
    assert [one.name for one in tally(alone).unmet] == ["a"]
    known = Verdict("E-once", "known", "twice", (0,), "k-1", 1)
    explained = scenario("a", HELD, known, expectations=unmet)
    assert tally(explained).exit_code == 0
    assert tally(explained).unmet == []


def test_another_section_is_seen_and_not_judged() -> None:
    unmet = (checks.Expectation("marks: nothing", met=False),)
    elsewhere = scenario("a", HELD, ONCE, replace_promise(BROKEN, "B-clear"), expectations=unmet)
    taken = tally(elsewhere)
    assert taken.exit_code == 0
    assert taken.beside == {"B-clear": ["a"]}


def replace_promise(verdict: Verdict, promise: str) -> Verdict:
    return Verdict(promise, verdict.verdict, verdict.explanation, verdict.records, verdict.quirk, 1)


def test_what_the_profile_does_not_judge_is_reported() -> None:
    order = Verdict("E-order", "held", "put to the test once.", (0,), exercised=1, reported=True)
    taken = tally(scenario("a", HELD, order), ids=["E-live", "E-order"], profile="manual")
    assert taken.exit_code == 0
    assert taken.results["E-order"].verdict == "not judged"
    assert "broken in a, which profile manual only reports" in taken.results["E-order"].proof


def test_one_that_could_not_be_played_is_an_error_of_its_kind() -> None:
    lost = events.ScenarioFailed(
        "a", Path("a.yaml"), "A", errors.EnvironmentFailedError("no server"), "again"
    )
    assert tally(lost, scenario("b", HELD, ONCE)).exit_code == 3
    (case,) = cases(tally(lost, scenario("b", HELD, ONCE)), "conformance.scenarios")
    assert "no server" in str(case.find("error").get("message"))  # type: ignore[union-attr]  # it is there


def cases(taken: Tally, classname: str) -> list[ET.Element]:
    root = ET.fromstring(documents.junit(taken))
    return [one for one in root.iter("testcase") if one.get("classname") == classname]


def test_junit_has_a_case_for_each_promise() -> None:
    taken = tally(
        scenario("a", BROKEN, exercises=["E-live"]),
        ids=["E-live", "E-once", "E-order"],
        known=[Deviation("k", "E-order", "r")],
    )
    found = {one.get("name"): one for one in cases(taken, "conformance.ephemeral")}
    assert {name: next(kind.tag for kind in one) for name, one in found.items()} == {
        "E-live": "error",
        "E-once": "failure",
        "E-order": "skipped",
    }
    failure = found["E-once"].find("failure")
    assert failure is not None
    assert "scenarios/a.yaml" in str(failure.text)
    assert "secret" not in str(failure.text)


def test_json_is_that_of_replay_and_more(tmp_path: Path) -> None:
    taken = tally()
    file = tmp_path / "report.json"
    report = documents.ConformanceJson(file, taken)
    for event in (scenario("b", HELD), scenario("a", BROKEN), events.RunFinished(False, 1.0)):
        taken.take(event)
        report.take(event)
    value = json.loads(file.read_text(encoding="utf-8"))
    assert [one["name"] for one in value["scenarios"]] == ["a", "b"]
    assert value["summary"]["failed"] == 1
    promise = {one["promise"]: one for one in value["conformance"]["promises"]}
    assert promise["E-once"]["verdict"] == "violated"
    assert promise["E-once"]["findings"][0]["scenario"] == "a"
    assert promise["E-live"]["times_exercised"] == 3
    assert value["conformance"]["exit_status"] == 1
    assert "secret" not in file.read_text(encoding="utf-8")


def test_the_page_is_a_table_that_no_text_can_break() -> None:
    text = markdown.page(tally(scenario("a", BROKEN), scenario("b", HELD)))
    rows = [line for line in text.splitlines() if line.startswith("| E-")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)
    assert "❌ violated" in rows[1]
    assert r"there were \| 2 of build 2 (iso)" in text
    assert "secret" not in text


def test_github_gets_commands_on_one_line_each_and_the_page(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    bad = Verdict("E-once", "violated", "100% twice,\nreally: so", (1,), exercised=1)
    taken = tally(scenario("a", bad))
    stream = io.StringIO()
    report = markdown.ConformanceGitHub(taken, stream, {"GITHUB_STEP_SUMMARY": str(summary)})
    report.take(events.RunFinished(False, 1.0))
    first, second = stream.getvalue().splitlines()
    assert first.startswith("::error title=E-once violated::100%25 twice, really: so")
    assert second.startswith("::warning title=E-live not exercised::")
    assert summary.read_text().startswith("before\n# ❌")
    assert markdown._command("notice", "a:b,c", "x\ny") == "::notice title=a%3Ab%2Cc::x%0Ay"


def test_a_summary_that_cannot_be_written_is_told_before(tmp_path: Path) -> None:
    with pytest.raises(ReportNotWrittenError):
        markdown.ConformanceGitHub(
            tally(), io.StringIO(), {"GITHUB_STEP_SUMMARY": str(tmp_path / "no" / "file")}
        )


@pytest.mark.parametrize("verbose", [False, True])
def test_the_terminal_says_all_of_it(verbose: bool) -> None:
    taken = tally()
    stream = io.StringIO()
    report = terminal.ConformanceTerminal(taken, stream, verbose=verbose)
    lost = scenario("c", unplayed=("line 3: the point x: no",), exercises=["E-live"])
    started = events.RunStarted(3, "exec:./d", "strict", 0, "PostgreSQL 18", "")
    for event in (started, scenario("a", BROKEN), scenario("b", HELD), lost, events.RunFinished(False, 1.0)):
        taken.take(event)
        report.take(event)
    said = stream.getvalue()
    assert "violated      E-once  broken in 1 of 1 scenario: a" in said
    assert "held          E-live  put to the test 3 times in 1 scenario" in said
    assert "in a: one call; there were | 2 of build 2 (iso) (records 1, 2)" in said
    assert "c: line 3: the point x: no" in said
    assert "Exit status 1" in said
    assert "secret" not in said
    assert (" …" not in said) == verbose


def test_an_interrupted_run_held_nothing() -> None:
    taken = tally(scenario("a", HELD, ONCE))
    taken.take(events.RunFinished(interrupted=True, seconds=1.0))
    assert taken.exit_code == 130
    assert "interrupted" in markdown.page(taken)


def test_replacing_keeps_the_event_whole() -> None:
    event = scenario("a", HELD, BROKEN)
    only = sections.only(event, {"E-live"})
    beside = only.verdict.broken_elsewhere
    assert beside == ("E-once",)
    assert replace(only, verdict=event.verdict) == event
