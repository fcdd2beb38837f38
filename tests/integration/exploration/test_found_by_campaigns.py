"""Stories in which campaigns found the harness at fault: it accused the reference of what it had not done."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_notify_sim import history
from hydra_notify_sim.engine import events

HEAD = "scenario: Found by a campaign\nwhy: the harness was wrong\nexercises: [L-lives]\n"

STORIES = {
    "a task at its last attempt that a person inserted": """
given:
  builds: {a: {}}
  plugins: {github: {hooks: [build_started], raises: {for: a}}}
story:
  - dispatcher: start
  - insert: {task: {plugin: github, channel: build_started, payload: [a], attempts: 101}}
""",
    "a task like one that is stored and not due yet": """
given:
  builds: {a: {}}
  plugins: {mail: {hooks: [build_started], raises: {for: a}}}
story:
  - dispatcher: start
  - mark_only: a
  - insert: {task: {plugin: mail, channel: build_started, payload: [a]}}
""",
    "the same, and the retry succeeds": """
given:
  builds: {a: {}}
  plugins: {github: {hooks: [build_finished], raises: {first: 1}}}
story:
  - dispatcher: start
  - substitute: a
  - insert: {task: {plugin: github, channel: build_finished, payload: [a]}}
""",
    "a build that is inserted, unfinished, between its notification and its turn": """
given:
  builds: {a: {}, b: {row: later}}
  plugins: {github: {hooks: [build_started, build_finished], holds: true}}
story:
  - dispatcher: start
  - start: a
  - notify: {channel: build_finished, payload: [b]}
  - insert: {build: b}
""",
    "a task that a person deletes while its retry is under way": """
given:
  builds: {a: {}}
  plugins: {github: {hooks: [build_started], holds: true}}
story:
  - dispatcher: start
  - insert: {task: {plugin: github, channel: build_started, payload: [a]}}
  - delete: {task: {}}
  - build: a
""",
    "a task that a person inserts and deletes before it is due, and an event like it": """
given:
  builds: {a: {}, b: {}}
  plugins: {mail: {hooks: [build_started], holds: true}}
story:
  - dispatcher: start
  - insert: {task: {plugin: mail, channel: build_started, payload: [a], due_in: 3s}}
  - build: b
  - delete: {task: {}}
  - build: a
""",
    "a dependent of a build that is inserted, unfinished, between its notification and its turn": """
given:
  builds: {a: {}, b: {needs: [a]}, c: {row: later}}
  plugins: {mail: {hooks: [step_finished, build_finished], holds: true}}
story:
  - dispatcher: start
  - {finish: a, status: timed_out}
  - restart: a
  - notify: {channel: build_finished, payload: [c, b]}
  - insert: {build: c}
""",
    "a retry that returns when the connections are gone, of a build that is unfinished by then": """
given:
  builds: {a: {finished: failed, pending: true}, b: {}}
  plugins:
    github: {hooks: [build_started], takes: 2s}
    chat: {hooks: [build_finished], raises: {first: 1}}
story:
  - dispatcher: start
  - build: b
    at: before_call
    do: [{restart: a}, {connection: lost}]
""",
    "a task that a person inserts after a crash kept a failure from being stored, at its last attempt": """
given:
  builds: {a: {finished: succeeded, pending: true}}
  plugins: {github: {hooks: [build_finished], raises: {for: a}}}
story:
  - dispatcher: start
    at: after_call
    do: [{dispatcher: crash}]
  - insert: {task: {plugin: github, channel: build_finished, payload: [a], attempts: 101, due_in: 3s}}
  - dispatcher: start
  - advance: 30s
""",
    "a task that a person puts in the place of another one, deleted while its retry is under way": """
given:
  builds: {a: {}}
  plugins: {github: {hooks: [build_started], holds: true}}
story:
  - dispatcher: start
  - insert: {task: {plugin: github, channel: build_started, payload: [a]}}
  - delete: {task: {}}
  - insert: {task: {plugin: github, channel: build_started, payload: [a], due_in: 3s}}
""",
    "a story that cannot go on, noticed in the middle of an event": """
given:
  builds: {b: {}}
  plugins: {github: {hooks: [build_queued]}, mail: {hooks: [build_queued]}}
story:
  - dispatcher: start
    at: {inside_call: mail}
    do: [{finish: b}]
  - notify: {channel: build_queued, payload: [b]}
    at: inside_call
    do: [{restart: b}]
""",
}


@pytest.mark.parametrize("name", STORIES)
def test_the_reference_is_not_accused(
    name: str, tmp_path: Path, play: Callable[..., events.ScenarioFinished]
) -> None:
    file = tmp_path / "story.yaml"
    file.write_text(HEAD + STORIES[name])
    finished = play(file)
    assert not [v for v in finished.judgements.verdicts if v.verdict == "violated"]
    assert any(v.verdict == "held" for v in finished.judgements.verdicts)


def test_a_dispatcher_that_puts_a_task_off_without_end_is_spinning(
    tmp_path: Path, play: Callable[..., events.ScenarioFinished]
) -> None:
    """It would be waited for without end, for each time it writes something."""
    file = tmp_path / "story.yaml"
    file.write_text(
        HEAD
        + """
given:
  builds: {a: {}}
  plugins: {github: {hooks: [build_finished]}}
story:
  - dispatcher: start
  - insert: {task: {plugin: github, channel: build_finished, payload: [a]}}
"""
    )
    finished = play(file, dispatcher="known-bad:retries-at-once")
    assert any(isinstance(one, history.NotSettled) and one.busy for one in finished.history)
    assert not [v for v in play(file).judgements.verdicts if v.verdict == "violated"]
