"""What somebody added to a database of ours: tables, columns, triggers, functions, and rows that hang on Hydra's."""

from typing import Any

import psycopg
from psycopg import sql

FINGERPRINT = """
concat_ws(' ',
  (SELECT ROW(count(*), max(oid::bigint), sum(relnatts), sum(relchecks)) FROM pg_class
   WHERE oid >= 16384 AND relpersistence <> 't'),
  (SELECT ROW(count(*), max(oid::bigint), sum(hashtext(prosrc))) FROM pg_proc WHERE oid >= 16384),
  (SELECT ROW(count(*), max(oid::bigint), sum(ascii(tgenabled::text))) FROM pg_trigger WHERE oid >= 16384),
  (SELECT ROW(count(*), max(oid::bigint)) FROM pg_constraint WHERE oid >= 16384),
  (SELECT ROW(count(*), max(oid::bigint)) FROM pg_attrdef WHERE oid >= 16384),
  (SELECT ROW(count(*), max(oid::bigint)) FROM pg_rewrite WHERE oid >= 16384),
  (SELECT ROW(count(*), max(oid::bigint)) FROM pg_type WHERE oid >= 16384 AND typtype IN ('d', 'e', 'r')),
  (SELECT ROW(count(*), max(oid::bigint)) FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'))
"""
"""An SQL expression that changes with every object that is made, dropped, or given another column, default or body.

Oids below 16384 are PostgreSQL's own. Each part is one range of an index, so that all of it costs about 0.1 ms."""

_OBJECTS = """
WITH of_extension AS (SELECT objid FROM pg_depend WHERE deptype = 'e'),
spaces AS (
  SELECT oid, nspname FROM pg_namespace
  WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('information_schema', 'hydra_notify_sim')
)
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' WHEN 'S' THEN 'sequence' WHEN 'i' THEN 'index'
  ELSE 'table' END || ' ' || c.relname
FROM pg_class c JOIN spaces n ON n.oid = c.relnamespace
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i') AND c.oid NOT IN (SELECT objid FROM of_extension)
UNION ALL
SELECT 'column ' || c.relname || '.' || a.attname
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN spaces n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'function ' || p.proname || '()' FROM pg_proc p JOIN spaces n ON n.oid = p.pronamespace
WHERE p.oid NOT IN (SELECT objid FROM of_extension)
UNION ALL
SELECT 'trigger ' || t.tgname || ' on ' || t.tgrelid::regclass FROM pg_trigger t WHERE NOT t.tgisinternal
UNION ALL
SELECT 'type ' || t.typname FROM pg_type t JOIN spaces n ON n.oid = t.typnamespace WHERE t.typtype IN ('d', 'e', 'r')
UNION ALL
SELECT 'constraint ' || c.conname || ' of ' || c.conrelid::regclass FROM pg_constraint c WHERE c.conrelid >= 16384
UNION ALL
SELECT 'schema ' || nspname FROM spaces WHERE nspname <> 'public'
"""
_OURS = """
SELECT c.oid::bigint FROM pg_class c JOIN pg_proc p ON p.oid = 'hydra_notify_sim.reset()'::regprocedure
WHERE c.relnamespace = 'public'::regnamespace AND strpos(p.prosrc, format('DELETE FROM "public"."%s";', c.relname)) > 0
"""
"""The tables that our reset empties, as its own text names them."""
_REFERENCES = """
SELECT conrelid::bigint, confrelid::bigint, conrelid::regclass::text, confrelid::regclass::text,
  (SELECT array_agg(attname::text ORDER BY k.at) FROM unnest(conkey) WITH ORDINALITY AS k (number, at)
   JOIN pg_attribute ON attrelid = conrelid AND attnum = number),
  (SELECT array_agg(attname::text ORDER BY k.at) FROM unnest(confkey) WITH ORDINALITY AS k (number, at)
   JOIN pg_attribute ON attrelid = confrelid AND attnum = number)
FROM pg_constraint WHERE contype = 'f'
"""


def objects(connection: psycopg.Connection[Any]) -> frozenset[str]:
    """Return everything that stands in the database, as ``trigger mine on builds``; not our own reset."""
    return frozenset(str(name) for (name,) in connection.execute(_OBJECTS))


def table_of(name: str) -> str:
    """Return the table that a column or a constraint belongs to; empty for anything else."""
    kind, _, rest = name.partition(" ")
    return {"column": rest.rpartition(".")[0], "constraint": rest.rpartition(" of ")[2]}.get(kind, "")


def removals(connection: psycopg.Connection[Any]) -> list[sql.Composed]:
    """Return the statements that delete, from tables of others, each row that refers to a row of a table of Hydra's.

    A row refers by a foreign key, directly or through another row that does. What refers to a row goes before it.
    """
    ours = {oid for (oid,) in connection.execute(_OURS)}
    keys: dict[int, list[tuple[Any, ...]]] = {}
    for key in connection.execute(_REFERENCES).fetchall():
        if key[0] not in ours:
            keys.setdefault(key[0], []).append(key)

    def hangs(table: int, above: tuple[int, ...]) -> sql.Composed | None:
        """Return the condition under which a row of a table hangs on ours; None if it never does."""
        ways = []
        for child, parent, name, parent_name, columns, referred in keys.get(table, []):
            if parent in ours:
                given = [
                    sql.SQL("{}.{} IS NOT NULL").format(sql.SQL(name), sql.Identifier(c)) for c in columns
                ]
                ways.append(sql.SQL("({})").format(sql.SQL(" AND ").join(given)))
            elif (
                parent not in above
                and parent != child
                and (further := hangs(parent, (*above, child))) is not None
            ):
                same = [
                    sql.SQL("{}.{} = {}.{}").format(
                        sql.SQL(parent_name), sql.Identifier(r), sql.SQL(name), sql.Identifier(c)
                    )
                    for c, r in zip(columns, referred, strict=True)
                ]
                ways.append(
                    sql.SQL("EXISTS (SELECT FROM {} WHERE {} AND {})").format(
                        sql.SQL(parent_name), sql.SQL(" AND ").join(same), further
                    )
                )
        return sql.SQL("({})").format(sql.SQL(" OR ").join(ways)) if ways else None

    return [
        sql.SQL("DELETE FROM {} WHERE {}").format(sql.SQL(keys[table][0][2]), condition)
        for table in _children_first(keys)
        if (condition := hangs(table, ())) is not None
    ]


def _children_first(keys: dict[int, list[tuple[Any, ...]]]) -> list[int]:
    ordered: list[int] = []
    left = set(keys)
    while left:
        referred = {key[1] for table in left for key in keys[table] if key[1] != table}
        free = sorted(left - referred) or sorted(
            left
        )  # a circle leaves nobody free; then any order is as good
        ordered += free
        left -= set(free)
    return ordered
