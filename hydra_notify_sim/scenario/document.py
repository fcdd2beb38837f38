"""One YAML 1.2 document as plain values, with the line and column of each; hostile text ends in a clear error.

Read from the parser's events rather than with a composer: depth and size are limited before anything is
built, and what the language has no use for (anchors, tags, several documents) is refused where it stands.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml import events as yaml_events
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from hydra_notify_sim.scenario.problems import Path_

MOST_BYTES = 256 * 1024
"""A scenario is read by people; a larger file is something else."""

DEEPEST = 40
"""Lists and mappings inside each other."""

Place = tuple[int, int]
"""Line and column, both from 1."""

_INT = re.compile(r"[-+]?[0-9]+\Z")
_OTHER_INT = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_SPECIAL = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_MOST_DIGITS = 30
_IMPOSSIBLE = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class WrittenInt(int):
    """A whole number of a file."""

    written = ""
    """How it was written, for places where a text is meant: ``007``."""


class WrittenFloat(float):
    """A number of a file."""

    written = ""
    """How it was written, for places where a text is meant: ``1e3``."""


class DocumentError(Exception):
    """The text is no YAML document of the kind that a scenario is."""

    def __init__(self, message: str, place: Place = (0, 0), hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint


@dataclass(slots=True)
class Document:
    """The values of a file, and where they stand."""

    value: Any = None
    places: dict[Path_, Place] = field(default_factory=dict)
    """Path to where its value begins."""
    key_places: dict[Path_, Place] = field(default_factory=dict)
    """Path to where its key begins."""
    paths: dict[int, Path_] = field(default_factory=dict)
    """Identity of a mapping to its path."""
    duplicates: list[tuple[Path_, Place, Place]] = field(default_factory=list)
    """Keys that stand twice in one mapping: the path, the second place, the first."""

    def place(self, path: Path_, *, at_key: bool = False) -> Place:
        """Return where a path stands in the text; if it is not there, where the nearest thing around it does."""
        if at_key and path in self.key_places:
            return self.key_places[path]
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))


def decode(content: bytes) -> str:
    """Return the text of a file.

    Raises:
        DocumentError: not UTF-8, or with characters that no text has.

    """
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise DocumentError("the file is in UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        raise DocumentError("the file is not UTF-8; save it as UTF-8", _end_of(before)) from error
    control = _CONTROL.search(text)
    if control:
        code = ord(control[0])
        raise DocumentError(
            f"a character that belongs in no text (U+{code:04X}); in double quotes it is written \\u{code:04x}",
            _end_of(text[: control.start()]),
        )
    return text


def read(text: str) -> Document:
    """Read the one document of a text.

    Raises:
        DocumentError: not YAML, empty, several documents, or something that scenarios do not have.

    """
    document = Document()
    reader = _Reader(document, text)
    try:
        reader.read()
    except MarkedYAMLError as error:
        raise _syntax_error(error, text) from error
    except YAMLError as error:
        raise DocumentError(f"not YAML: {error}") from error
    return document


class _Reader:
    """Builds the values from the parser's events; its recursion is as deep as `DEEPEST`."""

    def __init__(self, document: Document, text: str) -> None:
        self._document = document
        self._events: Iterator[Any] = YAML(typ="safe", pure=True).parse(text)

    def read(self) -> None:
        documents = 0
        for event in self._events:
            if isinstance(event, yaml_events.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise DocumentError(
                        "a second document begins here; one file holds one scenario", _place(event)
                    )
                if event.tags or (event.version and tuple(event.version) != (1, 2)):
                    raise DocumentError("a scenario has no %TAG and is YAML 1.2", _place(event))
            elif isinstance(event, yaml_events.NodeEvent):
                self._document.value = self._value(event, (), 0)
        if self._document.value is None:
            raise DocumentError(
                "the file is empty; a scenario begins with 'scenario: one sentence that says what happens'"
            )

    def _value(self, event: Any, path: Path_, depth: int) -> Any:
        place = _place(event)
        self._document.places[path] = place
        if isinstance(event, yaml_events.AliasEvent) or event.anchor is not None:
            raise DocumentError(
                "anchors and aliases (& and *) are not part of the scenario language: write it out", place
            )
        if event.tag is not None:
            raise DocumentError(
                f"tags ({event.tag}) are not part of the scenario language: leave it out", place
            )
        if isinstance(event, yaml_events.ScalarEvent):
            return _scalar(event)
        if depth == DEEPEST:
            raise DocumentError(f"more than {DEEPEST} lists and mappings inside each other", place)
        if isinstance(event, yaml_events.SequenceStartEvent):
            return self._list(path, depth)
        return self._mapping(path, depth)

    def _list(self, path: Path_, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml_events.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items)), depth + 1))
        return items

    def _mapping(self, path: Path_, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        self._document.paths[id(mapping)] = path
        while not isinstance(event := next(self._events), yaml_events.MappingEndEvent):
            if not isinstance(event, yaml_events.ScalarEvent) or (event.implicit[0] and not event.value):
                raise DocumentError("a key is a word; this is none", _place(event))
            key = str(event.value)
            here = (*path, key)
            if key in mapping:
                self._document.duplicates.append((here, _place(event), self._document.key_places[here]))
                known = self._document.key_places[here], self._document.places[here]
                self._value(next(self._events), here, depth + 1)
                self._document.key_places[here], self._document.places[here] = known
                continue
            if event.anchor is not None or event.tag is not None:
                self._value(event, here, depth)
            self._document.key_places[here] = _place(event)
            mapping[key] = self._value(next(self._events), here, depth + 1)
        return mapping


def _place(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1


def plain_value(text: str) -> Any:
    """Return what a text without quotes stands for in YAML 1.2.

    Raises:
        ValueError: a number with more digits than any here has.

    """
    if text in _SPECIAL:
        return _SPECIAL[text]
    if _INT.match(text) or _OTHER_INT.match(text):
        if len(text) > _MOST_DIGITS:
            raise ValueError(text)
        return int(text) if _INT.match(text) else int(text, 0)
    return float(text) if _FLOAT.match(text) else text


def _scalar(event: Any) -> Any:
    if not event.implicit[0]:
        if _IMPOSSIBLE.search(event.value):
            raise DocumentError(
                "a NUL character or half of a surrogate pair, which PostgreSQL does not take", _place(event)
            )
        return event.value
    try:
        value = plain_value(event.value)
    except ValueError:
        raise DocumentError("so many digits are taken as text only in quotes", _place(event)) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    number = WrittenInt(value) if isinstance(value, int) else WrittenFloat(value)
    number.written = event.value
    return number


def _end_of(text: str) -> Place:
    return text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1


def _syntax_error(error: MarkedYAMLError, text: str) -> DocumentError:
    mark = error.problem_mark or error.context_mark
    place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines()
    line = lines[place[0] - 1] if place[0] <= len(lines) else ""
    problem = " ".join(str(error.problem or error.context or "it cannot be read").split())
    if "\t" in line[: place[1]]:
        return DocumentError("a tab; YAML is indented with spaces", place)
    if "anchor" in problem or "alias" in problem:
        return DocumentError(
            "anchors and aliases (& and *) are not part of the scenario language: write it out", place
        )
    context = f" {error.context}" if error.context and error.problem else ""
    hint = ""
    if "mapping values are not allowed" in problem:
        hint = "A text that contains ': ' stands in quotes; otherwise the indentation may be wrong."
    elif "cannot start any token" in problem:
        hint = "A text that begins with this character stands in quotes."
    return DocumentError(f"not YAML:{context and context + ','} {problem}", place, hint)
