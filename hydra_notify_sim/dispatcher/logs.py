"""The dispatcher's log: lines of key=value pairs that a person can filter by level and by event."""

import json
import logging
import os
import sys
import time
from types import TracebackType

from hydra_notify_sim.dispatcher import core


class LogToStderr:
    """Writes the dispatcher's log to standard error while the context lasts."""

    def __init__(self) -> None:
        self._handler = logging.StreamHandler()
        self._handler.setFormatter(KeyValueFormatter())
        self._level_before = core.LOG.level

    def __enter__(self) -> None:
        core.LOG.addHandler(self._handler)
        core.LOG.setLevel(logging.INFO)

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        core.LOG.removeHandler(self._handler)
        core.LOG.setLevel(self._level_before)


class KeyValueFormatter(logging.Formatter):
    """Log records as lines like ``time=2026-01-01T00:00:00Z level=warning event=malformed message="dropped …"``."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as one line; a traceback is one more quoted value."""
        fields = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "other"),
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = record.exc_text or self.formatException(record.exc_info)
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def say(event: str, message: str, *args: object, level: int = logging.INFO) -> None:
    """Write to the log what happened, under a name to filter by."""
    core.LOG.log(level, message, *args, extra={"event": event})


def say_from_a_signal_handler(event: str, message: str) -> None:
    """Write one line past the log, whose own line may be half written where the signal came."""
    record = logging.LogRecord(core.LOG.name, logging.INFO, "", 0, message, None, None)
    record.event = event
    os.write(
        sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{KeyValueFormatter().format(record)}\n".encode()
    )


def _quoted(value: str) -> str:
    plain = value.isprintable() and value and not set(value) & set(' "=')
    return value if plain else json.dumps(value, ensure_ascii=not value.isprintable())
