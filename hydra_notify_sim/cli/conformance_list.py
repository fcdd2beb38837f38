"""``conformance --list``: the promises and the scenarios that put each to the test, without playing."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from hydra_notify_sim.cli import running
from hydra_notify_sim.contract.promises.model import Promise
from hydra_notify_sim.engine.run import Loaded
from hydra_notify_sim.reports import json_report, safe, words
from hydra_notify_sim.scenario import shipped


def show(wanted: Sequence[Promise], json_name: str | None) -> int:
    """Print the list, and write it as JSON if asked to; return the exit code.

    Raises:
        ReportNotWrittenError: the JSON cannot be written.

    """
    loaded = shipped.load()
    if json_name:
        target = running.json_target(json_name)
        json_report.write(target, json.dumps(_document(wanted, loaded), indent=2, ensure_ascii=False) + "\n")
        if json_name == "-":
            return 0
    width = min(100, max(40, shutil.get_terminal_size((100, 24)).columns))
    for line in _lines(wanted, loaded, width):
        sys.stdout.write(safe.clean(line) + "\n")
    return 0


def _exist_for(promise: Promise, loaded: Sequence[Loaded]) -> list[Loaded]:
    return [one for one in loaded if promise.id in one[1].exercises]


def _lines(wanted: Sequence[Promise], loaded: Sequence[Loaded], width: int) -> Iterator[str]:
    for place, promise in enumerate(wanted):
        yield from [""] if place else []
        yield promise.id
        yield from textwrap.wrap(promise.text, width, initial_indent="  ", subsequent_indent="  ")
        for path, one, _ in _exist_for(promise, loaded):
            process = " (always as a process)" if one.given.dispatcher == "process" else ""
            yield from textwrap.wrap(
                f"{path.stem}: {words.one_line(one.scenario)}{process}",
                width,
                initial_indent="    ",
                subsequent_indent="      ",
                break_on_hyphens=False,
            )
    count = sum(bool({one.id for one in wanted} & set(scenario.exercises)) for _, scenario, _ in loaded)
    yield ""
    yield f"{words.plural(len(wanted), 'promise')}, {words.plural(count, 'scenario')}."


def _document(wanted: Sequence[Promise], loaded: Sequence[Loaded]) -> dict[str, object]:
    return {
        "version": json_report.VERSION,
        "promises": [
            {
                "promise": promise.id,
                "text": promise.text,
                "scenarios": [
                    {"name": path.stem, "file": str(path), "scenario": words.one_line(one.scenario)}
                    for path, one, _ in _exist_for(promise, loaded)
                ],
            }
            for promise in wanted
        ],
    }
