"""Hydra's tables and our reset function, as SQL that makes an empty database ready."""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from hydra_notify_sim.errors import EnvironmentFailedError, UsageError

OURS = "hydra-notify-sim: throw-away test database"
"""What the comment on a database begins with that we may empty."""
VERSION = 87
"""Hydra's schema version that schema.sql has (docs/reference/hydra.md, "Schema")."""
_TABLES = """
SELECT c.oid, c.relname FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'schemaversion'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relname
"""
_REFERENCES = "SELECT conrelid, confrelid FROM pg_constraint WHERE contype = 'f' AND conrelid <> confrelid"
_SEQUENCES = """
SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' ORDER BY sequencename
"""


@dataclass(frozen=True, slots=True)
class Schema:
    """The SQL that makes Hydra's tables: ours, or a Hydra checkout's own."""

    text: str
    origin: str
    """The file that it was read from, for messages."""
    version: int
    """The row of `schemaversion`, if the SQL does not write one itself."""

    @property
    def key(self) -> str:
        """A name for all that this makes of an empty database, different when anything in it differs."""
        return fingerprint(str(self.version), self.text, Path(__file__).read_text(encoding="utf-8"))

    @property
    def comment(self) -> str:
        """The comment on a database that this was loaded into."""
        return f"{OURS} (schema {self.key})"


def fingerprint(*texts: str) -> str:
    """Return twelve hexadecimal digits that differ if any of the texts does."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def read_schema(path: Path | None) -> Schema:
    """Return our own schema, or the one in `path`: a Hydra checkout's `hydra.sql`.

    Hydra keeps the version apart from its tables, as the highest number of the `upgrade-N.sql` beside it.
    Raises UsageError if the file cannot be read.
    """
    if path is None:
        text = resources.files("hydra_notify_sim.database").joinpath("schema.sql").read_text(encoding="utf-8")
        return Schema(text, "schema.sql", VERSION)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The schema {path} cannot be read: {error}. Name a Hydra checkout's hydra.sql."
        ) from error
    upgrades = (
        re.fullmatch(r"upgrade-(\d+)\.sql", beside.name) for beside in path.absolute().parent.iterdir()
    )
    return Schema(text, str(path), max((int(found[1]) for found in upgrades if found), default=VERSION))


def load(connection: psycopg.Connection[Any], name: str, schema: Schema) -> None:
    """Make the empty database `name` ready, all in one transaction: tables, our function `reset`, our comment.

    Raises EnvironmentFailedError with the server's words if it does not accept the schema.
    """
    try:
        with connection.transaction():
            connection.execute(schema.text)
            connection.execute(
                "INSERT INTO schemaversion (version) SELECT %s WHERE NOT EXISTS (SELECT FROM schemaversion)",
                [schema.version],
            )
            _install_reset(connection)
            connection.execute(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                    sql.Identifier(name), sql.Literal(schema.comment)
                )
            )
    except psycopg.Error as error:
        raise EnvironmentFailedError(
            f"The schema {schema.origin} could not be loaded into database {name!r} of "
            f"PostgreSQL {connection.info.server_version // 10000}: {error}"
        ) from error


def _install_reset(connection: psycopg.Connection[Any]) -> None:
    """Make `hydra_notify_sim.reset()`: every table as it is now, every sequence where it is now.

    It returns how many rows it deleted. One function, because 25 statements cost six times as much; children
    before parents, because where foreign keys cannot be switched off the order matters.
    """
    connection.execute("CREATE SCHEMA hydra_notify_sim")
    tables = [sql.Identifier("public", name) for name in _children_first(connection)]
    body: list[sql.Composable] = [
        sql.SQL("DELETE FROM {}; GET DIAGNOSTICS n = ROW_COUNT; total := total + n;").format(table)
        for table in tables
    ]
    for number, table in enumerate(reversed(tables)):
        if connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(table)).fetchone() is not None:
            seed = sql.Identifier("hydra_notify_sim", f"seed_{number}")
            connection.execute(sql.SQL("CREATE TABLE {} AS TABLE {}").format(seed, table))
            body.append(sql.SQL("INSERT INTO {} SELECT * FROM {};").format(table, seed))
    for (name,) in connection.execute(_SEQUENCES).fetchall():
        sequence = sql.Identifier("public", name)
        state = connection.execute(
            sql.SQL("SELECT last_value, is_called FROM {}").format(sequence)
        ).fetchone()
        last, called = state if state is not None else (1, False)
        quoted = sql.Literal(sequence.as_string(connection))
        body.append(
            sql.SQL("PERFORM setval({}, {}, {});").format(quoted, sql.Literal(last), sql.Literal(called))
        )
    code = sql.SQL("DECLARE n bigint; total bigint := 0; BEGIN {} RETURN total; END").format(
        sql.SQL("\n").join(body)
    )
    connection.execute(
        sql.SQL("CREATE FUNCTION hydra_notify_sim.reset() RETURNS bigint LANGUAGE plpgsql AS {}").format(
            sql.Literal(code.as_string(connection))
        )
    )


def _children_first(connection: psycopg.Connection[Any]) -> list[str]:
    names: dict[int, str] = dict(connection.execute(_TABLES).fetchall())
    parents: dict[int, set[int]] = {table: set() for table in names}
    for child, parent in connection.execute(_REFERENCES).fetchall():
        if child in names and parent in names:
            parents[child].add(parent)
    ordered: list[str] = []
    while parents:
        still_referenced = set().union(*parents.values())
        # A circle of references leaves nobody free; then any order is as good as another.
        free = [table for table in parents if table not in still_referenced] or list(parents)
        for table in free:
            ordered.append(names[table])
            del parents[table]
    return ordered
