"""The messages of the recorder protocol, version 1: JSON, one object a line (docs/reference/recorder.md)."""

from typing import Any

import msgspec

from hydra_notify_sim import errors
from hydra_notify_sim.contract import channels

VERSION = 1
SENTINEL = "sentinel"
"""Name of the plugin that every dispatcher under test loads, beside those of the scenario."""
SENTINEL_TRACE = "hydra-notify-sim:"
"""What the trace of the harness's own eval_started begins with; a number follows."""
QUIET_MS = 200
"""Milliseconds of silence for a dispatcher that says it is concurrent and no number."""
MAX_LINE = 64 * 2**20
"""Bytes; a longer line is no message."""

SOCKET_VARIABLE = "HYDRA_NOTIFY_SIM_SOCKET"
PLUGINS_VARIABLE = "HYDRA_NOTIFY_SIM_PLUGINS"
DSN_VARIABLE = "HYDRA_NOTIFY_SIM_DSN"

ARGUMENTS = channels.ARGUMENTS
"""The arguments of each hook, which a call's ``args`` hold by name."""


class ProtocolError(errors.EnvironmentFailedError):
    """A recorder plugin in the dispatcher under test does not speak the protocol (exit code 3)."""


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """What a plugin says first on each connection."""

    hello: int
    plugin: str
    pid: int = 0
    task_name: str = ""
    """The name under which its failures stand in ``taskretries``; empty: the plugin's."""
    concurrent: bool = False
    quiet_ms: int = 0
    """How many milliseconds of silence it takes to be sure that this dispatcher has settled."""

    payloads: tuple[str, ...] | None = None
    """The versions of the payloads that its dispatcher reads; None: it does not say."""

    @property
    def reads(self) -> tuple[channels.PayloadVersion, ...]:
        """Those of the versions that this program knows."""
        return tuple(one for one in channels.PAYLOAD_VERSIONS if one in (self.payloads or ()))

    @property
    def quiet_seconds(self) -> float:
        """The same in seconds; a dispatcher that works on several events at once, and does not say, takes `QUIET_MS`."""
        return (self.quiet_ms or (QUIET_MS if self.concurrent else 0)) / 1000


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A hook was called in the dispatcher."""

    call: int
    """Counts calls in this connection, from 1."""
    hook: str
    args: dict[str, Any]

    @property
    def trace(self) -> str:
        """The trace of an evaluation event, empty for others."""
        trace = self.args.get("trace_id")
        return trace if isinstance(trace, str) else ""


_HELLO = msgspec.json.Decoder(Hello)
_CALL = msgspec.json.Decoder(Call)


def read_hello(line: bytes) -> Hello:
    """Read a plugin's first message.

    Raises:
        ProtocolError: it is none, or of another version.

    """
    try:
        hello = _HELLO.decode(line)
    except msgspec.DecodeError as error:
        raise ProtocolError(
            f'a recorder\'s first message must be a hello, such as {{"hello": {VERSION}, "plugin": "alpha", "pid": 4242}}; '
            f"it is {_shown(line)}: {error}"
        ) from None
    if hello.hello != VERSION:
        raise ProtocolError(
            f"recorder {hello.plugin!r} speaks version {hello.hello} of the protocol; this harness speaks version {VERSION}. "
            "Use the recorder that comes with this version."
        )
    return hello


def read_call(line: bytes, plugin: str, expected: int) -> Call:
    """Read a plugin's call, which must be number ``expected`` of its connection.

    Raises:
        ProtocolError: it is none, or out of turn.

    """
    try:
        call = _CALL.decode(line)
    except msgspec.DecodeError as error:
        raise ProtocolError(
            f"recorder {plugin!r} must send calls, such as "
            f'{{"call": {expected}, "hook": "build_queued", "args": {{}}}}; it sent {_shown(line)}: {error}'
        ) from None
    if call.call != expected:
        raise ProtocolError(
            f"recorder {plugin!r}: calls count up from 1 in each connection; {expected} should come, {call.call} came"
        )
    if call.hook not in channels.CHANNELS:
        raise ProtocolError(
            f"recorder {plugin!r}: there is no hook {call.hook!r}; hooks are {', '.join(channels.CHANNELS)}"
        )
    return call


def hooks_message(hooks: tuple[str, ...]) -> bytes:
    """Write the answer to a hello."""
    return msgspec.json.encode({"hooks": hooks}) + b"\n"


def answer_message(failure: str | None) -> bytes:
    """Write the answer to a call: return, or fail with a message."""
    if failure is None:
        return b'{"do":"return"}\n'
    return msgspec.json.encode({"do": "raise", "message": failure}) + b"\n"


def error_message(text: str) -> bytes:
    """Write what a recorder is told that does not speak the protocol."""
    return msgspec.json.encode({"error": text}) + b"\n"


def _shown(line: bytes) -> str:
    text = line.decode(errors="replace").strip()
    return repr(text if len(text) <= 200 else text[:200] + "…")
