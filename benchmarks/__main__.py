"""Runs all benchmarks, or those named: ``python -m benchmarks [scenarios] [replay] [checks] [fixtures] [campaign] [machine] [sweeps]``.

``generated`` and ``mutants``, which take minutes and write docs/generated.md and docs/mutants.md, run only when they are named.
"""

import importlib
import sys

ALL = ("scenarios", "replay", "checks", "fixtures", "campaign", "machine", "sweeps")


def main() -> None:
    """Run them one after the other."""
    for name in sys.argv[1:] or ALL:
        print(f"== {name}")
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
