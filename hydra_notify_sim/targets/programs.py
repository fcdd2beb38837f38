"""Programs that are dispatchers: what is run, where, and what their environment needs beside the protocol's.

``exec:COMMAND LINE`` is any program with recorder plugins inside (docs/reference/recorder.md); ``hydra-notify``
and ``hydra-notify:SCRIPT`` are Hydra's own, which finds the Perl recorder among its plugins.
"""

import functools
import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra_notify_sim import errors
from hydra_notify_sim.recorders import perl

EXEC = "exec"
HYDRA_NOTIFY = "hydra-notify"

Prepare = Callable[[Mapping[str, str], Sequence[str], Path], dict[str, str]]
"""From the environment, the recorders' names, and a directory for files of the run: the environment to start with."""


def as_it_is(environment: Mapping[str, str], plugins: Sequence[str], directory: Path) -> dict[str, str]:
    """Return the protocol's environment, to which nothing is added."""
    del plugins, directory
    return dict(environment)


@dataclass(slots=True)
class Habits:
    """What was learnt of a program, from life to life."""

    stalls: bool = False
    """Whether it once went on only when it was kicked, while it was up."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is a dispatcher."""

    command: tuple[str, ...]
    prepare: Prepare = as_it_is
    directory: Path | None = None
    """Where it is started; None: in the directory of the run, which is removed after it."""
    habits: Habits = field(default_factory=Habits, compare=False)


def from_command_line(line: str) -> Program:
    """Return the program of ``exec:COMMAND LINE``: split as a shell splits, run without one, where the person is.

    Raises:
        UsageError: there is no command in it, or a quotation mark is never closed.

    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise errors.UsageError(
            f"--dispatcher exec:{line}: this is no command line: {error}. Quote it as a shell would have it."
        ) from None
    if not words:
        raise errors.UsageError(
            "--dispatcher exec: names no command; write exec:'COMMAND ARGUMENTS', for example "
            "exec:'python dispatcher.py'"
        )
    return Program(tuple(words), directory=Path.cwd())


def hydra_notify(script: str = "") -> Program:
    """Return Hydra's own dispatcher: the one on PATH, or a script.

    Raises:
        EnvironmentFailedError: there is none, or no Perl to run a script with; the message says what to install.

    """
    if not script:
        found = shutil.which(HYDRA_NOTIFY)
        if found is None:
            raise errors.EnvironmentFailedError(
                "there is no hydra-notify on PATH. Install Hydra (Nix: `nix shell nixpkgs#hydra`), or name the script of a "
                "checkout: --dispatcher hydra-notify:hydra/subprojects/hydra/script/hydra-notify."
            )
        return Program((found,), perl.environment)
    path = Path(script).expanduser().absolute()
    if not path.is_file():
        raise errors.UsageError(f"--dispatcher hydra-notify:{script}: there is no such file")
    prepare = functools.partial(_with_library, path.parent.parent / "lib")
    if os.access(path, os.X_OK):
        return Program((str(path),), prepare)
    interpreter = shutil.which("perl")
    if interpreter is None:
        raise errors.EnvironmentFailedError(
            f"{script} is not executable, and there is no perl on PATH to run it with. Install Perl 5."
        )
    return Program((interpreter, str(path)), prepare)


def _with_library(
    library: Path, environment: Mapping[str, str], plugins: Sequence[str], directory: Path
) -> dict[str, str]:
    """Let a script in a checkout find the checkout's own modules, behind whatever PERL5LIB names."""
    prepared = perl.environment(environment, plugins, directory)
    if (library / "Hydra").is_dir():
        prepared["PERL5LIB"] += os.pathsep + str(library)
    return prepared
