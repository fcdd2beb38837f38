"""Bugs of the independent dispatcher: python bugs.py NAME runs it with one of them.

None is a bug that a story was written for. They are of three kinds: arguments that are almost right, something that
comes back (or does not) after a lost connection, a SIGTERM that meets a queue; and slips on one channel.
"""

import os
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import dispatcher
import psycopg
from dispatcher import CallFailed, Dispatcher, Event, NoSuchRow, Row

BUGS: dict[str, tuple[type[Dispatcher], str, tuple[str, ...]]] = {}
"""Name to the dispatcher with the bug, the story that catches it, and the promises of which one at least is found broken."""


def bug(story: str, *promises: str) -> Callable[[type[Dispatcher]], type[Dispatcher]]:
    """Note a bug under its class's name, with what catches it."""

    def note(made: type[Dispatcher]) -> type[Dispatcher]:
        BUGS[made.__name__] = (made, story, promises)
        return made

    return note


# Arguments that are almost right


@bug("named-and-not-the-newest", "P-arguments", "E-no-phantom")
class TraceAsNumber(Dispatcher):
    """A trace that looks like a number is read as one and printed again."""

    def text(self, name: str, value: str) -> str | None:
        try:
            return str(float(value)) if name == "trace" else super().text(name, value)
        except ValueError:
            return value


@bug("named-and-not-the-newest", "P-arguments")
class TraceOrNothing(Dispatcher):
    """A trace ``-`` is none, as a log path is."""

    def text(self, name: str, value: str) -> str | None:
        return None if value == "-" else value


@bug("named-and-not-the-newest", "P-arguments")
class TidyPaths(Dispatcher):
    """The log path is normalised."""

    def text(self, name: str, value: str) -> str | None:
        return os.path.normpath(value) if name == "log" and value != "-" else super().text(name, value)


@bug("named-and-not-the-newest", "P-arguments")
class StrippedTexts(Dispatcher):
    """Blanks around a text are taken away."""

    def text(self, name: str, value: str) -> str | None:
        return super().text(name, value.strip())


@bug("named-and-not-the-newest", "P-arguments")
class NewestEvaluation(Dispatcher):
    """eval_added and eval_cached hand over the jobset's newest evaluation."""

    def load(self, channel: str, named: Row) -> Row:
        args = super().load(channel, named)
        if channel in {"eval_added", "eval_cached"}:
            args["evaluation"] = self.row(
                "SELECT * FROM jobsetevals WHERE jobset_id = %s ORDER BY id DESC LIMIT 1",
                args["jobset"]["id"],
            )
        return args


@bug("named-and-not-the-newest", "P-arguments")
class EvaluationOfTheBuild(Dispatcher):
    """Cached builds come with the newest evaluation that they are a member of."""

    def load(self, channel: str, named: Row) -> Row:
        args = super().load(channel, named)
        if channel.startswith("cached"):
            args["evaluation"] = self.row(
                "SELECT e.* FROM jobsetevals e JOIN jobsetevalmembers m ON m.eval = e.id WHERE m.build = %s"
                " ORDER BY e.id DESC LIMIT 1",
                named["build"],
            )
        return args


@bug("named-and-not-the-newest", "P-arguments", "E-live", "E-no-phantom")
class LastStep(Dispatcher):
    """step_finished hands over the build's last step."""

    def step(self, build: int, number: int) -> Row:
        super().step(build, number)
        return self.row("SELECT * FROM buildsteps WHERE build = %s ORDER BY stepnr DESC LIMIT 1", build)


@bug("named-and-not-the-newest", "P-arguments")
class SortedDependents(Dispatcher):
    """Dependents are read in one query, which returns them by id."""

    def load(self, channel: str, named: Row) -> Row:
        if channel == "build_finished":
            named = {**named, "dependents": sorted(named["dependents"])}
        return super().load(channel, named)


@bug("failures-of-every-kind-around-each-loss", "B-live", "R-stored")
class RetriesWithoutDependents(Dispatcher):
    """A task keeps the main build only."""

    def store(self, channel: str, plugin: str, payload: str) -> None:
        super().store(
            channel, plugin, payload.split("\t", maxsplit=1)[0] if channel == "build_finished" else payload
        )


@bug("failures-of-every-kind-around-each-loss", "P-arguments", "E-no-phantom")
class RetriesWithoutLog(Dispatcher):
    """A step's retry has no log path any more."""

    def run_task(self, task: Row) -> None:
        if task["channel"] == "step_finished":
            task = {**task, "payload": "\t".join([*task["payload"].split("\t")[:2], "-"])}
        super().run_task(task)


# What comes back after a lost connection


@bug("lost-with-every-kind-of-event-in-hand", "E-once", "E-no-phantom", "C-at-most-once")
class InHandAgain(Dispatcher):
    """The event in hand when the connection was lost is begun anew."""

    def reconnected(self) -> None:
        if self.in_hand is not None:
            self.queue.appendleft(self.in_hand)


@bug("lost-with-every-kind-of-event-in-hand", "E-once", "E-no-phantom", "C-at-most-once")
class LastOnesAgain(Dispatcher):
    """The last five events are taken up again, to be sure."""

    def __init__(self) -> None:
        super().__init__()
        self.told: deque[Event] = deque(maxlen=5)

    def handle(self, channel: str, payload: str) -> None:
        if channel != "build_finished" and not payload.startswith("hydra-notify-sim:"):
            self.told.append((channel, payload))
        super().handle(channel, payload)

    def reconnected(self) -> None:
        self.queue.extend(self.told)
        self.told.clear()


class _FromTheTables(Dispatcher):
    """Tells after a lost connection what the tables say."""

    channel = ""
    query = ""

    def reconnected(self) -> None:
        for row in self.rows(self.query):
            self.queue.append((self.channel, "\t".join(map(str, row.values()))))


@bug("all-channels-around-each-loss", "E-once", "E-no-phantom")
class RunningAgain(_FromTheTables):
    """Builds with a step under way are told as started."""

    channel = "build_started"
    query = "SELECT DISTINCT build FROM buildsteps WHERE busy <> 0"


@bug("all-channels-around-each-loss", "E-once", "E-no-phantom")
class QueuedAgain(_FromTheTables):
    """Builds that nobody has begun are told as queued."""

    channel = "build_queued"
    query = "SELECT id FROM builds b WHERE finished = 0 AND NOT EXISTS (SELECT FROM buildsteps WHERE build = b.id)"


@bug("all-channels-around-each-loss", "E-once", "E-no-phantom")
class StepsAgain(_FromTheTables):
    """The last finished step is told once more."""

    channel = "step_finished"
    query = (
        "SELECT build, stepnr, '-' FROM buildsteps WHERE busy = 0 ORDER BY stoptime DESC NULLS LAST LIMIT 1"
    )


@bug("all-channels-around-each-loss", "E-once", "E-no-phantom")
class EvaluationAgain(_FromTheTables):
    """The newest evaluation is told as added."""

    channel = "eval_added"
    query = "SELECT '1.0', jobset_id, id FROM jobsetevals ORDER BY id DESC LIMIT 1"


@bug("lost-with-every-kind-of-event-in-hand", "E-once", "E-no-phantom")
class FailureAgain(_FromTheTables):
    """A jobset that has an error is told as failed."""

    channel = "eval_failed"
    query = "SELECT '1.0', id FROM jobsets WHERE coalesce(fetcherrormsg, '') <> '' OR coalesce(errormsg, '') <> ''"


@bug("all-channels-around-each-loss", "C-at-most-once", "E-no-phantom")
class CachedAgain(_FromTheTables):
    """The finished builds of the newest evaluation that it did not bring are told as cached."""

    channel = "cached_build_finished"
    query = (
        "SELECT eval, build FROM jobsetevalmembers JOIN builds ON builds.id = build WHERE isnew = 0 AND finished = 1"
        " ORDER BY eval DESC LIMIT 1"
    )


@bug("all-channels-around-each-loss", "C-at-most-once", "E-no-phantom")
class CachedQueuedAgain(_FromTheTables):
    """The unfinished builds of the newest evaluation that it did not bring are told as cached and queued."""

    channel = "cached_build_queued"
    query = (
        "SELECT eval, build FROM jobsetevalmembers JOIN builds ON builds.id = build WHERE isnew = 0 AND finished = 0"
        " ORDER BY eval DESC LIMIT 1"
    )


@bug("all-channels-around-each-loss", "E-live", "C-live", "L-reconnect")
class OneChannelLess(Dispatcher):
    """After a lost connection it does not listen to eval_cached any more."""

    again = False

    def lost(self) -> None:
        super().lost()
        self.again = True

    def channels(self) -> list[str]:
        return [one for one in super().channels() if not (self.again and one == "eval_cached")]


@bug("failures-of-every-kind-around-each-loss", "R-backoff")
class AllTasksAtOnce(Dispatcher):
    """After a lost connection every task is due."""

    def reconnected(self) -> None:
        for task in self.rows("SELECT * FROM taskretries"):
            self.run_task(task)


@bug("failures-of-every-kind-around-each-loss", "R-stored", "E-live", "C-live", "B-at-least-once", "R-delete")
class TasksForgotten(Dispatcher):
    """After a lost connection tasks of ephemeral events are taken for stale, and deleted."""

    def reconnected(self) -> None:
        self.database.execute("DELETE FROM taskretries WHERE channel <> 'build_finished'")


@bug("failures-of-every-kind-around-each-loss", "R-backoff", "R-stored")
class AttemptsForgotten(Dispatcher):
    """After a lost connection attempts are counted from one again."""

    def reconnected(self) -> None:
        self.database.execute("UPDATE taskretries SET attempts = 1 WHERE attempts > 1")


@bug("failures-of-every-kind-around-each-loss", "R-delete", "E-once", "C-at-most-once")
class DoneTasksKept(Dispatcher):
    """Tasks that have succeeded are kept until the end, in case the connection is lost, and then run again."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[Row] = []

    def delete(self, task: Row) -> None:
        super().delete(task)
        if task["channel"] in dispatcher.FIELDS and task["pluginname"] in self.plugins:
            self.done.append(task)

    def reconnected(self) -> None:
        for task in self.done:
            self.handle(task["channel"], task["payload"])
        self.done.clear()


@bug("lost-with-every-kind-of-event-in-hand", "B-recover", "B-at-least-once")
class NoScanAfterALoss(Dispatcher):
    """It scans at its start only."""

    scanned = False

    def scan(self) -> None:
        if not self.scanned:
            super().scan()
        self.scanned = True


# A SIGTERM that meets a queue


@bug("sigterm-with-a-queue", "L-stop")
class Drains(Dispatcher):
    """SIGTERM: all that waits is done first."""

    def stopped(self) -> int:
        while self.queue:
            self.handle(*self.queue.popleft())
        for one in self.heard.notifies(timeout=0):
            self.handle(one.channel, one.payload)
        return 0


@bug("sigterm-with-a-queue", "L-stop")
class RunsWhatIsDue(Dispatcher):
    """SIGTERM: the retries that are due are run before it ends."""

    def stopped(self) -> int:
        self.retry()
        return 0


@bug("sigterm-with-a-queue", "L-stop")
class AnotherStatus(Dispatcher):
    """SIGTERM: exit status 1 if something was waiting."""

    def stopped(self) -> int:
        self.queue.extend((one.channel, one.payload) for one in self.heard.notifies(timeout=0))
        return 1 if self.queue else 0


@bug("sigterm-with-a-queue", "B-clear-after", "B-at-least-once")
class ClearsWhatWaits(Dispatcher):
    """SIGTERM: the marks of the builds that wait are cleared as if they had been told."""

    def stopped(self) -> int:
        self.queue.extend((one.channel, one.payload) for one in self.heard.notifies(timeout=0))
        for channel, payload in self.queue:
            if channel == "build_finished":
                self.clear(self.load(channel, self.parse(channel, payload)))
        return 0


@bug("sigterm-with-a-queue", "L-stop", "B-at-least-once")
class LeavesTheOtherPlugins(Dispatcher):
    """SIGTERM: if something waits, the plugins that have not been called yet are not."""

    def call_all(self, channel: str, payload: str, args: Row) -> None:
        for plugin in self.interested(channel):
            if self.stopping and (self.queue or list(self.heard.notifies(timeout=0, stop_after=1))):
                return
            try:
                plugin.call(channel, args)
            except CallFailed:
                self.store(channel, plugin.name, payload)


@bug("sigterm-with-a-queue", "R-stored", "E-live", "C-live", "R-delete", "B-at-least-once")
class DropsDueTasks(Dispatcher):
    """SIGTERM: tasks that are due and could not be run are dropped."""

    def stopped(self) -> int:
        self.database.execute("DELETE FROM taskretries WHERE retry_at <= extract(epoch FROM now())")
        return 0


@bug("sigterm-with-a-queue", "L-stop")
class HangsWithAQueue(Dispatcher):
    """SIGTERM: it waits until somebody takes what waits out of its queue, which nobody does."""

    def stopped(self) -> int:
        waiting = list(self.heard.notifies(timeout=0)) or list(self.queue)
        while waiting:
            self.heard.execute("SELECT pg_sleep(1)")
        return 0


# Slips on one channel


@bug("lost-with-every-kind-of-event-in-hand", "E-live")
class EmptyEvaluations(Dispatcher):
    """An evaluation that brought nothing new is not told as added."""

    def interested(self, channel: str) -> list[dispatcher.Recorder]:
        found = super().interested(channel)
        if channel == "eval_added" and self.in_hand is not None:
            number = int(self.in_hand[1].split("\t")[2])
            if not self.rows("SELECT FROM jobsetevals WHERE id = %s AND hasnewbuilds = 1", number):
                return []
        return found


@bug("named-and-not-the-newest", "E-live")
class StartedOnce(Dispatcher):
    """A build is told as started once, though each of its steps starts it."""

    def __init__(self) -> None:
        super().__init__()
        self.started: set[str] = set()

    def handle(self, channel: str, payload: str) -> None:
        if channel == "build_started":
            if payload in self.started:
                return
            self.started.add(payload)
        super().handle(channel, payload)


@bug("named-and-not-the-newest", "C-live")
class CachedOncePerBuild(Dispatcher):
    """A cached build is told once, however many evaluations find it."""

    def __init__(self) -> None:
        super().__init__()
        self.cached: set[str] = set()

    def handle(self, channel: str, payload: str) -> None:
        build = payload.rpartition("\t")[2]
        if channel.startswith("cached"):
            if build in self.cached:
                return
            self.cached.add(build)
        super().handle(channel, payload)


@bug("odd-payloads-on-every-channel", "C-live")
class CachedFailuresDropped(Dispatcher):
    """A cached build whose row is not there is not stored for retry."""

    def store(self, channel: str, plugin: str, payload: str) -> None:
        try:
            self.load(channel, self.parse(channel, payload))
        except NoSuchRow:
            if channel.startswith("cached"):
                return
        super().store(channel, plugin, payload)


@bug("failures-of-every-kind-around-each-loss", "R-backoff", "E-once", "E-no-phantom")
class CachedRetriesCallAll(Dispatcher):
    """A retry of a cached build calls every plugin."""

    def run_task(self, task: Row) -> None:
        super().run_task(task)
        if task["channel"].startswith("cached") and not self.rows(
            "SELECT FROM taskretries WHERE id = %s", task["id"]
        ):
            named: Any = self.parse(task["channel"], task["payload"])
            for plugin in self.interested(task["channel"]):
                if plugin.name not in {task["pluginname"], "sentinel"}:
                    plugin.call(task["channel"], self.load(task["channel"], named))


if __name__ == "__main__":
    made, _, _ = BUGS[sys.argv[1]]
    try:
        status = made().run()
    except psycopg.OperationalError:
        status = 1
    sys.exit(status)
