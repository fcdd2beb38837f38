from collections.abc import Callable

from hydra_notify_sim import history
from hydra_notify_sim.reports import timeline

Make = Callable[[str], history.History]


def story(*records: history.AnyRecord) -> list[timeline.Line]:
    return timeline.lines(history.History(history.Header(name="x"), records), {1: "iso"})


def call(number: int, plugin: str = "github") -> history.Called:
    build = {"id": 1, "finished": 1, "buildstatus": 2}
    return history.Called(
        t=0,
        call=number,
        life=1,
        plugin=plugin,
        hook="build_finished",
        args={"build": build, "dependents": [build]},
    )


def test_every_record_stands_on_exactly_one_line(make_history: Make) -> None:
    source = make_history("x")
    numbers = [number for line in timeline.lines(source) for number in line.records]
    assert sorted(numbers) == list(range(len(source)))


def test_a_call_and_its_end_are_one_line() -> None:
    [line] = story(call(1), history.Raised(t=0, call=1, message="403\nrate limited"))
    assert line.records == (0, 1)
    assert line.text == (
        "build_finished iso (dependency failed) with iso (dependency failed): raised: 403 rate limited"
    )


def test_what_happens_inside_a_call_stands_further_in() -> None:
    lines = story(
        call(1),
        history.PointReached(t=0, point="inside_call"),
        history.Commit(t=1, actor="person", action="restart", about="iso"),
        history.Committed(t=1, commit=2),
        history.Returned(t=1, call=1),
    )
    assert [line.depth for line in lines] == [0, 1, 1, 0]
    assert lines[0].text.endswith("…")
    assert lines[-1].text.endswith(": returned")
    assert lines[0].records == (0, 4), "the end belongs to the beginning as well"


def test_nicknames_come_from_the_rows_where_none_are_given() -> None:
    row = history.RowChange("inserted", "builds", "7", "kernel")
    commit = history.Commit(
        t=0, actor="evaluator", action="evaluate", rows=(row,), notifications=(history.Notification("build_queued", "7"),)
    )  # fmt: skip
    assert story(commit)[0].text == "evaluate → build_queued kernel"


def test_a_refused_commit_is_said() -> None:
    lines = story(
        history.Commit(t=0, actor="harness", action="notify"), history.Committed(t=0, commit=0, ok=False)
    )
    assert lines[1].text == "refused the commit #0: nothing of it happened"


def test_rows_are_told_as_what_changed() -> None:
    first = history.Task(1, "build_finished", "github", "1", 1, 12.0)
    later = history.Task(1, "build_finished", "github", "1", 2, 16.0)
    lines = story(
        history.Observed(t=10, marks={1: 5}, tasks=(first,)),
        history.Observed(t=12, marks={1: 6}, tasks=(later,)),
        history.Observed(t=13, marks={}, tasks=()),
        history.Observed(t=14, marks={}, tasks=()),
    )
    assert [line.text for line in lines] == [
        "marked: iso; task stored: github build_finished iso, 1 attempt, due in 2 s",
        "marked anew: iso; task put off: github build_finished iso, 2 attempts, due in 4 s",
        "mark cleared: iso; task gone: github build_finished iso",
        "as before",
    ]
    assert [line.minor for line in lines] == [False, False, False, True]


def test_runs_of_equal_lines_are_folded_and_what_proves_by_itself() -> None:
    lines = story(*(history.TimeMoved(t=number, seconds=2) for number in range(10)))
    folded = timeline.fold(lines, keep={4, 5})
    assert [(line.times, line.records) for line in folded] == [
        (4, (0, 1, 2, 3)),
        (2, (4, 5)),
        (4, (6, 7, 8, 9)),
    ]


def test_the_relevant_part_is_what_proves_with_its_neighbours_and_the_lives_between() -> None:
    records: list[history.AnyRecord] = [history.TimeMoved(t=number, seconds=number) for number in range(100)]
    records[50] = history.Crashed(t=50, life=1)
    shown = timeline.relevant(story(*records), {20, 80}, around=1)
    assert [line.lines if isinstance(line, timeline.Gap) else line.records for line in shown] == [
        19, (19,), (20,), (21,), 28, (50,), 28, (79,), (80,), (81,), 18,
    ]  # fmt: skip


def test_without_proof_the_end_is_shown() -> None:
    lines = story(*(history.TimeMoved(t=number, seconds=number) for number in range(100)))
    shown = timeline.relevant(lines, (), tail=3)
    assert shown == [timeline.Gap(97), *lines[-3:]]


def test_proof_by_thousands_of_records_stays_short() -> None:
    lines = story(*(history.TimeMoved(t=number, seconds=number) for number in range(5000)))
    assert len(timeline.relevant(lines, range(5000), limit=60)) < 80


def test_a_proof_that_is_otherwise_not_shown_is_shown() -> None:
    lines = story(history.Kicked(t=0), history.TimeMoved(t=1, seconds=1))
    assert lines[0] in timeline.relevant(lines, {0})
    assert lines[0] not in timeline.relevant(lines, {1})


def test_a_malformed_payload_is_shown_as_it_is() -> None:
    commit = history.Commit(
        t=0,
        actor="person",
        action="notify",
        notifications=(history.Notification("build_queued", "x\ty", raw=True),),
    )
    assert story(commit)[0].text == "notify → build_queued 'x\\ty' (malformed)"


def test_every_kind_of_record_has_words_of_its_own() -> None:
    records: list[history.AnyRecord] = [
        history.Stopping(t=0, life=1),
        history.Stopped(t=0, life=1),
        history.Stopped(t=0, life=1, in_time=False),
        history.Ended(t=0, life=1, exit_status=255, message="poison"),
        history.Disconnected(t=0, life=1, server_closed=True),
        history.Disconnected(t=0, life=1, by="dispatcher"),
        history.ServerOpened(t=0),
        history.Fault(t=0, fault="reply_lost", detail="once"),
        history.PointMissed(t=0, point="point: 9", reason="it had 4"),
        history.StoryEnded(t=0, reason="line 9: the story could not go on"),
        history.Expected(t=0, text="marks on: iso", met=True),
        history.Expected(t=0, text="marks on: iso", met=False, found="nothing"),
        history.ViolationsExpected(t=0, promises=("B-clear",)),
        history.NotSettled(t=0, reason="deadline", busy=True),
        history.Counted(t=0, counters={"malformed": 1}),
        history.CutOff(t=0, call=9),
    ]
    assert [line.text for line in story(*records)] == [
        "is asked to stop",
        "stopped, exit 0",
        "did not stop in time and was killed",
        "ended unasked, exit 255: poison",
        "loses its connections; the server is closed to it",
        "dropped its connections by itself",
        "lets the dispatcher in again",
        "reply lost: once",
        "does not go as told: it had 4",
        "does not go as told: line 9: the story could not go on",
        "expects marks on: iso",
        "expects marks on: iso; found: nothing",
        "expects B-clear to be violated",
        "did not settle, burning the processor: deadline",
        "counts malformed 1",
        "call 9 cut off: the dispatcher was lost",
    ]
