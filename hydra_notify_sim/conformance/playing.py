"""Plays scenarios with several processes at a time, each on a database of its own, and yields what came of each.

Stories in which the server is restarted would take the other processes' connections with it: they are played by
this process, after all others.
"""

import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from hydra_notify_sim import database, errors
from hydra_notify_sim.engine import events
from hydra_notify_sim.engine.environment import Environment
from hydra_notify_sim.engine.run import Loaded, Options, Runner
from hydra_notify_sim.exploration import workers
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.targets import registry

Ended = events.Ended
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job:
    """One scenario against one dispatcher."""

    scenario: int
    """Its place among the scenarios."""
    dispatcher: str = ""
    """The dispatcher's name; empty: the one that the options name."""


class Stage(Generic[T]):
    """A server with its database, and the processes that play on it."""

    def __init__(
        self,
        scenarios: Sequence[Loaded],
        options: Options,
        *,
        workers: int,
        reduce: Callable[[Ended], T],
        put_away: ExitStack,
    ) -> None:
        """Start or reach the server.

        Args:
            scenarios: what jobs name by number.
            options: how they are played.
            workers: processes; with 1, all is played in this one.
            reduce: takes what is of interest out of how a scenario ended; a function of a module.
            put_away: ends what is started here.

        Raises:
            UsageError: the dispatcher or the database is not one that can be used.
            EnvironmentFailedError: there is no server.

        """
        registry.choose(options.dispatcher)
        self._scenarios = scenarios
        self._workers = workers
        self._reduce = reduce
        server = put_away.enter_context(database.start_server(dsn=options.dsn, schema=options.schema))
        self.environment = Environment(database.prepare(server, wipe=options.wipe))
        put_away.callback(self.environment.close)
        self._here = _Player(scenarios, options, self.environment, reduce)
        self._theirs = replace(options, dsn=server.dsn(server.database), wipe=None)
        self.server = f"PostgreSQL {server.version} ({server.source})"

    def play(self, jobs: Sequence[Job], *, alone: bool = False) -> Iterator[tuple[Job, T | None]]:
        """Play; yield each job with None when it begins, and again with its result when it has ended.

        ``alone``: one after the other in this process, nothing else going on.

        Raises:
            EnvironmentFailedError: a process was lost.

        """
        last = [job for job in jobs if restarts_the_server(self._scenarios[job.scenario][1].story)]
        together = [job for job in jobs if job not in set(last)]
        if self._workers > 1 and len(together) > 1 and not alone:
            yield from self._by_workers(together)
        else:
            last = [*together, *last]
        for job in last:
            yield job, None
            yield job, self._here.play(job)

    def _by_workers(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, T | None]]:
        context = multiprocessing.get_context("spawn")
        numbers = context.SimpleQueue()
        for number in range(self._workers):
            numbers.put(number)
        pool = ProcessPoolExecutor(
            self._workers, context, _begin, (numbers, self._scenarios, self._theirs, self._reduce)
        )
        waiting = list(reversed(jobs))
        under_way: dict[Future[T], Job] = {}
        ours = True
        try:
            while waiting or under_way:
                while waiting and len(under_way) < self._workers:
                    job = waiting.pop()
                    yield job, None
                    with workers.uninterrupted():  # it starts a process, which would be forgotten
                        under_way[pool.submit(_play, job)] = job
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    yield under_way.pop(future), future.result()
            ours = False
        except BrokenProcessPool:
            raise errors.EnvironmentFailedError(
                "a process that was playing scenarios ended before its time: killed, or out of memory? "
                "--workers 1 needs the least."
            ) from None
        finally:
            if ours:
                # Whoever interrupts does not want to wait for a dispatcher's deadlines. What a worker has started
                # ends with it (`hydra_notify_sim.targets.guard`), its database is emptied before it is used again.
                for process in list((pool._processes or {}).values()):  # noqa: SLF001  # there is no other way to them
                    process.kill()
            pool.shutdown(wait=True, cancel_futures=True)


def restarts_the_server(story: Sequence[verbs.StepBase]) -> bool:
    """Tell whether a story stops the server or gives it other settings, as only one of our own is."""
    return any(
        isinstance(step, verbs.Postgres | verbs.Settings)
        or restarts_the_server(step.do)
        or (isinstance(step, verbs.Repeat) and restarts_the_server(step.repeat.steps))
        for step in story
    )


# Processes


class _Player(Generic[T]):
    """Plays on one environment, with one runner for each dispatcher."""

    def __init__(
        self,
        scenarios: Sequence[Loaded],
        options: Options,
        environment: Environment,
        reduce: Callable[[Ended], T],
    ) -> None:
        self._scenarios = scenarios
        self._options = options
        self._environment = environment
        self._reduce = reduce
        self._runners: dict[str, Runner] = {}

    def play(self, job: Job) -> T:
        """Play one scenario and return what is of interest."""
        name = job.dispatcher or self._options.dispatcher
        if name not in self._runners:
            options = replace(self._options, dispatcher=name)
            self._runners[name] = Runner(self._environment, registry.choose(name), options)
        return self._reduce(self._runners[name].play(self._scenarios[job.scenario]))


_player: _Player[Any]
"""A worker's own."""


def _begin(
    numbers: Any, scenarios: Sequence[Loaded], options: Options, reduce: Callable[[Ended], Any]
) -> None:
    """Make a worker ready: a database of its own on the server that all use."""
    # Ctrl-C reaches every process of the terminal: the first one ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    workers.hear()
    workers.end_with_parent()
    global _player  # noqa: PLW0603  # a worker's initializer has nowhere else to put it
    server = database.start_server(dsn=options.dsn, schema=options.schema)
    prepared = database.prepare(server, f"{server.database}_conformance_{numbers.get()}")
    prepared.terminate_others()
    _player = _Player(scenarios, options, Environment(prepared), reduce)


def _play(job: Job) -> Any:
    return _player.play(job)


def whole(event: Ended) -> Ended:
    """Return how a scenario ended so that it can go to another process: errors with their traceback as text."""
    if not isinstance(event, events.ScenarioFailed):
        return event
    error = event.error
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # what we have written ourselves
    except Exception:  # noqa: BLE001  # whatever hinders it: the words are what counts
        kind = type(error) if isinstance(error, errors.HydraNotifySimError) else RuntimeError
        same = next(
            (one for one in (errors.UsageError, errors.EnvironmentFailedError) if issubclass(kind, one)), kind
        )
        told = same(str(error) or type(error).__name__)
        told.__notes__ = list(error.__notes__)
        return replace(event, error=told)
    return event
