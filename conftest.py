"""Sets up this project's own tests: no hypothesis database, subprocesses that find the package, pytest's own tester.

The fixtures come from the installed package's entry point, as they do for users. A checkout that is tested without
having been installed has none; then the plugin is named here.
"""

import os
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

from hypothesis import configuration, settings

pytest_plugins = ["pytester"]
if not any(point.name == "hydra_notify_sim" for point in entry_points(group="pytest11")):
    pytest_plugins.append("hydra_notify_sim.pytest_plugin")

# The checkout need not be writable: its default place is asked for even where nothing is kept.
configuration.set_hypothesis_home_dir(
    Path(tempfile.gettempdir()) / f"hydra-notify-sim-hypothesis-{os.getuid()}"
)
# The same examples each time, so that a red run is the change's doing; `random` looks further (CONTRIBUTING.md).
settings.register_profile("project", database=None, deadline=None, derandomize=True)
settings.register_profile("random", database=None, deadline=None)
settings.load_profile("project")

_ROOT = str(Path(__file__).parent)
_PATHS = os.environ.get("PYTHONPATH", "").split(os.pathsep)
if _ROOT not in _PATHS:
    os.environ["PYTHONPATH"] = os.pathsep.join([_ROOT, *filter(None, _PATHS)])
