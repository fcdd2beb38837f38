"""``conformance --kill-matrix``: whether each known-bad dispatcher is caught, and by what."""

import json
import os
import time
from pathlib import Path

from hydra_notify_sim.cli import ending, running
from hydra_notify_sim.conformance import kill_matrix
from hydra_notify_sim.engine import Options
from hydra_notify_sim.reports import json_report, screen, words
from hydra_notify_sim.reports.conformance import matrix as sheet
from hydra_notify_sim.reports.failure import Row
from hydra_notify_sim.reports.report import ReportNotWrittenError
from hydra_notify_sim.scenario import shipped


def show(
    options: Options, workers: int | None, *, json_name: str | None, page: Path | None, verbose: bool
) -> int:
    """Play, print the matrix, write the reports, and return the exit code.

    Raises:
        ReportNotWrittenError: a report cannot be written; said before anything is played.
        UsageError: the database is not one that can be used.
        EnvironmentFailedError: there is no server, or a process of ours was lost.

    """
    for target in (json_name if json_name != "-" else None, page):
        if target is not None:
            json_report.check_writable(Path(target))
    scenarios = shipped.load()
    matrix = kill_matrix.empty(scenarios)
    out = screen.Screen(running.terminal_stream(json_name))
    progress = screen.Progress(out)
    said = f"Kill matrix: {words.plural(len(matrix.rows), 'known-bad dispatcher')}, {words.plural(len(scenarios), 'scenario')}"
    out.row(Row(said, "heading"))
    progress.start()
    begun = time.monotonic()
    try:
        for name, done, of in kill_matrix.play(
            matrix, scenarios, options, workers or min(4, os.cpu_count() or 1)
        ):
            progress.show(f"{done}/{of}", name)
    except KeyboardInterrupt:
        matrix.interrupted = True
    finally:
        progress.close()
    matrix.seconds = time.monotonic() - begun
    code = sheet.exit_code(matrix, terminated=ending.asked_to_end())
    code = _write(matrix, code, options.seed, json_name, page)
    out.rows(sheet.rows(matrix, code, verbose=verbose))
    return code


def _write(matrix: kill_matrix.Matrix, code: int, seed: int, json_name: str | None, page: Path | None) -> int:
    """Write the reports; one that cannot be written any more makes the exit code 3."""
    texts = []
    if json_name:
        document = json.dumps(sheet.document(matrix, code, seed), indent=2, ensure_ascii=False) + "\n"
        texts.append((running.json_target(json_name), document))
    if page is not None:
        texts.append((page, sheet.page(matrix, code)))
    for target, text in texts:
        try:
            json_report.write(target, text)
        except ReportNotWrittenError as error:
            ending.say(f"error: {error}")
            code = 3
    return code
