"""What to do about each of the database's errors, by SQLSTATE: one table, which docs/dispatch.md repeats."""

from dataclasses import dataclass
from typing import Literal

import psycopg

Remedy = Literal["try again", "connect again", "ask a person", "our fault"]


@dataclass(frozen=True, slots=True)
class SqlstateClass:
    """SQLSTATEs for which the same is to be done."""

    codes: tuple[str, ...]
    """Whole codes (``40P01``), or the first two characters of all codes of a class (``08``)."""
    meaning: str
    remedy: Remedy


SQLSTATE_CLASSES: tuple[SqlstateClass, ...] = (
    SqlstateClass(("40",), "deadlock (40P01), serialization failure (40001)", "try again"),
    SqlstateClass(("55P03", "55006"), "lock timeout, an object in use", "try again"),
    SqlstateClass(
        ("57014",), "statement timeout, a statement that an administrator or we cancelled", "try again"
    ),
    SqlstateClass(("0A000",), "a plan that a migration has made out of date", "try again"),
    SqlstateClass(("26000", "42P05"), "a prepared statement that a pooler has mixed up", "try again"),
    SqlstateClass(("08",), "the connection is gone, or was refused", "connect again"),
    SqlstateClass(("57P",), "the server shuts down, starts, or ended the session", "connect again"),
    SqlstateClass(("25",), "the server is read-only (25006), a session that timed out", "connect again"),
    SqlstateClass(
        ("53", "54", "58", "XX"),
        "no memory, disk space or connection is left; an error inside the server",
        "connect again",
    ),
    SqlstateClass(
        ("28", "3D000"), "the user is not let in, or the database does not exist (any more)", "connect again"
    ),
    SqlstateClass(("42501",), "a right is missing", "ask a person"),
    SqlstateClass(
        ("42P01", "42703", "42883", "3F000"),
        "a table, column or schema is missing, or search_path does not lead to it",
        "ask a person",
    ),
)
"""The first row that matches counts; an SQLSTATE that none matches is our fault."""


def remedy(error: psycopg.Error) -> Remedy:
    """Return what is to be done about an error.

    Without an SQLSTATE it comes from the client library: the connection is gone or was never made.
    """
    code = error.sqlstate
    if code is None:
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return "connect again" if lost else "our fault"
    for row in SQLSTATE_CLASSES:
        if code.startswith(row.codes):
            return row.remedy
    return "our fault"
