"""The scenarios that come with the program: the one place that knows where they are, in a checkout and installed."""

import os
from importlib import resources
from pathlib import Path

from hydra_notify_sim import errors
from hydra_notify_sim.scenario.files import load_all
from hydra_notify_sim.scenario.model import Scenario

NAME = "shipped"
"""Directory of the package: in a checkout a link to ``scenarios``, in a wheel the files themselves."""


class NoShippedScenariosError(errors.EnvironmentFailedError):
    """The package was installed without its scenarios: its files were copied by hand, or the link got lost."""


def directory() -> Path:
    """Return the directory with the scenarios that we ship, as a person would name it from here.

    Raises:
        NoShippedScenariosError: it is not there.

    """
    # In a zipped package there would be no path, and no scenario file to point at: we do not support that.
    found = Path(os.path.realpath(str(resources.files("hydra_notify_sim") / NAME)))
    if not found.is_dir():
        raise NoShippedScenariosError(
            f"{found}: the scenarios that come with hydra-notify-sim are missing. Install it again from a wheel, or "
            "from a checkout whose file system knows symbolic links."
        )
    here = Path.cwd()
    return found.relative_to(here) if found.is_relative_to(here) else found


def load() -> list[tuple[Path, Scenario, str]]:
    """Return all scenarios that we ship: path, scenario and text, those of ``upstream/`` among them.

    Raises:
        NoShippedScenariosError: they are not there.

    """
    return load_all([directory()])
