"""Whose database it is: ours is used, an empty one adopted, any other left alone."""

import traceback
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from hydra_notify_sim.database import Server, prepare, start_server
from hydra_notify_sim.errors import EnvironmentFailedError, UsageError

NAME = 'adopted "so to speak"'


@pytest.fixture
def administrator(server: Server) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """A session beside the database NAME, which is gone after the test."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        yield connection
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(NAME)))


@pytest.fixture
def empty(administrator: "psycopg.Connection[tuple[object, ...]]") -> str:
    administrator.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(NAME)))
    return NAME


def execute(server: Server, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.dsn(NAME), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.usefixtures("administrator")
def test_a_database_that_does_not_exist_is_made(server: Server) -> None:
    with start_server(dsn=server.dsn(NAME)) as foreign:
        assert (foreign.own, foreign.database, foreign.version) == (False, NAME, server.version)
        with prepare(foreign) as database:
            database.reset()
            assert (database.name, database.server) == (NAME, foreign)
    assert execute(server, "SELECT version FROM schemaversion") == [(87,)]


def test_an_empty_database_is_adopted_and_ours_from_then_on(server: Server, empty: str) -> None:
    with start_server(dsn=server.dsn(empty)) as foreign:
        prepare(foreign).close()
        execute(server, "INSERT INTO failedpaths VALUES ('/a')")
        with prepare(foreign) as again:
            assert execute(server, "SELECT path FROM failedpaths") == [("/a",)]
            again.reset()
    assert execute(server, "SELECT path FROM failedpaths") == []


@pytest.mark.parametrize(
    "content",
    [
        "CREATE TABLE letters (text text)",
        "CREATE SCHEMA other",
        "CREATE FUNCTION public.f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE colour AS ENUM ('red')",
    ],
)
def test_a_database_with_anything_of_anyones_in_it_is_refused_and_left_alone(
    server: Server, empty: str, content: str
) -> None:
    execute(server, content)
    catalogue = "SELECT count(*) FROM pg_class, pg_namespace"
    before = execute(server, catalogue)
    with start_server(dsn=server.dsn(empty)) as foreign:
        with pytest.raises(UsageError, match="--wipe") as caught:
            prepare(foreign)
        assert "letters" in str(caught.value) or "TABLE" not in content
        with pytest.raises(UsageError, match="Nothing was touched"):
            prepare(foreign, wipe="hydra")
    assert execute(server, catalogue) == before


def test_a_database_is_wiped_for_whoever_says_its_name(server: Server, empty: str) -> None:
    execute(
        server, "CREATE TABLE letters (text text); CREATE SCHEMA other; CREATE TABLE other.more (n integer)"
    )
    with start_server(dsn=server.dsn(empty)) as foreign, prepare(foreign, wipe=NAME) as database:
        database.reset()
    tables = execute(
        server, "SELECT tablename FROM pg_tables WHERE tablename IN ('letters', 'more', 'builds')"
    )
    assert tables == [("builds",)]


def test_ours_gets_the_schema_asked_for(server: Server, empty: str, tmp_path: Path) -> None:
    checkout = tmp_path / "hydra.sql"
    checkout.write_text(
        "CREATE TABLE SchemaVersion (version integer NOT NULL); CREATE TABLE Builds (id serial);"
    )
    (tmp_path / "upgrade-9.sql").touch()
    (tmp_path / "upgrade-91.sql").touch()
    with start_server(dsn=server.dsn(empty)) as usual:
        prepare(usual).close()
    with start_server(dsn=server.dsn(empty), schema=checkout) as foreign, prepare(foreign) as database:
        execute(server, "INSERT INTO builds DEFAULT VALUES")
        database.reset()
        assert execute(server, "INSERT INTO builds DEFAULT VALUES RETURNING id") == [(1,)]
        assert execute(server, "SELECT version FROM schemaversion") == [(91,)]
        assert execute(server, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(2,)]


def test_a_schema_that_the_server_refuses_leaves_the_database_empty(
    server: Server, empty: str, tmp_path: Path
) -> None:
    checkout = tmp_path / "hydra.sql"
    checkout.write_text("CREATE TABLE one (id integer); CREATE TABEL two (id integer);")
    with start_server(dsn=server.dsn(empty), schema=checkout) as foreign:
        with pytest.raises(EnvironmentFailedError, match="TABEL") as caught:
            prepare(foreign)
        assert str(checkout) in str(caught.value)
    assert execute(server, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []


def test_a_schema_that_cannot_be_read_is_a_wrong_argument(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        start_server(dsn=server.dsn(NAME), schema=tmp_path / "nowhere.sql")


def test_a_server_that_does_not_answer_is_told_without_the_password(tmp_path: Path) -> None:
    for dsn in (
        f"host={tmp_path} port=5432 user=alice password=s3cret dbname=hydra",
        "postgresql://alice:s3cret@127.0.0.1:1/hydra",
    ):
        with pytest.raises(EnvironmentFailedError, match="cannot be reached") as caught:
            start_server(dsn=dsn)
        assert "s3cret" not in str(caught.value)
        assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "dsn",
    [
        "nonsense s3cret",
        "postgres//alice:s3cret@host/hydra",
        "postgresql://alice:s3/cret@host/hydra",
        "port=s3",
    ],
)
def test_a_string_that_is_no_dsn_is_a_wrong_argument(dsn: str) -> None:
    with pytest.raises(UsageError, match="no PostgreSQL connection string") as caught:
        start_server(dsn=dsn)
    assert "s3" not in "".join(traceback.format_exception(caught.value))


def test_a_users_server_is_never_stopped(server: Server) -> None:
    with start_server(dsn=server.dsn("postgres")) as foreign:
        for end in (foreign.shut, foreign.open, foreign.restart):
            with pytest.raises(EnvironmentFailedError, match="without a DSN"):
                end()
        foreign.stop()
        assert "postgres@" not in repr(foreign)
        with psycopg.connect(server.dsn("postgres")) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
