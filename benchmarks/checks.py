"""How much CPU time the checks take for a million records, from a file and from memory, and how much memory: ``python -m benchmarks.checks [records]``."""

import itertools
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hydra_notify_sim import checks, history

RECORDS = 1_000_000
WANTED = 10.0
"""Seconds of CPU time for a million records."""
HOOKS = ("build_queued", "build_started", "build_finished")
PLUGINS = {"github": HOOKS, "chat": HOOKS}
T0 = 1_767_225_600.0
MEBIBYTE = 1024


class Farm:
    """Makes the records of a farm on which builds finish, one a second, and plugins are told."""

    def __init__(self) -> None:
        self.now = T0
        self.number = 0
        self.calls = 0
        self.life = 0
        self.marks: dict[int, int] = {}
        self.tasks: tuple[history.Task, ...] = ()

    def _a(self, kind: type[Any], **fields: Any) -> Any:
        self.number += 1
        return kind(t=self.now, **fields)

    def commit(self, action: str, *notes: tuple[str, str], **fields: Any) -> Iterator[history.AnyRecord]:
        """Write and announce."""
        notifications = tuple(history.Notification(channel, payload) for channel, payload in notes)
        number = self.number
        yield self._a(
            history.Commit, actor="queue_runner", action=action, notifications=notifications, **fields
        )
        yield self._a(history.Committed, commit=number)

    def _told(self, hook: str, build: int, **columns: int | None) -> Iterator[history.AnyRecord]:
        row = {"id": build, **columns}
        args = {"build": row, "dependents": []} if hook == "build_finished" else {"build": row}
        for plugin in PLUGINS:
            self.calls += 1
            yield self._a(
                history.Called, call=self.calls, life=self.life, plugin=plugin, hook=hook, args=args
            )
            yield self._a(history.Returned, call=self.calls)

    def observed(self) -> history.Observed:
        """Return the rows as they are."""
        observed: history.Observed = self._a(history.Observed, marks=dict(self.marks), tasks=self.tasks)
        return observed

    def start(self) -> Iterator[history.AnyRecord]:
        """Begin a life."""
        self.life += 1
        yield self.observed()
        yield self._a(history.Starting, life=self.life, plugins=PLUGINS)
        yield self._a(history.Up, life=self.life)

    def crash(self) -> Iterator[history.AnyRecord]:
        """End a life."""
        yield self._a(history.Crashed, life=self.life)

    def settled(self) -> Iterator[history.AnyRecord]:
        """Settle."""
        yield self.observed()
        yield self._a(history.Settled)

    def build(self, build: int) -> Iterator[history.AnyRecord]:
        """Let a build appear, start, and succeed; both plugins are told of all three."""
        self.now += 1
        about = f"b{build}"
        stop = int(self.now)
        rows = (history.RowChange("inserted", "builds", str(build), about),)
        yield from self.commit("evaluation", ("build_queued", str(build)), rows=rows, fault="one job")
        yield from self._told("build_queued", build, finished=0)
        yield from self.commit("insert_step", ("step_started", f"{build}\t1"), about=about)
        yield from self.commit("announce_started", ("build_started", str(build)), about=about)
        yield from self._told("build_started", build, finished=0)
        yield from self.commit("finish_step", ("step_finished", f"{build}\t1\t-"), about=about)
        outcome = history.Outcome(build, 0, stop - 1, stop, pending=True)
        yield from self.commit("mark_finished", outcomes=(outcome,), about=about)
        yield from self.commit("announce_finished", ("build_finished", str(build)), about=about)
        shown = {"finished": 1, "buildstatus": 0, "starttime": stop - 1, "stoptime": stop}
        yield from self._told("build_finished", build, **shown)
        yield self.observed()

    def store(self, count: int) -> Iterator[history.AnyRecord]:
        """Let a person store tasks, due in a year."""
        due = T0 + 365 * 86_400
        rows = tuple(history.RowChange("inserted", "taskretries", str(n)) for n in range(count))
        yield from self.commit("insert", rows=rows, fault="by hand")
        task = history.Task
        self.tasks = tuple(task(n, "build_queued", "github", str(10**6 + n), 1, due) for n in range(count))


def settling() -> Iterator[history.AnyRecord]:
    """Settle after every 20 builds."""
    farm = Farm()
    yield from farm.start()
    for build in itertools.count(1):
        yield from farm.build(build)
        if build % 20 == 0:
            yield from farm.settled()


def at_the_end() -> Iterator[history.AnyRecord]:
    """Never settle: everything stays open."""
    farm = Farm()
    yield from farm.start()
    for build in itertools.count(1):
        yield from farm.build(build)


def with_tasks() -> Iterator[history.AnyRecord]:
    """Settle after every build, with 50 tasks stored and 50 marks that are owed from the next start on."""
    farm = Farm()
    yield from farm.store(50)
    yield from farm.start()
    for build in range(1, 51):
        outcome = history.Outcome(build, 0, 1, 2, pending=True)
        farm.marks[build] = 2
        yield from farm.commit("mark_finished", outcomes=(outcome,), fault="mark_only")
    for build in itertools.count(51):
        yield from farm.build(build)
        yield from farm.settled()


def crashing() -> Iterator[history.AnyRecord]:
    """Crash and start again after every second build, and never settle."""
    farm = Farm()
    for build in itertools.count(1):
        if build % 2:
            if build > 1:
                yield from farm.crash()
            yield from farm.start()
        yield from farm.build(build)


MIXES: dict[str, Callable[[], Iterator[history.AnyRecord]]] = {
    "settled every 20 builds": settling,
    "settled at the end only": at_the_end,
    "with tasks and marks stored": with_tasks,
    "crashing, never settled": crashing,
}


def records_of(mix: str, count: int) -> Iterator[history.AnyRecord]:
    """Yield at least so many records of a mix, up to the end of a build, and settle."""
    for number, record in enumerate(MIXES[mix]()):
        yield record
        if number >= count - 2 and isinstance(record, history.Observed):
            yield history.Settled(t=record.t)
            return


def _measure(work: Callable[[], object]) -> tuple[float, float]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    work()
    seconds = time.process_time() - begun
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / MEBIBYTE


def _judge_file(path: str, answers: "multiprocessing.Queue[tuple[float, float, str]]") -> None:
    found: list[checks.Judgements] = []
    seconds, memory = _measure(lambda: found.append(checks.judge(history.SavedHistory(Path(path)))))
    answers.put((seconds, memory, _violated(found[0])))


def _judge_memory(mix: str, count: int, answers: "multiprocessing.Queue[tuple[float, float, str]]") -> None:
    written = history.History(history.Header(name=mix, plugins=PLUGINS), records_of(mix, count))
    found: list[checks.Judgements] = []
    seconds, memory = _measure(lambda: found.append(checks.judge(written)))
    answers.put((seconds, memory, _violated(found[0])))


def _violated(judgements: checks.Judgements) -> str:
    return ", ".join(v.promise for v in judgements.verdicts if v.verdict == "violated") or "nothing violated"


def _in_a_process_of_its_own(work: Callable[..., None], *arguments: Any) -> tuple[float, float, str]:
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[tuple[float, float, str]] = context.Queue()
    process = context.Process(target=work, args=(*arguments, answers))
    process.start()
    answer = answers.get()
    process.join()
    return answer


def main(count: int = RECORDS) -> None:
    """Judge each mix from a file, once at a quarter of the size and once whole, and from memory."""
    with tempfile.TemporaryDirectory() as directory:
        for mix in MIXES:
            for records in (count // 4, count):
                path = Path(directory) / "history.jsonl"
                header = history.Header(name=mix, plugins=PLUGINS)
                _write(header, mix, records, path)
                answer = _in_a_process_of_its_own(_judge_file, str(path))
                _print(mix, "file", records, answer)
            _print(mix, "memory", count // 4, _in_a_process_of_its_own(_judge_memory, mix, count // 4))


def _write(header: history.Header, mix: str, count: int, path: Path) -> None:
    class Source(history.SavedHistory):
        def __init__(self) -> None:
            self.header = header

        def __iter__(self) -> Iterator[history.AnyRecord]:
            return records_of(mix, count)

    history.save(Source(), path)


def _print(mix: str, where: str, records: int, answer: tuple[float, float, str]) -> None:
    seconds, memory, violated = answer
    rate = seconds / records * 1_000_000
    print(
        f"{mix}: {records:>9,} records from {where:6}: {rate:5.1f} s per million (wanted: under {WANTED:.0f}), "
        f"{memory:6.0f} MiB more; {violated}"
    )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))
