"""A recorder plugin for any dispatcher written in Python: forwards each call of its hooks to the harness.

``hydra_notify_sim.recorders.python_plugin:alpha`` is the recorder called ``alpha``, if ``HYDRA_NOTIFY_SIM_PLUGINS``
names it: so a dispatcher that loads plugins as ``module:Class`` needs nothing more.
"""

import functools
import json
import os
import select
import socket
from collections.abc import Callable, Mapping
from typing import Any

from hydra_notify_sim import errors
from hydra_notify_sim.recorders import messages

CONNECT_SECONDS = 30.0
"""How long the harness may take to answer a hello."""


class RecorderFailure(Exception):  # noqa: N818  # it is the failure that the harness asked for
    """The hook fails because the harness says so, or because the harness is gone."""


class Recorder:
    """One recorder: connects when it is made, and has the hooks that the harness names, as methods."""

    def __init__(self, name: str, path: str, *, task_name: str = "", **says: Any) -> None:
        """Connect to the harness that listens at a path.

        Args:
            name: what the harness calls it.
            path: where the harness listens.
            task_name: the name under which its failures are stored, if it is another one.
            says: what else its hello says of the dispatcher, such as ``payloads=["2026-08"]`` or ``quiet_ms=200``
                (docs/reference/recorder.md).

        Raises:
            EnvironmentFailedError: nobody listens there, or it refuses this recorder.

        """
        self.name = task_name or name
        self._recorder = name
        self._says = says
        self._path = path
        self._calls = 0
        self._socket: socket.socket
        self._received = b""
        self.hooks = frozenset(self._connect())

    def call(self, hook: str, arguments: Mapping[str, Any]) -> None:
        """Forward a call, and return or raise as told."""
        if self._is_closed():
            self.close()
            self._connect()
        self._calls += 1
        message = {"call": self._calls, "hook": hook, "args": arguments}
        try:
            line = json.dumps(message, default=_plain)
        except (TypeError, ValueError, RecursionError) as error:
            # A failed hook would be the dispatcher's to store; this is no failure of a plugin, and the harness shall know it.
            line = json.dumps({"error": f"the arguments of {hook} cannot be written as JSON: {error}"})
        self._socket.sendall(line.encode() + b"\n")
        answer = self._receive()
        if answer.get("do") != "return":
            raise RecorderFailure(answer.get("message") or answer.get("error") or "the harness is gone")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_") or name not in self.__dict__.get("hooks", ()):
            raise AttributeError(name)
        return functools.partial(self._by_position, name)

    def _by_position(self, hook: str, *values: Any) -> None:
        # The last argument is there only with newer payloads.
        self.call(hook, dict(zip(messages.ARGUMENTS[hook], values, strict=False)))

    def _connect(self) -> list[str]:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._calls = 0
        self._received = b""
        hello = {
            "hello": messages.VERSION,
            "plugin": self._recorder,
            "pid": os.getpid(),
            "task_name": self.name,
            **self._says,
        }
        try:
            self._socket.settimeout(CONNECT_SECONDS)
            self._socket.connect(self._path)
            self._socket.sendall(json.dumps(hello).encode() + b"\n")
            answer = self._receive()
            self._socket.settimeout(None)
        except OSError as error:
            self.close()
            raise errors.EnvironmentFailedError(
                f"recorder {self._recorder}: no harness answers at {self._path} ({messages.SOCKET_VARIABLE}): {error}"
            ) from error
        if "hooks" not in answer:
            self.close()
            raise errors.EnvironmentFailedError(
                f"recorder {self._recorder}: the harness refused it: {answer.get('error') or 'it hung up'}"
            )
        hooks: list[str] = answer["hooks"]
        return hooks

    def _is_closed(self) -> bool:
        # Between two calls the harness has nothing to say: what can be read is the end.
        readable, _, _ = select.select([self._socket], [], [], 0)
        return bool(readable)

    def _receive(self) -> dict[str, Any]:
        while b"\n" not in self._received:
            chunk = self._socket.recv(65536)
            if not chunk:
                return {}
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


def names() -> list[str]:
    """Return the names of the recorders that the harness wants loaded.

    Raises:
        UsageError: this process was not started by a harness.

    """
    try:
        return [name for name in os.environ[messages.PLUGINS_VARIABLE].split(",") if name]
    except KeyError:
        raise errors.UsageError(
            f"{messages.PLUGINS_VARIABLE} is not set: recorder plugins work in a dispatcher that a harness has started"
        ) from None


def load_all(**says: Any) -> list[Recorder]:
    """Connect all recorders that the harness names; ``says`` as for `Recorder`.

    Raises:
        UsageError: this process was not started by a harness.
        EnvironmentFailedError: the harness does not answer.

    """
    return [Recorder(name, os.environ.get(messages.SOCKET_VARIABLE, ""), **says) for name in names()]


def __getattr__(name: str) -> Callable[[], Recorder]:
    if name.startswith("_") or name not in os.environ.get(messages.PLUGINS_VARIABLE, "").split(","):
        raise AttributeError(name)
    return functools.partial(Recorder, name, os.environ.get(messages.SOCKET_VARIABLE, ""))


def _plain(value: Any) -> Any:
    """Return a row as an object; whatever else JSON does not know, as text."""
    columns = getattr(value, "columns", None)
    return columns if isinstance(columns, dict) else str(value)
