"""``--out``: a run as a directory of files, written as the scenarios finish (docs/reference/report.md)."""

import json
import re
import time
from pathlib import Path
from typing import Any

from hydra_notify_sim import errors, history
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import failure, json_report, report, safe
from hydra_notify_sim.reports.summary import JUDGEMENTS, Summary

VERSION = 1
RUN = "run.json"
SCENARIO = "scenario.yaml"
HISTORY = "history.jsonl"
VERDICTS = "verdicts.json"

_UNSAFE = re.compile(r"[^\w.+-]+")
_PAUSE = 1.0
"""Seconds between two writings of ``run.json`` while scenarios finish: a thousand a run is no reason for a thousand."""


class DirectoryReport:
    """Writes ``run.json`` and a directory for each scenario."""

    def __init__(self, directory: Path) -> None:
        """Make the directory ready.

        Raises:
            UsageError: it is a file, or holds files that no run of ours wrote.
            ReportNotWrittenError: it cannot be made or written to.

        """
        self.directory = directory
        self.summary = Summary()
        self.run: dict[str, Any] = {"version": VERSION}
        self.scenarios: list[dict[str, Any]] = []
        self.taken: set[str] = {RUN}
        self._written = 0.0
        _refuse_foreign(directory)

    def take(self, event: events.Event) -> None:
        """Take the next event."""
        self.summary.take(event)
        try:
            self._take(event)
        except OSError as error:
            raise report.not_written(str(self.directory), error) from error

    def _take(self, event: events.Event) -> None:
        match event:
            case events.RunStarted():
                self.run |= {
                    "seed": event.seed,
                    "dispatcher": event.dispatcher,
                    "profile": event.profile,
                    "server": safe.mask(event.server),
                    "command": safe.mask(event.command),
                }
                _clear_earlier_run(self.directory)
                self.directory.mkdir(parents=True, exist_ok=True)
                self._write_run(finished=False)
            case events.ScenarioFinished():
                self._scenario(event)
            case events.ScenarioFailed():
                self.scenarios.append(
                    {
                        "name": event.name,
                        "file": str(event.file),
                        "passed": False,
                        "error": failure.error_text(event.error),
                    }
                )
            case events.RunFinished():
                self._write_run(finished=True)
            case _:
                pass

    def _scenario(self, event: events.ScenarioFinished) -> None:
        name = unique_name(event.name, self.taken)
        folder = self.directory / name
        folder.mkdir(exist_ok=True)
        document = safe.SURROGATES.sub("�", event.history.header.document)
        (folder / SCENARIO).write_text(document, encoding="utf-8")
        history.save(event.history, folder / HISTORY)
        json_report.write(folder / VERDICTS, _json(verdicts(event)))
        self.scenarios.append(
            {
                "name": event.name,
                "file": str(event.file),
                "passed": event.passed,
                "directory": name,
                "seconds": round(event.seconds, 6),
                "command": safe.mask(event.command),
            }
        )
        if time.monotonic() - self._written > _PAUSE:
            self._write_run(finished=False)

    def _write_run(self, *, finished: bool) -> None:
        value = {
            **self.run,
            "finished": finished and not self.summary.interrupted,
            "interrupted": self.summary.interrupted,
            "seconds": round(self.summary.seconds, 6),
            "summary": {
                "scenarios": self.summary.scenarios,
                "passed": self.summary.passed,
                "failed": self.summary.failed,
                "promises": {one: self.summary.count(one) for one in JUDGEMENTS},
            },
            "scenarios": self.scenarios,
            "not_claimed": self.summary.not_claimed,
        }
        json_report.write(self.directory / RUN, _json(value))
        self._written = time.monotonic()


def verdicts(event: events.ScenarioFinished) -> dict[str, Any]:
    """Return the value of ``verdicts.json``: the scenario's part of the JSON report, and what a reader asks next."""
    return {
        "version": VERSION,
        **json_report.scenario(event),
        "expectations": [
            {"text": one.text, "met": one.met, "found": one.found, "line": one.line}
            for one in event.verdict.expectations
        ],
        "not_exercised": list(event.verdict.not_exercised),
        "reported": list(event.judgements.reported),
        "nicknames": {str(number): name for number, name in event.nicknames.items()},
        "seconds": round(event.seconds, 6),
        "command": safe.mask(event.command),
        "log": [safe.mask(line) for line in event.log],
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def unique_name(name: str, taken: set[str]) -> str:
    """Return a name for a scenario's directory, safe on any file system and not among ``taken``; it is added there.

    ``taken`` holds case-folded names: some file systems do not tell case apart.
    """
    safe = _UNSAFE.sub("-", name).strip("-.")[:100] or "scenario"
    candidate, number = safe, 2
    while candidate.casefold() in taken:
        candidate = f"{safe}-{number}"
        number += 1
    taken.add(candidate.casefold())
    return candidate


def _refuse_foreign(directory: Path) -> None:
    try:
        if not directory.exists():
            return
        if not directory.is_dir():
            raise errors.UsageError(f"--out {directory}: is a file; name a directory.")
        if any(directory.iterdir()) and not _is_run(directory):
            raise errors.UsageError(
                f"--out {directory}: the directory is not empty and holds no run ({RUN} is missing or not ours). "
                "Nothing was written; name an empty or a new directory."
            )
    except OSError as error:
        raise report.not_written(f"--out {directory}", error) from error


def _is_run(directory: Path) -> bool:
    try:
        value = json.loads((directory / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(value, dict) and "version" in value and "scenarios" in value


def _clear_earlier_run(directory: Path) -> None:
    """Remove the files that an earlier run wrote, and nothing that somebody else put beside them."""
    if not directory.is_dir():
        return
    (directory / RUN).unlink(missing_ok=True)
    for folder in directory.iterdir():
        if folder.is_symlink() or not (folder / HISTORY).is_file():
            continue
        for file in (SCENARIO, VERDICTS, HISTORY):
            (folder / file).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()


def histories(path: Path) -> list[Path]:
    """Return the saved histories that a path means: a file itself, or all of a run's directory, by name.

    Raises:
        HistoryFileError: the path does not exist, or is a directory without a history.

    """
    if path.is_dir():
        own = path / HISTORY
        found = [own] if own.is_file() else sorted(path.glob(f"*/{HISTORY}"))
        if not found:
            raise history.HistoryFileError(
                f"{path}: holds no {HISTORY}; name a run's directory or a history."
            )
        return found
    if not path.exists():
        raise history.HistoryFileError(f"{path}: there is no such file or directory.")
    return [path]
