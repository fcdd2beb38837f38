"""What a worker does: makes scenarios, plays them on its own database, and shrinks those that fail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hydra_notify_sim import scenario
from hydra_notify_sim.engine import Options, events
from hydra_notify_sim.engine.environment import Environment, opened
from hydra_notify_sim.exploration import counter_examples, playing
from hydra_notify_sim.exploration.campaigns import making, outcomes, tasks


class Session:
    """One worker's environment, and all that can be asked of it."""

    def __init__(
        self, plan: tasks.Plan, environment: Environment, interrupted: Callable[[], bool] = lambda: False
    ) -> None:
        """Raise UsageError if there is no such dispatcher."""
        self.plan = plan
        self._interrupted = interrupted
        options = Options(
            dispatcher=plan.dispatcher,
            profile=plan.profile,
            known=plan.known,
            known_file=plan.known_file,
            reads=plan.reads,
            patience=plan.patience,
        )
        self._stage = playing.Stage(environment, options)

    def do(self, task: tasks.Task) -> tasks.Answer:
        """Do what is asked."""
        match task:
            case tasks.Play():
                return tasks.Played(tuple(self._play(task.indices)))
            case tasks.Replay():
                return self._replay(task)
            case tasks.Shrink():
                return self._shrink(task)

    def _play(self, indices: tuple[int, ...]) -> Iterator[tasks.Outcome]:
        for index in indices:
            made = making.scenario(self.plan, index)
            outcome = outcomes.outcome(index, made, self._stage.play(made))
            yield outcome
            if outcome.lost:
                return

    def _replay(self, task: tasks.Replay) -> tasks.Replayed:
        try:
            read = scenario.load_text(task.text)
        except scenario.ScenarioFileError as error:
            return tasks.Replayed(task.name, (), (), str(error))
        expected = tuple(
            promise
            for step in read.story
            if isinstance(step, scenario.ExpectStep)
            for promise in step.expect.violated or ()
        )
        event = self._stage.play(read)
        if isinstance(event, events.ScenarioFailed):
            return tasks.Replayed(task.name, (), expected, str(event.error))
        if isinstance(event, events.ScenarioNotClaimed):
            return tasks.Replayed(task.name, (), expected, f"not claimed: {event.reason}")
        return tasks.Replayed(task.name, playing.violated(event), expected)

    def _shrink(self, task: tasks.Shrink) -> tasks.Found:
        plan = self.plan
        found = counter_examples.make(
            self._stage,
            making.scenario(plan, task.index),
            task.promise,
            counter_examples.Origin(plan.seed, task.index),
            directory=plan.directory / counter_examples.DIRECTORY,
            plays=task.plays,
            interrupted=self._interrupted,
        )
        if found is None:
            return tasks.Found(task.index, task.promise)
        return tasks.Found(
            task.index,
            task.promise,
            found.name,
            found.text,
            found.violated,
            found.signature,
            found.actions,
            found.plays,
            found.complete,
        )


@contextmanager
def session(
    plan: tasks.Plan, suffix: str, interrupted: Callable[[], bool] = lambda: False
) -> Iterator[Session]:
    """Open a worker's server or, on a user's server, the database that bears this suffix.

    Raises:
        EnvironmentFailedError: there is no server, or no such database can be made.
        UsageError: the plan names a dispatcher, a DSN or a schema that cannot be used.

    """
    with opened(plan.dsn, plan.schema, None, suffix=suffix) as environment:
        yield Session(plan, environment, interrupted)
