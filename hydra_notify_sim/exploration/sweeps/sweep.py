"""A sweep: all variants of some scenarios, tried one after the other or by several processes."""

import atexit
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra_notify_sim import errors
from hydra_notify_sim.contract import profiles
from hydra_notify_sim.database import processors
from hydra_notify_sim.engine.environment import opened
from hydra_notify_sim.engine.run import Options, Runner
from hydra_notify_sim.exploration import workers
from hydra_notify_sim.exploration.sweeps.trying import Tried, Trier
from hydra_notify_sim.exploration.sweeps.variants import Kind, Variant
from hydra_notify_sim.scenario.model import Scenario
from hydra_notify_sim.targets import registry

Named = tuple[Path, Scenario]
Result = tuple[Tried, list[Variant]]

BATCH = 16
"""Variants that a worker is given at once."""
BATCH_SECONDS = 0.3
"""After these it gives back what it has not begun: Ctrl-C is heeded no later than that and one variant."""

AHEAD = 2
"""Batches that wait for each worker, so that none is idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is swept, and how."""

    kind: Kind
    bound: int = 1
    """Crashes in one story, 1 or 2; steps that are moved."""
    workers: int = 1
    options: Options


def sweep(scenarios: Sequence[Named], settings: Settings) -> Iterator[Tried]:
    """Try every variant and yield what came of each; a scenario as it is written, but for ``expect``, comes first.

    Raises:
        UsageError: the dispatcher or the database cannot be used, or the dispatcher has no numbered points.
        EnvironmentFailedError: there is no server, or a worker was lost.

    """
    choice = registry.choose(settings.options.dispatcher)
    profiles.named(settings.options.profile)
    if choice.kind == "process":
        raise errors.UsageError(
            f"{settings.options.dispatcher} is a process, which cannot be held at numbered points: "
            "sweep a dispatcher that lives in this one (see `dispatchers`)"
        )
    if settings.workers > 1:
        yield from _by_workers(scenarios, settings)
        return
    options = settings.options
    with (
        processors.on_one(os.getpid()),
        opened(options.dsn, options.schema, options.wipe) as environment,
    ):
        trier = Trier(Runner(environment, choice, options), scenarios, settings.kind, settings.bound)
        waiting = _as_written(scenarios)
        while waiting:
            tried, more = trier.try_one(waiting.pop())
            waiting += reversed(more)
            yield tried


def _as_written(scenarios: Sequence[Named]) -> list[Variant]:
    return [Variant(number) for number in reversed(range(len(scenarios)))]


# Processes

_trier: Trier | errors.HydraNotifySimError
"""A worker's own, or why it has none."""
_put_away = ExitStack()
"""A worker's server and connections."""


def _by_workers(scenarios: Sequence[Named], settings: Settings) -> Iterator[Tried]:
    context = multiprocessing.get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(1, settings.workers + 1):
        numbers.put(number)
    pool = ProcessPoolExecutor(settings.workers, context, _begin, (numbers, scenarios, settings))
    waiting = _as_written(scenarios)
    under_way: set[Future[tuple[list[Result], Sequence[Variant]]]] = set()
    try:
        while waiting or under_way:
            while waiting and len(under_way) < settings.workers * AHEAD:
                size = max(1, min(BATCH, len(waiting) // settings.workers))
                batch = [waiting.pop() for _ in range(size)]
                with workers.uninterrupted():  # it may start a worker
                    under_way.add(pool.submit(_try_batch, batch))
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for results, left in [future.result() for future in done]:
                waiting += reversed(left)
                for tried, more in results:
                    waiting += reversed(more)
                    yield tried
    except BrokenProcessPool:
        raise errors.EnvironmentFailedError(
            "a worker of the sweep ended before its time: killed, or out of memory? "
            "What it said stands above; --workers 1 needs the least"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(numbers: Any, scenarios: Sequence[Named], settings: Settings) -> None:
    """Make a worker ready: a server of its own, or a database of its own on a user's server."""
    # Ctrl-C reaches every process of the terminal: the first one waits for what its workers have in hand.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    workers.hear()
    workers.end_with_parent()
    global _trier  # noqa: PLW0603  # a worker's initializer has nowhere else to put it
    number = int(numbers.get())
    processors.keep_to_one(os.getppid() + number)
    options = settings.options
    atexit.register(_put_away.close)
    try:
        environment = _put_away.enter_context(opened(options.dsn, options.schema, None, suffix=f"_w{number}"))
    except errors.HydraNotifySimError as error:
        _trier = error
        return
    runner = Runner(environment, registry.choose(options.dispatcher), options)
    _trier = Trier(runner, scenarios, settings.kind, settings.bound)


def _try_batch(batch: Sequence[Variant]) -> tuple[list[Result], Sequence[Variant]]:
    """Return what came of the first variants, and those that were not begun."""
    if isinstance(_trier, Exception):
        raise _trier
    until = time.monotonic() + BATCH_SECONDS
    results: list[Result] = []
    while len(results) < len(batch) and (not results or time.monotonic() < until):
        results.append(_trier.try_one(batch[len(results)]))
    return results, batch[len(results) :]
