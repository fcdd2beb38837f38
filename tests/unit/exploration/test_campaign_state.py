"""A campaign's directory and its counts, without a database."""

import errno
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hydra_notify_sim import errors
from hydra_notify_sim.exploration.campaigns import state
from hydra_notify_sim.exploration.campaigns.tally import First, Stories, Tally
from hydra_notify_sim.exploration.campaigns.tasks import Found, Outcome, Plan

PLAN = Plan(dispatcher="known-bad:never-clears")


def outcome(index: int, *features: str, violated: tuple[str, ...] = ()) -> Outcome:
    return Outcome(
        index=index, story=index * 7919, features=features, violated=violated, called=True, actions=3
    )


def found(name: str = "B-clear-1", actions: int = 3, text: str = "text") -> Found:
    return Found(4, "B-clear", name, text, ("B-clear",), "B-clear: …", actions)


def test_tallies_of_shards_add_up_to_that_of_the_whole() -> None:
    outcomes = [
        outcome(i, "action: build", f"promise: B-clear {'violated' if i % 3 else 'held'}",
                violated=("B-clear",) if i % 3 else ())
        for i in range(30)
    ]  # fmt: skip
    whole, parts = Tally(), [Tally(), Tally()]
    for one in outcomes:
        whole.take(1, one)
        parts[one.index % 2].take(1, one)
    parts[0].add(parts[1])
    assert parts[0] == whole
    assert whole.scenarios == 30
    assert whole.violations == {"B-clear": 20}
    assert whole.first == {"B-clear": First(1, 1)}
    assert whole.promises == {"B-clear"}


def test_what_is_new_is_told_once() -> None:
    tally = Tally()
    assert tally.take(1, outcome(0, "action: build", "action: start")) == ["action: build", "action: start"]
    assert tally.take(1, outcome(1, "action: build", "action: finish")) == ["action: finish"]


def test_a_fault_of_the_harness_covers_nothing() -> None:
    tally = Tally()
    assert tally.take(1, Outcome(index=3, features=("action: build",), fault="Traceback …")) == []
    assert tally.faulty == [First(1, 3)]
    assert not tally.covered


def test_distinct_stories_are_counted_in_a_fixed_room() -> None:
    stories, other = Stories(), Stories()
    for i in range(20_000):
        stories.add(i % 5_000 * 0x9E3779B97F4A7C15 % 2**64)
        other.add((i % 5_000 + 2_500) * 0x9E3779B97F4A7C15 % 2**64)
    assert len(stories) == pytest.approx(5_000, rel=0.01)
    assert len(bytes(stories)) == 2**20
    stories.join(other)
    assert len(stories) == pytest.approx(7_500, rel=0.01)
    assert len(Stories(bytes(stories))) == len(stories)


def test_a_directory_goes_on_from_what_it_holds(tmp_path: Path) -> None:
    with closing(state.Directory(tmp_path / "new" / "dir", PLAN)) as first:
        first.state.next["seed 1"] = 12
        first.state.tally.take(1, outcome(0, "action: build"))
        first.stories.add(99)
        assert first.keep(found(), 1)
        first.save()
    with closing(state.Directory(tmp_path / "new" / "dir", PLAN)) as second:
        assert second.state == first.state
        assert len(second.stories) == 1
        assert second.old() == [("B-clear-1", "text")]


def test_the_same_shape_is_one_file_and_the_shorter_story_stays(tmp_path: Path) -> None:
    with closing(state.Directory(tmp_path, PLAN)) as kept:
        assert kept.keep(found(actions=4, text="four"), 1)
        assert not kept.keep(found(actions=5, text="five"), 1)
        assert kept.old() == [("B-clear-1", "four")]
        assert not kept.keep(found(actions=2, text="two"), 1)
        assert kept.old() == [("B-clear-1", "two")]


def test_a_directory_is_of_one_dispatcher(tmp_path: Path) -> None:
    state.Directory(tmp_path, PLAN).close()
    with pytest.raises(
        errors.UsageError, match=r"is of campaigns against known-bad:never-clears .*Name another"
    ):
        state.Directory(tmp_path, Plan())
    state.Directory(tmp_path, PLAN).close()


def test_two_campaigns_do_not_share_a_directory(tmp_path: Path) -> None:
    with (
        closing(state.Directory(tmp_path, PLAN)),
        pytest.raises(errors.UsageError, match="in use by another campaign"),
    ):
        state.Directory(tmp_path, PLAN)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"dispatcher": 3}', '{"dispatcher":"a","profile":"b","version":9}']
)
def test_what_is_no_state_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "campaign.json").write_text(text)
    with pytest.raises(errors.UsageError, match=r"campaign\.json is"):
        state.Directory(tmp_path, PLAN)
    assert (tmp_path / "campaign.json").read_text() == text


def test_a_place_that_cannot_be_written_is_the_environments_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.EnvironmentFailedError, match="Make room, or name a directory"):
        state.Directory(tmp_path / "file" / "below", PLAN)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = state.Directory(tmp_path, PLAN)
    before = (tmp_path / "campaign.json").read_bytes()
    kept.state.next["seed 1"] = 5

    def full(descriptor: int, *args: Any) -> Any:
        os.close(descriptor)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", full)
        with pytest.raises(errors.EnvironmentFailedError, match="No space left on device"):
            kept.save()
    assert (tmp_path / "campaign.json").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["campaign.json", "lock", "stories.bits"]
    kept.close()


def _shard(directory: Path, shard: int, features: dict[int, tuple[str, ...]]) -> None:
    plan = Plan(dispatcher="known-bad:never-clears", shard=shard, shards=2)
    with closing(state.Directory(directory, plan)) as kept:
        for index, what in features.items():
            new = kept.state.tally.take(0, outcome(index, *what))
            kept.stories.add(index * 7919)
            if new:
                kept.state.corpus.append(state.Entry(0, index, tuple(new)))
        kept.state.next[plan.strand] = len(features)
        kept.keep(found(f"B-clear-{shard}", text=f"of shard {shard}"), 0)
        kept.save()


def test_merged_shards_are_as_one_campaign(tmp_path: Path) -> None:
    _shard(tmp_path / "a", 1, {0: ("x",), 2: ("y",), 4: ("z",)})
    _shard(tmp_path / "b", 2, {1: ("x", "y"), 3: ("x",), 5: ("z", "w")})
    merged = state.merge([tmp_path / "b", tmp_path / "a"], tmp_path / "c")
    assert merged.corpus == [
        state.Entry(0, 0, ("x",)),
        state.Entry(0, 1, ("y",)),
        state.Entry(0, 4, ("z",)),
        state.Entry(0, 5, ("w",)),
    ]
    assert merged.tally.scenarios == 6
    assert merged.tally.covered == {"x": 3, "y": 2, "z": 2, "w": 1}
    assert merged.next == {"seed 0 shard 1/2": 3, "seed 0 shard 2/2": 3}
    assert (tmp_path / "c/counter-examples/B-clear-1.yaml").read_text() == "of shard 1"
    with closing(state.Directory(tmp_path / "c", PLAN)) as read:
        assert read.state == merged
        assert len(read.stories) == 6


def test_nothing_is_merged_twice(tmp_path: Path) -> None:
    _shard(tmp_path / "a", 1, {0: ("x",)})
    with pytest.raises(errors.UsageError, match="would be counted twice"):
        state.merge([tmp_path / "a", tmp_path / "a"], tmp_path / "c")
    state.merge([tmp_path / "a"], tmp_path / "d")
    with pytest.raises(errors.UsageError, match="merged before"):
        state.merge([tmp_path / "a"], tmp_path / "d")


def test_only_campaigns_are_merged(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="holds no campaign"):
        state.merge([tmp_path], tmp_path / "c")
