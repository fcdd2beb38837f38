"""A kill matrix for people, for programs and as a page: which scenarios caught which known-bad dispatcher by which promise."""

from collections.abc import Iterator
from typing import Any

from hydra_notify_sim import __version__
from hydra_notify_sim.conformance.kill_matrix import NO_KNOWN_BAD, Matrix, Row
from hydra_notify_sim.contract import promises
from hydra_notify_sim.reports import failure, words
from hydra_notify_sim.reports.conformance.markdown import cell
from hydra_notify_sim.reports.summary import EXIT_WORDS

VERSION = 1
_NAMED = 3
"""Scenarios that are named where more caught a dispatcher; -v names all."""


def exit_code(matrix: Matrix, *, terminated: bool = False) -> int:
    """Return the exit code, the first that applies, as everywhere; a survivor is 1."""
    if not matrix.interrupted:
        return 0 if matrix.holds else 1
    return 143 if terminated else 130


def outcome(matrix: Matrix) -> str:
    """Return in one sentence what it came to."""
    caught = len(matrix.rows) - len(matrix.survivors)
    if matrix.interrupted:
        complete = sum(one.complete for one in matrix.rows)
        return f"interrupted: {complete} of {len(matrix.rows)} known-bad dispatchers were played to the end"
    if matrix.holds:
        return f"all {len(matrix.rows)} known-bad dispatchers were caught by the promises that they break"
    said = f"{caught} of {len(matrix.rows)} known-bad dispatchers were caught"
    said += f"; {words.plural(len(matrix.survivors), 'survivor')}" if matrix.survivors else ""
    missed = sum(len(one.missed) for one in matrix.rows if not one.survived)
    said += (
        f"; {words.plural(missed, 'promise')} that one is said to break, not found broken" if missed else ""
    )
    said += f"; no dispatcher breaks {words.listed(matrix.uncovered)}" if matrix.uncovered else ""
    said += "; the reference was called wrong" if matrix.control.caught else ""
    said += "; the reference could not be played" if matrix.control.failed else ""
    return said


def rows(matrix: Matrix, code: int, *, verbose: bool = False) -> Iterator[failure.Row]:
    """Yield the matrix as rows for a terminal."""
    yield failure.Row("")
    yield failure.Row(
        "By dispatcher: the promises that it is there to break, and the stories that found them broken",
        "heading",
    )
    for row in matrix.rows:
        yield from _dispatcher(row, verbose=verbose)
    yield failure.Row("")
    yield failure.Row(
        "By promise: the dispatchers that break it, and by how many stories each was caught", "heading"
    )
    width = max(len(one.id) for one in promises.PROMISES)
    for promise in promises.PROMISES:
        text, role = _promise(matrix, promise.id)
        yield failure.Row(f"{promise.id:{width}}  {text}", role, 2, hang=width + 2)
    yield from _control(matrix)
    yield from _left_out(matrix)
    yield failure.Row("")
    played = sum(one.played for one in matrix.rows) + matrix.control.played
    yield failure.Row(
        f"{words.plural(played, 'play')} of {words.plural(matrix.scenarios, 'scenario')} against the reference and "
        f"{words.plural(len(matrix.rows), 'known-bad dispatcher')} in {words.duration(matrix.seconds)}",
        "heading",
    )
    role = "good" if code == 0 else "bad"
    yield failure.Row(f"{_sentence(outcome(matrix))}.", role)
    yield failure.Row(f"Exit status {code}: {_exit_words(code)}.", role)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _exit_words(code: int) -> str:
    own = {0: "every one is caught", 1: "a known-bad dispatcher is not caught as it should be"}
    return own.get(code, EXIT_WORDS[code])


def _dispatcher(row: Row, *, verbose: bool) -> Iterator[failure.Row]:
    name = row.name.removeprefix("known-bad:")
    if not row.complete:
        yield failure.Row(f"          {name}: {row.played} of {row.wanted} stories were played", "known", 2)
    elif row.survived:
        yield failure.Row(
            f"SURVIVED  {name}: {row.main} was not found violated by any of {row.played} stories", "bad", 2
        )
        yield failure.Row(words.one_line(row.story), "plain", 12, hang=0)
    else:
        yield failure.Row(f"caught    {name}", "good", 2)
    limit = 10_000 if verbose else _NAMED
    for promise in row.breaks:
        found = row.caught.get(promise, [])
        if found:
            by = "1 story" if len(found) == 1 else f"{len(found)} stories"
            yield failure.Row(f"{promise:18} {by}: {words.listed(found, limit)}", "plain", 12, hang=19)
        elif promise != row.main:
            yield failure.Row(
                f"{promise:18} not found violated, though it is said to break it", "bad", 12, hang=19
            )
    also = [f"{promise} ({len(found)})" for promise, found in row.caught.items() if promise not in row.breaks]
    if also:
        yield failure.Row(f"{'and with them':18} {', '.join(also)}", "dim", 12, hang=19)
    for scenario, error in row.failed.items() if verbose or row.survived else ():
        yield failure.Row(
            f"{scenario} could not be played to its end: {words.one_line(error, 300)}", "known", 12, hang=2
        )


def _promise(matrix: Matrix, promise: str) -> tuple[str, failure.Role]:
    if promise in NO_KNOWN_BAD:
        return NO_KNOWN_BAD[promise], "dim"
    killers = matrix.killers(promise)
    if not killers:
        return "no known-bad dispatcher was caught by it", "bad"
    named = [f"{one.name.removeprefix('known-bad:')} ({len(one.caught[promise])})" for one in killers]
    return ", ".join(named), "plain"


def _control(matrix: Matrix) -> Iterator[failure.Row]:
    control = matrix.control
    yield failure.Row("")
    if control.caught or control.failed:
        yield failure.Row(f"The control, {control.name}, should break nothing", "bad")
        for promise, found in control.caught.items():
            yield failure.Row(f"{promise}: {', '.join(found)}", "bad", 2)
        for scenario, error in control.failed.items():
            yield failure.Row(f"{scenario}: {words.one_line(error, 300)}", "bad", 2)
    else:
        yield failure.Row(
            f"The control, {control.name}, was played {words.times(control.played)} and broke nothing.",
            "good",
        )


def _left_out(matrix: Matrix) -> Iterator[failure.Row]:
    counts: dict[str, int] = {}
    for row in matrix.rows:
        if len(row.left_out) < matrix.scenarios / 2:
            for scenario in row.left_out:
                counts[scenario] = counts.get(scenario, 0) + 1
    if counts:
        yield failure.Row(
            "Costly stories (a process, a restarted server, a wait of a day, hundreds of builds) are played only against "
            f"dispatchers that are there to break what they exist for: {', '.join(sorted(counts))}.",
            "dim",
        )
    for row in matrix.rows:
        if len(row.left_out) >= matrix.scenarios / 2:
            yield failure.Row(
                f"{row.name} is wrong only as a process: the {row.played} stories that exist for what it breaks were played, "
                f"{len(row.left_out)} were not.",
                "dim",
            )


def document(matrix: Matrix, code: int, seed: int) -> dict[str, Any]:
    """Return the matrix as the value of a JSON document."""
    return {
        "version": VERSION,
        "hydra_notify_sim": __version__,
        "seed": seed,
        "outcome": outcome(matrix),
        "exit_status": code,
        "interrupted": matrix.interrupted,
        "seconds": round(matrix.seconds, 3),
        "scenarios": matrix.scenarios,
        "control": _value(matrix.control),
        "dispatchers": [_value(one) for one in matrix.rows],
        "survivors": [one.name for one in matrix.survivors],
        "promises": {
            one.id: {
                "broken_by": {killer.name: len(killer.caught[one.id]) for killer in matrix.killers(one.id)},
                **({"no_known_bad": NO_KNOWN_BAD[one.id]} if one.id in NO_KNOWN_BAD else {}),
            }
            for one in promises.PROMISES
        },
    }


def _value(row: Row) -> dict[str, Any]:
    return {
        "dispatcher": row.name,
        "breaks": list(row.breaks),
        "story": row.story,
        "survived": row.survived,
        "missed": row.missed,
        "caught": row.caught,
        "played": row.played,
        "left_out": list(row.left_out),
        "not_played_to_the_end": row.failed,
    }


def page(matrix: Matrix, code: int) -> str:
    """Return the matrix as a page of markdown."""
    return "\n".join(_page(matrix, code)) + "\n"


def _page(matrix: Matrix, code: int) -> Iterator[str]:
    yield f"# {'✅' if code == 0 else '❌'} {cell(_sentence(outcome(matrix)))}"
    yield ""
    yield (
        f"hydra-notify-sim {__version__}: {words.plural(matrix.scenarios, 'scenario')} against "
        f"{words.plural(len(matrix.rows), 'known-bad dispatcher')}, {words.duration(matrix.seconds)}, exit status {code}."
    )
    yield ""
    yield "## By dispatcher"
    yield ""
    yield "| known-bad dispatcher | | promise | caught by | who made that mistake |"
    yield "|---|---|---|---|---|"
    for row in matrix.rows:
        for place, broken in enumerate(row.breaks):
            found = row.caught.get(broken, [])
            name = row.name.removeprefix("known-bad:") if place == 0 else ""
            sign = "✅" if found else "❌"
            yield f"| {name} | {sign} | {broken} | {cell(words.listed(found, 4) or 'nothing')} | {cell(row.story) if place == 0 else ''} |"
    yield ""
    yield "## By promise"
    yield ""
    yield "Known-bad dispatchers that break it, each with the number of stories that caught it."
    yield ""
    yield "| promise | broken by |"
    yield "|---|---|"
    for promise in promises.PROMISES:
        yield f"| {promise.id} | {cell(_promise(matrix, promise.id)[0])} |"
    yield ""
    for one in (*_control(matrix), *_left_out(matrix)):
        if one.text:
            yield cell(one.text)
            yield ""
