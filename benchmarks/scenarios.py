"""Short scenarios against a hand-written loop that sends the same SQL and receives the same notifications.

The SQL of one scenario is recorded as it is played, then sent again by a bare loop on plain connections, in the
same order, with nothing around it: no history, no checks, no simulator. Both are played in turns in one process,
so that the ratio holds whatever else the machine is doing.
"""

import gc
import select
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from hydra_notify_sim import engine
from hydra_notify_sim.dispatcher import postgres
from hydra_notify_sim.engine import environment as environments
from hydra_notify_sim.engine import run
from hydra_notify_sim.recorders import journal
from hydra_notify_sim.scenario import load_text
from hydra_notify_sim.simulator import wire
from hydra_notify_sim.targets import registry

STORY = """\
scenario: Three builds are queued, started and finished
why: the measure of speed, ten actions and two plugins
exercises: [B-live]
given:
  builds: {a: {}, b: {}, c: {}}
  plugins: {chat: {hooks: [build_queued, build_started, build_finished]}, github: {hooks: [build_finished]}}
story:
  - dispatcher: start
  - evaluate: {new: [a, b, c]}
  - start: a
  - finish: a
  - start: b
  - finish: b
  - start: c
  - finish: c
  - settle
  - expect: {marks: []}
"""

Operation = tuple[str, int, Any, Any]


class Trace:
    """Records what one scenario sends, on which connection, and how many notifications it waits for."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.connections: dict[int, psycopg.Connection[Any]] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record while the context lasts."""
        execute, receive, send = psycopg.Connection.execute, postgres.PostgresInbox.receive, wire.run

        def traced_send(connection: Any, sql: str) -> None:
            self.connections[id(connection)] = connection
            self.operations.append(("send", id(connection), sql, None))
            send(connection, sql)

        def traced_execute(connection: Any, query: Any, params: Any = None, **options: Any) -> Any:
            self.connections[id(connection)] = connection
            if query != journal.ROWS:
                self.operations.append(("execute", id(connection), query, params))
            return execute(connection, query, params, **options)

        def traced_receive(inbox: Any, timeout: float) -> Any:
            received = receive(inbox, timeout)
            self.operations.append(("receive", id(inbox.session.listening), len(received), None))
            return received

        wire.run = traced_send
        psycopg.Connection.execute = traced_execute
        postgres.PostgresInbox.receive = traced_receive
        try:
            yield
        finally:
            wire.run = send
            psycopg.Connection.execute = execute
            postgres.PostgresInbox.receive = receive

    def replay(self) -> None:
        """Send it all again, by hand."""
        spare: dict[int, int] = {}
        for kind, connection_id, what, params in self.operations:
            connection = self.connections[connection_id]
            if kind == "send":
                wire.run(connection, what)
            elif kind == "execute":
                cursor = connection.execute(what, params)
                if cursor.description is not None:
                    cursor.fetchall()
            else:
                spare[connection_id] = _receive(connection, what, spare.get(connection_id, 0))


def _receive(connection: psycopg.Connection[Any], count: int, received: int) -> int:
    """Wait for so many notifications, ``received`` of which came before; return how many came too many."""
    pgconn = connection.pgconn
    deadline = time.monotonic() + 5
    while received < count:
        if time.monotonic() > deadline:
            raise SystemExit("the recorded SQL does not send the notifications that the scenario received")
        pgconn.consume_input()
        while pgconn.notifies():
            received += 1
        if received < count:
            select.select([connection.fileno()], [], [], 5)
    return received - count


def main() -> None:
    """Measure both in turns and print the ratio."""
    loaded = (Path("story.yaml"), load_text(STORY, file=Path("story.yaml")), STORY)
    with environments.opened(None, None, None) as environment:
        runner = run.Runner(environment, registry.choose("reference"), engine.Options())
        for _ in range(20):
            event = runner.play(loaded)
            if not getattr(event, "passed", False):
                raise SystemExit(f"the scenario did not pass: {event}")
        trace = Trace()
        with trace.recording():
            runner.play(loaded)
        ours, theirs = [], []
        gc.collect()
        for _ in range(40):
            begun = time.perf_counter()
            for _ in range(5):
                runner.play(loaded)
            middle = time.perf_counter()
            for _ in range(5):
                environment.clean()
                trace.replay()
            end = time.perf_counter()
            ours.append((middle - begun) / 5)
            theirs.append((end - middle) / 5)
    mine, hand = statistics.median(ours), statistics.median(theirs)
    print(
        f"a scenario {mine * 1e3:.2f} ms ({1 / mine:.0f} a second), by hand {hand * 1e3:.2f} ms: "
        f"{hand / mine:.2f} of a hand-written loop (wanted: 0.6 or better)"
    )


if __name__ == "__main__":
    main()
