from collections.abc import Callable

import pytest

from hydra_notify_sim.scenario import ScenarioFileError, load_text

CRASH_BETWEEN_PLUGINS = """\
scenario: A deploy between two plugins leaves a GitHub status pending
why: hydra-notify was restarted while a build was being announced; the status never turned green
exercises: [B-clear-after, B-at-least-once, B-recover]
known: {hn-first-success-clears: [B-clear-after, B-at-least-once]}
given:
  jobset: nixos:release
  builds:
    kernel: {}
    iso: {job: iso.x86_64-linux, needs: [kernel], steps: 2}
  plugins:
    declarative: {hooks: [build_finished]}
    github: {hooks: [build_queued, build_started, build_finished]}
story:
  - dispatcher: start
  - evaluate: {new: [kernel, iso]}
  - build: kernel
  - start: iso
  - finish: iso
    at: {after_call: 1}
    do: [dispatcher: crash]
  - dispatcher: start
  - settle
  - expect:
      calls:
        github.build_finished: {build: iso, status: succeeded, at_least: 1}
        declarative.build_finished: {build: iso, at_least: 1}
      marks: []
"""

CACHED_WHILE_NOBODY_LISTENS = """\
scenario: A cached build is announced while nobody listens
why: The status of a pull request never came. No bug, the contract allows this loss, and the report should say so
exercises: [C-gone, C-at-most-once, R-backoff]
given:
  jobset: nixpkgs:pr-4711
  builds: {hello: {finished: succeeded}}
  plugins:
    github: {hooks: [cached_build_finished], raises: {first: 2, message: 403 rate limited}}
story:
  - evaluate: {name: e1, cached: [hello]}
  - dispatcher: start
  - settle
  - expect: {calls: {github: []}, lost: [{cached_build_finished: hello, allowed_by: C-gone}]}
  - notify: {channel: cached_build_finished, payload: [e1, hello]}   # sent again by hand
  - settle
  - expect: {retries: [{plugin: github, attempts: 1, due_in: 2s}]}
  - advance: 6s
  - expect: {calls: {github.cached_build_finished: [raised, raised, returned]}, retries: []}
"""

GREEN_WHILE_RED_WAS_POSTED = """\
scenario: Restarted and green while the red status was being posted
why: Hydra's page said succeeded, GitHub said failure, for ever
exercises: [B-clear-own, B-each-outcome, B-fresh]
known: {hn-stale-clear: [B-clear-own, B-at-least-once]}
given:
  builds: {tests: {}, docs: {needs: [tests]}}
  plugins: {github: {hooks: [build_finished]}}
story:
  - dispatcher: start
  - build: tests
    status: failed                 # docs: dependency failed, by itself
    at: {inside_call: github}
    do:
      - restart: [tests, docs]
      - build: tests
        same_second: true
        at: {inside_call: github}
        do: [dispatcher: crash]
  - dispatcher: start
  - build: docs
  - settle
  - expect:
      last: {github.build_finished: {build: tests, status: succeeded}}
      marks: []
"""

EXAMPLES = {
    "crash between plugins": CRASH_BETWEEN_PLUGINS,
    "cached while nobody listens": CACHED_WHILE_NOBODY_LISTENS,
    "green while red was posted": GREEN_WHILE_RED_WAS_POSTED,
}

HEAD = """\
scenario: Something happens
why: a test
exercises: [B-clear]
given:
  builds: {iso: {needs: [kernel]}, kernel: {}, later: {row: later}, many: {copies: 3}, old: {finished: failed}}
  plugins: {github: {hooks: [build_finished]}, slow: {holds: true}}
story:
"""


@pytest.fixture(params=sorted(EXAMPLES))
def example(request: pytest.FixtureRequest) -> str:
    return EXAMPLES[request.param]


@pytest.fixture
def examples() -> dict[str, str]:
    return EXAMPLES


@pytest.fixture
def head() -> str:
    """The first seven lines of a scenario; its story begins in line 8."""
    return HEAD


@pytest.fixture
def complaints() -> Callable[[str], list[tuple[int, int, str, str]]]:
    """What is wrong with a text: line, column, key, and message with hint."""

    def complaints_about(text: str) -> list[tuple[int, int, str, str]]:
        try:
            load_text(text)
        except ScenarioFileError as error:
            return [(p.line, p.column, p.key, f"{p.message} {p.hint}".strip()) for p in error.problems]
        return []

    return complaints_about


@pytest.fixture
def story_complaints(
    complaints: Callable[[str], list[tuple[int, int, str, str]]], head: str
) -> Callable[[str], list[tuple[int, int, str, str]]]:
    return lambda steps: complaints(head + steps)
