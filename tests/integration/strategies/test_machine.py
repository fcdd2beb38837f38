"""The state machine on a real PostgreSQL: bad dispatchers are found and told, the good one is not accused."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.database import InMemoryExampleDatabase

from hydra_notify_sim import errors, scenario, strategies
from hydra_notify_sim.engine import events
from hydra_notify_sim.strategies import grounds

Play = Callable[..., events.ScenarioFinished]


@pytest.fixture(scope="module", autouse=True)
def _server_of_this_module() -> Iterator[None]:
    yield
    grounds.close()


def test_the_reference_is_not_accused_and_the_run_says_what_it_covered() -> None:
    machine = strategies.machine(examples=200, seed=7)
    tally = strategies.run(machine)
    assert not tally.violations
    assert tally.scenarios >= 190  # Hypothesis counts one that it has had already, and does not play it
    assert len(tally.promises) > 20
    assert tally.faults_at_points
    account = " ".join(strategies.account(tally).split())  # its lines may be broken anywhere
    for part in (
        "actions: ",
        "faults x points: ",
        "promises: ",
        "dispatcher crash x ",
        "L-lives",
        "not exercised: ",
    ):
        assert part in account


def test_the_same_seed_gives_the_same_examples_whatever_was_played_before() -> None:
    kept = InMemoryExampleDatabase()
    first, second = (
        strategies.run(
            strategies.machine(seed=7), settings=settings(strategies.settings_of(40), database=kept)
        )
        for _ in range(2)
    )
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "promise", "seed"),
    [
        ("clears-after-the-first-plugin", "B-clear-after", 1),
        ("retries-at-once", "R-backoff", 2),
        ("never-clears", "B-clear", 3),
    ],
)
def test_a_bad_dispatcher_is_found_and_its_story_written(
    name: str, promise: str, seed: int, tmp_path: Path, play: Play
) -> None:
    bad = f"known-bad:{name}"
    with pytest.raises(strategies.PromiseBroken) as raised:
        strategies.run(strategies.machine(bad, examples=300, seed=seed, directory=tmp_path))
    error = raised.value
    (file,) = tmp_path.iterdir()
    assert error.file == file
    assert error.promise == promise
    text = file.read_text()
    assert f"hydra-notify-sim replay --dispatcher {bad} {file}" in str(error)
    assert text in str(error)
    assert f"# Broken promise: {promise}." in text
    assert f"# Made up by the Hypothesis machine, seed {seed};" in text
    assert "PostgreSQL" in text
    read = scenario.load(file)
    assert read.exercises == (promise,)
    assert sum(step.verb not in {"settle", "expect"} for step in read.story) <= 4
    assert play(file, dispatcher=bad).passed
    assert not play(file).passed, "the reference breaks nothing, and the file expects it to"


@pytest.mark.slow
def test_what_given_finds_is_written_too_and_the_same_shape_is_one_file(tmp_path: Path) -> None:
    @settings(strategies.settings_of(examples=100), derandomize=True)
    @given(strategies.scenarios())
    def keeps_its_promises(story: scenario.Scenario) -> None:
        strategies.play(story, "known-bad:never-scans")

    files = set()
    for _ in range(2):
        with pytest.raises(strategies.PromiseBroken) as raised, strategies.written_down(tmp_path):
            keeps_its_promises()
        files.add(raised.value.file)
    assert set(tmp_path.iterdir()) == files
    assert len(files) == 1


def test_a_broken_promise_is_seen_at_the_step_that_breaks_it() -> None:
    machine = strategies.machine("known-bad:clears-before-calling", examples=50, seed=1)()
    try:
        (build,) = machine.given_builds({"a": {}})
        machine.given_plugins({"github": {}}, up=True, leave_out=frozenset())
        machine.promises_are_kept()
        machine.build(build, {}, None)
        with pytest.raises(strategies.PromiseBroken, match="B-clear-after"):
            machine.promises_are_kept()
        verbs = [step.verb for step in machine.scenario("B-clear-after").story]
        assert verbs == ["dispatcher", "build"]
    finally:
        machine.teardown()


def test_what_is_known_is_not_complained_of_and_the_rest_is(tmp_path: Path) -> None:
    file = tmp_path / "known.yaml"
    file.write_text("- {promise: B-clear-after, reason: issue 17}\n")
    bad = "known-bad:clears-before-calling"
    machine = strategies.machine(bad, known=file, examples=50, seed=1)()
    try:
        (build,) = machine.given_builds({"a": {}})
        machine.given_plugins({"github": {}}, up=True, leave_out=frozenset())
        machine.build(build, {}, None)
        machine.promises_are_kept()
        story = machine.scenario("B-clear-after")
    finally:
        machine.teardown()
    strategies.play(story, bad, known=file)
    with pytest.raises(strategies.PromiseBroken, match="B-clear-after"):
        strategies.play(story, bad)
    crash = "{build: a, at: after_clear, do: [dispatcher: crash]}"
    lost = scenario.load_text(
        "{scenario: A crash, why: Nothing is left, exercises: [B-at-least-once], given: {builds: {a: {}}, plugins:"
        f" {{github: {{}}}}}}, story: [dispatcher: start, {crash}, dispatcher: start, settle]}}"
    )
    with pytest.raises(strategies.PromiseBroken, match="B-at-least-once"):
        strategies.play(lost, bad, known=file)


def test_a_file_of_known_deviations_that_is_wrong_is_told_before_any_example(tmp_path: Path) -> None:
    file = tmp_path / "known.yaml"
    file.write_text("- {promise: B-clear-aftr, reason: issue 17}\n")
    with pytest.raises(errors.UsageError, match="B-clear-after"):
        strategies.machine(known=file)


def test_a_plugin_may_hold_its_call_while_the_story_goes_on() -> None:
    machine = strategies.machine()()
    (build,) = machine.given_builds({"a": {}})
    (plugin,) = machine.given_plugins({"github": {"holds": True}}, up=True, leave_out=frozenset())
    machine.build(build, {}, None)
    assert machine.inside
    machine.bump(build)
    machine.release(plugin)
    assert not machine.inside
    machine.teardown()
    story = machine.scenario("L-lives")
    assert [step.verb for step in story.story] == ["dispatcher", "build", "bump", "release", "settle"]
    strategies.play(story)


def test_a_dispatcher_in_a_process_of_its_own_can_be_put_to_the_test() -> None:
    machine = strategies.machine("reference-process")()
    (build,) = machine.given_builds({"a": {}})
    machine.given_plugins({"github": {}}, up=True, leave_out=frozenset())
    machine.build(build, {}, {"at": "inside_call", "do": [{"dispatcher": "crash"}]})
    machine.promises_are_kept()
    assert not machine.alive
    machine.teardown()
    assert machine.tally.called
    assert machine.tally.faults_at_points == {"dispatcher crash x inside_call": 1}
    assert not machine.tally.violations


def test_a_run_in_which_nothing_was_tested_fails() -> None:
    class Idle(strategies.DispatcherMachine):
        """Its dispatcher never hears of anything."""

        def new_build(self, **about: object) -> object:  # type: ignore[override]  # nothing happens here
            return super().new_build(**about)

        def act(self, *step: object, **more: object) -> None:  # type: ignore[override]  # nothing happens here
            pass

        def _come_to_rest(self) -> None:
            self._count(self.story.checks.judgements())

    with pytest.raises(strategies.NothingTestedError, match="means nothing"):
        strategies.run(Idle, settings=settings(max_examples=3, stateful_step_count=3, derandomize=True))


def test_a_server_that_is_not_there_is_no_counter_example(tmp_path: Path) -> None:
    machine = strategies.machine(dsn="postgresql://127.0.0.1:1/nowhere", examples=5, directory=tmp_path)
    with pytest.raises(errors.EnvironmentFailedError):
        strategies.run(machine)
    assert not list(tmp_path.iterdir())


def test_a_dispatcher_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(errors.UsageError, match="never-clears"):
        strategies.machine("known-bad:never-clear")


@pytest.mark.slow
def test_pytest_fails_with_the_story_and_says_what_was_covered(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from hypothesis import given, settings
        from hydra_notify_sim import strategies

        TestGood = strategies.machine("reference", examples=5, seed=1).TestCase
        TestBad = strategies.machine("known-bad:clears-before-calling", examples=50, seed=1).TestCase

        @settings(strategies.settings_of(examples=20), derandomize=True, database=None)
        @given(strategies.scenarios())
        def test_scenarios(scenario):
            strategies.play(scenario, "known-bad:clears-before-calling")
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=1, failed=2)
    files = [file.name for file in (pytester.path / "counter-examples").iterdir()]
    output = result.stdout.str()
    assert all(f"counter-examples/{file}" in output for file in files)
    assert "the machine against reference (" in output
    assert "scenarios against known-bad:clears-before-calling (" in output
    assert "Captured log" not in output
