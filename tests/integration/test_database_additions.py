"""What authors add to the database: their tables, triggers and columns, and what the reset does with them."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from hydra_notify_sim.database import Database, Server, prepare, start_server

BUILD = """
INSERT INTO users (userName, emailAddress, password) VALUES ('alice', 'a@example.org', '!');
INSERT INTO projects (name, displayName, owner) VALUES ('nixpkgs', 'Nixpkgs', 'alice');
INSERT INTO jobsets (name, project, emailOverride, type, flake) VALUES ('trunk', 'nixpkgs', '', 1, 'f');
INSERT INTO builds (finished, timestamp, jobset_id, job, drvPath, system) VALUES (0, 1, 1, 'hello', '/d.drv', 's');
"""
OUTBOX = """
CREATE TABLE rooms (id serial PRIMARY KEY, name text);
CREATE TABLE outbox (id serial PRIMARY KEY, room int REFERENCES rooms, build int REFERENCES builds {});
CREATE TABLE replies (outbox int NOT NULL REFERENCES outbox ON DELETE CASCADE, text text);
CREATE FUNCTION to_outbox() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO outbox (build) VALUES (NEW.id); RETURN NULL; END $$;
CREATE TRIGGER to_outbox AFTER INSERT ON builds FOR EACH ROW EXECUTE FUNCTION to_outbox();
INSERT INTO rooms (name) VALUES ('hydra');
"""
FILLED = "INSERT INTO replies SELECT id, 'seen' FROM outbox; INSERT INTO outbox (room) VALUES (1); INSERT INTO replies VALUES (2, 'mine')"


def rows(connection: psycopg.Connection[Any], table: str) -> int:
    ((count,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(count)


def there(connection: psycopg.Connection[Any], table: str) -> bool:
    ((found,),) = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchall()
    return bool(found)


@pytest.mark.parametrize(
    ("made", "look"),
    [
        (OUTBOX.format("ON DELETE CASCADE"), "SELECT to_regclass('outbox')"),
        ("ALTER TABLE builds ADD COLUMN told int", "SELECT 1 FROM pg_attribute WHERE attname = 'told'"),
        ("ALTER TABLE builds DISABLE TRIGGER ALL", "SELECT 1 FROM pg_trigger WHERE tgenabled = 'D'"),
        ("CREATE TYPE mood AS ENUM ('glad')", "SELECT to_regtype('mood')"),
        ("CREATE SCHEMA mine CREATE TABLE a (b int)", "SELECT to_regclass('mine.a')"),
        (
            "CREATE RULE quiet AS ON DELETE TO builds DO INSTEAD NOTHING",
            "SELECT 1 FROM pg_rules WHERE rulename = 'quiet'",
        ),
        (
            "ALTER TABLE builds ALTER COLUMN keep SET DEFAULT 7",
            "SELECT 1 FROM pg_attrdef WHERE pg_get_expr(adbin, adrelid) = '7'",
        ),
    ],
)
def test_on_a_server_of_ours_what_a_test_made_is_gone_with_the_reset(
    database: Database, made: str, look: str
) -> None:
    database.reset()
    with database.connect("test") as connection:
        connection.execute(made)
        assert connection.execute(look).fetchall() not in ([], [(None,)])
        assert database.reset()
        assert connection.execute(look).fetchall() in ([], [(None,)])
        connection.execute(BUILD)
        assert not database.reset()
        assert rows(connection, "builds") == 0


@pytest.fixture
def users(server: Server) -> Iterator[Database]:
    """A database on a server that is not ours, for a role that may not switch foreign keys off."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as administrator:
        administrator.execute("CREATE ROLE author LOGIN")
        administrator.execute("CREATE DATABASE authors OWNER author")
        try:
            with (
                start_server(dsn=server.dsn("authors").replace("//postgres@", "//author@")) as foreign,
                prepare(foreign) as made,
            ):
                yield made
        finally:
            administrator.execute("DROP DATABASE authors WITH (FORCE)")
            administrator.execute("DROP ROLE author")


@pytest.mark.parametrize("action", ["ON DELETE CASCADE", "ON DELETE SET NULL", ""])
@pytest.mark.parametrize("made_before", [True, False])
def test_in_a_users_database_rows_that_hang_on_hydras_go_and_nothing_else(
    users: Database, action: str, made_before: bool
) -> None:
    with users.connect("test") as connection:
        if made_before:
            connection.execute(OUTBOX.format(action))
        users.reset()
        if not made_before:
            connection.execute(OUTBOX.format(action))
        for _ in range(2):
            connection.execute("DELETE FROM outbox; ALTER SEQUENCE outbox_id_seq RESTART")
            connection.execute(BUILD)
            connection.execute(FILLED)
            assert not users.reset()
            assert (rows(connection, "builds"), rows(connection, "outbox"), rows(connection, "replies")) == (
                0,
                1,
                1,
            )
            assert rows(connection, "rooms") == 1
            assert there(connection, "outbox")


def test_in_a_users_database_what_was_left_is_named_once(users: Database) -> None:
    with users.connect("test") as connection:
        connection.execute("CREATE TABLE before (id int)")
        users.reset()
        assert users.left_behind() == []
        connection.execute(OUTBOX.format("ON DELETE CASCADE"))
        connection.execute("ALTER TABLE builds ADD COLUMN told int")
        left = users.left_behind()
        assert {
            "table outbox",
            "trigger to_outbox on builds",
            "function to_outbox()",
            "column builds.told",
        } <= set(left)
        assert not any("before" in name for name in left)
        users.reset()
        assert users.left_behind() == []
        connection.execute("DROP TABLE replies, outbox, rooms; CREATE TABLE another (id int)")
        assert users.left_behind() == ["table another"]
