"""Prepared data directories: what `initdb` and loading the schema made, kept for the next start."""

import platform
import shutil
from pathlib import Path

import psycopg

from hydra_notify_sim.database import archive, postmaster
from hydra_notify_sim.database.archive import pack, unpack
from hydra_notify_sim.database.cachedir import cache_directory
from hydra_notify_sim.database.postmaster import Binaries, Postmaster, initialise
from hydra_notify_sim.database.schema import Schema, fingerprint, load
from hydra_notify_sim.errors import EnvironmentFailedError

DATABASE = "hydra"
"""The database that every prepared data directory has."""


def start_prepared(binaries: Binaries, schema: Schema, directory: Path) -> Postmaster:
    """Start a server in a private directory, from the cache if it has such a one, else prepared now.

    Raises EnvironmentFailedError if it does not come up.
    """
    cache = cache_directory()
    key = _key(binaries, schema)
    data = directory / "data"
    entry = cache.entry(key) if cache is not None else None
    if cache is not None and entry is not None:
        try:
            unpack(entry, data, binaries.account)
            return Postmaster(binaries, directory)
        except (
            OSError,
            ValueError,
            KeyError,
            EnvironmentFailedError,
        ):  # cut short by a full disk, or removed meanwhile
            cache.remove(key)
            shutil.rmtree(data, ignore_errors=True)
    initialise(binaries, data)
    _fill(binaries, schema, directory)
    if cache is not None:
        cache.store(key, lambda kept: pack(data, kept))
    return Postmaster(binaries, directory)


def _key(binaries: Binaries, schema: Schema) -> str:
    # The same version built in another way may not read the other's files; and this very code may change.
    code = [
        Path(module).read_text(encoding="utf-8")
        for module in (__file__, archive.__file__, postmaster.__file__)
    ]
    built = fingerprint(binaries.build, binaries.source, platform.machine(), schema.key, *code)
    return f"data-{binaries.version}-{built}"


def _fill(binaries: Binaries, schema: Schema, directory: Path) -> None:
    """Make the database with Hydra's tables in it; the server is stopped after."""
    running = Postmaster(binaries, directory)
    try:
        with _connect(directory, "postgres") as connection:
            # Copied as files, where it can be said: through the log it would leave 7 MB of log to copy.
            strategy = "STRATEGY file_copy" if binaries.major >= 15 else ""
            connection.execute(f"CREATE DATABASE {DATABASE} {strategy}")
            # One database less to copy at every start: here template1 stays as good as it.
            connection.execute("UPDATE pg_database SET datistemplate = false WHERE datname = 'template0'")
            connection.execute("DROP DATABASE template0")
        with _connect(directory, DATABASE) as connection:
            load(connection, DATABASE, schema)
    finally:
        running.finish()


def _connect(directory: Path, dbname: str) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(host=str(directory), port=5432, user="postgres", dbname=dbname, autocommit=True)
