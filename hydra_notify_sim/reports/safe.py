"""Text that can be shown anywhere: no password, no control character; imports nothing of ours."""

import re

HIDDEN = "***"

SURROGATES = re.compile("[\ud800-\udfff]")
"""What UTF-8 cannot hold: bytes of a file name that were no text."""

_URL_PASSWORD = re.compile(r"([a-z][a-z0-9+.-]*://[^\s/:@]*):[^\s/]*@", re.IGNORECASE)
_KEY_PASSWORD = re.compile(
    r"\b((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s&'\"]+)", re.IGNORECASE
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def mask(text: str) -> str:
    """Hide the passwords of connection strings that stand in a text."""
    return _KEY_PASSWORD.sub(rf"\g<1>{HIDDEN}", _URL_PASSWORD.sub(rf"\g<1>:{HIDDEN}@", text))


def has_password(dsn: str) -> bool:
    """Whether a connection string carries a password, so that it cannot be shown as it is."""
    return mask(dsn) != dsn


def clean(text: str) -> str:
    r"""Write control characters as escapes (``\x1b``), so that no payload can move a person's cursor.

    Tabs and newlines are kept: who prints one line uses `one_line`.
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)
