"""Floor 3: a PostgreSQL server, Hydra's tables in it, and a clean database between runs."""

from hydra_notify_sim.database.databases import Database, prepare
from hydra_notify_sim.database.server import Server, start_server

__all__ = ["Database", "Server", "prepare", "start_server"]
