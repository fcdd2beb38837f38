"""Workers on this machine: processes, each with a server or a database of its own, fed through pipes.

A worker ends when its pipe closes, so none outlives the campaign, however that ends.
"""

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections import deque
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Protocol

import msgspec

from hydra_notify_sim import errors
from hydra_notify_sim.database import processors
from hydra_notify_sim.exploration.campaigns import tasks
from hydra_notify_sim.exploration.campaigns.session import Session, session
from hydra_notify_sim.exploration.workers import INTERRUPTS, hear, uninterrupted
from hydra_notify_sim.targets import registry

AHEAD = 2
"""Tasks that a worker is given before it has answered: one in hand, one waiting."""

ENDS_WITHIN = 30.0
"""Seconds in which a worker that is told to end has to; then it is killed."""


class Executor(Protocol):
    """Something that does tasks, in whatever order."""

    batch: int
    """Scenarios that one task is best given."""

    @property
    def room(self) -> int:
        """How many more tasks can be given now."""

    def submit(self, number: int, task: tasks.Task) -> None:
        """Give a task; its answer comes under this number."""

    def answers(self, timeout: float) -> list[tuple[int, tasks.Answer]]:
        """Return what was answered, waiting so many seconds for a first answer.

        Raises:
            EnvironmentFailedError: a worker is gone.

        """

    def hurry(self) -> None:
        """Have shrinking stop where it is; scenarios in hand are finished."""

    def close(self) -> None:
        """End all workers."""


class Here:
    """Does every task in this process, when its answer is asked for."""

    batch = 1

    def __init__(self, own: Session) -> None:
        self._session = own
        self._given: deque[tuple[int, tasks.Task]] = deque()

    @property
    def room(self) -> int:
        """One task at a time."""
        return 1 - len(self._given)

    def submit(self, number: int, task: tasks.Task) -> None:
        """Take a task."""
        self._given.append((number, task))

    def answers(self, timeout: float) -> list[tuple[int, tasks.Answer]]:
        """Do it."""
        del timeout
        number, task = self._given.popleft()
        return [(number, self._session.do(task))]

    def hurry(self) -> None:
        """Nothing goes on beside the caller."""

    def close(self) -> None:
        """Leave the session to whoever opened it."""


class _Worker:
    """One process and what it was asked."""

    def __init__(self, plan: tasks.Plan, number: int, hurry: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, plan, number, hurry), daemon=False)
        self.process.start()
        theirs.close()
        self.given: deque[int] = deque()


class Pool:
    """Worker processes on this machine."""

    batch = 4

    def __init__(self, plan: tasks.Plan, workers: int) -> None:
        self._hurry = multiprocessing.get_context("spawn").Event()
        self._workers: list[_Worker] = []
        try:
            with uninterrupted():
                for number in range(1, workers + 1):
                    self._workers.append(_Worker(plan, number, self._hurry))
        except BaseException:
            self.close()
            raise
        self._answer = msgspec.msgpack.Decoder(tasks.Answer)

    @property
    def room(self) -> int:
        """Tasks that can be given now."""
        return sum(AHEAD - len(worker.given) for worker in self._workers)

    def submit(self, number: int, task: tasks.Task) -> None:
        """Give a task to the worker that has least to do."""
        worker = min(self._workers, key=lambda one: len(one.given))
        worker.given.append(number)
        # A worker that is gone is noticed, and named, where its answer is waited for.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.connection.send_bytes(msgspec.msgpack.encode(task))

    def answers(self, timeout: float) -> list[tuple[int, tasks.Answer]]:
        """Return what was answered, waiting at most so many seconds."""
        by_connection = {worker.connection: worker for worker in self._workers}
        ready = wait(list(by_connection), timeout)
        return [self._received(by_connection[one]) for one in ready if isinstance(one, Connection)]

    def _received(self, worker: _Worker) -> tuple[int, tasks.Answer]:
        try:
            answer = self._answer.decode(worker.connection.recv_bytes())
        except (EOFError, ConnectionResetError) as error:
            worker.process.join(ENDS_WITHIN)
            raise errors.EnvironmentFailedError(
                f"worker {worker.process.pid} is gone (exit status {worker.process.exitcode}): killed, or out of "
                "memory? What it was playing is played by the next campaign."
            ) from error
        number = worker.given.popleft() if worker.given else -1
        return number, answer

    def hurry(self) -> None:
        """Have shrinking stop where it is."""
        self._hurry.set()

    def close(self) -> None:
        """Close the pipes, and wait until every worker has put its server away; what one has in hand is given up."""
        self._hurry.set()
        for worker in self._workers:
            worker.connection.close()
            if worker.given and worker.process.pid and worker.process.is_alive():
                # A story may wait for a dispatcher in a process for half a minute.
                os.kill(worker.process.pid, signal.SIGUSR1)
        for worker in self._workers:
            worker.process.join(ENDS_WITHIN)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def work(connection: Connection, plan: tasks.Plan, number: int, hurry: object) -> None:
    """Be a worker: do what comes through the pipe until it closes."""
    for one in INTERRUPTS:
        # Whoever started us decides; a handler, unlike SIG_IGN, is not handed on to the server we start.
        signal.signal(one, _leave_it_to_the_campaign)
    signal.signal(signal.SIGUSR1, _give_up)
    hear()
    if registry.choose(plan.dispatcher).kind == "in process":
        # Campaigns of several people need not begin with the same processor.
        processors.keep_to_one(os.getppid() + number)
    shard = f"_s{plan.shard}" if plan.shards > 1 else ""
    decoder = msgspec.msgpack.Decoder(tasks.Task)
    is_set = getattr(hurry, "is_set")  # noqa: B009  # multiprocessing's Event is a function, not a type
    with contextlib.suppress(EOFError, ConnectionResetError, BrokenPipeError, KeyboardInterrupt):
        try:
            with session(plan, f"{shard}_w{number}", is_set) as own:
                while True:
                    task = decoder.decode(connection.recv_bytes())
                    connection.send_bytes(msgspec.msgpack.encode(own.do(task)))
        except errors.HydraNotifySimError as error:
            connection.send_bytes(msgspec.msgpack.encode(tasks.Failed(str(error), error.exit_code)))
        except (EOFError, OSError):
            raise
        except Exception:  # noqa: BLE001  # told to the campaign, which tells it to the person
            connection.send_bytes(msgspec.msgpack.encode(tasks.Failed(traceback.format_exc())))


def _leave_it_to_the_campaign(number: int, frame: FrameType | None) -> None:
    del number, frame


def _give_up(number: int, frame: FrameType | None) -> None:
    """End what is in hand as Ctrl-C would, so that all is put away."""
    del number, frame
    raise KeyboardInterrupt
