"""Workers of a Dask scheduler that is there already (extra ``dask``); nothing of ours runs on its machines between tasks.

Each task opens a server or a database, plays a hundred scenarios and puts it away: a worker may come and go.
"""

import importlib
import os
import queue
import socket
import threading
from typing import Any

import msgspec

from hydra_notify_sim import errors
from hydra_notify_sim.exploration.campaigns import tasks
from hydra_notify_sim.exploration.campaigns.session import session

AHEAD = 2
"""Tasks for each thread of the cluster."""

CONNECTS_WITHIN = "30s"


class Cluster:
    """The threads of all workers that a Dask scheduler has."""

    batch = 100

    def __init__(self, plan: tasks.Plan, address: str) -> None:
        """Connect to the scheduler.

        Raises:
            UsageError: `distributed` is not installed.
            EnvironmentFailedError: nothing answers at the address, or the scheduler has no workers.

        """
        try:
            # An extra, slow to import, and without types.
            distributed: Any = importlib.import_module("distributed")
        except ImportError as error:
            raise errors.UsageError(
                f"--dask needs the extra: pip install 'hydra-notify-sim[dask]' ({error})"
            ) from error
        try:
            self._client: Any = distributed.Client(address, timeout=CONNECTS_WITHIN, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise errors.EnvironmentFailedError(
                f"no Dask scheduler answers at {address}: {error}. Start one with `dask scheduler`, and workers."
            ) from error
        self._plan = plan
        self._given: dict[int, Any] = {}
        self._answered: queue.SimpleQueue[int] = queue.SimpleQueue()
        threads = int(sum(self._client.nthreads().values()))
        if not threads:
            self._client.close()
            raise errors.EnvironmentFailedError(f"the Dask scheduler at {address} has no workers.")
        self._most = AHEAD * threads

    @property
    def room(self) -> int:
        """Tasks that can be given now."""
        return self._most - len(self._given)

    def submit(self, number: int, task: tasks.Task) -> None:
        """Give a task to the scheduler."""
        future = self._client.submit(do_alone, self._plan, msgspec.msgpack.encode(task), pure=False)
        self._given[number] = future
        future.add_done_callback(lambda _: self._answered.put(number))

    def answers(self, timeout: float) -> list[tuple[int, tasks.Answer]]:
        """Return the next answer, if one comes within so many seconds.

        Raises:
            EnvironmentFailedError: the task was lost on the cluster.

        """
        try:
            number = self._answered.get(timeout=timeout)
        except queue.Empty:
            return []
        future = self._given.pop(number)
        try:
            answer: tasks.Answer = msgspec.msgpack.decode(future.result(), type=tasks.Answer)
        except Exception as error:
            raise errors.EnvironmentFailedError(f"a task was lost on the Dask cluster: {error!r}") from error
        return [(number, answer)]

    def hurry(self) -> None:
        """Nothing: tasks on other machines are short."""

    def close(self) -> None:
        """Give up what is under way and leave the cluster as it was."""
        if self._given:
            self._client.cancel(list(self._given.values()))
        self._client.close()


def do_alone(plan: tasks.Plan, task: bytes) -> bytes:
    """Do one task on a Dask worker, with an environment of its own from beginning to end."""
    suffix = f"_{socket.gethostname()}_{os.getpid()}_{threading.get_ident() % 10_000}"
    try:
        with session(plan, suffix) as own:
            answer: tasks.Answer = own.do(msgspec.msgpack.decode(task, type=tasks.Task))
    except errors.HydraNotifySimError as error:
        answer = tasks.Failed(str(error), error.exit_code)
    return msgspec.msgpack.encode(answer)
