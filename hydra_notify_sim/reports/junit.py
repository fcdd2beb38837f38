"""``--junit``: a run as JUnit XML, one test case a scenario, for what shows test results elsewhere."""

import re
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

from hydra_notify_sim import errors
from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import failure, json_report, safe
from hydra_notify_sim.reports.summary import Summary

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: str) -> str:
    """Return a text without the characters that XML 1.0 cannot hold."""
    return _NOT_XML.sub("", safe.mask(safe.clean(text)))


class JUnitReport:
    """Gathers a run and writes it when it is finished, also when it was interrupted."""

    def __init__(self, path: Path) -> None:
        """Write to a file.

        Raises:
            ReportNotWrittenError: the file cannot be written; said before anything is played.

        """
        json_report.check_writable(path)
        self.path = path
        self.summary = Summary()
        self.cases: list[ET.Element] = []
        self.dispatcher = ""

    def take(self, event: events.Event) -> None:
        """Take the next event."""
        self.summary.take(event)
        match event:
            case events.RunStarted(dispatcher=dispatcher):
                self.dispatcher = dispatcher
            case events.ScenarioFinished():
                self.cases.append(_finished(event))
            case events.ScenarioFailed():
                case = _case(event.name, event.file, 0.0)
                kind = "environment" if isinstance(event.error, errors.HydraNotifySimError) else "harness"
                _say(case, "error", kind, failure.error_text(event.error), failure.error_rows(event))
                self.cases.append(case)
            case events.ScenarioNotClaimed():
                case = _case(event.name, event.file, 0.0)
                ET.SubElement(case, "skipped", {"message": xml_text(f"not claimed: {event.reason}")})
                self.cases.append(case)
            case events.RunFinished():
                json_report.write(self.path, self.document())
            case _:
                pass

    def document(self) -> str:
        """Return the run so far as the XML document."""
        tally = {
            "tests": str(len(self.cases)),
            "failures": str(self.summary.broken),
            "errors": str(len(self.summary.errors) + self.summary.unexercised),
            "skipped": str(len(self.summary.not_claimed)),
            "time": f"{self.summary.seconds:.3f}",
        }
        suites = ET.Element("testsuites", tally)
        suite = ET.SubElement(
            suites, "testsuite", {"name": xml_text(f"hydra-notify-sim {self.dispatcher}"), **tally}
        )
        suite.extend(self.cases)
        ET.indent(suites)
        text: str = ET.tostring(suites, encoding="unicode")
        return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _case(name: str, file: Path, seconds: float) -> ET.Element:
    attributes = {
        "classname": xml_text(".".join(file.with_suffix("").parts[-2:-1]) or "scenarios"),
        "name": xml_text(name),
        "file": xml_text(str(file)),
        "time": f"{seconds:.3f}",
    }
    return ET.Element("testcase", attributes)


def _finished(event: events.ScenarioFinished) -> ET.Element:
    case = _case(event.name, event.file, event.seconds)
    if not event.passed:
        # A scenario that exercised too little says nothing about the dispatcher: an error, not a failure.
        kind = "failure" if event.verdict.outcome == "broken" else "error"
        _say(
            case,
            kind,
            "promise" if kind == "failure" else "not exercised",
            failure.headline(event),
            failure.rows_of(event),
        )
    if event.log:
        ET.SubElement(case, "system-out").text = xml_text("\n".join(event.log))
    return case


def _say(case: ET.Element, element: str, kind: str, message: str, rows: Iterable[failure.Row]) -> None:
    said = ET.SubElement(case, element, {"type": kind, "message": xml_text(message)})
    said.text = xml_text("\n".join(map(str, rows)))
