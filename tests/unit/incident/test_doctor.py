"""What the doctor finds in facts: each finding where it is true, and nowhere else."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hydra_notify_sim.contract import promises, quirks
from hydra_notify_sim.incident import doctor

NOW = 1_700_000_000
LISTENING = doctor.Backend(411, "", NOW - 90_000, "idle", NOW - 20, "SELECT me.id FROM TaskRetries me")
HEALTHY = doctor.Facts("hydra", NOW, schema=87, backends=(LISTENING,))


def _found(facts: doctor.Facts, **options: object) -> dict[str, doctor.Finding]:
    return {one.id: one for one in doctor.diagnose(facts, **options)}  # type: ignore[arg-type]  # options by name


def _task(
    number: int = 7, *, due: int = NOW + 60, attempts: int = 1, rows: bool | None = True
) -> doctor.StoredTask:
    return doctor.StoredTask(number, "build_finished", "GitHub", "12", attempts, due, rows)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    fresh = replace(HEALTHY, marks=((12, NOW - 3),), tasks=(_task(),))
    assert _found(fresh) == {}


@pytest.mark.parametrize(
    ("change", "finding", "severity"),
    [
        ({"marks": ((12, NOW - 3_600), (13, NOW - 4))}, "old-marks", "problem"),
        ({"stale_marks": ((12, NOW - 3_600),)}, "stale-marks", "problem"),
        ({"backends": ()}, "no-listener", "problem"),
        ({"backends": (), "hidden": 3}, "no-listener", "note"),
        ({"standby": True, "backends": ()}, "standby", "note"),
        ({"tasks": (_task(rows=None),)}, "poisoned-tasks", "problem"),
        ({"tasks": (_task(rows=False),)}, "orphaned-tasks", "note"),
        ({"tasks": (_task(due=NOW - 3_600),)}, "overdue-tasks", "problem"),
        ({"tasks": (_task(attempts=5),)}, "failing-plugins", "note"),
        ({"queue": 0.5}, "queue", "problem"),
        ({"schema": 60}, "schema", "note"),
        ({"schema": None}, "schema", "note"),
        (
            {"backends": (replace(LISTENING, state="active", since=NOW - 900, blocked_by=(5,)),)},
            "blocked",
            "problem",
        ),
        (
            {"backends": tuple(replace(LISTENING, pid=pid, application=doctor.LISTENS) for pid in (1, 2))},
            "two-dispatchers",
            "problem",
        ),
    ],
)
def test_each_fault_is_found_by_itself(change: dict[str, object], finding: str, severity: str) -> None:
    found = _found(replace(HEALTHY, **change))  # type: ignore[arg-type]  # fields by name
    assert {name: one.severity for name, one in found.items()} == {finding: severity}
    assert found[finding].do


def test_a_connection_that_slept_through_a_build_is_deaf() -> None:
    asleep = replace(LISTENING, since=NOW - 4_000)
    facts = replace(HEALTHY, backends=(asleep,), marks=((12, NOW - 3_600),))
    deaf = _found(facts)["deaf"]
    assert deaf.examples == (411, 12)
    assert "hn-deaf-after-reconnect" in deaf.points_to


@pytest.mark.parametrize(
    "backend",
    [
        replace(
            LISTENING, since=NOW - 4_000, started=NOW - 1_000
        ),  # it connected after the build had finished
        replace(LISTENING, since=NOW - 4_000, state="active"),  # it is at work
        LISTENING,  # it did something a moment ago
    ],
)
def test_a_connection_that_may_have_heard_is_not_called_deaf(backend: doctor.Backend) -> None:
    facts = replace(HEALTHY, backends=(backend,), marks=((12, NOW - 3_600),))
    assert set(_found(facts)) == {"old-marks"}


def test_tasks_of_plugins_that_are_not_installed_are_found_where_somebody_said_which_are() -> None:
    facts = replace(HEALTHY, tasks=(_task(),))
    assert _found(facts, installed=("GitHub",)) == {}
    assert _found(facts, installed=("Slack",))["gone-plugins"].examples == (7,)


def test_late_is_what_the_person_says() -> None:
    facts = replace(HEALTHY, marks=((12, NOW - 100),))
    assert _found(facts) == {}
    assert set(_found(facts, late=60.0)) == {"old-marks"}


def test_problems_come_before_notes() -> None:
    facts = replace(HEALTHY, schema=60, marks=((12, NOW - 3_600),))
    assert [one.severity for one in doctor.diagnose(facts)] == ["problem", "note"]


def test_every_finding_points_to_promises_and_quirks_that_there_are() -> None:
    everything = doctor.Facts(
        "hydra",
        NOW,
        schema=1,
        marks=((1, 1),),
        stale_marks=((2, 1),),
        tasks=(_task(1, due=1, attempts=9), _task(2, rows=None), _task(3, rows=False)),
        backends=(
            replace(LISTENING, pid=1, application=doctor.LISTENS, started=0, since=0, blocked_by=(4,)),
            replace(LISTENING, pid=2, application=doctor.LISTENS, started=0, since=0),
        ),
        queue=0.9,
    )
    found = _found(everything, installed=("Slack",))
    assert {"old-marks", "deaf", "gone-plugins", "two-dispatchers", "blocked"} <= found.keys()
    known = {one.id for one in promises.PROMISES} | {one.id for one in quirks.QUIRKS}
    assert {name for one in found.values() for name in one.points_to} <= known


def test_the_numbers_are_there_whatever_is_wrong() -> None:
    assert doctor.summary(
        replace(HEALTHY, marks=((1, NOW - 10),), tasks=(_task(attempts=3), _task(8, attempts=3)))
    ) == {
        "marks": 1,
        "oldest_mark_seconds": 10,
        "marks_on_unfinished_builds": 0,
        "tasks": 2,
        "tasks_due": 0,
        "oldest_due_task_seconds": 0,
        "tasks_by_plugin_and_attempts": {"GitHub": {"3": 2}},
        "poisoned_tasks": 0,
        "orphaned_tasks": 0,
        "listeners": 1,
        "notification_queue": 0,
        "schema": 87,
    }


def test_the_page_lists_every_finding() -> None:
    source = Path(doctor.__file__).read_text(encoding="utf-8")
    findings = set(re.findall(r'Finding\(\s*"([a-z-]+)"', source))
    page = Path(__file__).parents[3].joinpath("docs", "doctor.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)) == findings
