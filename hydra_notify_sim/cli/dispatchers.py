"""``dispatchers``: lists what scenarios can be played against."""

import sys

import click

from hydra_notify_sim import known_bad
from hydra_notify_sim.reports import safe


@click.command("dispatchers")
def command() -> int:
    """List the dispatchers that `replay --dispatcher` takes."""
    lines = [
        "reference",
        "    Keeps every promise of the contract.",
        "reference-process",
        "    The same, as a process of its own.",
        "exec:COMMAND LINE",
        "    Any program with recorder plugins inside (docs/reference/recorder.md, docs/dispatchers.md).",
        "hydra-notify, hydra-notify:SCRIPT",
        "    Hydra's own, from PATH or from a checkout.",
    ]
    for name, bad in known_bad.KNOWN_BAD.items():
        lines += [f"known-bad:{name}", f"    {bad.story}", f"    breaks {', '.join(bad.breaks)}"]
    sys.stdout.write(safe.clean("\n".join(lines)) + "\n")
    return 0
