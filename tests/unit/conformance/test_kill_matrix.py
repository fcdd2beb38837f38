"""What is played for the kill matrix, when it holds, and what every known-bad dispatcher says of itself."""

from hydra_notify_sim.conformance import kill_matrix
from hydra_notify_sim.conformance.kill_matrix import Matrix, Row
from hydra_notify_sim.contract import promises
from hydra_notify_sim.known_bad import KNOWN_BAD
from hydra_notify_sim.reports.conformance import matrix as sheet
from hydra_notify_sim.scenario import shipped

SCENARIOS = shipped.load()
COVERING = [Row(f"known-bad:{one.id}", (one.id,), caught={one.id: ["s"]}) for one in promises.PROMISES]


def matrix(*rows: Row, control: Row | None = None) -> Matrix:
    covered = [one for one in COVERING if one.main not in kill_matrix.NO_KNOWN_BAD]
    return Matrix(control or Row("reference"), [*covered, *rows])


def test_every_promise_that_a_dispatcher_can_break_has_one_that_breaks_it() -> None:
    broken = {promise for bad in KNOWN_BAD.values() for promise in bad.breaks}
    assert broken == {promise.id for promise in promises.PROMISES} - kill_matrix.NO_KNOWN_BAD.keys()


def test_each_says_what_it_does_and_who_did_it() -> None:
    assert len(KNOWN_BAD) >= 40
    for bad in KNOWN_BAD.values():
        assert bad.breaks
        assert len(bad.story.split(". ")) >= 2


def test_what_is_left_out_is_costly_and_exists_for_something_else() -> None:
    by_name = {path.stem: scenario for path, scenario, _ in SCENARIOS}
    for row in kill_matrix.empty(SCENARIOS).rows:
        bad = KNOWN_BAD[row.name.removeprefix("known-bad:")]
        for name in row.left_out:
            assert row.main not in by_name[name].exercises
            assert bad.as_process or kill_matrix.is_costly(by_name[name])
    assert sum(kill_matrix.is_costly(one) for one in by_name.values()) < len(by_name) / 5


def test_the_control_is_played_whole_and_every_job_is_wanted() -> None:
    empty = kill_matrix.empty(SCENARIOS, ["never-clears"])
    jobs = kill_matrix.jobs(empty, SCENARIOS)
    assert sum(job.dispatcher == "reference" for job in jobs) == len(SCENARIOS) == empty.control.wanted
    assert sum(job.dispatcher == "known-bad:never-clears" for job in jobs) == empty.rows[0].wanted


def test_it_holds_only_if_all_are_caught_by_all_they_break_and_the_control_by_none() -> None:
    assert matrix().holds
    assert sheet.exit_code(matrix()) == 0
    survivor = Row("known-bad:x", ("B-clear",))
    half = Row("known-bad:x", ("B-clear", "B-live"), caught={"B-clear": ["s"]})
    accused = Row("reference", caught={"E-once": ["s"]})
    unplayed = Row("reference", failed={"s": "no server"})
    for wrong in (matrix(survivor), matrix(half), matrix(control=accused), matrix(control=unplayed)):
        assert not wrong.holds
        assert sheet.exit_code(wrong) == 1
        assert sheet.outcome(wrong) != sheet.outcome(matrix())
    lacking = Matrix(Row("reference"), COVERING[:5])
    assert "C-live" in lacking.uncovered
    assert not lacking.holds
    assert any("no dispatcher breaks" in str(row) and "E-once" in str(row) for row in sheet.rows(lacking, 1))


def test_one_that_was_not_played_to_the_end_is_no_survivor_and_no_pass() -> None:
    begun = matrix(Row("known-bad:x", ("B-clear",), wanted=9, played=3))
    assert begun.survivors == []
    assert not begun.holds
    begun.interrupted = True
    assert sheet.exit_code(begun) == 130
    assert sheet.exit_code(begun, terminated=True) == 143
    said = "\n".join(map(str, sheet.rows(begun, 130)))
    assert "x: 3 of 9 stories were played" in said
    assert "SURVIVED" not in said


def test_a_survivor_is_told_with_its_story() -> None:
    row = Row("known-bad:x", ("B-clear",), "Leaves marks. Everybody did.", wanted=2, played=2)
    said = "\n".join(map(str, sheet.rows(matrix(row), 1)))
    assert "SURVIVED  x: B-clear was not found violated by any of 2 stories" in said
    assert "Leaves marks. Everybody did." in said
    assert "❌" in sheet.page(matrix(row), 1)
    assert sheet.document(matrix(row), 1, 0)["survivors"] == ["known-bad:x"]
