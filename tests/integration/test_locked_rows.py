"""Nobody waits for a lock for ever: what cannot be played is not exercised, and it is told who holds the row."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_notify_sim.contract import channels
from hydra_notify_sim.database import Database, locks
from hydra_notify_sim.database.locks import LockHeldError
from hydra_notify_sim.dispatcher import core
from hydra_notify_sim.engine import events
from hydra_notify_sim.errors import EnvironmentFailedError

Play = Callable[..., events.ScenarioFinished]


class WorksInOneTransaction(core.Dispatcher):
    """Keeps the build's row locked while it is announced, as a worker of an outbox does."""

    def deliver(self, event: channels.Event, payload: str) -> None:
        session = self.store.session  # type: ignore[attr-defined]  # the store is ours, on PostgreSQL
        if not isinstance(event, channels.BuildFinished):
            super().deliver(event, payload)
            return
        with session.querying.transaction():
            session.querying.execute("SELECT FROM builds WHERE id = %s FOR UPDATE", [event.build])
            super().deliver(event, payload)


STORY = """
scenario: A build is restarted at the web page while its failure is posted
why: The web page hung until the post was done, for the dispatcher kept the row locked
exercises: [B-at-least-once]
given:
  builds: {tests: {}}
  plugins: {github: {hooks: [build_finished]}}
story:
  - dispatcher: start
  - build: tests
    status: failed
    at: {inside_call: github}
    do: [restart: tests]
  - build: tests
"""
COMMAND = f"exec:{sys.executable} -m hydra_notify_sim.targets.run_reference --dispatcher {__name__}:WorksInOneTransaction"


def test_a_row_that_the_dispatcher_keeps_locked_makes_the_story_not_exercised(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    file = tmp_path / "story.yaml"
    file.write_text(STORY)
    event = play(file, COMMAND, patience=0.2)
    assert not event.passed
    assert not [v for v in event.judgements.verdicts if v.verdict == "violated"]
    reason = event.verdict.not_exercised[0]
    assert reason.startswith("line 13: the harness waited 1 s for a lock")
    assert "hydra-notify-sim dispatcher (pid " in reason
    assert "idle in transaction; its last statement: " in reason
    assert play(file).passed  # nothing of it is left in the database


def test_a_statement_of_ours_says_who_it_waited_for(database: Database) -> None:
    with database.connect("the greedy one") as greedy, database.connect_own("test") as ours:
        greedy.execute("BEGIN; LOCK TABLE builds IN ACCESS EXCLUSIVE MODE")
        ours.be_patient(0.7)
        with pytest.raises(
            LockHeldError, match=rf"the greedy one \(pid {greedy.info.backend_pid}, "
        ) as caught:
            ours.execute("SELECT FROM builds")
        assert "LOCK TABLE builds IN ACCESS EXCLUSIVE MODE" in str(caught.value)


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "ANSWER_SECONDS", 0.3)
    with database.connect_own("test") as ours:
        with pytest.raises(EnvironmentFailedError, match="has not answered the harness"):
            ours.execute("SELECT pg_sleep(60)")
        assert ours.closed


KEEPS_A_ROW = """
import pytest
from hydra_notify_sim.pytest_plugin import session_of

class WritesOnItsOwn:
    def __init__(self, connection):
        self.connection = connection

    def build_finished(self, build, dependents):
        self.connection.execute("BEGIN")
        self.connection.execute("UPDATE builds SET keep = 1 WHERE id = %s", [build.id])

@pytest.mark.hydra(dispatcher={dispatcher!r})
def test_it(request, hydra, hydra_database):
    session_of(request.config).environment.be_patient(0.2)
    hydra.install(WritesOnItsOwn(hydra_database.connect("a plugin's own")))
    hydra.build(hydra.queue("iso"))

def test_the_next_one(hydra):
    hydra.build(hydra.queue("iso"))
"""


@pytest.mark.parametrize(
    ("dispatcher", "waits"),
    [
        ("reference", "the dispatcher, in this process, waited 1 s for a lock"),
        pytest.param("reference-process", "the dispatcher waits for a lock", marks=pytest.mark.slow),
    ],
)
def test_a_plugin_that_keeps_a_row_locked_fails_its_test_with_that(
    pytester: pytest.Pytester, dispatcher: str, waits: str
) -> None:
    pytester.makepyfile(KEEPS_A_ROW.format(dispatcher=dispatcher))
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.re_match_lines([rf"E .*NotExercisedError: .*{waits} .*held by a plugin's own \(pid "])
