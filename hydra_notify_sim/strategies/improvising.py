"""The machine without its rules: a story made up by Hypothesis step by step, judged after each, with an account of it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import hypothesis
import psycopg
from hypothesis.stateful import RuleBasedStateMachine

from hydra_notify_sim import checks, errors, history, simulator
from hydra_notify_sim.checks.verdicts import Judgements
from hydra_notify_sim.contract import channels
from hydra_notify_sim.engine import Options
from hydra_notify_sim.engine.improvise import Improvisation
from hydra_notify_sim.engine.play import StoryError
from hydra_notify_sim.exploration import vocabulary
from hydra_notify_sim.exploration.campaigns.tally import Tally
from hydra_notify_sim.scenario import Scenario
from hydra_notify_sim.scenario.model import Given, GivenBuild, GivenPlugin
from hydra_notify_sim.scenario.steps import VERBS
from hydra_notify_sim.strategies import broken, coverage, grounds
from hydra_notify_sim.strategies.case import TestCaseProperty
from hydra_notify_sim.strategies.handles import Build, Plugin

__tracebackhide__ = True
"""Pytest shows what was broken, not our frames."""

Step = vocabulary.Step

LETTERS = "abcdefgh"
"""Nicknames of builds."""


class Improvising(RuleBasedStateMachine):
    """What the rules of `DispatcherMachine` do their work with."""

    options: ClassVar[Options] = Options()
    """The dispatcher under test, which promises are judged, and on which server."""
    payloads: ClassVar[channels.PayloadVersion | None] = None
    """The form of eval_added and eval_failed."""
    server_restarts: ClassVar[bool] = False
    """Whether the database server is restarted too, which takes as long as dozens of examples."""
    seed: ClassVar[int | None] = None
    """Seed of the machine's choices; None: Hypothesis's settings decide."""
    directory: ClassVar[str | Path] = broken.DIRECTORY
    """The directory that counter-examples are written to."""
    tally: ClassVar[Tally] = Tally()
    """What all examples so far covered: actions, faults at points, promises."""
    made_by: ClassVar[str] = "the Hypothesis machine"
    climbs: ClassVar[bool] = False
    """Whether Hypothesis runs its phase target. Without it, it is told no targets: it would keep the examples with the
    highest ones in its database, and the next run would begin with them, whatever its seed."""
    TestCase = TestCaseProperty()  # type: ignore[assignment]  # in place of Hypothesis's own

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.tally = Tally()

    def __init__(self) -> None:
        super().__init__()
        self._outside = sys.exc_info()[1]
        self._complained = False
        self._story: Improvisation | None = None
        self._given_builds: dict[str, GivenBuild] = {}
        self._given_plugins: dict[str, GivenPlugin] = {}
        self._begins_up = True
        self._left_out: frozenset[str] = frozenset()
        self.known_builds: list[Build] = []
        """The builds of the story."""
        self.known_plugins: list[Plugin] = []
        """The plugins of the story."""
        self.named_evaluations = 0
        self.written_evaluations = 0
        """Evaluations that have a row."""

    # The story

    @property
    def story(self) -> Improvisation:
        """The story in the making; it begins when all is given."""
        if self._story is None:
            given = Given(builds=self._given_builds, plugins=self._given_plugins, payloads=self.payloads)
            try:
                self._story = Improvisation(grounds.of(self.options).runner, given)
            except (errors.HydraNotifySimError, psycopg.OperationalError) as error:
                raise grounds.EnvironmentGone(error) from error
            if self._begins_up:
                self.act({"dispatcher": "start"})
        return self._story

    @property
    def alive(self) -> bool:
        """Whether the dispatcher runs."""
        return self.story.target.alive

    @property
    def inside(self) -> bool:
        """Whether it is held in a call."""
        return self.story.target.inside

    def act(self, step: Step, trouble: Step | None = None, about: str = "") -> None:
        """Play a step, with what happens at a point of it if the dispatcher can get there; no story, no example."""
        story = self.story
        if trouble is not None and self.alive | ("dispatcher" in step) and not self.inside:
            step = self._with(step, trouble, about)
        verb = next(key for key in step if key in VERBS)
        try:
            story.play(VERBS[verb].model_validate(step))
        except (StoryError, simulator.ImpossibleActionError):
            hypothesis.reject()
        except (errors.HydraNotifySimError, psycopg.OperationalError) as error:
            raise grounds.EnvironmentGone(error) from error

    def _with(self, step: Step, trouble: Step, about: str) -> Step:
        at = trouble["at"] if isinstance(trouble["at"], str) else next(iter(trouble["at"]))
        if at not in self._points(step) or at in self._left_out:
            return step
        do = [
            one for one in (_renamed(one, about) for one in trouble["do"]) if _name(one) not in self._left_out
        ]
        return {**step, "at": trouble["at"], "do": do} if do else step

    def _points(self, step: Step) -> tuple[str, ...]:
        """Return the points that the dispatcher most likely gets to by what a step causes."""
        if "dispatcher" in step:
            return vocabulary.AT_START
        plugins = self._given_plugins.values()
        named = step["notify"]["payload"][0] if "notify" in step else ""
        return vocabulary.points(
            step,
            {hook for plugin in plugins for hook in plugin.hooks},
            lambda: vocabulary.STORES if any(plugin.raises for plugin in plugins) else (),
            shown=bool(named) and self.story.actors.build(named).finished,
        )

    def look(self, nickname: str) -> simulator.Build:
        """Return what the simulator knows of a build."""
        return self.story.actors.build(nickname)

    @property
    def server_is_ours(self) -> bool:
        """Whether the server is one that we started."""
        return grounds.of(self.options).stage.environment.database.server.own

    def new_build(self, *, found: bool = False, **about: Any) -> Build:
        """Let an evaluation find a new build; ``found``: beside all that the last one held."""
        name = LETTERS[len(self.known_builds)]
        self.story.add(name, GivenBuild.model_validate(about))
        known = [build.nickname for build in self.known_builds if found and build.now.can_be_found]
        handle = self.hold(name, row_comes_later=False)
        self.act({"evaluate": {"new": [name], **({"cached": known} if known else {})}})
        self.written_evaluations += 1
        return handle

    def hold(self, name: str, *, row_comes_later: bool) -> Build:
        """Return the handle of a build."""
        handle = Build(name, row_comes_later, self.look)
        self.known_builds.append(handle)
        return handle

    # Judging

    def judge(self) -> None:
        """Raise `PromiseBroken` if the history so far shows that a promise was broken."""
        so_far = self.story.checks
        so_far.read()
        if so_far.suspicious:
            self._complain_if_broken()

    def _complain_if_broken(self) -> None:
        judgements = checks.judge(self.story.written)
        if broken.broken(judgements):
            self._complained = True
            self._count(judgements)
            broken.complain(judgements, self.scenario, grounds.of(self.options), self.made_by)

    def scenario(self, promise: str) -> Scenario:
        """Return the story so far."""
        return self.story.scenario(
            "A story made up by Hypothesis",
            "Stories that someone thought of find what someone thought of",
            (promise,),
        )

    def teardown(self) -> None:
        """Let everything come to rest, judge, count, and put all away."""
        try:
            in_flight = sys.exc_info()[1]
            if self._story is not None and not self._complained and in_flight is self._outside:
                self._come_to_rest()
        finally:
            if self._story is not None:
                self._story.close()

    def _come_to_rest(self) -> None:
        for plugin in self.known_plugins:
            if plugin.holding:
                self.act({"release": plugin.name})
        if not self.alive:
            self.act({"dispatcher": "start"})
        self.act({"settle": True})
        if self.story.target.journal.tasks:
            self.act({"advance": 10})
        self.story.end()
        self.judge()
        judgements = self.story.checks.judgements()
        self._count(judgements)

    def _count(self, judgements: Judgements) -> None:
        story = self.story
        missed = sum(
            isinstance(one, history.PointMissed | history.StoryEnded) and not one.diverged
            for one in story.written
        )
        features = coverage.count(self.tally, story.steps, story.written, judgements, missed=missed)
        if self.climbs and hypothesis.currently_in_test_context() and not broken.broken(judgements):
            hypothesis.target(sum(f.startswith("promise: ") for f in features), label="promises exercised")
            hypothesis.target(sum(f.startswith("fault: ") for f in features), label="faults at points")


def _renamed(step: Step, name: str) -> Step:
    """Return a step at a point with the name of the build that it is about."""
    changed: dict[str, Any] = {
        key: name
        if key in {"restart", "build"}
        else [_renamed(one, name) for one in value]
        if key == "do"
        else value
        for key, value in step.items()
    }
    return changed


def _name(step: Mapping[str, Any]) -> str:
    """Return by which word a fault can be left out of an example."""
    if "connection" in step:
        return "reply lost" if step.get("reply_lost") else "lost"
    return str(step.get("dispatcher", ""))
