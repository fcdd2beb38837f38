"""The recorder protocol's messages, read and written."""

import json

import pytest

from hydra_notify_sim.contract import channels
from hydra_notify_sim.recorders import messages


def test_a_hello_is_read_and_what_is_unknown_ignored() -> None:
    hello = messages.read_hello(b'{"hello": 1, "plugin": "alpha", "pid": 4242, "colour": "red"}')
    assert (hello.plugin, hello.pid, hello.task_name, hello.concurrent, hello.quiet_ms) == (
        "alpha",
        4242,
        "",
        False,
        0,
    )


def test_a_hello_may_say_more() -> None:
    hello = messages.read_hello(
        b'{"hello": 1, "plugin": "a", "pid": 1, "task_name": "Hydra::Plugin::A", "concurrent": true, "quiet_ms": 200}'
    )
    assert (hello.task_name, hello.concurrent, hello.quiet_ms) == ("Hydra::Plugin::A", True, 200)
    assert hello.quiet_seconds == 0.2
    assert hello.payloads is None


def test_a_hello_may_say_which_payloads_are_read_also_such_as_are_not_known_yet() -> None:
    hello = messages.read_hello(b'{"hello": 1, "plugin": "a", "payloads": ["2027-01", "2026-09"]}')
    assert hello.payloads == ("2027-01", "2026-09")
    assert hello.reads == ("2026-09",)


def test_a_concurrent_one_that_names_no_silence_takes_a_fifth_of_a_second() -> None:
    assert messages.read_hello(b'{"hello": 1, "plugin": "a", "concurrent": true}').quiet_seconds == 0.2
    assert messages.read_hello(b'{"hello": 1, "plugin": "a"}').quiet_seconds == 0


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b'{"hello": 1}', b'{"hello": "1", "plugin": "a"}', b'{"plugin": "a"}']
)
def test_what_is_no_hello_is_refused(line: bytes) -> None:
    with pytest.raises(messages.ProtocolError, match="first message must be a hello"):
        messages.read_hello(line)


def test_another_version_is_refused() -> None:
    with pytest.raises(
        messages.ProtocolError, match="version 2 of the protocol; this harness speaks version 1"
    ):
        messages.read_hello(b'{"hello": 2, "plugin": "alpha", "pid": 1}')


def test_a_call_is_read() -> None:
    call = messages.read_call(
        b'{"call": 7, "hook": "eval_started", "args": {"trace_id": "1.2.3", "jobset": {"id": 5}}}', "alpha", 7
    )
    assert (call.hook, call.trace, call.args["jobset"]) == ("eval_started", "1.2.3", {"id": 5})


def test_only_evaluations_have_a_trace() -> None:
    assert messages.Call(call=1, hook="build_queued", args={"build": {"id": 1}}).trace == ""


def test_a_call_out_of_turn_is_refused() -> None:
    with pytest.raises(messages.ProtocolError, match="3 should come, 4 came"):
        messages.read_call(b'{"call": 4, "hook": "build_queued", "args": {}}', "alpha", 3)


def test_a_long_message_is_shown_in_part() -> None:
    with pytest.raises(messages.ProtocolError) as caught:
        messages.read_call(b"x" * 100_000, "alpha", 1)
    assert len(str(caught.value)) < 1_000


def test_answers() -> None:
    assert json.loads(messages.answer_message(None)) == {"do": "return"}
    assert json.loads(messages.answer_message('say "no"\n')) == {"do": "raise", "message": 'say "no"\n'}
    assert json.loads(messages.hooks_message(("build_queued",))) == {"hooks": ["build_queued"]}
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in [messages.answer_message("a\nb")])


def test_every_hook_has_its_arguments() -> None:
    assert set(messages.ARGUMENTS) == set(channels.CHANNELS)
