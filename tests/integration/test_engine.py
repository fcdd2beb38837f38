"""How stories are played: points, holds, time, and what happens when dispatcher and story part ways."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hydra_notify_sim import checks, engine, history
from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, postgres
from hydra_notify_sim.engine import events
from hydra_notify_sim.engine.environment import Environment
from hydra_notify_sim.engine.play import StoryError
from hydra_notify_sim.engine.run import Runner
from hydra_notify_sim.scenario import load_text
from hydra_notify_sim.targets import in_process, registry

Tell = Callable[..., events.ScenarioFinished]

HEAD = """
scenario: a story
why: a test
exercises: [L-lives]
given:
  builds: {iso: {}, hello: {}}
  plugins:
    chat: {hooks: [build_started, build_finished]}
    github: {hooks: [build_finished]}
story:
"""


@pytest.fixture
def tell(tmp_path: Path, play: Callable[..., events.ScenarioFinished]) -> Tell:
    """Play a story, given as its steps or as a whole file."""

    def play_text(text: str, head: str = HEAD, **options: str) -> events.ScenarioFinished:
        file = tmp_path / "story.yaml"
        file.write_text(head + text)
        return play(file, **options)

    return play_text


def kinds(finished: events.ScenarioFinished) -> list[str]:
    return [type(record).__name__ for record in finished.history]


def test_a_point_that_is_never_reached_makes_the_scenario_not_exercised(tell: Tell) -> None:
    finished = tell("""
  - dispatcher: start
  - build: iso
    at: before_store
    do: [dispatcher: crash]
  - dispatcher: start
  - expect: {calls: {chat: []}}
""")
    assert not finished.passed
    assert finished.verdict.not_exercised == ("line 13: the point before_store: it was never reached",)
    assert finished.verdict.expectations == ()
    assert "PointMissed" in kinds(finished)


def test_a_promise_under_exercises_that_was_not_fails_the_scenario(tell: Tell) -> None:
    finished = tell("  - dispatcher: start\n", HEAD.replace("L-lives", "R-poison"))
    assert not finished.passed
    assert "R-poison stands under `exercises`" in finished.verdict.not_exercised[0]


def test_nothing_that_was_judged_is_lost_when_the_dispatcher_ends_by_itself(tell: Tell) -> None:
    finished = tell(
        """
  - dispatcher: start
  - notify: {channel: build_started, payload: "x"}
  - build: iso
  - connection: lost
  - dispatcher: stop
  - dispatcher: start
  - settle
""",
        dispatcher="known-bad:stops-at-a-malformed-payload",
    )
    broken = {v.promise for v in finished.judgements.verdicts if v.verdict == "violated"}
    assert {"L-lives", "P-malformed"} <= broken
    assert kinds(finished).count("Starting") == 2


def test_the_steps_after_a_crash_at_a_point_are_played_there(tell: Tell) -> None:
    finished = tell("""
  - dispatcher: start
  - build: iso
    at: {inside_call: chat}
    do:
      - dispatcher: crash
      - build: hello
      - dispatcher: start
  - settle
  - expect:
      calls:
        chat.build_finished: {build: iso, ended: returned, at_least: 1, at_most: 1}
        github: {build: hello, at_least: 1, at_most: 1}
      marks: []
""")
    assert finished.passed, finished


def test_a_held_call_lets_the_story_go_on_until_it_is_released(tell: Tell) -> None:
    head = HEAD.replace("chat: {hooks: [build_started, build_finished]}", "chat: {holds: true}")
    finished = tell(
        """
  - dispatcher: start
  - start: iso
  - expect: {calls: {chat.build_started: [{build: iso}], github: []}}
  - build: hello
  - release: chat
  - settle
  - expect: {calls: {github: [{build: hello}], chat.build_finished: [{build: hello}]}}
""",
        head,
    )
    assert finished.passed, finished
    busy = [r for r in finished.history if isinstance(r, history.Commit) and r.busy]
    assert {commit.action for commit in busy} >= {"mark_finished", "announce_finished"}


def test_a_crash_while_a_call_is_held_cuts_it_off(tell: Tell) -> None:
    head = HEAD.replace("chat: {hooks: [build_started, build_finished]}", "chat: {holds: true}")
    finished = tell(
        """
  - dispatcher: start
  - start: iso
  - dispatcher: crash
  - release: chat
  - dispatcher: start
  - settle
  - expect: {calls: {chat: [cut off]}}
""",
        head,
    )
    assert finished.passed, finished


def test_what_falls_due_on_the_way_is_played_in_its_order(tell: Tell) -> None:
    head = HEAD.replace(
        "github: {hooks: [build_finished]}", "github: {hooks: [build_finished], raises: {first: 3}}"
    )
    finished = tell(
        """
  - dispatcher: start
  - build: iso
  - advance: 1m
  - expect: {calls: {github: [raised, raised, raised, returned]}}
""",
        head,
    )
    assert finished.passed, finished
    times = [r.t for r in finished.history if isinstance(r, history.Called) and r.plugin == "github"]
    assert [late - times[0] for late in times] == [0, 2, 6, 14]


def test_a_plugin_that_takes_its_time_moves_the_clock(tell: Tell) -> None:
    head = HEAD.replace("github: {hooks: [build_finished]}", "github: {hooks: [build_finished], takes: 2m}")
    finished = tell("  - dispatcher: start\n  - build: iso\n  - settle\n", head)
    assert finished.passed, finished
    assert history.TimeMoved(t=finished.history.records[-1].t, seconds=120.0) in finished.history.records


@pytest.mark.parametrize("point", range(1, 12))
def test_a_crash_at_any_numbered_point_loses_nothing(tell: Tell, point: int) -> None:
    finished = tell(f"""
  - dispatcher: start
  - build: iso
    at: {{point: {point}}}
    do: [dispatcher: crash]
  - dispatcher: start
  - settle
  - expect:
      calls:
        chat.build_finished: {{build: iso, ended: returned, at_least: 1}}
        github: {{build: iso, ended: returned, at_least: 1}}
      marks: []
""")
    assert finished.passed, finished


def test_an_impossible_story_is_the_author_s_error_not_the_dispatcher_s(tell: Tell) -> None:
    head = HEAD.replace("chat: {hooks: [build_started, build_finished]}", "chat: {holds: true}")
    with pytest.raises(
        StoryError, match="line 14: the dispatcher is held in the middle of an event and cannot settle"
    ):
        tell(
            """
  - dispatcher: start
  - start: iso
  - settle
""",
            head,
        )


def test_a_dispatcher_that_never_rests_is_found(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.Dispatcher, "_retry_one", lambda _self: True)
    finished = tell("""
  - insert: {task: {plugin: gone, channel: build_finished, payload: [iso]}}
  - dispatcher: start
  - settle
""")
    (verdict,) = [v for v in finished.judgements.verdicts if v.promise == "R-gone-plugin"]
    assert verdict.verdict == "violated"
    assert [e.text for e in finished.verdict.unmet] == ["the dispatcher settles"]


def test_a_crash_between_two_plugins_comes_after_what_the_first_one_causes(tell: Tell) -> None:
    finished = tell(
        """
  - dispatcher: start
  - build: iso
    at: {after_call: 1}
    do: [dispatcher: crash]
  - dispatcher: start
  - settle
""",
        dispatcher="known-bad:clears-after-the-first-plugin",
    )
    broken = {v.promise for v in finished.judgements.verdicts if v.verdict == "violated"}
    assert {"B-clear-after", "B-at-least-once"} <= broken


def test_the_same_seed_gives_the_same_history(tell: Tell) -> None:
    story = "  - dispatcher: start\n  - evaluate: {new: [iso, hello]}\n  - build: [iso, hello]\n"
    first, second = tell(story, seed=7), tell(story, seed=7)  # type: ignore[arg-type]  # a number, as the option is
    assert first.history.records == second.history.records
    assert tell(story, seed=8).history.records != first.history.records  # type: ignore[arg-type]  # see above


def test_a_saved_history_is_judged_the_same(tell: Tell, tmp_path: Path) -> None:
    finished = tell("  - dispatcher: start\n  - build: iso\n", dispatcher="known-bad:never-clears")
    file = tmp_path / "history.jsonl"
    history.save(finished.history, file)
    assert checks.judge(history.SavedHistory(file)) == finished.judgements
    assert checks.judge(history.load(file)) == finished.judgements


def test_a_server_that_goes_away_is_the_environment_s_fault(environment: Environment) -> None:
    runner = Runner(environment, registry.choose("reference"), engine.Options())
    story = HEAD + "  - dispatcher: start\n  - build: iso\n"
    loaded = (Path("story.yaml"), load_text(story), story)
    environment.connection.close()
    event = runner.play(loaded)
    assert isinstance(event, events.ScenarioFailed)
    assert getattr(event.error, "exit_code", None) == 3


@pytest.mark.parametrize("dispatcher", ["reference", "reference-process"])
def test_a_story_ends_on_a_server_that_works_and_the_next_one_begins_on_one(
    tell: Tell, dispatcher: str
) -> None:
    finished = tell("  - dispatcher: start\n  - mark_only: iso\n  - postgres: stop\n", dispatcher=dispatcher)
    assert [record.fault for record in finished.history if isinstance(record, history.Fault)] == [
        "postgres stop",
        "postgres start",
    ]
    assert kinds(finished)[-1] == "Settled"
    assert tell("  - dispatcher: start\n  - build: iso\n", dispatcher=dispatcher).passed


def test_a_dispatcher_that_gives_up_while_the_server_is_stopped_is_a_finding(tell: Tell) -> None:
    finished = tell(
        "  - dispatcher: start\n  - postgres: stop\n  - advance: 1m\n  - postgres: start\n",
        dispatcher="known-bad:gives-up-without-a-server",
    )
    assert [v.promise for v in finished.judgements.verdicts if v.verdict == "violated"] == [
        "L-lives",
        "L-reconnect",
    ]


def test_a_story_that_writes_rows_without_a_server_says_so(tell: Tell) -> None:
    with pytest.raises(StoryError, match="the server is stopped"):
        tell("""
  - dispatcher: start
  - build: [iso, hello]
    at: {inside_call: github}
    do: [postgres: stop]
""")


FAILS_ONCE = HEAD.replace(
    "github: {hooks: [build_finished]}", "github: {hooks: [build_finished], raises: {first: 1}}"
)


@pytest.mark.parametrize("dispatcher", ["reference", "known-good:retries-late", "known-good:retries-early"])
def test_time_moves_on_until_a_task_is_due_whenever_the_dispatcher_has_it_due(
    tell: Tell, dispatcher: str
) -> None:
    story = """
  - dispatcher: start
  - build: iso
  - expect: {retries: [{plugin: github, due_in: 2s}]}
  - advance: until due
  - expect: {calls: {github: [raised, returned]}, retries: []}
"""
    finished = tell(story, FAILS_ONCE, dispatcher=dispatcher)
    assert finished.passed
    moved = sum(record.seconds for record in finished.history if isinstance(record, history.TimeMoved))
    assert 1 + 1 <= moved <= 1 + 4  # the build itself takes a second


def test_waiting_for_a_task_fails_where_none_is_stored(tell: Tell) -> None:
    story = """
  - dispatcher: start
  - insert: {task: {plugin: github, channel: build_finished, payload: nonsense, due_in: 366d}}
  - advance: 1h
  - advance: until due
  - advance: until due
"""
    finished = tell(story)
    assert [(one.text, one.met, one.line) for one in finished.verdict.expectations] == [
        ("a stored task is due", False, 16)
    ]
    assert not finished.passed


def test_a_row_is_not_locked_against_a_dispatcher_in_this_process(tell: Tell) -> None:
    finished = tell("  - dispatcher: start\n  - lock: {build: iso, for: 20s}\n  - build: iso\n")
    assert finished.verdict.not_exercised[0].startswith("line 12: a dispatcher in this process would wait")


@pytest.mark.parametrize(
    "fault",
    [
        "  - postgres: read_only\n",
        "  - migrate: {drop: keep}\n",
        "  - settings: {lock_timeout: 0.1}\n",
    ],
)
def test_what_a_story_does_to_its_database_is_mended_before_the_next(
    tell: Tell, environment: Environment, fault: str
) -> None:
    def found() -> list[object]:
        with environment.database.connect("test") as connection:
            return [
                connection.execute(query).fetchall()
                for query in (
                    "SELECT setconfig FROM pg_db_role_setting",
                    "SELECT attname, attnum FROM pg_attribute WHERE attrelid = 'builds'::regclass AND attnum > 0",
                )
            ]

    before = found()
    tell("  - dispatcher: start\n" + fault)
    assert found() == before
    assert tell("  - dispatcher: start\n  - build: iso\n").passed


def test_settings_reach_the_sessions_that_begin_after_them(
    tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    opened = postgres.Session.open

    def look(session: postgres.Session, *arguments: Any) -> None:
        opened(session, *arguments)
        seen.extend(session.querying.execute("SHOW lock_timeout").fetchone() or ())

    monkeypatch.setattr(postgres.Session, "open", look)
    tell("""
  - dispatcher: start
  - settings: {lock_timeout: 2s}
  - connection: lost
  - settings: {}
  - connection: lost
""")
    assert seen == ["5s", "2s", "5s"]


@pytest.mark.parametrize("fault", ["", "  - postgres: read_only\n"])
def test_a_dispatcher_that_tells_the_same_for_ever_ends_no_later_than_the_bound(
    tell: Tell, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    turned = core.Dispatcher.turn

    def turn(dispatcher: core.Dispatcher, patience: float = 0.0) -> bool:
        busy = turned(dispatcher, patience)
        for build in dispatcher.store.marked_builds() if dispatcher.up else ():
            dispatcher.deliver(channels.BuildFinished(build), str(build))
            busy = True
        return busy

    monkeypatch.setattr(core.Dispatcher, "turn", turn)
    monkeypatch.setattr(core.Dispatcher, "acknowledge", lambda *_: None)
    monkeypatch.setattr(in_process, "SETTLE_SECONDS", 0.2)
    finished = tell(f"  - dispatcher: start\n{fault}  - mark_only: iso\n")
    assert any(isinstance(record, history.NotSettled) and record.busy for record in finished.history)
