"""A stage: the three actors on a real database, with a listener that hears each transaction on its own."""

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from hydra_notify_sim import history
from hydra_notify_sim.checks.judge import judge
from hydra_notify_sim.contract import channels, transactions
from hydra_notify_sim.database import Database
from hydra_notify_sim.simulator import Build, Evaluator, Jobset, Person, QueueRunner, World
from hydra_notify_sim.simulator.ids import Ids


class Clock:
    def __init__(self) -> None:
        self.time = 1_790_000_000

    def now(self) -> int:
        return self.time


class Counting(Ids):
    """Ids that count from 1, in order, with nothing between them."""

    def first(self, table: str) -> int:
        return 1

    def after(self, table: str, last: int) -> int:
        return last + 1

    def first_step(self, build: int) -> int:
        return 1

    def steps_beside(self, build: int, number: int, *, first: bool) -> list[int]:
        return []

    def twin(self, build: int, nth: int) -> int | None:
        return None

    def in_no_order(self, ids: Sequence[int]) -> list[int]:
        return list(ids)


class Alone(World):
    """A world without rows that nobody speaks of, so that a test can look at all that an actor has written."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.ids = Counting(self.names)

    def surroundings(self, jobset: Jobset) -> list[str]:
        return []


class Stage:
    """Actors, and what was recorded and really heard; the two are compared at each commit."""

    def __init__(self, database: Database, world: type[World] = Alone, **options: Any) -> None:
        self.database = database
        self.connection = database.connect("simulator")
        self.ear = database.connect("ear")
        self.ear.autocommit = True
        for channel in (*channels.CHANNELS, *transactions.OTHER_CHANNELS, "sentinel"):
            self.ear.execute(f"LISTEN {channel}")
        self.voice = database.connect("voice")
        self.clock = Clock()
        self.history = history.History(
            history.Header(name="stage", payloads=options.get("payloads", "2026-08"))
        )
        self.heard: list[tuple[str, list[tuple[str, str]]]] = []
        self.world = world(self.connection, self.record, self.clock, **options)
        self.queue_runner = QueueRunner(self.world)
        self.evaluator = Evaluator(self.world)
        self.person = Person(self.world)

    def record(self, record: history.AnyRecord) -> int:
        number = self.history.append(record)
        if isinstance(record, history.Committed):
            commit = self.history[record.commit]
            assert isinstance(commit, history.Commit)
            heard = self._listen(f"{number}")
            if record.ok:
                assert heard == [(n.channel, n.payload) for n in commit.notifications]
            else:
                assert heard == []
            self.heard.append((commit.action, heard))
        return number

    def _listen(self, sentinel: str) -> list[tuple[str, str]]:
        """Return what was delivered before a notification of our own: PostgreSQL delivers in commit order."""
        self.voice.execute(f"NOTIFY sentinel, '{sentinel}'")
        heard: list[tuple[str, str]] = []
        while ("sentinel", sentinel) not in heard:
            found = list(self.ear.notifies(timeout=10, stop_after=1))
            assert found, "the sentinel was not delivered within ten seconds"
            heard += [(n.channel, n.payload) for n in found]
        return heard[: heard.index(("sentinel", sentinel))]

    def builds(self, *nicknames: str, **options: Any) -> list[Build]:
        """Make builds and queue them in one evaluation; forget what was heard of it."""
        made = [self.world.build(nickname, **options) for nickname in nicknames]
        self.queue(*made)
        return made

    def queue(self, *builds: Build) -> None:
        self.evaluator.evaluate(builds)
        self.forget()

    def forget(self) -> None:
        self.heard.clear()

    def commits(self, action: str = "") -> list[history.Commit]:
        return [r for r in self.history if isinstance(r, history.Commit) and action in {"", r.action}]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.voice.execute(query).fetchall()

    def row(self, query: str) -> tuple[Any, ...]:
        (row,) = self.rows(query)
        return row

    def close(self) -> None:
        for connection in (self.connection, self.ear, self.voice):
            connection.close()


class Stages:
    """Makes stages, and sees at the end that everything recorded keeps the Q promises."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.made: list[Stage] = []

    def __call__(self, **options: Any) -> Stage:
        stage = Stage(self.database, **options)
        self.made.append(stage)
        return stage


@pytest.fixture
def stages(database: Database) -> Iterator[Stages]:
    stages = Stages(database)
    yield stages
    for stage in stages.made:
        stage.close()
        verdicts = {v.promise: v for v in judge(stage.history).verdicts}
        for promise in ("Q-transactions", "Q-substituted", "Q-cached-once", "Q-restart", "P-format"):
            assert verdicts[promise].verdict in {"held", "not_exercised"}, verdicts[promise]


@pytest.fixture
def stage(stages: Stages) -> Stage:
    return stages()


@pytest.fixture
def plain(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect("plain") as connection:
        yield connection
