"""Worlds in which nothing coincides: ids far from each other, rows that nobody speaks of, orders that mean nothing."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from hydra_notify_sim import simulator
from hydra_notify_sim.database import Database

SEEDS = (0, 1, 2, 3)


@pytest.fixture
def played(stages: Any, database: Database) -> Callable[[int], Any]:
    """Play a few things in the world of a seed."""

    def play(seed: int) -> Any:
        database.reset()
        stage = stages(world=simulator.World, seed=seed)
        library = stage.world.build("library", steps=2)
        users = [stage.world.build(f"user{n}", needs=[library]) for n in range(3)]
        stage.queue(library, *users)
        stage.evaluator.evaluate(cached=users)
        stage.queue_runner.finish(library, "failed")
        return stage

    return play


def ids_of(stage: Any) -> dict[str, list[int]]:
    world = stage.world
    jobset = world.jobset()
    return {
        "builds": [build.id for build in world.builds],
        "jobsetevals": [evaluation.id for evaluation in jobset.evaluations],
        "jobsets": [jobset.id],
        "buildsteps": [number for build in world.builds for number in build.all_steps],
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_no_two_ids_are_equal_or_neighbours(played: Callable[[int], Any], seed: int) -> None:
    found = ids_of(played(seed))
    everything = sorted({*found["builds"], *found["jobsetevals"], *found["jobsets"], *found["buildsteps"]})
    apart = [*found["builds"], *found["jobsetevals"], *found["jobsets"]]
    assert all(after - before > 1 for before, after in pairwise(sorted(apart)))
    assert max(found["buildsteps"]) + 1 < min(apart)
    assert all(id_ % 10 for id_ in apart)
    assert len({after - before for before, after in pairwise(found["builds"])}) > 1
    assert everything[-1] < 2**31


@pytest.mark.parametrize("seed", SEEDS)
def test_ids_are_too_large_for_what_is_narrower_than_int4(played: Callable[[int], Any], seed: int) -> None:
    found = ids_of(played(seed))
    assert min(found["jobsets"]) > 2**15
    assert min(found["jobsetevals"]) > 2**24
    assert min(found["builds"]) > 2**28


def test_some_worlds_lie_near_the_end_of_int4(played: Callable[[int], Any]) -> None:
    first = [ids_of(played(seed))["builds"][0] for seed in range(12)]
    assert any(2**31 - id_ < 3_000_000 for id_ in first)
    assert not all(2**31 - id_ < 3_000_000 for id_ in first)


def test_the_same_seed_makes_the_same_world(played: Callable[[int], Any]) -> None:
    def everything(seed: int) -> list[Any]:
        stage = played(seed)
        return [
            ids_of(stage),
            stage.heard,
            *[
                sorted(stage.rows(f"SELECT * FROM {table}"), key=repr)
                for table in ("users", "projects", "jobsets", "jobsetevals", "jobsetevalmembers", "builds")
            ],
            sorted(stage.rows("SELECT * FROM buildsteps"), key=repr),
        ]

    assert everything(5) == everything(5)
    assert everything(5) != everything(6)


@pytest.mark.parametrize("seed", SEEDS)
def test_dependents_are_announced_in_no_order(played: Callable[[int], Any], seed: int) -> None:
    stage = played(seed)
    (_, payload) = stage.heard[-1][1][0]
    main, *dependents = [int(field) for field in payload.split("\t")]
    assert main == stage.world.builds[0].id
    assert sorted(dependents) == ids_of(stage)["builds"]
    assert dependents not in (sorted(dependents), sorted(dependents, reverse=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_two_dependents_do_not_ascend(played: Callable[[int], Any], seed: int) -> None:
    stage = played(seed)
    builds = ids_of(stage)["builds"]
    assert stage.world.ids.in_no_order(builds[:2]) == [builds[1], builds[0]]
    assert stage.world.ids.in_no_order(builds[:1]) == builds[:1]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_meant_is_never_the_only_one_nor_the_newest(played: Callable[[int], Any], seed: int) -> None:
    stage = played(seed)
    found = ids_of(stage)
    jobset = found["jobsets"][0]
    before, after = stage.row(f"SELECT min(id), max(id) FROM jobsetevals WHERE jobset_id = {jobset}")
    assert before < min(found["jobsetevals"])
    assert after > max(found["jobsetevals"])
    assert stage.row("SELECT max(id) FROM jobsetevals")[0] > after
    project, name = stage.row(f"SELECT project, name FROM jobsets WHERE id = {jobset}")
    assert stage.row(f"SELECT count(*) FROM jobsets WHERE name = '{name}'") == (2,)
    assert stage.row(f"SELECT count(*) FROM jobsets WHERE project = '{project}'") == (2,)
    assert stage.row("SELECT min(id) FROM jobsets")[0] < jobset < stage.row("SELECT max(id) FROM jobsets")[0]
    library = stage.world.builds[0]
    others = stage.rows(
        f"SELECT stepnr, drvpath FROM buildsteps WHERE build = {library.id}"
        f" AND stepnr NOT IN ({','.join(map(str, library.all_steps))})"
    )
    assert min(number for number, _ in others) < library.all_steps[0]
    assert max(number for number, _ in others) > library.all_steps[-1]
    twins = [
        row
        for build in stage.world.builds
        for row in stage.rows(
            f"SELECT id - {build.id}, finished, notificationpendingsince FROM builds"
            f" WHERE drvpath = '{build.drv_path}' AND job = '{build.job}' AND id <> {build.id}"
        )
    ]
    assert twins == [(2, 1, None), (-2, 1, None), (2, 1, None), (-2, 1, None)]


def test_nobody_is_told_of_the_rows_around_a_story(played: Callable[[int], Any]) -> None:
    stage = played(0)
    finished, marked = stage.row(
        "SELECT count(*), count(notificationpendingsince) FROM builds WHERE finished = 1"
    )
    assert stage.row("SELECT count FROM nrbuilds WHERE what = 'finished'") == (finished,)
    assert (finished, marked) == (4 + 4 + 2, 4)
    spoken = {row.id for commit in stage.commits() for row in commit.rows if row.table == "builds"}
    assert spoken == {str(build.id) for build in stage.world.builds}


@pytest.mark.parametrize("seed", SEEDS)
def test_traces_are_texts_that_nobody_can_tidy_up(seed: int) -> None:
    traces = [simulator.Names(seed).trace(number) for number in range(1, 41)]
    assert len(set(traces)) == 40
    assert not any("\t" in trace or not trace for trace in traces)
    assert sum(_printed_again(trace) != trace for trace in traces[:6]) >= 3
    assert any(trace.strip() != trace for trace in traces[:6])
    assert any(not trace.isascii() for trace in traces[:6])
    assert all(simulator.Names(seed, any_text=False).trace(number).isascii() for number in range(1, 41))


def _printed_again(trace: str) -> str:
    try:
        return str(float(trace) if not trace.startswith("0x") else int(trace, 16))
    except ValueError:
        return trace


def test_the_first_build_can_have_an_id_that_matters(stages: Any) -> None:
    stage = stages(world=simulator.World, first_build=1)
    assert [build.id for build in stage.builds("iso")] == [1]
    assert stage.row("SELECT min(id) FROM builds") == (1,)


def test_steps_are_numbered_by_what_a_story_tells(stages: Any) -> None:
    stage = stages(world=simulator.World)
    (iso,) = stage.builds("iso", steps=2)
    to_come = iso.nth_step(1)
    stage.queue_runner.start(iso)
    stage.queue_runner.start(iso)
    assert iso.nth_step(1) == to_come
    assert [iso.nth_step(1), iso.nth_step(2)] == iso.all_steps
    stage.person.delete_step(iso, iso.nth_step(1))
    assert iso.nth_step(1) == to_come
    assert iso.nth_step(3) == stage.row("SELECT max(stepnr) FROM buildsteps")[0] + 1
