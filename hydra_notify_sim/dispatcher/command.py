"""The reference dispatcher in earnest: runs against a Hydra database until it is told to stop.

A second dispatcher beside a live one clears its marks: what the other one still owes its plugins is then
lost. The contract, like Hydra itself, knows one dispatcher at a time. Whoever wants to hear of builds next to a
running hydra-notify writes a plugin for it, and does not listen beside it.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from hydra_notify_sim import errors
from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import (
    connecting,
    core,
    logs,
    metrics,
    plugins,
    ports,
    postgres,
    signals,
    start_checks,
    systemd,
)


def run(
    dsn: str,
    plugins: Sequence[str],
    *,
    metrics_port: int | None = None,
    once: bool = False,
    adopt_retries: bool = False,
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
        adopt_retries: drop the stored tasks of plugins that are not loaded, as R-gone-plugin has it. Otherwise they
            are left alone: they may be another dispatcher's.
        payloads: the version of the payloads (docs/reference/hydra.md, section 1).
        make_dispatcher: what makes the core; a harness hands over one that breaks a promise.

    Raises:
        PluginError: a plugin cannot be loaded (exit code 2).
        UsageError: the connection string or the port cannot be used (exit code 2).
        EnvironmentFailedError: the database cannot be reached, or a person has to mend something in it (exit code 3).

    """
    return serve(
        dsn,
        load(plugins),
        metrics_port=metrics_port,
        once=once,
        adopt_retries=adopt_retries,
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


def check(dsn: str, specifications: Sequence[str]) -> start_checks.Found:
    """Look whether `run` could begin, and do nothing else.

    Raises:
        PluginError: a plugin cannot be loaded (exit code 2).
        UsageError: the connection string cannot be used (exit code 2).
        EnvironmentFailedError: the database cannot be used (exit code 3).

    """
    return check_database(dsn, [plugin.name for plugin in load(specifications)])


def check_database(dsn: str, plugins: Sequence[str] = ()) -> start_checks.Found:
    """Look whether a dispatcher can do its work on a database.

    Raises:
        UsageError: the connection string cannot be read.
        EnvironmentFailedError: it cannot be used. No message holds the password.

    """
    try:
        return start_checks.check(dsn, plugins, postgres.connector(dsn))
    except start_checks.NotYetError as error:
        raise errors.EnvironmentFailedError(
            f"The database cannot be used yet: {error}. `dispatch` would wait for it."
        ) from None


def serve(
    dsn: str,
    loaded: Sequence[plugins.Plugin],
    *,
    metrics_port: int | None = None,
    once: bool = False,
    adopt_retries: bool = True,
    payloads: channels.PayloadVersion = channels.DEFAULT_PAYLOADS,
    make_dispatcher: Callable[..., core.Dispatcher] = core.Dispatcher,
) -> int:
    """Dispatch to plugins that are loaded already; otherwise as `run`."""
    manager = systemd.Systemd()
    patience = connecting.Patience()
    names = [plugin.name for plugin in loaded]
    with logs.LogToStderr(), signals.Signals() as received:
        received.tell(patience.stop)
        received.tell(manager.stopping)
        connect = _giving_up(postgres.connector(dsn, patience), received)
        clock = postgres.SystemClock(wake=received.readable)
        found = _wait_for_database(dsn, names, connect, received=received, clock=clock, manager=manager)
        if found is None:
            logs.say("stopped", "stopped by %s before the database could be used", received.name)
            return 0
        _say_whose_tasks(found, adopt_retries=adopt_retries)
        counters = metrics.Metrics()
        if metrics_port is not None:
            _serve_metrics(counters, metrics_port)
        session = postgres.Session(connect, patience=patience)
        dispatcher = make_dispatcher(
            inbox=postgres.PostgresInbox(session, wake=received.readable),
            store=postgres.PostgresStore(session, owners=None if adopt_retries else names),
            clock=clock,
            plugins=loaded,
            metrics=counters,
            payloads=payloads,
        )
        received.tell(dispatcher.stop)
        received.tell(lambda: _say_who_is_at_work(dispatcher))
        logs.say("starting", "starting with %s on %s", ", ".join(names), found.server)

        def after_turn() -> None:
            if dispatcher.connected:
                manager.ready()
            manager.alive()

        try:
            if once:
                dispatcher.run_once()
            else:
                dispatcher.run(after_turn, min(core.HEARTBEAT, manager.interval or core.HEARTBEAT))
        except ports.PersonNeededError as error:
            raise errors.EnvironmentFailedError(str(error)) from None
        finally:
            session.close()
        logs.say("stopped", "stopped%s", f" by {received.name}" if received.name else "")
    return 0


def _giving_up(connect: postgres.Connect, received: signals.Signals) -> postgres.Connect:
    def connect_or_give_up(application_name: str) -> psycopg.Connection[Any]:
        with received.giving_up():
            return connect(application_name)

    return connect_or_give_up


def _wait_for_database(
    dsn: str,
    names: Sequence[str],
    connect: postgres.Connect,
    *,
    received: signals.Signals,
    clock: postgres.SystemClock,
    manager: systemd.Systemd,
) -> start_checks.Found | None:
    """Check the database, waiting while it cannot be used yet; None: a signal came first."""
    said_at = float("-inf")
    attempt = 0
    while not received.name:
        try:
            return start_checks.check(dsn, names, connect)
        except ports.ConnectionLostError:
            return None
        except start_checks.NotYetError as error:
            if time.monotonic() - said_at >= core.SAID_EVERY:
                said_at = time.monotonic()
                logs.say(
                    "waiting",
                    "waiting for the database, no plugin is called before: %s",
                    error,
                    level=logging.WARNING,
                )
            manager.waiting(str(error))
        attempt += 1
        clock.sleep(core.PAUSES[min(attempt, len(core.PAUSES) - 1)])
    return None


def _say_whose_tasks(found: start_checks.Found, *, adopt_retries: bool) -> None:
    if not found.foreign_tasks:
        return
    whose = ", ".join(f"{name} ({count})" for name, count in found.foreign_tasks.items())
    if adopt_retries:
        logs.say("adopted_retries", "stored tasks of plugins that are not loaded are dropped: %s", whose)
    else:
        logs.say(
            "foreign_retries",
            "stored tasks of plugins that are not loaded are left alone, for they may be another dispatcher's: %s. "
            "If they are this one's, of plugins that you took out, --adopt-retries drops them",
            whose,
            level=logging.WARNING,
        )


def _say_who_is_at_work(dispatcher: core.Dispatcher) -> None:
    if dispatcher.at_work is not None:
        plugin, hook = dispatcher.at_work
        logs.say_from_a_signal_handler(
            "stopping", f"stopping as soon as {hook} of plugin {plugin} has returned"
        )


def _serve_metrics(counters: metrics.Metrics, port: int) -> None:
    try:
        counters.serve(port)
    except (OSError, OverflowError) as error:
        raise errors.UsageError(
            f"the metrics cannot be served on port {port} of the loopback address: {error}. Choose another port."
        ) from None
