"""Sets up this project's own tests: a cache of their own, no hypothesis database, subprocesses that find the package."""

import os
from pathlib import Path

from hypothesis import settings

settings.register_profile("project", database=None, deadline=None)
settings.load_profile("project")

_ROOT = str(Path(__file__).parent)
_PATHS = os.environ.get("PYTHONPATH", "").split(os.pathsep)
if _ROOT not in _PATHS:
    os.environ["PYTHONPATH"] = os.pathsep.join([_ROOT, *filter(None, _PATHS)])
