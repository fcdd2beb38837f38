"""``-k``: an expression over scenario names, as pytest has it."""

import re
from collections.abc import Callable, Iterator

from hydra_notify_sim import errors

_TOKEN = re.compile(r"\s*(?:(?P<mark>[()])|'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\"|(?P<word>[^\s()'\"]+))")

Matcher = Callable[[str], bool]


class ExpressionError(errors.UsageError):
    """The expression after ``-k`` cannot be read."""


def matcher(expression: str) -> Matcher:
    """Return whether a name matches: words are substrings, whatever their case, joined by ``and``, ``or``, ``not``.

    Raises:
        ExpressionError: it is empty or not such an expression; the message points at the place.

    """
    return _Parser(expression).whole()


class _Parser:
    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens = list(_tokens(expression))
        self.position = 0

    def whole(self) -> Matcher:
        matches = self.any_of()
        if self.position < len(self.tokens):
            raise self.error("'and' or 'or' expected")
        return matches

    def any_of(self) -> Matcher:
        parts = [self.all_of()]
        while self.accept("or"):
            parts.append(self.all_of())
        return parts[0] if len(parts) == 1 else lambda name: any(part(name) for part in parts)

    def all_of(self) -> Matcher:
        parts = [self.one()]
        while self.accept("and"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else lambda name: all(part(name) for part in parts)

    def one(self) -> Matcher:
        if self.accept("not"):
            inner = self.one()
            return lambda name: not inner(name)
        if self.accept("("):
            inner = self.any_of()
            if not self.accept(")"):
                raise self.error("')' expected")
            return inner
        if self.position >= len(self.tokens):
            raise self.error("a part of a name expected")
        kind, text, _ = self.tokens[self.position]
        if kind != "name":
            raise self.error("a part of a name expected")
        self.position += 1
        wanted = text.casefold()
        return lambda name: wanted in name.casefold()

    def accept(self, wanted: str) -> bool:
        if self.position < len(self.tokens) and self.tokens[self.position][:2] == ("mark", wanted):
            self.position += 1
            return True
        return False

    def error(self, expected: str) -> ExpressionError:
        ended = self.position >= len(self.tokens)
        column = len(self.expression) + 1 if ended else self.tokens[self.position][2] + 1
        found = "the end" if ended else repr(self.tokens[self.position][1])
        return ExpressionError(
            f"-k {self.expression!r}: column {column}: {expected}, found {found}. "
            "An expression is made of parts of scenario names, and, or, not, and parentheses."
        )


def _tokens(expression: str) -> Iterator[tuple[str, str, int]]:
    place = 0
    while place < len(expression.rstrip()):
        found = _TOKEN.match(expression, place)
        if not found:
            column = place + len(expression[place:]) - len(expression[place:].lstrip()) + 1
            raise ExpressionError(f"-k {expression!r}: column {column}: the quotation mark is never closed.")
        group = str(found.lastgroup)
        text = found[group]
        mark = group == "mark" or (group == "word" and text in {"and", "or", "not"})
        yield ("mark" if mark else "name", text, found.start(group))
        place = found.end()
