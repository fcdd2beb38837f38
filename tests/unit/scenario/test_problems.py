"""Every kind of mistake, with the place where it is reported."""

from collections.abc import Callable

import pytest

Complaints = Callable[[str], list[tuple[int, int, str, str]]]

WRONG_STEPS = [
    (
        "  - dispatcher: stat\n",
        8,
        17,
        "story[1].dispatcher",
        "Did you mean 'start'? Valid: start, stop, crash, restart",
    ),
    ("  - biuld: iso\n", 8, 5, "story[1].biuld", "'biuld' is not a verb Did you mean 'build'?"),
    (
        "  - build: iso\n    finish: kernel\n",
        9,
        5,
        "story[1].finish",
        "two verbs in one step: build and finish",
    ),
    ("  - settel\n", 8, 5, "story[1]", "Did you mean 'settle'?"),
    ("  - 5\n", 8, 5, "story[1]", "a step is a verb and what it is about, not 5"),
    ("  - {}\n", 8, 5, "story[1]", "a step without a verb"),
    (
        "  - build: iso\n    staus: failed\n",
        9,
        5,
        "story[1].staus",
        "Did you mean 'status'? Valid: at, do, build,",
    ),
    ("  - build: iso\n    status: faild\n", 9, 13, "story[1].status", "Did you mean 'failed'?"),
    ("  - build: iso\n    status: cancelled\n", 9, 13, "story[1].status", "use the verb cancel"),
    ("  - build: iso\n    status: 1\n", 9, 13, "story[1].status", "'1' is not a status"),
    ("  - build:\n", 8, 5, "story[1].build", "nothing stands here"),
    ("  - build: []\n", 8, 12, "story[1].build", "the list is empty"),
    ("  - build: [iso, iso]\n", 8, 12, "story[1].build", "'iso' stands here twice"),
    (
        "  - build: [iso, kernle]\n",
        8,
        18,
        "story[1].build[2]",
        "Did you mean 'kernel'? Valid: iso, kernel, later, many, old",
    ),
    ("  - build: many.4\n", 8, 12, "story[1].build[1]", "many has only 3 copies"),
    ("  - finish: 3 builds\n", 8, 13, "story[1].finish[1]", "'3 builds' is not a nickname"),
    ("  - advance: -3\n", 8, 14, "story[1].advance", "'-3' is not a duration"),
    ("  - advance: 5 weeks\n", 8, 14, "story[1].advance", "6s, 2m, 26.5h or 3d"),
    ("  - build: iso\n    do: [settle]\n", 8, 5, "story[1]", "'do' without 'at'"),
    (
        "  - build: iso\n    at: before_clear\n",
        8,
        5,
        "story[1]",
        "'at' without 'do': say what happens at before_clear",
    ),
    (
        "  - build: iso\n    at: before_cler\n    do: [settle]\n",
        9,
        9,
        "story[1].at",
        "Did you mean 'before_clear'?",
    ),
    (
        "  - build: iso\n    at: point\n    do: [settle]\n",
        9,
        9,
        "story[1].at",
        "point needs a number: {point: 1}",
    ),
    (
        "  - build: iso\n    at: {after_call: 0}\n    do: [settle]\n",
        9,
        9,
        "story[1].at",
        "not a number from 1 on",
    ),
    (
        "  - build: iso\n    at: {after_clear: 1}\n    do: [settle]\n",
        9,
        9,
        "story[1].at",
        "there is one after_clear",
    ),
    (
        "  - dispatcher: start\n    at: {after_call: 1, hok: x}\n    do: [settle]\n",
        9,
        25,
        "story[1].at.hok",
        "Did you mean 'hook'?",
    ),
    (
        "  - build: iso\n    at: {before_call: 1, after_call: 1}\n    do: [settle]\n",
        9,
        9,
        "story[1].at",
        "two points",
    ),
    (
        "  - build: iso\n    at: {inside_call: githb}\n    do: [settle]\n",
        9,
        23,
        "story[1].at.inside_call",
        "Did you mean 'github'?",
    ),
    ("  - evaluate: {new: [iso], fails: true}\n", 8, 15, "story[1].evaluate", "new or cached and fails"),
    ("  - evaluate: {error_changed: true}\n", 8, 31, "story[1].evaluate.error_changed", "payloads: 2026-09"),
    (
        "  - notify: {channel: build_finishd, payload: ['1']}\n",
        8,
        23,
        "story[1].notify.channel",
        "Did you mean 'build_finished'?",
    ),
    (
        "  - notify: {channel: build_finished, payload: [isoo]}\n",
        8,
        49,
        "story[1].notify.payload[1]",
        "Did you mean 'iso'?",
    ),
    (
        "  - notify: {channel: build_queued, payload: [iso, 1]}\n",
        8,
        46,
        "story[1].notify.payload",
        "does not have 2 fields",
    ),
    (
        "  - notify: {channel: build_queued, payload: '{isoo}x'}\n",
        8,
        46,
        "story[1].notify.payload",
        "Did you mean 'iso'?",
    ),
    (
        "  - notify: {channel: cached_build_finished, payload: [e1, iso]}\n",
        8,
        56,
        "story[1].notify.payload[1]",
        "no evaluation 'e1'",
    ),
    (
        "  - notify: {channel: build_queued, payload: 'x', times: 0}\n",
        8,
        58,
        "story[1].notify.times",
        "at least 1",
    ),
    (
        "  - notify: {channel: build_queued, payload: 'x', in: a dream}\n",
        8,
        55,
        "story[1].notify.in",
        "Valid: same transaction, separate, rolled back",
    ),
    (
        "  - notify: {channel: build_queued, payload: 'x', in_: separate}\n",
        8,
        51,
        "story[1].notify.in_",
        "Did you mean 'in'?",
    ),
    ("  - build: iso\n    line: 3\n", 9, 5, "story[1].line", "unknown key 'line'"),
    ("  - expect: {calls: {githb: []}}\n", 8, 22, "story[1].expect.calls.githb", "Did you mean 'github'?"),
    (
        "  - expect: {calls: {github.build_started: []}}\n",
        8,
        22,
        "story[1].expect.calls.github.build_started",
        "github does not have the hook build_started Its hooks: build_finished",
    ),
    (
        "  - expect: {calls: {github: [raise]}}\n",
        8,
        31,
        "story[1].expect.calls.github[1].ended",
        "Did you mean 'raised'?",
    ),
    ("  - expect: {calls: {github: 3}}\n", 8, 30, "story[1].expect.calls.github", "[] for none"),
    (
        "  - expect: {calls: {github: {at_least: 3, at_most: 2}}}\n",
        8,
        30,
        "story[1].expect.calls.github",
        "no number of calls is both",
    ),
    (
        "  - expect: {calls: {github: {build: many}}}\n",
        8,
        38,
        "story[1].expect.calls.github.build",
        "such as many.1",
    ),
    ("  - expect: {}\n", 8, 13, "story[1].expect", "nothing is expected here"),
    ("  - expect: {marks: }\n", 8, 14, "story[1].expect.marks", "nothing stands here"),
    ('  - expect: {log: "("}\n', 8, 19, "story[1].expect.log", "not a regular expression"),
    ("  - expect: {violated: [B-cleer]}\n", 8, 25, "story[1].expect.violated[1]", "Did you mean 'B-clear'?"),
    (
        "  - expect: {lost: [{build_finished: iso}]}\n",
        8,
        21,
        "story[1].expect.lost[1]",
        "the key 'allowed_by' is missing",
    ),
    ("  - expect: {lost: [{allowed_by: C-gone}]}\n", 8, 21, "story[1].expect.lost[1]", "name one hook"),
    ("  - delete: {build: iso, task: {}}\n", 8, 13, "story[1].delete", "name one row"),
    ("  - delete: {evaluation: e1}\n", 8, 26, "story[1].delete.evaluation", "no evaluation 'e1'"),
    ("  - repeat: {times: 0, steps: [settle]}\n", 8, 21, "story[1].repeat.times", "at least 1"),
    (
        "  - repeat: {times: 2, steps: [biuld: iso]}\n",
        8,
        32,
        "story[1].repeat.steps[1].biuld",
        "Did you mean 'build'?",
    ),
    ("  - release: github\n", 8, 14, "story[1].release", "github holds no call"),
    ("  - dispatcher: stop\n    plugins: [github]\n", 8, 5, "story[1]", "belongs to start or restart"),
    (
        "  - build: iso\n    same_second: 1\n",
        9,
        18,
        "story[1].same_second",
        "write true or false here, not 1",
    ),
    ("  - build: iso\n    build: kernel\n", 9, 5, "story[1].build", "a second time; the first is in line 8"),
    ("  - settle: false\n", 8, 13, "story[1].settle", "Valid: true"),
]


@pytest.mark.parametrize("wrong", WRONG_STEPS)
def test_a_wrong_step_is_reported_once_where_it_stands(
    story_complaints: Complaints, wrong: tuple[str, int, int, str, str]
) -> None:
    steps, line, column, key, message = wrong
    (found,) = story_complaints(steps)
    assert found[:3] == (line, column, key)
    assert message in found[3]


WRONG_HEADS = [
    ("[B-clear]", "[§B-cler]", "exercises[1]", "Did you mean 'B-clear'?"),
    ("[B-clear]", "§[]", "exercises", "the list is empty"),
    ("why: a test", "why: §[5]", "why", "write a text here, not a list"),
    ("why: a test", "§why:", "why", "nothing stands here"),
    ("scenario: Something happens\n", "§", "", "the key 'scenario' is missing"),
    ("scenario: Something happens", 'scenario: §"Two\\nlines"', "scenario", "say in one line what happens"),
    ("why:", "§whi: x\nwhy:", "whi", "unknown key 'whi' Did you mean 'why'?"),
    ("why:", "known: {§hn-stale-clea: [B-clear]}\nwhy:", "known.hn-stale-clea", "Did you mean 'hn-stale-clear'?"),
    ("needs: [kernel]", "needs: [§kernle]", "given.builds.iso.needs[1]", "Did you mean 'kernel'?"),
    ("needs: [kernel]}, kernel: {}", "needs: §[kernel]}, kernel: {needs: [iso]}", "given.builds.iso.needs", "iso needs kernel needs iso"),
    ("needs: [kernel]", "needs: §[iso]", "given.builds.iso.needs", "iso needs iso"),
    ("kernel: {}", "kernel: {steps: §0}", "given.builds.kernel.steps", "at least 1"),
    ("kernel: {}", "kernel: {steps: §true}", "given.builds.kernel.steps", "write a whole number here"),
    ("kernel: {}", "kernel: {finished: §resolved}", "given.builds.kernel.finished", "only a step"),
    ("kernel: {}", "kernel: §{pending: true}", "given.builds.kernel", "'pending' needs 'finished'"),
    ("kernel: {}", "kernel: §3", "given.builds.kernel", "write a mapping here"),
    ("kernel: {}", "kernel: {}, §jobset: {}", "given.builds.jobset", "has a meaning of its own"),
    ("kernel: {}", "kernel: {}, §2nd: {}", "given.builds.2nd", "'2nd' is not a nickname"),
    ("kernel: {}", "kernel: {}, §kernel: {}", "given.builds.kernel", "a second time; the first is in line 5"),
    ("holds: true", "raises: §sometimes", "given.plugins.slow.raises", "write always, {first: 2} or {for: build}"),
    ("holds: true", "raises: §{message: x}", "given.plugins.slow.raises", "say when it raises"),
    ("holds: true", "raises: {for: §isoo}", "given.plugins.slow.raises.for[1]", "Did you mean 'iso'?"),
    ("[build_finished]", "[§buildFinished]", "given.plugins.github.hooks[1]", "Did you mean 'build_finished'?"),
    ("  builds", "  jobset: §nixpkgs\n  builds", "given.jobset", "project:name"),
    ("  builds", "  dispatcher: §thread\n  builds", "given.dispatcher", "Valid: in process, process"),
    ("  builds", "  payloads: §2026-10\n  builds", "given.payloads", "Valid: 2026-08, 2026-09"),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_HEADS)
def test_a_wrong_head_is_reported_once_where_it_stands(
    complaints: Complaints, head: str, wrong: tuple[str, str, str, str]
) -> None:
    old, new, key, message = wrong
    assert old in head
    marked = head.replace(old, new, 1) + "  - advance: 1s\n"
    before = marked[: marked.index("§")]
    (found,) = complaints(marked.replace("§", ""))
    assert found[:3] == (before.count("\n") + 1, len(before) - before.rfind("\n"), key)
    assert message in found[3]


def test_names_are_still_checked_where_other_steps_are_wrong(story_complaints: Complaints) -> None:
    found = story_complaints("  - biuld: iso\n  - settle\n  - build: kernle\n")
    assert [each[:3] for each in found] == [(8, 5, "story[1].biuld"), (10, 12, "story[3].build[1]")]


def test_the_message_ends_when_there_are_very_many(complaints: Complaints, head: str) -> None:
    found = complaints(head + "  - biuld: iso\n" * 300)
    assert len(found) == 300
