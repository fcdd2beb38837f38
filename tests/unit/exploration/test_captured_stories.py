"""From a tap's recording to a story: what happened in which order, what is expected, whose names stand in it."""

from pathlib import Path
from typing import Any

import pytest

from hydra_notify_sim import errors, history
from hydra_notify_sim.exploration.capture import facts, story
from hydra_notify_sim.exploration.capture.story import Captured, Wishes
from hydra_notify_sim.exploration.neighbours import data_of
from hydra_notify_sim.scenario import load_text, open_places, to_yaml

OPEN = {"unknown": ["crash", "down", "connection lost"]}


class Tape:
    """A recording in the making; each call is a second later."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.now = 1000.0
        self.records: list[history.AnyRecord] = [history.Observed(t=self.now, marks={})]

    def heard(self, channel: str, *fields: object, backend: int = 7, later: float = 1.0) -> "Tape":
        self.now += later
        payload = "\t".join(map(str, fields))
        self.records.append(
            history.Heard(
                t=self.now, since=self.now - later, channel=channel, payload=payload, backend=backend
            )
        )
        return self

    def seen(self, build: int, **columns: Any) -> "Tape":
        row = {"jobset": "secret:stuff", "job": f"secret-{build}.x86_64-linux", "system": "x86_64-linux"}
        self.records.append(
            history.Seen(
                t=self.now + 0.1, since=self.now - 0.9, build=build, row=history.BuildRow(**(row | columns))
            )
        )
        return self

    def finished(self, build: int, status: int | None = 0, **columns: Any) -> "Tape":
        stop = int(self.now)
        return self.seen(
            build,
            **(
                {"finished": True, "status": status, "start": stop - 60, "stop": stop, "mark": stop} | columns
            ),
        )

    def changed(self, later: float = 1.0, **what: Any) -> "Tape":
        self.now += later
        self.records.append(history.Changed(t=self.now, since=self.now - later, **what))
        return self

    def gap(self, seconds: float) -> "Tape":
        self.now += seconds
        self.records.append(history.Gap(t=self.now, since=self.now - seconds))
        return self

    def captured(self, build: int = 1, *, closed: bool = True, **wishes: Any) -> Captured:
        records = [*self.records, history.Closed(t=self.now + 60)] if closed else self.records
        history.save(history.History(history.Header(name="tape", tap=True), records), self.file)
        made = story.capture(history.SavedHistory(self.file), build, Wishes(**wishes))
        assert load_text(to_yaml(made.scenario)) == made.scenario
        return made


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    return Tape(tmp_path / "tape.jsonl")


def steps(made: Captured) -> list[Any]:
    """Return the steps of a story as its file has them, without the open places and the beginning and end of each."""
    found = data_of(made.scenario)["story"]
    assert found[0] == {"dispatcher": "start"}
    return [step for step in found[1:] if "unknown" not in step and step != {"settle": True}]


def task(id_: int, attempts: int, due: float, plugin: str = "GitHub", payload: str = "1") -> history.Task:
    return history.Task(id_, "build_finished", plugin, payload, attempts, due)


def test_a_build_with_nothing_in_between_is_one_step(tape: Tape) -> None:
    tape.heard("build_queued", 1).heard("eval_added", "t", 1, 1).seen(1, finished=False)
    tape.heard("build_started", 1).heard("step_finished", 1, 1, "/log")
    tape.heard("build_started", 1).heard("step_finished", 1, 2, "-")
    tape.heard("build_finished", 1).finished(1).changed(marked={1: 5}).changed(cleared=(1,))
    made = tape.captured()
    assert steps(made) == [
        {"evaluate": {"new": ["this-build"]}},
        {"build": "this-build", "log": False},
        {"expect": {"marks": [], "retries": []}},
    ]
    assert data_of(made.scenario)["given"]["builds"] == {"this-build": {"steps": 2}}
    assert len(open_places(made.scenario)) == 2


def test_a_failure_takes_its_dependents_along_and_is_needed_by_them(tape: Tape) -> None:
    tape.heard("build_started", 1).seen(1, finished=False)
    tape.heard("step_finished", 1, 1, "/log").heard("build_finished", 1, 1, 2, 3)
    for build, status in ((1, 1), (2, 2), (3, 2)):
        tape.finished(build, status)
    made = tape.captured()
    assert steps(made)[0] == {"build": "this-build", "status": "failed"}
    builds = data_of(made.scenario)["given"]["builds"]
    assert builds["dependent-1"] == builds["dependent-2"] == {"needs": ["this-build"]}
    of_dependent = data_of(tape.captured(3).scenario)
    assert of_dependent["given"]["builds"] == {"needed-1": {}, "this-build": {"needs": ["needed-1"]}}
    assert {"build": "needed-1", "status": "failed"} in of_dependent["story"]


def test_restarted_and_green_is_two_outcomes(tape: Tape) -> None:
    tape.heard("build_started", 1).seen(1, finished=False).heard("step_finished", 1, 1, "/log")
    tape.heard("build_finished", 1, 1).finished(1, 1)
    tape.heard("builds_restarted").seen(1, finished=False, status=1, start=1, stop=2)
    tape.heard("build_started", 1).heard("step_finished", 1, 2, "/log").heard("build_finished", 1).finished(1)
    assert steps(tape.captured())[:3] == [
        {"build": "this-build", "status": "failed"},
        {"restart": "this-build"},
        {"build": "this-build"},
    ]


def test_a_restart_that_fell_between_two_looks_is_told(tape: Tape) -> None:
    tape.heard("build_finished", 1).finished(1, 1).heard("builds_restarted")
    tape.heard("build_finished", 1).finished(1, start=7, stop=8)
    assert steps(tape.captured())[:3] == [
        {"finish": "this-build", "status": "failed"},
        {"restart": "this-build"},
        {"finish": "this-build"},
    ]


def test_an_outcome_that_nobody_announced_is_a_queue_runner_that_died_unless_it_fell_into_a_gap(
    tmp_path: Path,
) -> None:
    def story_of(*, gap: bool) -> list[Any]:
        tape = Tape(tmp_path / f"{gap}.jsonl").heard("build_started", 1).seen(1, finished=False)
        tape = tape.gap(1.0) if gap else tape.changed(marked={1: 5})
        return steps(tape.finished(1).captured())

    assert story_of(gap=False)[0] == {"mark_only": "this-build"}
    assert story_of(gap=True)[0] == {"build": "this-build"}


def test_cancelled_substituted_and_deleted(tape: Tape) -> None:
    tape.heard("build_queued", 1).seen(1, finished=False).heard("builds_cancelled")
    tape.finished(1, 4, mark=None)
    tape.heard("build_queued", 2, backend=8).seen(2, finished=False)
    tape.heard("build_finished", 2).finished(2, start=9, stop=9, cached=True)
    assert steps(tape.captured(1))[1] == {"cancel": "this-build"}
    assert steps(tape.captured(2))[1] == {"substitute": "this-build"}
    tape.records.append(history.Seen(t=tape.now, since=tape.now, build=1, row=None))
    assert steps(tape.captured(1))[2] == {"delete": {"build": "this-build"}}


def test_what_was_finished_before_is_given_and_a_notification_sent_again_is_told_as_such(tape: Tape) -> None:
    tape.heard("cached_build_finished", 30, 1).heard("eval_added", "t", 1, 30).finished(1, mark=None)
    tape.heard("cached_build_finished", 30, 1, backend=9)
    made = tape.captured(untold=("Chat",))
    assert steps(made) == [
        {"evaluate": {"name": "e1", "cached": ["this-build"]}},
        {"notify": {"channel": "cached_build_finished", "payload": ["e1", "this-build"]}},
        {
            "expect": {
                "calls": {"plugin-2.cached_build_finished": {"build": "this-build", "at_most": 0}},
                "marks": [],
                "retries": [],
            }
        },
    ]
    assert data_of(made.scenario)["given"]["builds"] == {"this-build": {"finished": "succeeded"}}
    assert made.scenario.exercises == ("C-live",)


def test_failed_calls_are_told_from_the_tasks_and_time_passes_until_they_are_tried_again(tape: Tape) -> None:
    tape.heard("build_finished", 1).finished(1).changed(marked={1: 5})
    tape.changed(stored=(task(4, 1, tape.now + 2),), cleared=(1,))
    tape.changed(3, stored=(task(4, 2, tape.now + 500),))
    made = tape.captured()
    assert steps(made) == [
        {"finish": "this-build"},
        {"expect": {"marks": []}},
        {"advance": "3s"},
        {"expect": {"marks": [], "retries": [{"plugin": "plugin-2", "attempts": 2}]}},
    ]
    plugins = data_of(made.scenario)["given"]["plugins"]
    assert plugins["plugin-2"] == {"hooks": ["build_finished"], "raises": {"first": 2, "for": "this-build"}}
    assert made.plugins == {"plugin-2": "GitHub"}


def test_a_task_that_is_due_as_the_recording_ends_is_not_expected(tape: Tape) -> None:
    tape.heard("build_finished", 1).finished(1).changed(stored=(task(4, 1, tape.now + 0.5),))
    assert steps(tape.captured())[-1] == {"expect": {"marks": []}}


def test_a_task_from_before_is_inserted(tape: Tape) -> None:
    tape.records[0] = history.Observed(t=tape.now, marks={1: 5}, tasks=(task(4, 3, tape.now + 6),))
    tape.finished(1).changed(8, gone=(4,))
    made = tape.captured()
    found = data_of(made.scenario)
    assert found["given"]["builds"] == {"this-build": {"finished": "succeeded", "pending": True}}
    assert found["story"][0]["insert"]["task"] == {
        "plugin": "plugin-2", "channel": "build_finished", "payload": ["this-build"], "attempts": 3, "due_in": "6s",
    }  # fmt: skip
    assert {"advance": "9s"} in found["story"]


def test_a_mark_is_expected_to_stay_only_if_it_was_there_for_a_while(tape: Tape) -> None:
    tape.heard("build_finished", 1).finished(1).changed(marked={1: 5})
    assert "marks" not in steps(tape.captured())[-1]["expect"]
    tape.heard("build_started", 1, later=20.0)
    assert steps(tape.captured())[-1]["expect"]["marks"] == ["this-build"]


def test_no_name_of_the_recording_stands_in_the_story_unless_it_is_asked_for(tape: Tape) -> None:
    tape.heard("build_finished", 1, 1, 2).finished(1, 1).finished(2, 2)
    tape.changed(stored=(task(4, 1, tape.now + 900, plugin="Hydra::Plugin::Secret"),))
    text = to_yaml(tape.captured(plugins=("Secret",), untold=("SecretToo",)).scenario)
    assert "ecret" not in text
    kept = tape.captured(plugins=("Chat",), untold=("GitHub",), keep_names=True)
    given = data_of(kept.scenario)["given"]
    assert given["jobset"] == "secret:stuff"
    assert given["builds"]["secret-1"]["job"] == "secret-1.x86_64-linux"
    assert list(given["plugins"]) == ["Chat", "Hydra-Plugin-Secret", "GitHub"]


def test_what_cannot_have_happened_as_it_looks_is_told_by_its_notification(tape: Tape) -> None:
    tape.heard("build_started", 1).finished(1, mark=None)
    tape.heard("step_finished", 1, 5, "/log/of/another")
    tape.heard("build_finished", 2, 1)
    made = tape.captured()
    channels = [step["notify"]["channel"] for step in steps(made) if "notify" in step]
    assert channels == ["step_finished", "build_finished"]
    assert "another" not in to_yaml(made.scenario)


@pytest.mark.parametrize("status", [99, 13, None])
def test_a_status_that_no_build_has_is_a_failure(tape: Tape, status: int | None) -> None:
    tape.heard("build_finished", 1).finished(1, status)
    assert steps(tape.captured(untold=("GitHub",)))[0] == {"finish": "this-build", "status": "failed"}


def test_builds_that_are_not_told_of_are_left_out_of_payloads(tape: Tape) -> None:
    tape.heard("build_finished", 1, 1, 2, 3).finished(1, 1).finished(2, 2)
    tape.heard("build_finished", 1, 1, 2, 3)
    again = steps(tape.captured(2))[1]
    assert again == {
        "notify": {"channel": "build_finished", "payload": ["needed-1", "needed-1", "this-build"]}
    }


def test_a_build_that_is_named_and_not_there_has_no_row(tape: Tape) -> None:
    tape.heard("build_finished", 1)
    tape.records.append(history.Seen(t=tape.now, since=tape.now, build=1, row=None))
    made = tape.captured()
    assert data_of(made.scenario)["given"]["builds"] == {"this-build": {"row": "later"}}
    assert steps(made)[0] == {"notify": {"channel": "build_finished", "payload": ["this-build"]}}


def test_a_recording_that_was_cut_short_is_used_as_far_as_it_goes(tape: Tape) -> None:
    tape.heard("build_finished", 1).finished(1)
    assert not any("cut short" in note for note in tape.captured().notes)
    tape.captured(closed=False)
    tape.file.write_bytes(tape.file.read_bytes()[:-9])
    made = story.capture(history.SavedHistory(tape.file), 1, Wishes())
    assert any("cut short" in note for note in made.notes)


def test_of_many_dependents_the_first_are_told(tape: Tape) -> None:
    tape.heard("build_finished", 1, 1, *range(2, 60)).finished(1, 1)
    made = tape.captured()
    assert len(made.scenario.given.builds) == 1 + facts.MOST_DEPENDENTS
    assert any("38 further builds" in note for note in made.notes)


@pytest.mark.parametrize(
    ("build", "wishes", "said"),
    [
        (99, {}, "build 99 does not occur in it.*The last builds in it: 1"),
        (1, {"untold": ("GitHub.eval_added",)}, "eval_added is not about a build"),
        (1, {"untold": ("GitHub",)}, "was not seen to finish"),
    ],
)
def test_what_cannot_be_told_is_said(tape: Tape, build: int, wishes: dict[str, Any], said: str) -> None:
    tape.heard("build_started", 1).seen(1, finished=False)
    with pytest.raises(errors.UsageError, match=said):
        tape.captured(build, **wishes)


def test_the_history_of_a_run_is_no_recording(tmp_path: Path) -> None:
    history.save(history.History(history.Header(name="x")), tmp_path / "x.jsonl")
    with pytest.raises(facts.NotInRecordingError, match="the history of a run"):
        story.capture(history.SavedHistory(tmp_path / "x.jsonl"), 1, Wishes())
