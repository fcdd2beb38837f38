"""The harness's end of the recorder protocol: a Unix socket that is served while the harness waits for something.

Single-threaded: nothing is read or answered but in `Exchange.pump`. A call that has arrived waits there until it
is taken, and its dispatcher waits with it.
"""

import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hydra_notify_sim import errors
from hydra_notify_sim.recorders import messages

SOCKET_NAME = "s"
MAX_PATH_BYTES = 100
"""A Unix socket's path may not be much longer anywhere."""
_CHUNK = 1 << 18


@dataclass(eq=False)
class Connection:
    """One recorder's connection."""

    socket: socket.socket
    hello: messages.Hello | None = None
    calls: int = 0
    answering: bool = False
    """Whether a call of it has arrived and is not answered."""
    received: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    closed: bool = False

    @property
    def plugin(self) -> str:
        """Name of the plugin at the other end."""
        return self.hello.plugin if self.hello is not None else ""


@dataclass(eq=False, frozen=True)
class ArrivedCall:
    """A call that waits for its answer."""

    connection: Connection
    call: messages.Call

    @property
    def plugin(self) -> str:
        """Who was called."""
        return self.connection.plugin

    @property
    def is_sentinel(self) -> bool:
        """Whether it is no part of the story: for an event of the harness's own, or of its own plugin for another."""
        return self.plugin == messages.SENTINEL or self.call.trace.startswith(messages.SENTINEL_TRACE)


class Exchange:
    """All recorders' connections of one dispatcher under test."""

    def __init__(self, directory: Path) -> None:
        """Listen on a socket in a directory that only this user can enter.

        Raises:
            EnvironmentFailedError: the path is too long for a socket.

        """
        self.path = directory / SOCKET_NAME
        if len(bytes(self.path)) > MAX_PATH_BYTES:
            raise errors.EnvironmentFailedError(
                f"{self.path}: too long for a Unix socket ({MAX_PATH_BYTES} bytes at most). Set TMPDIR to a shorter path."
            )
        self.arrived: deque[ArrivedCall] = deque()
        self.hellos: dict[str, messages.Hello] = {}
        """Plugin to its latest hello since `expect`."""
        self.on_hello: Callable[[messages.Hello], None] = lambda _hello: None
        """Told of each plugin's first hello since `expect`, before it is answered: its dispatcher waits."""
        self._hooks: dict[str, tuple[str, ...]] = {}
        self._connections: set[Connection] = set()
        self._ended = 0
        self._selector = selectors.DefaultSelector()
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.setblocking(False)  # that is how the function is called
        self._listening.bind(str(self.path))
        self.path.chmod(0o600)
        self._listening.listen(64)
        self._selector.register(self._listening, selectors.EVENT_READ)

    def expect(self, hooks: Mapping[str, tuple[str, ...]]) -> None:
        """Begin a life with these plugins; whatever is left of an earlier one is dropped."""
        self.drop()
        self._hooks = dict(hooks)
        self.hellos.clear()

    def pump(self, seconds: float) -> bool:
        """Serve the sockets until a call waits to be taken, or for so long; return whether one does.

        It also returns when somebody says hello, or hangs up: the dispatcher may have ended.

        Raises:
            ProtocolError: a recorder does not speak the protocol; it has been told so, and hung up on.

        """
        deadline = time.monotonic() + seconds
        greeted, ended = len(self.hellos), self._ended
        while not self.arrived and len(self.hellos) == greeted and self._ended == ended:
            left = deadline - time.monotonic()
            ready = self._selector.select(max(0.0, left))
            for key, mask in ready:
                if key.fileobj is self._listening:
                    self._accept()
                else:
                    self._serve(key.data, mask)
            if not ready and left <= 0:
                break
        return bool(self.arrived)

    def take(self) -> ArrivedCall:
        """Take the call that arrived first; it must be answered."""
        return self.arrived.popleft()

    def answer(self, arrived: ArrivedCall, failure: str | None) -> None:
        """Let the hook return, or fail with a message; nothing happens if its dispatcher is gone."""
        connection = arrived.connection
        connection.answering = False
        self._send(connection, messages.answer_message(failure))

    def drop(self) -> None:
        """Hang up on all, and forget what has arrived."""
        for connection in list(self._connections):
            self._close(connection)
        self.arrived.clear()
        while self._accept():
            pass
        for connection in list(self._connections):
            self._close(connection)

    def close(self) -> None:
        """Hang up, and listen no more."""
        self.drop()
        self._selector.close()
        self._listening.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> bool:
        try:
            accepted, _ = self._listening.accept()
        except (BlockingIOError, ConnectionError):
            return False
        accepted.setblocking(False)
        connection = Connection(accepted)
        self._connections.add(connection)
        self._selector.register(accepted, selectors.EVENT_READ, connection)
        return True

    def _serve(self, connection: Connection, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._send(connection, b"")
        if mask & selectors.EVENT_READ and not connection.closed:
            self._receive(connection)

    def _receive(self, connection: Connection) -> None:
        try:
            chunk = connection.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._close(connection)
            return
        searched = len(connection.received)
        connection.received += chunk
        if b"\n" in chunk:
            self._parse(connection)
        elif searched > messages.MAX_LINE:
            self._refuse(
                connection,
                messages.ProtocolError(
                    f"recorder {connection.plugin!r} sent more than {messages.MAX_LINE} bytes without an end of line"
                ),
            )

    def _parse(self, connection: Connection) -> None:
        """Take the next whole message; none while a call of this connection is unanswered."""
        while not connection.closed:
            line, newline, rest = connection.received.partition(b"\n")
            if not newline:
                return
            connection.received = rest
            try:
                self._take_in(connection, bytes(line))
            except messages.ProtocolError as error:
                self._refuse(connection, error)

    def _take_in(self, connection: Connection, line: bytes) -> None:
        if connection.answering:
            raise messages.ProtocolError(
                f"recorder {connection.plugin!r} sent something before its call was answered; one connection has one call "
                "open at a time"
            )
        if connection.hello is not None:
            call = messages.read_call(line, connection.plugin, connection.calls + 1)
            connection.calls += 1
            connection.answering = True
            self.arrived.append(ArrivedCall(connection, call))
            return
        hello = messages.read_hello(line)
        if hello.plugin not in self._hooks:
            raise messages.ProtocolError(
                f"a recorder calls itself {hello.plugin!r}; {messages.PLUGINS_VARIABLE} names {', '.join(self._hooks) or 'none'}"
            )
        connection.hello = hello
        if hello.plugin not in self.hellos:
            self.on_hello(hello)
        self.hellos[hello.plugin] = hello
        self._send(connection, messages.hooks_message(self._hooks[hello.plugin]))

    def _refuse(self, connection: Connection, error: messages.ProtocolError) -> None:
        self._send(connection, messages.error_message(str(error)))
        self._close(connection)
        raise error

    def _send(self, connection: Connection, message: bytes) -> None:
        if connection.closed:
            return
        connection.unsent += message
        try:
            sent = connection.socket.send(connection.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(connection)
            return
        del connection.unsent[:sent]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
        self._selector.modify(connection.socket, wanted, connection)

    def _close(self, connection: Connection) -> None:
        connection.closed = True
        if connection in self._connections:
            self._connections.remove(connection)
            self._ended += 1
            self._selector.unregister(connection.socket)
            connection.socket.close()
            self.arrived = deque(arrived for arrived in self.arrived if arrived.connection is not connection)
