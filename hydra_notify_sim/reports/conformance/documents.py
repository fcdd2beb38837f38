"""A conformance run as JSON (the JSON of `replay`, and ``conformance`` beside it) and as JUnit XML, a test case a promise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO
from xml.etree import ElementTree as ET

from hydra_notify_sim.engine import events
from hydra_notify_sim.reports import failure, json_report, safe, words
from hydra_notify_sim.reports.conformance.tally import Finding, Result, Tally, outcome
from hydra_notify_sim.reports.junit import xml_text


class ConformanceJson(json_report.JsonReport):
    """Gathers a run and writes it when it is finished, also when it was interrupted."""

    def __init__(self, target: Path | TextIO, tally: Tally) -> None:
        """Write to a file or a stream; ``tally`` is fed by whoever owns it, before this report.

        Raises:
            ReportNotWrittenError: the file cannot be written; said before anything is played.

        """
        super().__init__(target)
        self.tally = tally

    def document(self) -> dict[str, Any]:
        """Return the run as the document's value: what `replay` writes, and the results by promise."""
        self.scenarios.sort(key=lambda one: str(one["name"]))
        return {**super().document(), "conformance": value(self.tally)}


def value(tally: Tally) -> dict[str, Any]:
    """Return what is known of each promise, and what was seen beside."""
    return {
        "outcome": outcome(tally),
        "exit_status": tally.exit_code,
        "generated": tally.run.generated if tally.run else 0,
        "promises": [_promise(one) for one in tally.results.values()],
        "leniencies": [
            {
                "kind": one.kind,
                "channel": one.channel,
                "payload": one.payload,
                "outcome": one.outcome.replace(" ", "_"),
                "scenario": one.scenario,
            }
            for one in tally.leniencies
        ],
        "not_played_as_told": {name: list(reasons) for name, reasons in tally.unplayed.items()},
        "violated_in_other_sections": tally.beside,
    }


def _promise(one: Result) -> dict[str, Any]:
    return {
        "promise": one.promise.id,
        "text": one.text,
        "verdict": one.judgement,
        "judged": one.judged,
        "claimed": one.claimed,
        "times_exercised": one.times,
        "scenarios": one.scenarios,
        "not_exercised_by": one.unplayed,
        "findings": [_finding(found) for found in one.findings],
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "scenario": one.scenario,
        "file": str(one.file),
        "verdict": one.judgement,
        "explanation": one.explanation,
        "records": list(one.records),
        "command": safe.mask(one.command),
        **({"deviation": one.deviation} if one.deviation else {}),
    }


class ConformanceFile:
    """Writes a document of the whole run when it is finished, also when it was interrupted."""

    def __init__(self, path: Path, tally: Tally, document: Callable[[Tally], str]) -> None:
        """Write to a file; ``tally`` is fed by whoever owns it, before this report.

        Raises:
            ReportNotWrittenError: the file cannot be written; said before anything is played.

        """
        json_report.check_writable(path)
        self.path = path
        self.tally = tally
        self.document = document

    def take(self, event: events.Event) -> None:
        """Take the next event."""
        if isinstance(event, events.RunFinished):
            json_report.write(self.path, self.document(self.tally))


def junit(tally: Tally) -> str:
    """Return a run as an XML document with one test case a promise."""
    cases = [_case(one) for one in tally.results.values()]
    cases += [_failed(one) for one in tally.summary.errors]
    cases += [_unmet(one) for one in tally.unmet]
    cases += [_not_claimed(*one) for one in sorted(tally.summary.not_claimed.items())]
    count = {
        kind: sum(case.find(kind) is not None for case in cases) for kind in ("failure", "error", "skipped")
    }
    counts = {
        "tests": str(len(cases)),
        "failures": str(count["failure"]),
        "errors": str(count["error"]),
        "skipped": str(count["skipped"]),
        "time": f"{tally.summary.seconds:.3f}",
    }
    suites = ET.Element("testsuites", counts)
    dispatcher = tally.run.dispatcher if tally.run else ""
    name = xml_text(f"hydra-notify-sim conformance {dispatcher}".rstrip())
    suite = ET.SubElement(suites, "testsuite", {"name": name, **counts})
    suite.extend(cases)
    ET.indent(suites)
    text: str = ET.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _case(one: Result) -> ET.Element:
    attributes = {"classname": f"conformance.{one.promise.family}", "name": one.promise.id, "time": "0.000"}
    case = ET.Element("testcase", attributes)
    if one.judged and one.judgement == "violated":
        _say(case, "failure", "promise", f"{one.promise.id} was broken: {one.proof}", one)
    elif one.required and one.judgement == "not_exercised":
        # It says nothing about the dispatcher, and a run that says nothing is no pass.
        _say(case, "error", "not exercised", f"{one.promise.id}: {one.proof}", one)
    elif one.judgement != "held" or not one.judged:
        _say(case, "skipped", one.verdict, f"{one.verdict}: {one.proof}", one)
    ET.SubElement(case, "system-out").text = xml_text(f"{one.text}\n{one.verdict}: {one.proof}")
    return case


def _say(case: ET.Element, element: str, kind: str, message: str, one: Result) -> None:
    said = ET.SubElement(case, element, {"type": kind, "message": xml_text(message)})
    lines = [
        one.text,
        *(f"in {found.scenario}: {found.explanation}\n  {found.command}" for found in one.findings),
    ]
    said.text = xml_text("\n".join(lines))


def _failed(event: events.ScenarioFailed) -> ET.Element:
    case = ET.Element(
        "testcase", {"classname": "conformance.scenarios", "name": xml_text(event.name), "time": "0.000"}
    )
    error = ET.SubElement(
        case, "error", {"type": "not played", "message": xml_text(failure.error_text(event.error))}
    )
    error.text = xml_text("\n".join(map(str, failure.error_rows(event))))
    return case


def _not_claimed(scenario: str, reason: str) -> ET.Element:
    attributes = {"classname": "conformance.scenarios", "name": xml_text(scenario), "time": "0.000"}
    case = ET.Element("testcase", attributes)
    ET.SubElement(case, "skipped", {"type": "not claimed", "message": xml_text(f"not claimed: {reason}")})
    return case


def _unmet(event: events.ScenarioFinished) -> ET.Element:
    attributes = {
        "classname": "conformance.scenarios",
        "name": xml_text(event.name),
        "file": xml_text(str(event.file)),
        "time": f"{event.seconds:.3f}",
    }
    case = ET.Element("testcase", attributes)
    unmet = event.verdict.unmet
    lines = [
        f"line {one.line}: {words.one_line(one.text)}; found: {words.one_line(one.found)}" for one in unmet
    ]
    message = f"{words.plural(len(unmet), 'expectation')} of the story not met"
    said = ET.SubElement(case, "failure", {"type": "expectation", "message": message})
    said.text = xml_text("\n".join(lines))
    return case
