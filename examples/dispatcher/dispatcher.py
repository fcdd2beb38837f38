"""A minimal dispatcher of Hydra's build_finished, with the recorder plugins that the harness asks for inside it.

What a page in another language would have to do, and no more: it hears four channels, retries nothing, and is meant to
be copied. Run it under the harness: hydra-notify-sim replay --dispatcher 'exec:python dispatcher.py' SCENARIO
"""

import json
import logging
import os
import signal
import socket
import threading

import psycopg
from psycopg.rows import dict_row

HEARD = ("build_queued", "build_started", "build_finished", "eval_started")
LOG = logging.getLogger("example")
stopping = threading.Event()


class Recorder:
    """A plugin that asks the harness what to do (docs/reference/recorder.md)."""

    def __init__(self, name):
        self.name, self.calls = name, 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.environ["HYDRA_NOTIFY_SIM_SOCKET"])
        self.stream = self.socket.makefile("rw", encoding="utf-8")
        self.hooks = self.ask({"hello": 1, "plugin": name, "pid": os.getpid()})["hooks"]

    def ask(self, message):
        self.stream.write(json.dumps(message, default=str) + "\n")
        self.stream.flush()
        return json.loads(self.stream.readline())

    def call(self, hook, args):
        self.calls += 1
        answer = self.ask({"call": self.calls, "hook": hook, "args": args})
        if answer["do"] == "raise":
            raise RuntimeError(answer["message"])


def build(database, number):
    return database.execute("SELECT * FROM builds WHERE id = %s", [number]).fetchone()


def load(database, channel, payload):
    """Return the arguments of a hook, or None where a row is missing or there is nothing to tell."""
    first, *rest = payload.split("\t")
    if channel == "eval_started":
        jobset = database.execute("SELECT * FROM jobsets WHERE id = %s", [int(rest[0])]).fetchone()
        return {"trace_id": first, "jobset": jobset} if jobset else None
    main = build(database, int(first))
    if main is None or (channel == "build_finished" and not main["finished"]):
        return None
    if channel != "build_finished":
        return {"build": main}
    dependents = [build(database, int(number)) for number in rest]
    return {"build": main, "dependents": dependents} if None not in dependents else None


def dispatch(database, plugins, channel, payload):
    """Call every plugin that has the hook; then clear the marks that were shown, and no newer ones."""
    try:
        args = load(database, channel, payload)
    except (ValueError, IndexError, psycopg.DataError) as error:
        LOG.warning("%s %r: %s", channel, payload, error)
        return
    if args is None:
        return
    failed = False
    for plugin in plugins:
        if channel in plugin.hooks:
            try:
                plugin.call(channel, args)
            except RuntimeError as error:
                LOG.warning("%s: %s", plugin.name, error)
                failed = True
    if channel == "build_finished" and not failed:
        for row in (args["build"], *args["dependents"]):
            # The same outcome still: a build that was restarted and has finished again keeps its mark.
            database.execute(
                "UPDATE builds SET notificationpendingsince = NULL WHERE id = %s AND finished = 1"
                " AND (buildstatus, starttime, stoptime) IS NOT DISTINCT FROM (%s, %s, %s)",
                [row["id"], row["buildstatus"], row["starttime"], row["stoptime"]],
            )


def stop(_number, _frame):
    stopping.set()


def main():
    signal.signal(signal.SIGTERM, stop)
    plugins = [Recorder(name) for name in os.environ["HYDRA_NOTIFY_SIM_PLUGINS"].split(",")]
    dsn = os.environ["HYDRA_NOTIFY_SIM_DSN"]
    with (
        psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as database,
        psycopg.connect(dsn, autocommit=True) as heard,
    ):
        for channel in HEARD:
            heard.execute(f"LISTEN {channel}")
        for row in database.execute(
            "SELECT id FROM builds WHERE notificationpendingsince IS NOT NULL ORDER BY id"
        ):
            dispatch(database, plugins, "build_finished", str(row["id"]))
        while not stopping.is_set():
            for notification in list(heard.notifies(timeout=0.1, stop_after=1)):
                dispatch(database, plugins, notification.channel, notification.payload)


if __name__ == "__main__":
    main()
