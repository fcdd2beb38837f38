"""``doctor``: what is wrong with the notifications of a live Hydra, read from its database."""

import json
from typing import Any

import click

from hydra_notify_sim import errors
from hydra_notify_sim.cli import ending, options, running, times
from hydra_notify_sim.incident import doctor
from hydra_notify_sim.reports import json_report, screen, words
from hydra_notify_sim.reports.failure import Row


@click.command("doctor")
@click.option(
    "--dsn",
    envvar=options.DSN_VARIABLE,
    help=f"The Hydra database to look at.  [env: {options.DSN_VARIABLE}]",
)
@click.option(
    "--late",
    default="5m",
    show_default=True,
    metavar="TIME",
    help="How long a finished build or a due retry may wait before it is a problem.",
)
@click.option(
    "--installed",
    multiple=True,
    metavar="NAME",
    help="A plugin that is installed, as taskretries.pluginname has it; give all of them.",
)
@options.json_name
def command(*, dsn: str | None, late: str, installed: tuple[str, ...], json_name: str | None) -> int:
    """Look at a live Hydra's database, and say what is wrong with its notifications and what to do.

    It reads in one transaction, writes nothing and notifies nobody. For monitoring: exit status 0 if there is no
    problem, 1 if there is one, 3 if the database cannot be read.
    """
    if dsn is None:
        raise errors.UsageError(
            "name the database: doctor --dsn 'host=/run/postgresql dbname=hydra user=hydra'."
        )
    seconds = times.seconds("--late", late)
    facts = doctor.look(dsn)
    found = doctor.diagnose(facts, late=seconds, installed=installed)
    code = 1 if any(one.severity == "problem" for one in found) else 0
    out = screen.Screen(running.terminal_stream(json_name))
    out.row(Row(_headline(facts), "heading"))
    for one in found:
        out.rows(_rows(one))
    if not code:
        out.row(Row("No problem was found.", "good"))
    if json_name:
        document = json.dumps(_document(facts, found, code), indent=2, ensure_ascii=False) + "\n"
        json_report.write(running.json_target(json_name), document)
    return code


def _headline(facts: doctor.Facts) -> str:
    numbers = doctor.summary(facts)
    parts = [
        f"{words.plural(numbers['marks'], 'mark')} to clear",
        f"{words.plural(numbers['tasks'], 'call')} to retry, {numbers['tasks_due']} due",
    ]
    if numbers["listeners"] is not None:
        parts.append(f"{words.plural(numbers['listeners'], 'connection')} of a dispatcher")
    return f"Hydra database {facts.database!r}: {'; '.join(parts)}"


def _rows(one: doctor.Finding) -> list[Row]:
    rows = [
        Row(f"{one.severity}: {one.id}", "bad" if one.severity == "problem" else "known"),
        Row(one.text, "plain", indent=2),
        Row(f"What to do: {one.do}", "plain", indent=2),
    ]
    if one.points_to:
        rows.append(
            Row(f"{' '.join(ending.program())} explain {' '.join(one.points_to)}", "command", indent=2)
        )
    return rows


def _document(facts: doctor.Facts, found: list[doctor.Finding], code: int) -> dict[str, Any]:
    return {
        "version": 1,
        "database": facts.database,
        "time": facts.now,
        "exit_code": code,
        "numbers": doctor.summary(facts),
        "findings": [
            {
                "id": one.id,
                "severity": one.severity,
                "text": one.text,
                "do": one.do,
                "points_to": list(one.points_to),
                "examples": list(one.examples),
            }
            for one in found
        ],
    }
