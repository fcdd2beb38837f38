"""``dispatchers``: lists what scenarios can be played against."""

import sys

import click

from hydra_notify_sim.known_bad import KNOWN_BAD
from hydra_notify_sim.known_good import KNOWN_GOOD
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
        "known-good:NAME, known-good-process:NAME",
        "    One of those below that differ from the reference and keep every promise; in this process, or as one of its own.",
        "known-bad:NAME, known-bad-process:NAME",
        "    One of those below that break promises.",
    ]
    for name, good in KNOWN_GOOD.items():
        lines += [f"known-good:{name}", f"    {good.story}", f"    as {good.freedom} leaves open"]
    for name, bad in KNOWN_BAD.items():
        lines += [f"known-bad:{name}", f"    {bad.story}", f"    breaks {', '.join(bad.breaks)}"]
    sys.stdout.write(safe.clean("\n".join(lines)) + "\n")
    return 0
