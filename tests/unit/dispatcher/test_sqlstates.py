"""The table of the database's errors, and the page that repeats it."""

import re
from pathlib import Path

import psycopg
import pytest
from psycopg import errors as pg

from hydra_notify_sim.dispatcher import sqlstates

PAGE = Path("docs/dispatch.md")


def test_the_page_says_what_the_table_says() -> None:
    written = re.findall(r"^\| ([0-9][0-9A-Z, ]*) \| (.+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert written == [(", ".join(row.codes), row.meaning, row.remedy) for row in sqlstates.SQLSTATE_CLASSES]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (pg.DeadlockDetected, "try again"),
        (pg.SerializationFailure, "try again"),
        (pg.LockNotAvailable, "try again"),
        (pg.QueryCanceled, "try again"),
        (pg.FeatureNotSupported, "try again"),
        (pg.AdminShutdown, "connect again"),
        (pg.CannotConnectNow, "connect again"),
        (pg.ReadOnlySqlTransaction, "connect again"),
        (pg.ConnectionException, "connect again"),
        (pg.DiskFull, "connect again"),
        (psycopg.OperationalError, "connect again"),
        (psycopg.InterfaceError, "connect again"),
        (pg.InsufficientPrivilege, "ask a person"),
        (pg.UndefinedTable, "ask a person"),
        (pg.UndefinedColumn, "ask a person"),
        (pg.SyntaxError, "our fault"),
        (pg.NotNullViolation, "our fault"),
        (psycopg.ProgrammingError, "our fault"),
    ],
)
def test_each_error_has_its_remedy(error: type[psycopg.Error], remedy: str) -> None:
    assert sqlstates.remedy(error()) == remedy
