"""What every report is: something that takes the events of a run, one after another."""

from typing import Protocol

from hydra_notify_sim import errors
from hydra_notify_sim.engine import events


class ReportNotWrittenError(errors.EnvironmentFailedError):
    """A report could not be written: the disk is full, or the place cannot be written to."""


class Report(Protocol):
    """A consumer of a run's events."""

    def take(self, event: events.Event) -> None:
        """Take the next event.

        Raises:
            ReportNotWrittenError: what it writes could not be written.

        """


def not_written(what: str, error: OSError) -> ReportNotWrittenError:
    """Return the error for a report that could not be written, in a sentence for people."""
    reason = error.strerror or str(error)
    return ReportNotWrittenError(
        f"{what}: cannot be written: {reason}. "
        "The run goes on without this report; make room or name another place, and play it again."
    )
