"""Floor 3: a PostgreSQL server, Hydra's tables in it, and a clean database between runs."""
