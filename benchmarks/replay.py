"""How long `replay scenarios/` takes cold (nothing prepared) and warm, in a process of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCENARIOS = Path(__file__).parent.parent / "scenarios"


def main() -> None:
    """Measure one cold and three warm runs with a cache of their own."""
    cache = tempfile.mkdtemp()
    Path(cache).chmod(0o755)
    try:
        environment = dict(os.environ, XDG_CACHE_HOME=cache)
        times = []
        for _ in range(4):
            begun = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "hydra_notify_sim", "replay", str(SCENARIOS)],
                env=environment,
                stdout=subprocess.DEVNULL,
                check=True,
            )
            times.append(time.perf_counter() - begun)
        print(f"cold {times[0]:.2f} s (wanted: under 10), warm {min(times[1:]):.2f} s (wanted: under 3)")
    finally:
        shutil.rmtree(cache, ignore_errors=True)


if __name__ == "__main__":
    main()
