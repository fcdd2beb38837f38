"""Hands the events of a run to its reports, through interruptions and reports that cannot be written."""

import sys
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TextIO

from hydra_notify_sim import errors
from hydra_notify_sim.cli import ending
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import json_report
from hydra_notify_sim.reports.report import Report, ReportNotWrittenError
from hydra_notify_sim.reports.summary import Summary


def json_target(name: str) -> Path | TextIO:
    """Return where ``--json NAME`` writes: ``-`` is standard output."""
    return sys.stdout if name == "-" else Path(name)


def json_reports(name: str | None) -> list[Report]:
    """Return the JSON report, if one was asked for.

    Raises:
        ReportNotWrittenError: the file cannot be written.

    """
    return [json_report.JsonReport(json_target(name))] if name else []


def terminal_stream(json_name: str | None) -> TextIO:
    """Return where people read: standard error while standard output is the JSON document's."""
    return sys.stderr if json_name == "-" else sys.stdout


class Screen(Report, Protocol):
    """The report that people read while the run goes on."""

    @property
    def summary(self) -> Summary:
        """What the run came to so far, with its exit code."""

    def close(self) -> None:
        """Take away what is drawn anew while the run goes on."""


class Delivery:
    """A run's reports. The terminal's comes last, for it names the exit code, to which the others may add."""

    def __init__(self, reports: Sequence[Report], screen: Screen) -> None:
        self.reports = list(reports)
        self.screen = screen
        self.unwritten: list[ReportNotWrittenError] = []
        self.run: events.RunStarted | None = None
        self.begun = time.monotonic()
        self.over = False

    def play(self, source: Iterator[events.Event]) -> int:
        """Deliver all events, print what went wrong beside the dispatcher, and return the exit code.

        Raises:
            HydraNotifySimError: the run could not begin or go on; the file reports are complete all the same.

        """
        try:
            for event in source:
                self.deliver(event)
        except KeyboardInterrupt:
            _close(source)
            self._interrupted()
        except BaseException:
            self.screen.close()
            self._finish_files()
            raise
        finally:
            self.screen.close()
        if not self.over:
            self._interrupted()
        return self._end()

    def deliver(self, event: events.Event) -> None:
        """Hand one event to every report."""
        if isinstance(event, events.RunStarted):
            self.run = event
        if isinstance(event, events.RunFinished):
            self.over = True
            self.screen.summary.terminated = ending.asked_to_end()
        self._to_files(event)
        self.screen.take(event)

    def _to_files(self, event: events.Event) -> None:
        for report in list(self.reports):
            try:
                report.take(event)
            except ReportNotWrittenError as error:
                self.reports.remove(report)
                self.unwritten.append(error)
                self.screen.summary.unwritten = True

    def _interrupted(self) -> None:
        if not self.over:
            self.deliver(events.RunFinished(interrupted=True, seconds=time.monotonic() - self.begun))

    def _finish_files(self) -> None:
        """Leave no report of an earlier run where this one's should stand."""
        if not self.over:
            self._to_files(events.RunFinished(interrupted=True, seconds=time.monotonic() - self.begun))

    def _end(self) -> int:
        for error in self.unwritten:
            ending.say(f"error: {error}")
        faults = [
            one for one in self.screen.summary.errors if not isinstance(one.error, errors.HydraNotifySimError)
        ]
        for one in faults[:1]:
            server = self.run.server if self.run else ""
            ending.say(
                ending.fault(
                    one.error,
                    server=server,
                    scenario=str(one.file),
                    command=one.command or (self.run.command if self.run else ""),
                )
            )
        if len(faults) > 1:
            ending.say(f"{len(faults) - 1} further scenarios ended in a fault of the harness.")
        return self.screen.summary.exit_code


def _close(source: Iterator[events.Event]) -> None:
    """Let the source of events stop its dispatcher and its server."""
    if isinstance(source, Generator):
        source.close()
