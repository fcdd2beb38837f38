"""``python -m hydra_notify_sim`` is the command."""

import sys

from hydra_notify_sim.cli import main

if __name__ == "__main__":
    sys.exit(main())
