"""What is wrong in scenario files, each with its place, all in one error."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra_notify_sim import errors

Path_ = tuple[str | int, ...]
"""Keys and list positions (from 0) that lead to a place in a file."""

MOST_SHOWN = 100
"""Problems that the message prints; all of them are in ``problems``."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in one place."""

    file: Path
    line: int
    """From 1; 0 where the whole file is meant."""
    column: int
    """In characters, from 1."""
    key: str
    """Where in the scenario: ``story[3].finish``, list positions from 1; empty for the whole file."""
    message: str
    hint: str = ""
    """What was probably meant, and what is valid."""

    def __str__(self) -> str:
        """Return ``file:line:column: key: message. hint``."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else f"{self.file}"
        key = f"{self.key}: " if self.key else ""
        stop = "" if self.message.endswith((".", "?", "!")) else "."
        return f"{place}: {key}{self.message}{stop}" + (f" {self.hint}" if self.hint else "")


class ScenarioFileError(errors.UsageError):
    """Scenario files are wrong, so nothing is played; every problem is listed with its file, line and column."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        lines = [str(problem) for problem in self.problems[:MOST_SHOWN]]
        if len(self.problems) > MOST_SHOWN:
            lines.append(f"… and {len(self.problems) - MOST_SHOWN} more")
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem before its place in the text is looked up."""

    path: Path_
    message: str
    hint: str = ""
    at_key: bool = False
    """It is the key that is wrong, not its value."""


def key_text(path: Path_) -> str:
    """Write a path for people: ``story[3].do[1].finish``."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def hint_for(word: str, valid: Sequence[str]) -> str:
    """Return ``Did you mean 'x'? Valid: a, b, c``."""
    meant = closest(word, valid)
    listed = ", ".join(valid[:40]) + (", …" if len(valid) > 40 else "")
    return (f"Did you mean '{meant}'? " if meant else "") + (f"Valid: {listed}" if valid else "")


def closest(word: str, valid: Sequence[str], cutoff: float = 0.6) -> str | None:
    """Return the valid word that is most like this one, if any is."""
    lowered = {name.lower(): name for name in reversed(valid[:2000])}
    found = difflib.get_close_matches(word[:100].lower().replace("-", "_"), lowered, 1, cutoff)
    found = found or difflib.get_close_matches(word[:100].lower(), lowered, 1, cutoff)
    return lowered[found[0]] if found else None
