"""``db``: a throw-away Hydra database for as long as the command runs."""

import sys
import threading
from pathlib import Path

import click

from hydra_notify_sim import database
from hydra_notify_sim.cli import ending
from hydra_notify_sim.database import connections


@click.command("db")
@click.option(
    "--dsn",
    envvar="HYDRA_NOTIFY_SIM_DSN",
    help="A PostgreSQL server to use, instead of one of our own.  [env: HYDRA_NOTIFY_SIM_DSN]",
)
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A Hydra checkout's hydra.sql, instead of our tables.",
)
@click.option("--wipe", metavar="NAME", help="Allow the database of this name to be emptied.")
def command(*, dsn: str | None, schema: Path | None, wipe: str | None) -> int:
    """Start a throw-away database with Hydra's tables, print its DSN, and keep it until Ctrl-C.

    The DSN is all that is printed on standard output. SIGTERM ends it like Ctrl-C; both are exit status 0.
    """
    own = True
    try:
        with (
            database.start_server(dsn=dsn or None, schema=schema) as server,
            database.prepare(server, wipe=wipe) as ready,
        ):
            own = server.own
            _offer(ready.dsn, own=own)
            threading.Event().wait()
    except KeyboardInterrupt:  # how it is meant to end
        ending.say("The database is gone." if own else "The database stays on your server.")
    return 0


def _offer(dsn: str, *, own: bool) -> None:
    """Print a DSN; its password, if it has one, is the user's already and is left out."""
    if connections.has_passwords(dsn):
        ending.say("The password is left out of the DSN: give it by PGPASSWORD or a password file.")
        dsn = connections.without_passwords(dsn)
    sys.stdout.write(f"{dsn}\n")
    sys.stdout.flush()
    after = (
        "ends it, and nothing of it stays" if own else "ends this command; the database stays on your server"
    )
    ending.say(f"A Hydra database is ready. Ctrl-C {after}.")
