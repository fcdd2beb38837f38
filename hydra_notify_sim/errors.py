"""Errors a person can act on, each with the exit code that the command line ends with."""


class HydraNotifySimError(Exception):
    """Something is wrong that a person can mend; the message says what, where, and what to do."""

    exit_code = 5


class UsageError(HydraNotifySimError):
    """A wrong argument, or a file that is wrong: nothing was played (exit code 2)."""

    exit_code = 2


class EnvironmentFailedError(HydraNotifySimError):
    """No server, no database, or a dispatcher that did not come up (exit code 3)."""

    exit_code = 3
