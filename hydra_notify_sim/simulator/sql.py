"""Writes values as SQL literals: fast for the simulator's own names, careful with everybody else's text."""

import math
from typing import Any

from psycopg import Connection
from psycopg.pq import Escaping

from hydra_notify_sim import errors

Value = int | float | str | bool | None


class UnwritableTextError(errors.UsageError):
    """A text that PostgreSQL cannot hold at all."""


class Quoting:
    """Literals for one connection; its settings decide how a backslash is written."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._escaping = Escaping(connection.pgconn)
        self._encoding = connection.info.encoding

    def text(self, text: str) -> str:
        """Return a text as a literal.

        Raises:
            UnwritableTextError: it holds a NUL character, or half a surrogate pair.

        """
        if text.isascii() and "'" not in text and "\\" not in text and "\0" not in text:
            return f"'{text}'"
        if "\0" in text:
            raise UnwritableTextError(
                f"{text[:40]!r} holds a NUL character, which PostgreSQL cannot store or send; take it out"
            )
        try:
            encoded = text.encode(self._encoding)
        except UnicodeEncodeError as error:
            raise UnwritableTextError(
                f"{text[:40]!r} cannot be written in the connection's encoding, {self._encoding}: {error.reason}"
            ) from error
        return self._escaping.escape_literal(encoded).decode(self._encoding)

    def value(self, value: Value) -> str:
        """Return a literal."""
        kind = type(value)
        if kind is int:
            return str(value)
        if isinstance(value, str):
            return self.text(value)
        if value is None:
            return "NULL"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(int(value))
        return repr(value) if math.isfinite(value) else f"'{value}'"

    def row(self, *values: Value) -> str:
        """Return values as a row in parentheses."""
        return f"({','.join([self.value(value) for value in values])})"

    def notify(self, channel: str, payload: str) -> str:
        """Return a NOTIFY statement; the channel's name is taken as it is, upper case and all."""
        quoted = channel.replace('"', '""')
        return f'NOTIFY "{quoted}",{self.text(payload)}'
