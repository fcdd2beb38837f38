"""A sweep: all variants of some scenarios, tried one after the other or by several processes."""

import itertools
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra_notify_sim import database, errors
from hydra_notify_sim.contract import profiles
from hydra_notify_sim.engine.environment import Environment
from hydra_notify_sim.engine.run import Options, Runner
from hydra_notify_sim.exploration.sweeps.trying import Tried, Trier
from hydra_notify_sim.exploration.sweeps.variants import Kind, Variant
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.model import Scenario
from hydra_notify_sim.targets import registry

Named = tuple[Path, Scenario]
Result = tuple[Tried, list[Variant]]

BATCH = 16
"""Variants that a worker is given at once: about a third of a second, after which Ctrl-C is heeded."""

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
    with ExitStack() as put_away:
        server = put_away.enter_context(
            database.start_server(dsn=settings.options.dsn, schema=settings.options.schema)
        )
        mine = Environment(database.prepare(server, wipe=settings.options.wipe))
        put_away.callback(mine.close)
        trier = Trier(Runner(mine, choice, settings.options), scenarios, settings.kind, settings.bound)
        # A restart takes every worker's connections with it: such stories are swept when no other is.
        alone = {number for number, (_, one) in enumerate(scenarios) if restarts_the_server(one.story)}
        together = [Variant(number) for number in range(len(scenarios)) if number not in alone]
        if settings.workers > 1:
            dsn = server.dsn(server.database)
            yield from _by_workers(together, dsn, [*scenarios], settings)
        else:
            yield from _in_turn(together, trier.try_one)
        yield from _in_turn([Variant(number) for number in sorted(alone)], trier.try_one)


def restarts_the_server(story: Sequence[verbs.StepBase]) -> bool:
    """Tell whether a story has the database server restarted."""
    return any(
        isinstance(step, verbs.Postgres)
        or restarts_the_server(step.do)
        or (isinstance(step, verbs.Repeat) and restarts_the_server(step.repeat.steps))
        for step in story
    )


def _in_turn(first: Sequence[Variant], try_one: Callable[[Variant], Result]) -> Iterator[Tried]:
    waiting = list(reversed(first))
    while waiting:
        tried, more = try_one(waiting.pop())
        waiting += reversed(more)
        yield tried


# Processes

_trier: Trier
"""A worker's own."""


def _by_workers(
    first: Sequence[Variant], dsn: str, scenarios: Sequence[Named], settings: Settings
) -> Iterator[Tried]:
    context = multiprocessing.get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(settings.workers):
        numbers.put(number)
    settings = replace(settings, options=replace(settings.options, dsn=dsn, wipe=None))
    pool = ProcessPoolExecutor(settings.workers, context, _begin, (numbers, scenarios, settings))
    waiting = list(reversed(first))
    under_way: set[Future[list[Result]]] = set()
    try:
        while waiting or under_way:
            while waiting and len(under_way) < settings.workers * AHEAD:
                size = max(1, min(BATCH, len(waiting) // settings.workers))
                batch = [waiting.pop() for _ in range(size)]
                under_way.add(pool.submit(_try_batch, batch))
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for tried, more in itertools.chain.from_iterable(future.result() for future in done):
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
    """Make a worker ready: a database of its own on the server that all use."""
    # Ctrl-C reaches every process of the terminal: the first one waits for what its workers have in hand.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global _trier  # noqa: PLW0603  # a worker's initializer has nowhere else to put it
    server = database.start_server(dsn=settings.options.dsn, schema=settings.options.schema)
    prepared = database.prepare(server, f"{server.database}_explore_{numbers.get()}")
    choice = registry.choose(settings.options.dispatcher)
    runner = Runner(Environment(prepared), choice, settings.options)
    _trier = Trier(runner, scenarios, settings.kind, settings.bound)


def _try_batch(batch: Sequence[Variant]) -> list[Result]:
    return [_trier.try_one(variant) for variant in batch]
