"""Runs the reference dispatcher, or one that breaks a promise, with the recorder plugins that the harness names.

``python -m hydra_notify_sim.targets.run_reference [--dispatcher MODULE:CLASS] [--payloads VERSION] [--hello JSON]``, in the
environment of docs/reference/recorder.md.
"""

import argparse
import json
import os
import pkgutil
import sys

from hydra_notify_sim import errors
from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import command
from hydra_notify_sim.recorders import messages, python_plugin


def main() -> int:
    """Dispatch until SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dispatcher", default="hydra_notify_sim.dispatcher.core:Dispatcher")
    parser.add_argument("--payloads", choices=channels.PAYLOAD_VERSIONS, default=channels.DEFAULT_PAYLOADS)
    parser.add_argument(
        "--hello", type=json.loads, default={}, help="What recorders say beside the usual, as JSON."
    )
    options = parser.parse_args()
    try:
        return command.serve(
            os.environ[messages.DSN_VARIABLE],
            python_plugin.load_all(**options.hello),
            payloads=options.payloads,
            make_dispatcher=pkgutil.resolve_name(options.dispatcher),
        )
    except errors.HydraNotifySimError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
