"""The environment of a dispatcher's process: where the harness listens, and the database in every form that is in use."""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from psycopg import conninfo

import hydra_notify_sim
from hydra_notify_sim.recorders import messages

CONFIG_NAME = "hydra.conf"
DATA_NAME = "data"
TEMPORARY_NAME = "tmp"


def make(dsn: str, socket: Path, plugins: Iterable[str], directory: Path, seed: int) -> dict[str, str]:
    """Return the environment (docs/reference/recorder.md), and make the files it names in a directory.

    ``seed``: of the run. Perl keeps hashes, and hydra-notify with them its plugins, in an order that depends on it, and
    otherwise is another one in each process: a story would not end in the same way twice.
    """
    config = directory / CONFIG_NAME
    config.touch()
    data = directory / DATA_NAME
    data.mkdir(exist_ok=True)
    # What is killed leaves its temporary files behind: hydra-notify a `pts-*` directory each time.
    temporary = directory / TEMPORARY_NAME
    temporary.mkdir(exist_ok=True)
    parts = {key: str(value) for key, value in conninfo.conninfo_to_dict(dsn).items() if value is not None}
    return {
        "PERL_HASH_SEED": f"{seed % 2**32:x}",
        "PERL_PERTURB_KEYS": "0",
        **os.environ,
        # Our own recorder must be found by a dispatcher that runs on this Python.
        "PYTHONPATH": os.pathsep.join(filter(None, [_own_root(), os.environ.get("PYTHONPATH", "")])),
        messages.SOCKET_VARIABLE: str(socket),
        messages.PLUGINS_VARIABLE: ",".join(plugins),
        messages.DSN_VARIABLE: dsn,
        "HYDRA_DATABASE_URL": database_url(parts),
        "HYDRA_DBI": perl_dbi(parts),
        "HYDRA_CONFIG": str(config),
        "HYDRA_DATA": str(data),
        "TMPDIR": str(temporary),
    }


def database_url(parts: Mapping[str, str]) -> str:
    """Return ``postgres://user@%2Frun%2Fpostgresql/hydra``: the socket directory percent-encoded in the host's place."""
    user = quote(parts.get("user", ""), safe="")
    password = quote(parts.get("password", ""), safe="")
    login = f"{user}:{password}@" if password else f"{user}@" if user else ""
    host = quote(parts.get("host", ""), safe="")
    port = f":{parts['port']}" if "port" in parts else ""
    return f"postgres://{login}{host}{port}/{quote(parts.get('dbname', ''), safe='')}"


def perl_dbi(parts: Mapping[str, str]) -> str:
    """Return ``dbi:Pg:dbname=hydra;host=/run/postgresql;``."""
    names = ("dbname", "host", "port", "user", "password")
    return "dbi:Pg:" + "".join(f"{name}={parts[name]};" for name in names if name in parts)


def _own_root() -> str:
    root = str(Path(hydra_notify_sim.__file__).parent.parent)
    return root if root in map(os.path.abspath, sys.path) else ""
