"""Durations, points, payloads: what they mean and how they are written."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from hydra_notify_sim.scenario import (
    Point,
    deviations,
    format_duration,
    load_text,
    parse_duration,
    payload_text,
    to_yaml,
)
from hydra_notify_sim.scenario.durations import parse_span

IDS = {"iso": 17, "many.1": 3, "many.2": 4, "many.3": 5, "e1": 8, "jobset": 2}


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (6, 6.0),
        (0.5, 0.5),
        ("6s", 6.0),
        ("2m", 120.0),
        ("26.5h", 95400.0),
        ("3d", 259200.0),
        (0, 0.0),
        ("366d", 31622400.0),
    ],
)
def test_a_duration_is_a_number_of_seconds(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        -1,
        "-1s",
        "6",
        "6 s",
        "s",
        "",
        "1e3s",
        "6x",
        True,
        None,
        [],
        float("nan"),
        float("inf"),
        "367d",
        10**400,
        "٣s",
    ],
)
def test_nonsense_is_no_duration(written: object) -> None:
    with pytest.raises(PydanticCustomError, match="is not a duration"):
        parse_duration(written)


def test_time_is_advanced_by_a_duration_or_until_a_task_is_due() -> None:
    assert parse_span("until due") == "until due"
    assert parse_span("2m") == 120.0
    for wrong in ("until", "until due 2s", -1, None):
        with pytest.raises(PydanticCustomError, match=r"is not a duration: write .* or `until due`"):
            parse_span(wrong)


@given(st.floats(0, 31622400.0))
def test_a_duration_is_written_so_that_it_is_read_as_the_same(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(6, "6s"), (120, "2m"), (95400, "26.5h"), (90, "1.5m"), (1024, "1024s"), (0, "0s")]
)
def test_a_duration_is_written_in_the_unit_that_reads_best(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("before_clear", "before_clear"),
        ({"after_call": 1}, "after_call 1"),
        ({"inside_call": "github"}, "inside_call github"),
        ({"after_call": 1, "hook": "build_finished"}, "after_call 1 of build_finished"),
        ({"before_store": None, "hook": "step_finished"}, "before_store of step_finished"),
        ({"after_clear": None, "hook": "build_finished"}, "after_clear of build_finished"),
        ({"during_scan": 2, "hook": "build_finished"}, "during_scan 2 of build_finished"),
        ({"point": 7}, "point 7"),
    ],
)
def test_points_in_words(written: object, text: str) -> None:
    assert str(Point.model_validate(written)) == text
    assert Point.model_validate(Point.model_validate(written).model_dump()) == Point.model_validate(written)


@pytest.mark.parametrize(
    "written",
    [
        "point",
        "here",
        {"before_clear": 1},
        {"point": "x"},
        {"after_call": True},
        {"hook": "build_finished"},
        {},
        3,
    ],
)
def test_what_is_no_point(written: object) -> None:
    with pytest.raises(ValidationError):
        Point.model_validate(written)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({"before_clear": None, "hook": "build_started"}, "only build_finished has marks"),
        ({"after_clear": None, "hook": "step_finished"}, "only build_finished has marks"),
        ({"during_scan": 1, "hook": "build_queued"}, "only build_finished has marks"),
        ({"before_wait": None, "hook": "build_finished"}, "no event in hand"),
        ({"between_listen_and_scan": None, "hook": "build_finished"}, "no event in hand"),
        ({"point": 3, "hook": "build_finished"}, "its number says already"),
        ({"before_clear": None, "hook": "build_finish"}, "'build_finish' is not a hook"),
    ],
)
def test_a_hook_with_which_a_point_would_never_be_reached_is_refused(written: object, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Point.model_validate(written)


@pytest.mark.parametrize(
    ("channel", "payload", "text"),
    [
        ("build_finished", ("iso", "many"), "17\t3\t4\t5"),
        ("cached_build_finished", ("e1", "iso"), "8\t17"),
        ("eval_added", ("iso", "jobset", "e1"), "iso\t2\t8"),
        ("step_finished", ("iso", 1, "-"), "17\t1\t-"),
        ("build_queued", (99,), "99"),
        ("build_queued", "00{iso}\t", "0017\t"),
        ("build_queued", "{not a name} {}", "{not a name} {}"),
        ("elsewhere", ("iso", "x"), "iso\tx"),
    ],
)
def test_payloads_are_sent_with_ids(
    head: str, channel: str, payload: str | tuple[str | int, ...], text: str
) -> None:
    scenario = load_text(head + "  - advance: 1s\n")
    assert payload_text(channel, payload, IDS.__getitem__, scenario.singles) == text


TEXTS = """
scenario: 2026
why: true
exercises: [B-clear]
given:
  builds: {iso: {job: 007.50, name: 1e3, system: 0x10}}
  plugins: {github: {hooks: [build_finished], raises: {for: iso, message: 502}}}
story:
  - dispatcher: start
  - evaluate: {fails: 404}
  - notify: {channel: eval_started, payload: [010, jobset]}
  - notify: {channel: eval_started, payload: [true, 1]}
  - notify: {channel: build_started, payload: 1e3}
  - insert: {task: {plugin: 17, channel: false, payload: 0x10}}
  - expect: {log: 502, retries: [{plugin: 17}]}
"""


def test_a_number_or_a_truth_value_where_a_text_is_meant_is_that_text_as_it_was_written() -> None:
    scenario = load_text(TEXTS)
    assert (scenario.scenario, scenario.why) == ("2026", "true")
    iso, github = scenario.given.builds["iso"], scenario.given.plugins["github"]
    assert (iso.job, iso.name, iso.system) == ("007.50", "1e3", "0x10")
    assert github.raises is not None
    assert github.raises.message == "502"
    evaluate, trace, fields, raw, insert, expect = (step.model_dump() for step in scenario.story[1:])
    assert evaluate["evaluate"]["fails"] == "404"
    assert trace["notify"]["payload"] == ["010", "jobset"]
    assert fields["notify"]["payload"] == ["true", 1]
    assert raw["notify"]["payload"] == "1e3"
    task = insert["insert"]["task"]
    assert (task["plugin"], task["channel"], task["payload"]) == ("17", "false", "0x10")
    assert (expect["expect"]["log"], expect["expect"]["retries"][0]["plugin"]) == ("502", "17")


def test_such_a_text_is_written_in_quotes_and_read_again() -> None:
    scenario = load_text(TEXTS)
    assert load_text(to_yaml(scenario)) == scenario


def test_a_file_of_known_issues_takes_a_number_for_its_text(tmp_path: Path) -> None:
    file = tmp_path / "known.yaml"
    file.write_text("- {promise: B-clear, reason: 502, id: 17, scenario: 2026}\n")
    (known,) = deviations.read(file)
    assert (known.reason, known.id, known.scenario) == ("502", "17", "2026")
