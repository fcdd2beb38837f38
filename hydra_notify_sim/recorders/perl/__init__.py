"""The recorder for Hydra's own hydra-notify: Perl modules of ours, one package for each recorder plugin.

Hydra loads every module under ``Hydra::Plugin::`` that it finds along PERL5LIB, wherever it stands there. So each
recorder is a module of its own in a directory of the run; what they do is in ``HydraNotifySim::Recorder``, a
name that nobody else uses. Only Perl's core modules are needed.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

MODULES = Path(__file__).parent
"""Where ``HydraNotifySim/Recorder.pm`` lies."""
PREFIX = "HydraNotifySim_"
"""What the last part of a recorder's package name begins with."""


def package(plugin: str) -> str:
    """Return the package of a recorder: letters, digits and ``_`` stay, anything else becomes its code."""
    plain = "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in plugin)
    return f"Hydra::Plugin::{PREFIX}{plain}"


def environment(inherited: Mapping[str, str], plugins: Sequence[str], directory: Path) -> dict[str, str]:
    """Write a module for each recorder into a directory, and return the environment in which Perl finds them."""
    made = directory / "perl"
    for old in (made / "Hydra" / "Plugin").glob("*.pm"):
        old.unlink()  # of an earlier life, with other plugins
    for plugin in plugins:
        name = package(plugin)
        module = made.joinpath(*name.split("::")).with_suffix(".pm")
        module.parent.mkdir(parents=True, exist_ok=True)
        quoted = plugin.replace("\\", "\\\\").replace("'", "\\'")
        module.write_text(
            f"package {name};\nuse strict;\nuse warnings;\nuse HydraNotifySim::Recorder;\n"
            f"HydraNotifySim::Recorder::become(__PACKAGE__, '{quoted}');\n1;\n",
            encoding="utf-8",
        )
    paths = [inherited.get("PERL5LIB", ""), str(made), str(MODULES)]
    return {**inherited, "PERL5LIB": os.pathsep.join(filter(None, paths))}
