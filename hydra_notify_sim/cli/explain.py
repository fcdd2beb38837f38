"""``explain``: prints promises and quirks, with what exercises or breaks them."""

import difflib
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from hydra_notify_sim import errors, known_bad, scenario
from hydra_notify_sim.contract import promises, quirks
from hydra_notify_sim.reports import safe, words
from hydra_notify_sim.scenario import shipped

_SOURCES: dict[promises.Source, str] = {
    "manual": "Hydra's manual says it",
    "behaviour": "Hydra does it, though its manual does not say so",
    "derived": "derived: it follows from the others, or a user must be able to count on it",
}

Exercised = dict[str, list[tuple[Path, str]]]
"""Promise id to the scenarios that exist for it: file and first sentence."""


@click.command("explain")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option(
    "--scenarios",
    "folder",
    type=click.Path(exists=True, path_type=Path),
    metavar="DIR",
    help="Where to look for scenarios that exercise a promise.  [default: ./scenarios if it is there, else those that come with the program]",
)
def command(*, ids: tuple[str, ...], folder: Path | None) -> int:
    """Print promises such as B-clear-own and quirks such as hn-stale-clear; without an ID, list them all."""
    found = [_named(one) for one in ids]
    if not found:
        _print(_list())
        return 0
    exercised = _exercised(folder)
    for place, one in enumerate(found):
        lines = _promise(one, exercised) if isinstance(one, promises.Promise) else _quirk(one)
        _print([""] if place else [])
        _print(lines)
    return 0


def _named(wanted: str) -> promises.Promise | quirks.Quirk:
    known: dict[str, promises.Promise | quirks.Quirk] = {one.id.lower(): one for one in promises.PROMISES}
    known |= {one.id.lower(): one for one in quirks.QUIRKS}
    if wanted.lower() in known:
        return known[wanted.lower()]
    near = [known[one].id for one in difflib.get_close_matches(wanted.lower(), known, n=3, cutoff=0.5)]
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise errors.UsageError(
        f"There is no promise or quirk {words.one_line(wanted, 60)!r}.{hint} `hydra-notify-sim explain` lists them all."
    )


def _list() -> Iterator[str]:
    family = ""
    for one in promises.PROMISES:
        if one.family != family:
            yield from ([""] if family else [])
            family = one.family
            yield f"{family.replace('_', ' ')}:"
        yield _entry(one.id, one.text)
    yield ""
    yield "quirks of Hydra:"
    for quirk in quirks.QUIRKS:
        yield _entry(quirk.id, quirk.what)


def _entry(name: str, text: str) -> str:
    return f"  {name:28} {textwrap.shorten(text, 90, placeholder=' …')}"


def _promise(one: promises.Promise, exercised: Exercised | None) -> Iterator[str]:
    yield f"{one.id} ({one.family.replace('_', ' ')})"
    yield from _paragraph(one.text)
    if one.manual_text:
        yield from _paragraph(f"As the manual words it: {one.manual_text}")
    yield from _paragraph(f"Why: {one.why}")
    yield f"  Source: {_SOURCES[one.source]}."
    yield f"  Judged under: {', '.join(one.profiles)}."
    yield from _breaking(one.id)
    if exercised is None:
        yield "  Scenarios: --scenarios DIR names a directory."
        return
    files = exercised.get(one.id, [])
    yield "  Exercised by:" if files else "  No scenario lists it under `exercises`."
    for path, sentence in files:
        yield f"    {path}"
        yield f"        {sentence}"


def _breaking(promise: str) -> Iterator[str]:
    found = quirks.breaking(promise)
    if found:
        yield "  Broken by quirks of Hydra:"
        for quirk in found:
            yield from _paragraph(f"{quirk.id} ({quirk.by}): {quirk.what}", "    ")
    bad = [name for name, one in known_bad.KNOWN_BAD.items() if promise in one.breaks]
    if bad:
        yield f"  Broken on purpose by: {', '.join(f'known-bad:{name}' for name in bad)}"


def _quirk(one: quirks.Quirk) -> Iterator[str]:
    yield f"{one.id} (a quirk of Hydra's {one.by})"
    yield from _paragraph(one.what)
    yield f"  Breaks: {', '.join(one.breaks)}" if one.breaks else "  Breaks no promise."
    if one.may_break:
        yield f"  Now and then also, by timing or by the order of plugins: {', '.join(one.may_break)}"


def _paragraph(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(
        text,
        min(100, max(40, shutil.get_terminal_size((100, 24)).columns)),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _exercised(folder: Path | None) -> Exercised | None:
    """Return which scenarios exist for which promise; None where they cannot be read.

    Raises:
        UsageError: a scenario of a directory that was named is wrong. One of the directory that was only found is
            told and left out.

    """
    here = Path("scenarios")
    try:
        loaded = scenario.load_all([folder or (here if here.exists() else shipped.directory())])
    except errors.HydraNotifySimError as error:
        if folder:
            raise
        sys.stderr.write(safe.clean(f"scenarios are left out: {error}\n"))
        return None
    found: Exercised = {}
    for path, one, _ in loaded:
        for promise in one.exercises:
            found.setdefault(promise, []).append((path, words.one_line(one.scenario)))
    return found


def _print(lines: Sequence[str] | Iterator[str]) -> None:
    for line in lines:
        sys.stdout.write(safe.clean(line) + "\n")
