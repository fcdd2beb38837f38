"""Prometheus metrics under hydra-notify's own names (docs/reference/hydra.md, section 5)."""

import sys
from contextlib import AbstractContextManager

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest, start_http_server

_PLUGIN = ("channel", "plugin")


class Metrics:
    """The counters of one dispatcher, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.loop_iterations = self._counter("event_loop_iterations", "Turns of the event loop", ())
        self._received = Gauge("event_received", "Unix time of the last event", registry=self.registry)
        self._event = self._counter("notify_event", "Notifications received", ("channel",))
        self._event_error = self._counter(
            "notify_event_error", "Notifications that could not be read", ("channel",)
        )
        self._executions = self._counter("notify_plugin_executions", "Calls of a plugin", _PLUGIN)
        self._success = self._counter("notify_plugin_success", "Calls that returned", _PLUGIN)
        self._error = self._counter("notify_plugin_error", "Calls that failed", _PLUGIN)
        self._drop = self._counter("notify_plugin_drop", "Tasks given up", _PLUGIN)
        self._requeue = self._counter("notify_plugin_requeue", "Failures stored for retry", _PLUGIN)
        self._retry_success = self._counter("notify_plugin_retry_success", "Retries that returned", _PLUGIN)
        self._no_such_plugin = self._counter(
            "notify_plugin_no_such_plugin", "Tasks of a plugin that is gone", _PLUGIN
        )
        self._not_interested = self._counter(
            "notify_plugin_not_interested", "Tasks of a plugin without the hook", _PLUGIN
        )
        self._event_runtime = self._histogram(
            "notify_event_runtime", "Seconds spent on an event", ("channel",)
        )
        self._plugin_runtime = self._histogram("notify_plugin_runtime", "Seconds spent in a plugin", _PLUGIN)
        self.totals = {"malformed": 0.0, "dropped": 0.0}
        """What a harness reads: malformed notifications and dropped tasks so far."""

    def event_received(self, channel: str, now: float) -> None:
        """Count a notification that arrived at Unix time ``now``."""
        self._received.set(now)
        self._event.labels(channel).inc()

    def event_error(self, channel: str) -> None:
        """Count a notification that could not be read (P-malformed)."""
        self._event_error.labels(channel).inc()
        self.totals["malformed"] += 1

    def plugin_execution(self, channel: str, plugin: str) -> None:
        """Count a call that is about to be made."""
        self._executions.labels(channel, plugin).inc()

    def plugin_success(self, channel: str, plugin: str) -> None:
        """Count a call that returned."""
        self._success.labels(channel, plugin).inc()

    def plugin_error(self, channel: str, plugin: str) -> None:
        """Count a call that failed."""
        self._error.labels(channel, plugin).inc()

    def plugin_requeue(self, channel: str, plugin: str) -> None:
        """Count a failure that was stored for retry."""
        self._requeue.labels(channel, plugin).inc()

    def plugin_drop(self, channel: str, plugin: str) -> None:
        """Count a task that was given up."""
        self._drop.labels(printable(channel), printable(plugin)).inc()
        self.totals["dropped"] += 1

    def plugin_gone(self, channel: str, plugin: str, *, installed: bool) -> None:
        """Count a task whose plugin is gone, or is installed and not interested (R-gone-plugin)."""
        counter = self._not_interested if installed else self._no_such_plugin
        counter.labels(printable(channel), printable(plugin)).inc()

    def retry_success(self, channel: str, plugin: str) -> None:
        """Count a retry that returned."""
        self._retry_success.labels(channel, plugin).inc()

    def event_runtime(self, channel: str) -> AbstractContextManager[object]:
        """Measure the seconds that an event takes."""
        return self._event_runtime.labels(channel).time()

    def plugin_runtime(self, channel: str, plugin: str) -> AbstractContextManager[object]:
        """Measure the seconds that a call takes."""
        return self._plugin_runtime.labels(channel, plugin).time()

    def dump(self) -> None:
        """Write all metrics to stderr (channel ``hydra_notify_dump_metrics``)."""
        sys.stderr.write(generate_latest(self.registry).decode())
        sys.stderr.flush()

    def serve(self, port: int) -> None:
        """Serve the metrics over HTTP on this machine's loopback address."""
        start_http_server(port, addr="127.0.0.1", registry=self.registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
        # A Counter of this library is exported as NAME_total; dashboards made for hydra-notify ask for NAME.
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, labels: tuple[str, ...]) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry)


def printable(text: str) -> str:
    """Return text that can be written anywhere: what the database holds may be bytes that are none (surrogateescape)."""
    return text.encode("utf-8", "backslashreplace").decode()
