"""Where people read: rows of text with a meaning each, wrapped on a terminal and left whole elsewhere."""

import time
from collections.abc import Iterable
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from hydra_notify_sim.reports import safe, words
from hydra_notify_sim.reports.failure import Role, Row

_STYLES: dict[Role, str] = {
    "heading": "bold",
    "plain": "",
    "quote": "italic",
    "proof": "bold yellow",
    "dim": "dim",
    "bad": "bold red",
    "known": "yellow",
    "good": "green",
    "command": "cyan",
}


_REFRESH = 0.08
"""Seconds between two pictures of the progress line: more is more than an eye sees."""


class _Console(Console):
    """A console that leaves a closed pipe to its caller instead of ending the program by itself."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Screen:
    """A terminal, or a file or pipe that gets plain lines without control characters."""

    def __init__(self, stream: TextIO | None = None, width: int | None = None) -> None:
        """Write to a stream, standard output where none is given."""
        self.console = _Console(file=stream, highlight=False, markup=False, emoji=False, width=width)

    @property
    def interactive(self) -> bool:
        """Whether a person's terminal is at the other end, on which a line can be drawn anew."""
        return self.console.is_terminal and not self.console.is_dumb_terminal

    def rows(self, rows: Iterable[Row]) -> None:
        """Write rows."""
        for row in rows:
            self.row(row)

    def row(self, row: Row) -> None:
        """Write a row, on as many lines as it takes."""
        style = _STYLES[row.role]
        for line in safe.clean(row.text).split("\n"):
            if self.interactive:
                self._wrapped(row, line, style)
            else:
                # Whoever reads a file or a pipe wraps for himself; a folded line cannot be searched for.
                self.console.print(Text(f"{' ' * row.indent}{line}".rstrip(), style), soft_wrap=True)

    def _wrapped(self, row: Row, line: str, style: str) -> None:
        if row.role == "command":
            # To be copied whole: the terminal folds it, not we.
            self.console.print(Text(f"{' ' * row.indent}{line}", style), soft_wrap=True)
            return
        hanging = min(row.indent + row.hang, self.console.width // 2)
        width = max(20, self.console.width - row.indent)
        first, *rest = _wrap(line, width, max(20, self.console.width - hanging))
        self.console.print(Text(f"{' ' * row.indent}{first}", style), soft_wrap=True)
        for more in rest:
            self.console.print(Text(f"{' ' * hanging}{more}", style), soft_wrap=True)


class Progress:
    """A line at the bottom of a terminal that is drawn anew; nothing elsewhere."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._live: Live | None = None
        self._drawn = 0.0

    def start(self) -> None:
        """Begin to draw."""
        if self._screen.interactive:
            self._live = Live(
                console=self._screen.console,
                auto_refresh=False,
                transient=True,
                redirect_stderr=False,
                redirect_stdout=False,
            )
            self._live.start()

    def show(self, done: str, name: str, bad: str = "") -> None:
        """Draw how much is done, what is being done and, in red, what is bad."""
        now = time.monotonic()
        if self._live is None or now - self._drawn < _REFRESH:
            return
        self._drawn = now
        text = Text(f"[{done}] ", no_wrap=True, overflow="ellipsis")
        text.append(words.one_line(name))
        if bad:
            text.append(f"  {bad}", "bold red")
        self._live.update(text, refresh=True)

    def close(self) -> None:
        """Take the line away. May be called again."""
        if self._live:
            self._live.stop()
            self._live = None


def _wrap(line: str, width: int, next_width: int) -> list[str]:
    """Break a line between words, in terminal cells; a word longer than a line is left to the terminal."""
    text = line.lstrip(" ")
    pieces, current = [], line[: len(line) - len(text)]
    limit, empty = width, True
    for word in text.split(" "):
        candidate = current + word if empty else f"{current} {word}"
        if not empty and cell_len(candidate) > limit:
            pieces.append(current)
            current, limit = word, next_width
        else:
            current, empty = candidate, False
    return [*pieces, current]
