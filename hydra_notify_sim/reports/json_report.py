"""``--json``: a run as one JSON document (docs/reference/report.md)."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any, TextIO

from hydra_notify_sim.checks.verdicts import Allowed, Verdict
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import failure, report, safe
from hydra_notify_sim.reports.summary import JUDGEMENTS, Summary

VERSION = 1


class JsonReport:
    """Gathers a run and writes it when it is finished, also when it was interrupted."""

    def __init__(self, target: Path | TextIO) -> None:
        """Write to a file, or to a stream such as standard output.

        Raises:
            ReportNotWrittenError: the file cannot be written; said before anything is played.

        """
        self.target = target
        self.summary = Summary()
        self.run: events.RunStarted | None = None
        self.scenarios: list[dict[str, Any]] = []
        self.not_claimed: list[dict[str, str]] = []
        if isinstance(target, Path):
            check_writable(target)

    def take(self, event: events.Event) -> None:
        """Take the next event."""
        self.summary.take(event)
        match event:
            case events.RunStarted():
                self.run = event
            case events.ScenarioFinished():
                self.scenarios.append(scenario(event))
            case events.ScenarioFailed():
                self.scenarios.append(failed(event))
            case events.ScenarioNotClaimed():
                self.not_claimed.append({"name": event.name, "file": str(event.file), "reason": event.reason})
            case events.RunFinished():
                write(self.target, json.dumps(self.document(), indent=2, ensure_ascii=False) + "\n")
            case _:
                pass

    def document(self) -> dict[str, Any]:
        """Return the run so far as the document's value."""
        return {
            "version": VERSION,
            "seed": self.run.seed if self.run else 0,
            "dispatcher": self.run.dispatcher if self.run else "",
            "profile": self.run.profile if self.run else "",
            "summary": {
                "scenarios": self.summary.scenarios,
                "passed": self.summary.passed,
                "failed": self.summary.failed,
                "not_claimed": len(self.not_claimed),
                "outcome": self.summary.ending,
                "outlived": [one.id for one in self.summary.outlived],
                "promises": {one: self.summary.count(one) for one in JUDGEMENTS},
            },
            "scenarios": self.scenarios,
            "not_claimed": sorted(self.not_claimed, key=lambda one: one["name"]),
        }


def scenario(event: events.ScenarioFinished) -> dict[str, Any]:
    """Return a played scenario's value."""
    expectations = [
        {"text": one.text, "met": one.met, "found": one.found, "line": one.line}
        for one in event.verdict.expectations
    ]
    expectations += [
        {"text": "the scenario is exercised", "met": False, "found": reason, "line": 0}
        for reason in event.verdict.not_exercised
    ]
    return {
        "name": event.name,
        "file": str(event.file),
        "passed": event.passed,
        "verdicts": [verdict(one) for one in event.judgements.verdicts],
        "allowed": [allowed(one) for one in event.judgements.allowed],
        "expectations": expectations,
    }


def failed(event: events.ScenarioFailed) -> dict[str, Any]:
    """Return the value of a scenario that could not be played to its end: no verdicts, and ``error``."""
    return {
        "name": event.name,
        "file": str(event.file),
        "passed": False,
        "verdicts": [],
        "allowed": [],
        "expectations": [],
        "error": failure.error_text(event.error),
    }


def verdict(one: Verdict) -> dict[str, Any]:
    """Return a verdict's value."""
    return {
        "promise": one.promise,
        "verdict": one.verdict,
        "explanation": one.explanation,
        "records": list(one.records),
        **({"deviation": one.quirk} if one.quirk else {}),
    }


def allowed(one: Allowed) -> dict[str, Any]:
    """Return the value of something that the contract allowed to be lost or repeated."""
    what = one.what if one.what.lower().startswith(one.kind) else f"{one.kind}: {one.what}"
    return {"what": what, "promise": one.promise, "records": list(one.records)}


def check_writable(path: Path) -> None:
    """Look before a run whether its report can be written.

    Raises:
        ReportNotWrittenError: the directory is missing or cannot be written to, or the path is a directory.

    """
    if path.is_dir():
        raise report.ReportNotWrittenError(f"{path}: is a directory; name a file for the report.")
    if not path.parent.is_dir():
        raise report.ReportNotWrittenError(f"{path}: there is no directory {path.parent}; make it first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise report.ReportNotWrittenError(f"{path}: cannot be written: permission denied.")


def write(target: Path | TextIO, text: str) -> None:
    """Write a report whole or not at all: a file is replaced in one step, so that no reader sees half of it.

    Raises:
        ReportNotWrittenError: it could not be written.

    """
    text = safe.SURROGATES.sub("�", text)
    if not isinstance(target, Path):
        target.write(text)
        target.flush()
        return
    try:
        if target.exists() and not target.is_file():  # /dev/stdout, a pipe: nothing to replace
            target.write_text(text, encoding="utf-8")
            return
        # Replace what a symbolic link points to, not the link.
        place = target.resolve()
        descriptor, temporary = tempfile.mkstemp(prefix=f".{place.name[:80]}.", dir=place.parent)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor has no path
                file.write(text)
            mode = place.stat().st_mode & 0o7777 if place.exists() else 0o666 & ~_umask()
            Path(temporary).chmod(mode)
            Path(temporary).replace(place)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise report.not_written(str(target), error) from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
