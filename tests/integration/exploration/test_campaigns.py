"""Campaigns on a real PostgreSQL: what they find, keep, and find again."""

import json
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hydra_notify_sim import errors
from hydra_notify_sim.cli import main
from hydra_notify_sim.contract.deviations import Deviation
from hydra_notify_sim.contract.promises import PROMISES
from hydra_notify_sim.engine import events
from hydra_notify_sim.engine.environment import Environment
from hydra_notify_sim.exploration.campaigns import campaign, pool, tasks
from hydra_notify_sim.exploration.campaigns.session import Session
from hydra_notify_sim.exploration.campaigns.state import Directory, read
from hydra_notify_sim.scenario import Dispatcher, Given, deviations, load, to_yaml

Play = Callable[..., events.ScenarioFinished]
Run = Callable[..., campaign.Result]

BAD = "known-bad:clears-before-calling"
"""It is caught by almost any build that finishes."""


@pytest.fixture
def run(environment: Environment, tmp_path: Path) -> Run:
    """Run a campaign in this process."""

    def run_one(
        scenarios: int, directory: Path | None = tmp_path, interrupt_after: int | None = None, **plan: object
    ) -> campaign.Result:
        planned = tasks.Plan(**plan)  # type: ignore[arg-type]  # keywords of any kind
        with closing(Directory(directory, planned)) as kept:
            current = campaign.Campaign(
                planned,
                campaign.Limits(scenarios=scenarios, shrinking_plays=300),
                pool.Here(Session(planned, environment)),
                kept,
                lambda: interrupt_after is not None and current.result.tally.scenarios >= interrupt_after,
            )
            return list(current.run())[-1]

    return run_one


def test_the_reference_survives(run: Run) -> None:
    result = run(60, seed=11)
    assert result.tally.scenarios == 60
    assert not result.tally.violations
    assert result.exit_code == 0
    assert len(result.tally.promises) > 20
    assert len(result.tally.faults_at_points) > 8
    assert 20 < result.stories <= 60


def test_a_counter_example_is_small_readable_and_replays_ten_times_of_ten(
    run: Run, tmp_path: Path, play: Play
) -> None:
    result = run(12, seed=1, dispatcher=BAD)
    assert result.exit_code == 1
    assert result.tally.violations["B-clear-after"]
    assert result.found
    assert len({found.signature for found in result.found}) == len(result.found)
    for found in result.found:
        assert found.actions <= 6
        file = tmp_path / "counter-examples" / f"{found.name}.yaml"
        text = file.read_text()
        assert f"# Broken promise: {found.promise}." in text
        assert f"seed 1 as scenario {found.index}" in text
        assert "PostgreSQL" in text
        assert load(file).exercises == (found.promise,)
        for _ in range(10):
            again = play(file, dispatcher=BAD)
            assert again.passed
            broken = tuple(v.promise for v in again.judgements.verdicts if v.verdict == "violated")
            assert broken == found.violated


def test_a_counter_example_replays_by_the_command_that_stands_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = "known-bad:never-clears"
    assert main(["explore", "--scenarios", "4", "--dispatcher", bad, "--state", "found here"]) == 1
    (file,) = Path("found here", "counter-examples").glob("B-clear-*.yaml")
    again = next(line for line in file.read_text().splitlines() if line.startswith("# Again: "))
    program, *arguments = shlex.split(again.removeprefix("# Again: "))
    assert program == "hydra-notify-sim"
    assert main(arguments) == 0


def test_each_promise_that_is_broken_has_a_counter_example(run: Run) -> None:
    """The same scenario breaks several, and none of them alone."""
    result = run(6, seed=1, dispatcher="known-bad:shortens-the-dependents")
    assert len(result.tally.violations) > 2
    assert {found.promise for found in result.found} == set(result.tally.violations)


def test_moved_into_the_scenarios_it_tells_the_bad_from_the_good(
    run: Run, tmp_path: Path, play: Play
) -> None:
    (found, *_) = run(12, seed=1, dispatcher=BAD).found
    file = tmp_path / "counter-examples" / f"{found.name}.yaml"
    assert not play(file).passed, "the reference breaks nothing, and the file expects it to"
    scenario = load(file)
    kept = tmp_path / "kept.yaml"
    kept.write_text(to_yaml(scenario.replaced(story=scenario.story[:-1])))
    assert play(kept).passed
    assert not play(kept, dispatcher=BAD).passed


def test_what_is_known_is_no_find_and_the_rest_is(run: Run, tmp_path: Path, play: Play) -> None:
    file = tmp_path / "known.yaml"
    file.write_text(
        "- {promise: B-clear-after, reason: issue 17}\n- {promise: R-gone-plugin, reason: issue 18}\n"
    )
    known = deviations.read(file, lenient=True)
    result = run(12, seed=1, dispatcher=BAD, known=known, known_file=file)
    assert "B-clear-after" not in result.tally.violations
    assert result.exit_code == 1
    assert result.found
    for found in result.found:
        story = tmp_path / "counter-examples" / f"{found.name}.yaml"
        assert f"--known {file} counter-examples/{found.name}.yaml" in story.read_text()
        assert play(story, dispatcher=BAD, known=known).passed
    everything = tuple(Deviation("all", promise.id, "a test") for promise in PROMISES)
    assert run(12, tmp_path / "all", seed=1, dispatcher=BAD, known=everything).exit_code == 0


def test_the_same_seed_gives_the_same_campaign_and_another_one_another(run: Run, tmp_path: Path) -> None:
    results = [run(15, tmp_path / name, seed=seed) for name, seed in (("a", 4), ("b", 4), ("c", 5))]
    assert results[0].tally == results[1].tally
    assert results[0].tally != results[2].tally
    assert read(tmp_path / "a").corpus == read(tmp_path / "b").corpus  # type: ignore[union-attr]  # None fails here too


def test_a_second_campaign_goes_on_and_tries_old_counter_examples_first(run: Run, tmp_path: Path) -> None:
    first = run(10, seed=1, dispatcher=BAD)
    examples = tmp_path / "counter-examples"
    broken = load(next(examples.iterdir()))
    idle = broken.replaced(given=Given(), story=(Dispatcher(dispatcher="start"), broken.story[-1]))
    (examples / "mended.yaml").write_text(to_yaml(idle))
    second = run(5, seed=1, dispatcher=BAD)
    assert {one.name for one in second.still_broken} == {found.name for found in first.found}
    assert [one.name for one in second.replayed if not one.violated] == ["mended"]
    state = read(tmp_path)
    assert state is not None
    assert state.next == {"seed 1": 15}
    assert state.tally.scenarios == 15
    whole = run(15, tmp_path / "whole", seed=1, dispatcher=BAD)
    assert whole.tally.covered == state.tally.covered


def test_shards_play_what_the_whole_campaign_plays(run: Run, tmp_path: Path) -> None:
    whole = run(12, tmp_path / "whole", seed=2)
    shards = [run(6, tmp_path / f"{i}", seed=2, shard=i, shards=2) for i in (1, 2)]
    shards[0].tally.add(shards[1].tally)
    assert shards[0].tally == whole.tally
    assert (
        main(["explore", "--merge", f"{tmp_path}/1", f"{tmp_path}/2", "--state", f"{tmp_path}/merged"]) == 0
    )
    merged = read(tmp_path / "merged")
    assert merged is not None
    assert merged.tally == whole.tally


def test_an_interrupted_campaign_reports_what_it_has_and_goes_on_later(run: Run, tmp_path: Path) -> None:
    result = run(1000, seed=2, interrupt_after=7)
    assert result.interrupted
    assert result.exit_code == 130
    assert result.tally.scenarios == 7
    state = read(tmp_path)
    assert state is not None
    assert state.next == {"seed 2": 7}


def test_interrupted_it_still_ends_as_broken(run: Run) -> None:
    result = run(1000, seed=1, dispatcher=BAD, interrupt_after=3)
    assert result.interrupted
    assert result.exit_code == 1


@pytest.mark.slow
def test_workers_find_what_one_process_finds(run: Run, tmp_path: Path) -> None:
    alone = run(40, tmp_path / "alone", seed=3, dispatcher=BAD)
    code = main(
        f"explore --dispatcher {BAD} --seed 3 --scenarios 40 --workers 2 --state {tmp_path}/two "
        f"--json {tmp_path}/report.json".split()
    )
    report = json.loads((tmp_path / "report.json").read_text())
    assert code == 1 == report["exit_status"]
    assert {v["promise"]: v["scenarios"] for v in report["violations"]} == alone.tally.violations
    states = [read(tmp_path / "alone"), read(tmp_path / "two")]
    assert states[0] is not None
    assert states[1] is not None
    assert states[0].tally == states[1].tally
    assert states[0].corpus == states[1].corpus
    ours, theirs = (
        {file.name for file in (tmp_path / name / "counter-examples").iterdir()} for name in ("alone", "two")
    )
    assert ours == theirs


def test_a_worker_that_is_killed_ends_the_campaign_with_a_reason() -> None:
    with closing(pool.Pool(tasks.Plan(), 1)) as workers:
        workers.submit(1, tasks.Play((0,)))
        assert workers.answers(60)
        (process,) = [worker.process for worker in workers._workers]
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(errors.EnvironmentFailedError, match=r"worker \d+ is gone \(exit status -9\)"):
            workers.answers(60)


def test_a_story_that_waits_for_a_dispatcher_is_given_up_and_all_is_put_away(tmp_path: Path) -> None:
    """Its recorders never say hello, for which it would be given an hour; the second Ctrl-C ends at once."""
    os.mkfifo(tmp_path / "life")
    program = tmp_path / "dispatcher"
    program.write_text(f"#!/bin/sh\nexec > {tmp_path}/life\necho begun\nexec sleep 3600\n")
    program.chmod(0o755)
    with closing(pool.Pool(tasks.Plan(dispatcher=f"exec:{program}", patience=120.0), 1)) as workers:
        workers.submit(1, tasks.Play((0,)))
        life = (tmp_path / "life").open("rb", buffering=0)
        assert life.readline() == b"begun\n"
        (process,) = [worker.process for worker in workers._workers]
    assert process.exitcode == 0, "it was killed, and had no time to put anything away"
    with life:
        # It ends with the dispatcher. One that was just being started is ended by the guard, after the worker.
        assert select.select([life], [], [], 20)[0], "the dispatcher was left behind"
        assert life.read() == b""


def _explore(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "hydra_notify_sim", "explore", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _until_saved(process: "subprocess.Popen[str]", directory: Path) -> None:
    """Wait until the campaign has counted something."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        state = read(directory)
        if state is not None and state.tally.scenarios:
            return
        time.sleep(0.02)
    pytest.fail(f"the campaign saved nothing: {process.poll()}")


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_where_it_was(tmp_path: Path) -> None:
    campaign_ = _explore("--workers", "1", "--state", str(tmp_path))
    _until_saved(campaign_, tmp_path)
    campaign_.kill()
    campaign_.communicate()
    before = read(tmp_path)
    assert before is not None
    code = main(["explore", "--workers", "1", "--state", str(tmp_path), "--scenarios", "5"])
    after = read(tmp_path)
    assert code == 0
    assert after is not None
    assert after.tally.scenarios == before.tally.scenarios + 5


@pytest.mark.slow
def test_ctrl_c_finishes_what_is_in_hand_and_reports(tmp_path: Path) -> None:
    campaign_ = _explore("--workers", "1", "--state", str(tmp_path), "--json", str(tmp_path / "report.json"))
    _until_saved(campaign_, tmp_path)
    campaign_.send_signal(signal.SIGINT)
    told, _ = campaign_.communicate(timeout=60)
    report = json.loads((tmp_path / "report.json").read_text())
    assert campaign_.returncode == 130
    assert report["interrupted"]
    assert report["scenarios"] > 0
    assert "interrupted (exit status 130)" in told
    assert "Traceback" not in told


@pytest.mark.slow
def test_a_dask_cluster_plays_the_same_campaign(run: Run, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    alone = run(30, tmp_path / "alone", seed=3)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True
    ) as cluster:
        code = main(
            f"explore --seed 3 --scenarios 30 --dask {cluster.scheduler_address} --state {tmp_path}/dask".split()
        )
    state = read(tmp_path / "dask")
    assert code == 0
    assert state is not None
    assert state.tally == alone.tally


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shard", "3/2"], "write I/N"),
        (["--budget", "soon"], "write a duration"),
        (["--dispatcher", "known-bad:never-clear"], "Did you mean 'known-bad:never-clears'"),
        (["--merge", "."], "--merge needs --state"),
        (["story.yaml"], "a campaign makes its scenarios up"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_played(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explore", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_directory_that_cannot_be_written_is_the_environments_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["explore", "--scenarios", "1", "--state", str(tmp_path / "file" / "x")]) == 3
    assert "name a directory that can be written" in capsys.readouterr().err


def test_one_generated_scenario_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", "--seed", "5", "--show", "7"]) == 0
    printed = capsys.readouterr().out
    assert main(["explore", "--seed", "5", "--show", "7"]) == 0
    assert printed.startswith("scenario: ")
    assert capsys.readouterr().out == printed
