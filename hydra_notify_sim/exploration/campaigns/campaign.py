"""Runs a campaign: hands out scenarios, takes in what became of them in their order, has failures shrunk.

What is counted, kept and shrunk depends on the seed and the number of scenarios alone, not on how many workers
there were nor which was faster.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hydra_notify_sim import errors
from hydra_notify_sim.exploration import shrinking
from hydra_notify_sim.exploration.campaigns import tasks
from hydra_notify_sim.exploration.campaigns.pool import Executor
from hydra_notify_sim.exploration.campaigns.state import Directory, Entry
from hydra_notify_sim.exploration.campaigns.tally import First, Tally

SHRUNK_EACH = 3
"""Scenarios that are shrunk for each promise that is broken: the first ones. Of the rest only the number is told."""

SAVE_EVERY = 2.0
"""Seconds between two writings of the state."""

LOOK_EVERY = 0.5
"""Seconds after which an interruption is noticed at the latest."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a campaign ends; with neither it goes on until it is interrupted."""

    scenarios: int | None = None
    seconds: float | None = None
    stop_at_first: bool = False
    """End with the first scenario that breaks a promise."""
    shrink: bool = True
    shrinking_plays: int = shrinking.PLAYS


@dataclass(slots=True)
class Result:
    """What this campaign came to; counts of earlier ones in the same directory are in the state."""

    tally: Tally = field(default_factory=Tally)
    stories: int = 0
    """Distinct stories, those of earlier campaigns in this directory included."""
    seconds: float = 0.0
    interrupted: bool = False
    replayed: list[tasks.Replayed] = field(default_factory=list)
    """Old counter-examples, as they ended today."""
    found: list[tasks.Found] = field(default_factory=list)
    """Counter-examples of this campaign, one for each shape of story."""
    flaky: list[First] = field(default_factory=list)
    """Scenarios that broke a promise once and not again: something in the harness is not reproducible."""
    faults: list[tuple[int, str]] = field(default_factory=list)
    """The first few scenarios that the harness could not play, with the traceback."""

    @property
    def rate(self) -> float:
        """Scenarios a second."""
        return self.tally.scenarios / self.seconds if self.seconds else 0.0

    @property
    def still_broken(self) -> list[tasks.Replayed]:
        """Old counter-examples that break a promise today."""
        return [one for one in self.replayed if one.violated]

    @property
    def exit_code(self) -> int:
        """The first that applies of 5, 1, 130, 4, 0; what `replay` ends with (docs/reference/report.md)."""
        if self.tally.faulty or self.flaky:
            return 5
        if self.tally.violations or self.still_broken:
            return 1
        if self.interrupted:
            return 130
        return 4 if not self.tally.called or not self.tally.promises else 0


FAULTS_KEPT = 5


class Campaign:
    """One campaign, from the old counter-examples to the last shrinking."""

    def __init__(
        self,
        plan: tasks.Plan,
        limits: Limits,
        executor: Executor,
        directory: Directory,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.plan = plan
        self.limits = limits
        self.directory = directory
        self.result = Result()
        self._executor = executor
        self._is_interrupted = interrupted
        self._begun = time.monotonic()
        self._saved = self._begun
        self._numbers = 0
        self._under_way: dict[int, tasks.Task] = {}
        self._urgent: deque[tasks.Task] = deque(tasks.Replay(name, text) for name, text in directory.old())
        self._handed_out = directory.state.next.get(plan.strand, 0)
        self._folded = self._handed_out
        self._end = None if limits.scenarios is None else self._handed_out + limits.scenarios
        self._early: dict[int, tasks.Outcome] = {}
        """Outcomes that came before those of lower numbers, by position."""
        self._shrinking: Counter[str] = Counter()
        self._stopping = False

    def run(self) -> Iterator[Result]:
        """Run to the end; yields the result so far whenever something came in.

        Raises:
            HydraNotifySimError: a worker or the environment failed, or the state cannot be written; what was
                counted until then is saved if it can be.

        """
        try:
            while True:
                self._look_for_an_end()
                self._hand_out()
                if not self._under_way:
                    break
                for number, answer in self._executor.answers(LOOK_EVERY):
                    self._take(number, answer)
                self._measure()
                self._save_now_and_then()
                yield self.result
        finally:
            self._measure()
            self.directory.state.seconds += self.result.seconds
            self.directory.save()
        yield self.result

    def _look_for_an_end(self) -> None:
        if self._is_interrupted() and not self.result.interrupted:
            self.result.interrupted = True
            self._stopping = True
            self._urgent.clear()
            self._executor.hurry()
        if self.limits.seconds is not None and time.monotonic() - self._begun >= self.limits.seconds:
            self._stopping = True

    def _hand_out(self) -> None:
        while self._executor.room > 0 and (task := self._next_task()) is not None:
            self._numbers += 1
            self._under_way[self._numbers] = task
            self._executor.submit(self._numbers, task)

    def _next_task(self) -> tasks.Task | None:
        if self._urgent:
            return self._urgent.popleft()
        if self._stopping or any(isinstance(one, tasks.Replay) for one in self._under_way.values()):
            return None
        last = self._handed_out + self._executor.batch
        last = last if self._end is None else min(last, self._end)
        positions = range(self._handed_out, last)
        if not positions:
            return None
        self._handed_out = last
        return tasks.Play(tuple(map(self._index, positions)))

    def _index(self, position: int) -> int:
        """Return the number of the scenario at a position of this shard."""
        return position * self.plan.shards + self.plan.shard - 1

    def _take(self, number: int, answer: tasks.Answer) -> None:
        self._under_way.pop(number, None)
        match answer:
            case tasks.Played(outcomes):
                for outcome in outcomes:
                    if outcome.lost:
                        raise errors.EnvironmentFailedError(outcome.lost)
                    self._early[(outcome.index - self.plan.shard + 1) // self.plan.shards] = outcome
                self._fold()
            case tasks.Replayed():
                self.result.replayed.append(answer)
                if answer.violated and self.limits.stop_at_first:
                    self._stopping = True
            case tasks.Found():
                self._found(answer)
            case tasks.Failed(message, exit_code):
                raise _error(message, exit_code)

    def _fold(self) -> None:
        """Count in what has come, in the scenarios' order."""
        state = self.directory.state
        while (outcome := self._early.pop(self._folded, None)) is not None:
            if self.limits.stop_at_first and self.result.tally.violations:
                return
            self._folded += 1
            state.next[self.plan.strand] = self._folded
            self.result.tally.take(self.plan.seed, outcome)
            if outcome.fault and len(self.result.faults) < FAULTS_KEPT:
                self.result.faults.append((outcome.index, outcome.fault))
            new = state.tally.take(self.plan.seed, outcome)
            if new:
                state.corpus.append(Entry(self.plan.seed, outcome.index, tuple(new)))
            if not outcome.fault:
                self.directory.stories.add(outcome.story)
            if outcome.violated:
                self._violated(outcome)

    def _violated(self, outcome: tasks.Outcome) -> None:
        if self.limits.stop_at_first:
            self._stopping = True
        if not self.limits.shrink:
            return
        with_room = [one for one in outcome.violated if self._shrinking[one] < SHRUNK_EACH]
        plays = 0 if self.result.interrupted else self.limits.shrinking_plays
        # What is broken for the first time has a story of its own, though another promise stands before it.
        for promise in with_room[:1] + [one for one in with_room[1:] if not self._shrinking[one]]:
            self._shrinking[promise] += 1
            self._urgent.append(tasks.Shrink(outcome.index, promise, plays))

    def _found(self, found: tasks.Found) -> None:
        if not found.text:
            self.result.flaky.append(First(self.plan.seed, found.index))
        elif self.directory.keep(found, self.plan.seed) or all(
            one.name != found.name for one in self.result.found
        ):
            self.result.found.append(found)

    def _measure(self) -> None:
        self.result.seconds = time.monotonic() - self._begun
        self.result.stories = len(self.directory.stories)

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved >= SAVE_EVERY:
            self.directory.save()
            self._saved = time.monotonic()


def _error(message: str, exit_code: int) -> errors.HydraNotifySimError:
    """Return a worker's error as one of ours, with its exit code."""
    for kind in (errors.UsageError, errors.EnvironmentFailedError):
        if exit_code == kind.exit_code:
            return kind(message)
    return errors.HydraNotifySimError(message)
