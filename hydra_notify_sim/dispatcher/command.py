"""The reference dispatcher in earnest: runs against a Hydra database until it is told to stop.

A second dispatcher beside a live one clears its marks: what the other one still owes its plugins is then
lost. The contract, like Hydra itself, knows one dispatcher at a time. Whoever wants to hear of builds next to a
running hydra-notify writes a plugin for it, and does not listen beside it.
"""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Any, Self

import psycopg
from psycopg import conninfo

from hydra_notify_sim import errors
from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core, metrics, plugins, postgres

TABLES = ("builds", "buildsteps", "jobsets", "jobsetevals", "taskretries")
"""The tables of Hydra that the dispatcher reads or writes (docs/reference/hydra.md, section 4)."""


def run(
    dsn: str,
    plugins: Sequence[str],
    *,
    metrics_port: int | None = None,
    once: bool = False,
    payloads: channels.PayloadVersion = channels.DEFAULT_PAYLOADS,
    make_dispatcher: Callable[..., core.Dispatcher] = core.Dispatcher,
) -> int:
    """Dispatch a Hydra database's notifications to plugins until SIGTERM or SIGINT; return the exit status, 0.

    The event in hand is finished first, with all its plugins, storing and clearing (L-stop); a plugin that
    blocks is not interrupted. Call it from the main thread: it takes the two signals over.

    **Do not run it beside another dispatcher**: it would clear the other one's marks.

    Args:
        dsn: libpq connection string or URL of the database.
        plugins: each one ``module:Class``, or the name of an entry point (`plugins.load`).
        metrics_port: TCP port on the loopback address at which Prometheus can read the metrics.
        once: listen, scan, deliver what is marked and what is due for retry, and end.
        payloads: the version of the payloads (docs/reference/hydra.md, section 1).
        make_dispatcher: what makes the core; a harness hands over one that breaks a promise.

    Raises:
        PluginError: a plugin cannot be loaded (exit code 2).
        UsageError: the connection string or the port cannot be used (exit code 2).
        EnvironmentFailedError: the database cannot be reached, or is none of Hydra's (exit code 3).

    """
    return serve(
        dsn,
        load(plugins),
        metrics_port=metrics_port,
        once=once,
        payloads=payloads,
        make_dispatcher=make_dispatcher,
    )


def load(specifications: Sequence[str]) -> list[plugins.PythonPlugin]:
    """Load the plugins; none at all is a mistake, for marks would be cleared and nobody told."""
    if not specifications:
        raise errors.UsageError(
            "no plugin is given: every mark would be cleared and nobody told. Name at least one, as module:Class."
        )
    return plugins.load_all(specifications)


def serve(
    dsn: str,
    loaded: Sequence[plugins.Plugin],
    *,
    metrics_port: int | None = None,
    once: bool = False,
    payloads: channels.PayloadVersion = channels.DEFAULT_PAYLOADS,
    make_dispatcher: Callable[..., core.Dispatcher] = core.Dispatcher,
) -> int:
    """Dispatch to plugins that are loaded already; otherwise as `run`."""
    check_database(dsn)
    counters = metrics.Metrics()
    if metrics_port is not None:
        _serve_metrics(counters, metrics_port)
    session = postgres.Session(postgres.connector(dsn))
    with _LogToStderr(), _Signals() as signals:
        dispatcher = make_dispatcher(
            inbox=postgres.PostgresInbox(session, wake=signals.readable),
            store=postgres.PostgresStore(session),
            clock=postgres.SystemClock(wake=signals.readable),
            plugins=loaded,
            metrics=counters,
            payloads=payloads,
        )
        signals.tell(dispatcher.stop)
        core.LOG.info("starting with %s", ", ".join(plugin.name for plugin in loaded))
        try:
            if once:
                deliver_once(dispatcher)
            else:
                dispatcher.run()
        finally:
            session.close()
        core.LOG.info("stopped%s", f" by {signals.name}" if signals.name else "")
    return 0


def deliver_once(dispatcher: core.Dispatcher) -> None:
    """Listen, scan, deliver what is marked and due, and whatever arrives meanwhile; then return."""
    while not dispatcher.stopping and dispatcher.turn():
        pass


def check_database(dsn: str) -> None:
    """Look whether the database can be reached and is one of Hydra's.

    Raises:
        UsageError: the connection string cannot be read.
        EnvironmentFailedError: it cannot be reached, or lacks Hydra's tables. No message holds the password.

    """
    try:
        parts = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # The library's own message repeats pieces of the text, and the password may be one of them.
        raise errors.UsageError(
            "the DSN is no libpq connection string. Write 'host=/run/postgresql dbname=hydra user=hydra' or "
            "'postgresql://hydra@localhost/hydra'."
        ) from None
    parts.pop("password", None)
    shown = conninfo.make_conninfo("", **parts) or "the default database"
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
            found = connection.execute(
                "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL", [list(TABLES)]
            )
            missing = [name for (name,) in found]
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise errors.EnvironmentFailedError(
            f"cannot connect to {shown}: {reason[0].strip()}. Is the server running, and does it let this user in?"
        ) from None
    if missing:
        raise errors.EnvironmentFailedError(
            f"{shown} is not a Hydra database: it has no table {', '.join(missing)}. Name the database that "
            "hydra-server uses, and run hydra-init on it if it is new or old."
        )


def _serve_metrics(counters: metrics.Metrics, port: int) -> None:
    try:
        counters.serve(port)
    except (OSError, OverflowError) as error:
        raise errors.UsageError(
            f"the metrics cannot be served on port {port} of the loopback address: {error}. Choose another port."
        ) from None


class _Signals:
    """SIGTERM and SIGINT as a readable file descriptor and a call, while the context lasts."""

    def __init__(self) -> None:
        self.readable, self._writable = os.pipe()
        os.set_blocking(self.readable, False)  # that is how the function is called
        os.set_blocking(self._writable, False)
        self._stop: Callable[[], None] = lambda: None
        self.name = ""
        """The signal that came, if one did."""
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1

    def tell(self, stop: Callable[[], None]) -> None:
        """Call this when a signal comes, or at once if one has come already."""
        self._stop = stop
        if self.name:
            stop()

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            raise errors.UsageError("the dispatcher takes SIGTERM and SIGINT over: run it in the main thread")
        self._wakeup_before = signal.set_wakeup_fd(self._writable, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self.readable)
        os.close(self._writable)

    def _received(self, number: int, _frame: FrameType | None) -> None:
        # Nothing is logged here: the signal may have come in the middle of writing to the log.
        self.name = signal.Signals(number).name
        self._stop()


class _LogToStderr:
    """Writes the dispatcher's log to standard error, one line of key=value pairs a record, while the context lasts."""

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
    """Log records as lines like ``time=2026-01-01T00:00:00Z level=warning message="dropped …"``."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as one line; a traceback is one more quoted value."""
        fields = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _quoted(value: str) -> str:
    plain = value.isprintable() and value and not set(value) & set(' "=')
    return value if plain else json.dumps(value, ensure_ascii=False)
