"""Writes transactions and records each: a `history.Commit` as COMMIT is sent, a `history.Committed` once it returned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import psycopg

from hydra_notify_sim import errors, history
from hydra_notify_sim.contract.transactions import Actor
from hydra_notify_sim.database.locks import LockHeldError
from hydra_notify_sim.simulator import wire
from hydra_notify_sim.simulator.sql import Quoting

_BAD_VALUES = frozenset({"22023", "22021", "22P05"})
"""PostgreSQL's codes for a value that it takes from nobody: a payload too long, a text it cannot encode."""


class RefusedValueError(errors.UsageError):
    """PostgreSQL refused a value, such as a payload of 8,000 bytes; nothing of its transaction happened."""


class WriteFailedError(errors.EnvironmentFailedError):
    """A transaction could not be written: the connection is gone, or the tables are not Hydra's."""


class Clock(Protocol):
    """Where every time that the simulator writes comes from."""

    def now(self) -> int:
        """Return Unix seconds."""


@dataclass(slots=True)
class Written:
    """What one transaction did, as its record will say."""

    about: str = ""
    notifications: Sequence[history.Notification] = ()
    outcomes: Sequence[history.Outcome] = ()
    restarted: Sequence[int] = ()
    rows: Sequence[history.RowChange] = ()
    fault: str = ""
    statements: list[str] = field(default_factory=list)
    """SQL to run before the notifications are sent."""


class Writer:
    """A connection in autocommit mode, and what the records of its transactions need."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        record: Callable[[history.AnyRecord], int],
        clock: Clock,
        busy: Callable[[], bool],
    ) -> None:
        self.record = record
        self.clock = clock
        self.busy = busy
        self.use(connection)

    def use(self, connection: psycopg.Connection[Any]) -> None:
        """Go on with another connection, as after a restart of the server.

        Raises:
            errors.UsageError: the connection is not in autocommit mode.

        """
        if not connection.autocommit:
            raise errors.UsageError(
                "the simulator's connection has to be in autocommit mode: psycopg.connect(…, autocommit=True)"
            )
        self.connection = connection
        self.quoting = Quoting(connection)

    def query(self, sql: str) -> list[Any]:
        """Read rows, outside of any record."""
        try:
            return self.connection.execute(sql).fetchall()
        except psycopg.Error as error:
            raise failure_of("a query", error) from error

    def commit(self, actor: Actor, action: str, written: Written) -> int:
        """Write one transaction as one query, record it, and return the number of its `history.Commit`.

        Raises:
            RefusedValueError: PostgreSQL takes such a value from nobody; the record says that nothing happened.
            WriteFailedError: it could not be written.
            LockHeldError: somebody keeps a row locked that it writes.

        """
        quoting = self.quoting
        text = ";".join(
            [*written.statements, *[quoting.notify(n.channel, n.payload) for n in written.notifications]]
        )
        number = self._record(actor, action, written)
        try:
            wire.run(self.connection, text)
        except (psycopg.Error, LockHeldError) as error:
            self.record(history.Committed(t=float(self.clock.now()), commit=number, ok=False))
            if isinstance(error, LockHeldError):
                raise
            raise failure_of(f"{action} {written.about}".rstrip(), error) from error
        self.record(history.Committed(t=float(self.clock.now()), commit=number))
        return number

    def _record(self, actor: Actor, action: str, written: Written) -> int:
        return self.record(
            history.Commit(
                t=float(self.clock.now()),
                actor=actor,
                action=action,
                about=written.about,
                notifications=tuple(dict.fromkeys(written.notifications)),
                outcomes=tuple(written.outcomes),
                restarted=tuple(written.restarted),
                rows=tuple(written.rows),
                fault=written.fault,
                busy=self.busy(),
            )
        )

    def begin(self) -> "OpenTransaction":
        """Begin a transaction that has to read what it is about to change."""
        return OpenTransaction(self)


class OpenTransaction:
    """A transaction of several queries; left without an ending, it is rolled back and not recorded."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._open = False

    def __enter__(self) -> Self:
        return self

    def run(self, sql: str) -> list[tuple[list[str], list[Any]]]:
        """Run statements; return for each that yields rows the names of its columns, and the rows."""
        connection = self._writer.connection
        text = sql if self._open else f"BEGIN;{sql}"
        self._open = True
        try:
            cursor = connection.execute(text, prepare=False)
        except psycopg.Error as error:
            raise failure_of("a transaction", error) from error
        found = []
        while True:
            if cursor.description is not None:
                found.append(([column.name for column in cursor.description], cursor.fetchall()))
            if not cursor.nextset():
                return found

    def commit(self, actor: Actor, action: str, written: Written) -> int:
        """Send the notifications, record, and commit; `Written.statements` are not looked at."""
        self._notify(written)
        writer = self._writer
        number = writer._record(actor, action, written)  # noqa: SLF001 - the two classes are one thing in two parts
        try:
            writer.connection.execute("COMMIT", prepare=False)
        except psycopg.Error as error:
            writer.record(history.Committed(t=float(writer.clock.now()), commit=number, ok=False))
            raise failure_of(f"{action} {written.about}".rstrip(), error) from error
        self._open = False
        writer.record(history.Committed(t=float(writer.clock.now()), commit=number))
        return number

    def roll_back(self, actor: Actor, action: str, written: Written) -> int:
        """Send the notifications and take them back: the record has none of them."""
        self._notify(written)
        writer = self._writer
        number = writer._record(  # noqa: SLF001 - see commit
            actor, action, Written(about=written.about, fault="rolled back")
        )
        self._end()
        writer.record(history.Committed(t=float(writer.clock.now()), commit=number, ok=False))
        return number

    def _notify(self, written: Written) -> None:
        quoting = self._writer.quoting
        if written.notifications:
            self.run(";".join([quoting.notify(n.channel, n.payload) for n in written.notifications]))

    def _end(self) -> None:
        self._open = False
        try:
            self._writer.connection.execute("ROLLBACK", prepare=False)
        except psycopg.Error as error:
            raise failure_of("a rollback", error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open and not self._writer.connection.broken:
            self._end()


def failure_of(what: str, error: psycopg.Error) -> errors.HydraNotifySimError:
    """Return what a person should read when PostgreSQL said no."""
    said = str(error).strip() or type(error).__name__
    if error.sqlstate in _BAD_VALUES:
        return RefusedValueError(f"{what}: PostgreSQL refuses it: {said}")
    return WriteFailedError(
        f"{what} could not be written: {said}. The server has to stay up, and the database to have Hydra's tables "
        "with nobody else writing to them."
    )
