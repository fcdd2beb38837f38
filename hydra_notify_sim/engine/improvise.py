"""Plays a story that is made up while it is played, step by step, and can say at any time which scenario it is.

What a test or a state machine does is kept as the steps that it was: `Improvisation.scenario` is what a file would
hold, and playing that does the same.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from hydra_notify_sim import history
from hydra_notify_sim.checks.so_far import SoFar
from hydra_notify_sim.engine.actors import Actors
from hydra_notify_sim.engine.feed import Feed
from hydra_notify_sim.engine.run import Runner
from hydra_notify_sim.scenario.model import Given, GivenBuild, Scenario
from hydra_notify_sim.scenario.steps import StepBase
from hydra_notify_sim.targets.target import Target

NAME = Path("improvised.yaml")
"""The file name that a story goes by which is in no file."""


class Improvisation:
    """One story in the making, on a clean database."""

    def __init__(self, runner: Runner, given: Given, *, name: Path = NAME) -> None:
        """Make the database clean and write the builds that are given.

        Raises:
            EnvironmentFailedError: the server or the dispatcher cannot be used.

        """
        # Builds are added to what is given as the story goes on, and its steps are `steps`.
        self._given = given.model_copy(update={"builds": dict(given.builds)})
        self.steps: list[StepBase] = []
        """The story so far."""
        making = Scenario.model_construct(
            scenario="", why="", exercises=(), known={}, may_break={}, given=self._given, story=()
        )
        with ExitStack() as put_away:
            stage = runner.set_up(name, making, "", put_away)
            self._put_away = put_away.pop_all()
        self._player = stage.player
        self._feed = Feed(stage.player)
        self.target: Target = stage.target
        """The dispatcher, as the engine drives it."""
        self.actors: Actors = stage.player.actors
        """Queue runner, evaluator and person, who know the builds by nickname."""
        self.written: history.History = stage.written
        """Everything that happened so far."""
        self.checks = SoFar(stage.written)
        """The checks on it."""

    @property
    def builds(self) -> Mapping[str, GivenBuild]:
        """The builds by nickname."""
        return self._given.builds

    def add(self, nickname: str, build: GivenBuild) -> None:
        """Make up a build that an evaluation can queue; its needs are builds that are there already."""
        self.actors.add(nickname, build)
        self._given.builds[nickname] = build

    def play(self, step: StepBase) -> None:
        """Play a step; returns when the dispatcher has settled, or is held.

        Raises:
            StoryError, ImpossibleActionError: what it says cannot be now. The step is not part of the story then; but
                if it was played at a point, what came before it there has happened, and the story is of no more use.

        """
        self._feed.play(step, may_be_held=any(plugin.holds for plugin in self._given.plugins.values()))
        self.steps.append(step)

    def end(self) -> None:
        """Let what is held go, and the dispatcher settle."""
        self._feed.end()
        self._player.end()

    def scenario(self, sentence: str, why: str, exercises: tuple[str, ...]) -> Scenario:
        """Return the story so far as a scenario.

        Raises:
            pydantic.ValidationError: there is no step yet, or ``exercises`` is empty.

        """
        return Scenario(
            scenario=sentence,
            why=why,
            exercises=exercises,
            given=self._given,
            story=tuple(self.steps),  # type: ignore[arg-type]  # each is one of the verbs
        )

    def close(self) -> None:
        """Put everything away, whatever state it is in."""
        try:
            self._feed.end()
        finally:
            self._put_away.close()
