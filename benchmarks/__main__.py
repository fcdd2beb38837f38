"""Runs all benchmarks, or those named: ``python -m benchmarks [scenarios] [replay] [checks] [fixtures] [sweeps]``."""

import importlib
import sys

ALL = ("scenarios", "replay", "checks", "fixtures", "sweeps")


def main() -> None:
    """Run them one after the other."""
    for name in sys.argv[1:] or ALL:
        print(f"== {name}")
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
