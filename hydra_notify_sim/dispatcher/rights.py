"""What the dispatcher needs of a database: tables, columns, rights; and the sentence that mends what is missing."""

from typing import Any

import psycopg

TABLES: dict[str, tuple[str, ...]] = {
    "builds": (
        "id",
        "finished",
        "buildstatus",
        "starttime",
        "stoptime",
        "notificationpendingsince",
        "jobset_id",
    ),
    "buildsteps": ("build", "stepnr"),
    "jobsets": ("id", "project", "name"),
    "jobsetevals": ("id",),
    "taskretries": ("id", "channel", "pluginname", "payload", "attempts", "retry_at"),
}
"""The tables of Hydra that the dispatcher reads or writes, with the columns that it names
(docs/reference/hydra.md, section 4)."""

SEQUENCE = "coalesce(pg_get_serial_sequence('taskretries', 'id'), 'taskretries_id_seq')"
"""SQL for the name of the sequence that numbers tasks."""

_MISSING = f"""
SELECT what FROM (VALUES
  ('SELECT ON builds', has_table_privilege('builds', 'SELECT')),
  ('UPDATE ON builds', has_table_privilege('builds', 'UPDATE')
                       OR has_column_privilege('builds', 'notificationpendingsince', 'UPDATE')),
  ('SELECT ON buildsteps', has_table_privilege('buildsteps', 'SELECT')),
  ('SELECT ON jobsets', has_table_privilege('jobsets', 'SELECT')),
  ('SELECT ON jobsetevals', has_table_privilege('jobsetevals', 'SELECT')),
  ('SELECT ON taskretries', has_table_privilege('taskretries', 'SELECT')),
  ('INSERT ON taskretries', has_table_privilege('taskretries', 'INSERT')),
  ('UPDATE ON taskretries', has_table_privilege('taskretries', 'UPDATE')),
  ('DELETE ON taskretries', has_table_privilege('taskretries', 'DELETE')),
  ('USAGE ON SEQUENCE taskretries_id_seq', has_sequence_privilege({SEQUENCE}, 'USAGE'))
) AS needed (what, has) WHERE NOT has
"""

ALL = (
    "SELECT ON builds, buildsteps, jobsets, jobsetevals, taskretries",
    "UPDATE ON builds",
    "INSERT, UPDATE, DELETE ON taskretries",
    "USAGE ON SEQUENCE taskretries_id_seq",
)
"""Every right that is needed."""


def missing(connection: psycopg.Connection[Any]) -> list[str]:
    """Return the rights that this user lacks, each as it stands between GRANT and TO."""
    return [what for (what,) in connection.execute(_MISSING)]


def grants(connection: psycopg.Connection[Any], rights: tuple[str, ...] | list[str]) -> str:
    """Return the statements that give the connection's user these rights."""
    user = quoted(connection, connection.info.user)
    return " ".join(f"GRANT {right} TO {user};" for right in rights)


def quoted(connection: psycopg.Connection[Any], name: str) -> str:
    """Return a name as a person writes it in SQL, in quotation marks if it needs them."""
    row = connection.execute("SELECT quote_ident(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


def sentence(error: psycopg.Error, connection: psycopg.Connection[Any] | None) -> str:
    """Return what a person has to do about an error that came while the dispatcher ran."""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if error.sqlstate == "42501" and connection is not None and not connection.closed:
        return f"The database does not let this user do what a dispatcher does: {said}. {grants(connection, ALL)}"
    return (
        f"The database lacks what a dispatcher needs: {said}. Does search_path lead to Hydra's tables, and has hydra-init "
        "run on this database since Hydra was updated?"
    )
