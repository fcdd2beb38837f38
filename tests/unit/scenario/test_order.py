"""Stories that cannot happen, and stories that look like it and can."""

from collections.abc import Callable

import pytest

Complaints = Callable[[str], list[tuple[int, int, str, str]]]

IMPOSSIBLE = [
    ("  - dispatcher: start\n  - dispatcher: start\n", 9, 17, "running already"),
    ("  - dispatcher: stop\n", 8, 17, "not running, so it cannot stop"),
    ("  - dispatcher: start\n  - dispatcher: stop\n  - dispatcher: crash\n", 10, 17, "cannot crash"),
    ("  - dispatcher: restart\n", 8, 17, "cannot restart"),
    ("  - connection: lost\n", 8, 5, "no dispatcher is running"),
    ("  - build: iso\n    at: before_clear\n    do: [settle]\n", 9, 9, "does not get to before_clear"),
    ("  - dispatcher: start\n  - dispatcher: stop\n  - settle\n", 10, 5, "does not settle; start it first"),
    ("  - build: iso\n  - finish: iso\n", 9, 13, "iso is finished already, so 'finish' is impossible"),
    ("  - build: old\n", 8, 12, "restart it first"),
    ("  - restart: iso\n", 8, 14, "iso is not finished, so nobody can restart it"),
    ("  - build: kernel\n    status: failed\n  - start: iso\n", 10, 12, "iso is finished already"),
    ("  - build: iso\n  - evaluate: {new: [iso]}\n", 8, 12, "not queued yet at 'build'"),
    ("  - evaluate: {new: [iso]}\n  - evaluate: {new: [iso]}\n", 9, 22, "exists already, so it is not new"),
    ("  - evaluate: {new: [old]}\n", 8, 22, "exists already, so it is not new"),
    ("  - build: later\n", 8, 12, "an 'insert' step has to come first"),
    ("  - insert: {build: iso}\n", 8, 21, "there already"),
    ("  - delete: {build: iso}\n  - build: iso\n", 9, 12, "there is no row of iso"),
    ("  - cancel: iso\n  - cancel: iso\n", 9, 13, "iso is finished already"),
    ("  - repeat: {times: 2, steps: [build: iso]}\n", 8, 39, "iso is finished already"),
    ("  - build: many.2\n  - build: many\n", 9, 12, "many.2 is finished already"),
    ("  - dispatcher: start\n  - build: iso\n    at: before_clear\n    do: [dispatcher: crash]\n  - dispatcher: stop\n", 12, 17, "cannot stop"),
    ("  - dispatcher: start\n  - build: iso\n    at: before_clear\n    do: [dispatcher: start]\n", 11, 22, "running already"),
    ("  - lock: {build: later, for: 1s}\n", 8, 19, "an 'insert' step has to come first"),
    ("  - postgres: stop\n  - postgres: read_only\n", 9, 15, "the server is stopped, so it cannot read_only"),
    ("  - postgres: start\n", 8, 15, "the server is running already"),
    ("  - postgres: stop\n  - postgres: restart\n", 9, 15, "the server is stopped, so it cannot restart"),
    ("  - postgres: stop\n  - build: iso\n", 9, 5, "the server is stopped, so there can be no 'build'"),
    ("  - postgres: stop\n  - dispatcher: start\n", 9, 5, "there can be no 'dispatcher'"),
    ("  - dispatcher: start\n  - postgres: stop\n  - connection: lost\n", 10, 5, "can be no 'connection'"),
    ("  - dispatcher: start\n  - build: iso\n    at: before_clear\n    do: [postgres: stop]\n  - settle\n", 12, 5, "can be no 'settle'"),
]  # fmt: skip

POSSIBLE = [
    "  - dispatcher: start\n  - dispatcher: restart\n  - dispatcher: stop\n  - dispatcher: start\n",
    "  - build: iso\n  - restart: iso\n  - build: iso\n",
    "  - build: kernel\n    status: failed\n  - restart: [kernel, iso]\n  - build: [kernel, iso]\n",
    "  - build: kernel\n    status: failed_with_output\n  - build: iso\n",
    "  - build: kernel\n    status: aborted\n  - build: iso\n",
    "  - evaluate: {new: [kernel]}\n  - start: kernel\n  - abort: kernel\n  - start: kernel\n  - finish: kernel\n",
    "  - insert: {build: later}\n  - build: later\n",
    "  - delete: {build: iso}\n  - insert: {build: iso}\n  - build: iso\n",
    "  - repeat: {times: 3, steps: [restart: old, build: old]}\n",
    "  - dispatcher: start\n  - build: iso\n    at: before_clear\n    do: [restart: iso]\n  - build: iso\n",
    "  - dispatcher: start\n    at: between_listen_and_scan\n    do: [build: iso]\n",
    "  - dispatcher: start\n  - dispatcher: restart\n    at: {during_scan: 1}\n    do: [dispatcher: crash]\n  - dispatcher: start\n",
    "  - dispatcher: start\n    plugins: [slow]\n  - build: iso\n  - release: slow\n",
    "  - bump: [iso, old]\n  - mark_only: iso\n  - substitute: kernel\n",
    "  - dispatcher: start\n  - connection: lost\n    reply_lost: true\n  - postgres: restart\n",
    "  - dispatcher: start\n  - postgres: stop\n  - advance: 10m\n  - dispatcher: stop\n  - postgres: start\n  - build: iso\n",
    "  - dispatcher: start\n  - build: iso\n    at: before_clear\n    do: [postgres: stop]\n  - postgres: start\n  - settle\n",
    "  - insert: {task: {plugin: gone, channel: build_finished, payload: [iso]}}\n  - expect: {retries: [{plugin: gone}]}\n",
    "  - evaluate: {name: e1, unchanged: false}\n  - notify: {channel: eval_added, payload: [t, jobset, e1]}\n",
    '  - notify: {channel: build_finished, payload: "{iso}\\t", times: 3, in: same transaction}\n',
]


@pytest.mark.parametrize(("steps", "line", "column", "message"), IMPOSSIBLE)
def test_what_cannot_happen_is_found_before_it_is_played(
    story_complaints: Complaints, steps: str, line: int, column: int, message: str
) -> None:
    (found,) = story_complaints(steps)
    assert found[:2] == (line, column)
    assert message in found[3]


@pytest.mark.parametrize("steps", POSSIBLE)
def test_what_can_happen_passes(story_complaints: Complaints, steps: str) -> None:
    assert story_complaints(steps) == []
