"""The ``hydra`` of a test: a Hydra database, the programs that write it, and a dispatcher, behind one object.

Each action is a step of the scenario language, played by the engine as a scenario's steps are; so actions settle
before they return (docs/decisions/0014-every-step-drains.md), and what a test did can be saved as a scenario.
"""

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from hydra_notify_sim import checks, errors, history, simulator
from hydra_notify_sim.checks.verdicts import Judgements
from hydra_notify_sim.contract import channels
from hydra_notify_sim.engine import behaviours, events
from hydra_notify_sim.engine.feed import Feed
from hydra_notify_sim.engine.play import StoryEndsHere
from hydra_notify_sim.engine.run import Runner
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario import to_yaml
from hydra_notify_sim.scenario.model import Given, GivenBuild, GivenPlugin, Raises, Scenario
from hydra_notify_sim.testing import hook_timeout, plugins, seen, told, verdict, words
from hydra_notify_sim.testing.actions import Actions
from hydra_notify_sim.testing.comparisons import Call, StoredRetry
from hydra_notify_sim.testing.dispatcher import At, Dispatcher
from hydra_notify_sim.testing.handles import Build, Evaluation, Plugin, plugin_name
from hydra_notify_sim.testing.server import DatabaseServer
from hydra_notify_sim.testing.unused import Asked, NotExercisedError
from hydra_notify_sim.testing.words import made, read

__tracebackhide__ = True
"""Pytest shows a failure where the test is, not in here."""

_USUAL = {"system": "x86_64-linux", "outputs": ["out"]}
"""What `Hydra.job` says of a build where the test says nothing."""

Seconds = float | int | str
"""A number of seconds, or as in a scenario: ``"6s"``, ``"2m"``, ``"26.5h"``."""


class Hydra(Actions):
    """A clean Hydra database with a queue runner, an evaluator, a person at the web page, and a dispatcher.

    The dispatcher starts with the first action, with the plugins installed by then. Actions return when it has
    done what they caused; one that is down is not waited for.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        name: str,
        tell: verdict.Tell,
        path: Path = Path("test.py"),
        payloads: channels.PayloadVersion | None = None,
        jobset: str = "nixpkgs:trunk",
        flake: str | None = None,
        violated: Iterable[str] = (),
        scenario: Scenario | None = None,
        command: str = "",
        hook_seconds: float = hook_timeout.SECONDS,
    ) -> None:
        """Make the database clean; fixtures do this.

        Args:
            runner: what plays steps on a server, with a dispatcher and a profile.
            name: the test's name.
            tell: writes the story of a broken promise.
            path: the test's file.
            payloads: the form of eval_added and eval_failed; None: the one that the dispatcher reads.
            jobset: the jobset of builds that name no other.
            flake: the reference of the flake that this jobset evaluates; None: it is none.
            violated: promises that the test means to break.
            scenario: what is played first, by `begin`; its jobset and payloads count.
            command: what runs the test again.
            hook_seconds: in which a hook of the test's own plugins has to return.

        Raises:
            NotClaimedError: the dispatcher does not read these payloads.

        """
        self._begun = time.monotonic()
        self._runner = runner
        self._path = path
        self._name = name
        self._tell = tell
        self._command = command
        self._given = (
            made(Given, jobset=jobset, flake=flake, payloads=payloads) if scenario is None else scenario.given
        )
        self._first = () if scenario is None else scenario.story
        # A scenario in the making: builds and plugins are added to what is given, and its story is `story`.
        self._scenario = Scenario.model_construct(
            scenario=told.words(name) if scenario is None else scenario.scenario,
            why="",
            exercises=() if scenario is None else scenario.exercises,
            known={} if scenario is None else scenario.known,
            may_break={} if scenario is None else scenario.may_break,
            given=self._given,
            story=self._first,
        )
        with ExitStack() as put_away:
            self._stage = stage = runner.set_up(path, self._scenario, "", put_away)
            self._put_away = put_away.pop_all()
        self._player, self._written = stage.player, stage.written
        if promises := tuple(sorted(set(violated))):
            self._written.append(history.ViolationsExpected(t=stage.target.journal.now, promises=promises))
        self.target = stage.target
        """The dispatcher as the engine drives it."""
        self._actors = stage.player.actors
        self._feed = Feed(stage.player)
        self.story = told.Story()
        """What the test did so far, for `save`."""
        self._handles = seen.Handles()
        self.builds: dict[str, Build] = {}
        """The builds by nickname: those of a scenario's story, and those that the test made."""
        for nickname in self._actors.ids:
            self._hold(nickname)
        self._own: list[str] = []
        self._said_by_the_test: BaseException | None = None
        self._hook_timeout = hook_seconds
        """What the test itself raised in a hook, such as ``pytest.fail()``: to a dispatcher it is a failed call."""
        self._asked = Asked()
        self._judged_at = -1
        self.dispatcher = Dispatcher(self)
        """The dispatcher under test: ``start``, ``stop``, ``crash``, ``restart``, ``lose_connection``."""
        self.server = DatabaseServer(self)
        """The database server: ``stop``, ``start``, ``restart``, ``read_only``, ``settings``, ``lock``, ``migrate``."""

    def begin(self) -> None:
        """Play the scenario that the test begins with, if there is one; done before the test's function is called."""
        story, self._first = self._first, ()
        if story:
            self.dispatcher.begun = True
        with suppress(verdict.NotExercisedError):  # `judged` says why it could not go on
            for step in story:
                self.play(step)

    # Plugins

    def install(self, plugin: object, name: str | None = None) -> Plugin:
        """Install a plugin: an object with methods named after the channels, or what `plugin` returned.

        A dispatcher that is running is restarted, as a person would restart it to load a plugin. Before a scenario
        is played (marker ``hydra_scenario``) it takes the place of the scenario's plugin of that name. ``name`` is the
        object's ``name`` or its class's by default.

        Raises:
            PluginError: the object has no hook.
            UsageError: there is a plugin of this name already.

        """
        code: plugins.Code | None = None
        if isinstance(plugin, plugins.RecorderPlugin):
            handle: Plugin = plugin
            given = plugin.given
        elif isinstance(plugin, Plugin):
            raise errors.UsageError(f"{plugin.name} is installed already")
        else:
            handle, code = plugins.of_object(plugin, name)
            given = GivenPlugin(hooks=handle.hooks)
        of_the_story = bool(self._first) and handle.name not in self._own
        if handle.name in self._given.plugins and not of_the_story:
            raise errors.UsageError(
                f"there is a plugin {handle.name!r} already; give one of them another name, for tasks are stored under it"
            )
        behaviour = behaviours.behaviour(given, self._scenario, self._actors.ids)
        if code is not None:
            code = hook_timeout.limited(code, handle.name, self._hook_timeout)
            behaviour.code = self._listening_for_the_test(code)
            self._own.append(handle.name)
        if isinstance(handle, plugins.RecorderPlugin):
            self._asked.installed.append(handle)
        self._given.plugins[handle.name] = given
        self._player.behaviours[handle.name] = behaviour
        if self.target.alive:
            self.dispatcher.restart()
        return handle

    def plugin(
        self,
        name: str,
        *,
        hooks: Sequence[str] | Literal["all"] = "all",
        raises: str | int | Mapping[str, Any] | None = None,
        takes: Seconds = 0,
        holds: bool = False,
    ) -> Plugin:
        """Return a recorder without code of its own, to be installed; it does what a scenario's plugins can do.

        Args:
            name: its name.
            hooks: the hooks that it has.
            raises: ``"always"``; a number, so many calls from the first; or ``{"for": build, "first": 1,
                "message": "502"}``.
            takes: seconds of simulated time that each call takes.
            holds: its calls do not return until `release`; steps that follow are played meanwhile.

        Raises:
            UsageError: one of them cannot be so.

        """
        plugins.check_name(name)
        when: Any = raises
        if isinstance(raises, int):
            when = {"first": raises}
        elif isinstance(raises, Mapping):
            when = dict(raises)
            if "for" in when:
                builds = when["for"] if isinstance(when["for"], list | tuple) else [when["for"]]
                when["for"] = [self._nickname(build) for build in builds]
        fails = None if when is None else read(Raises, when)
        given = made(GivenPlugin, hooks=hooks, raises=fails, takes=takes, holds=holds)
        recorder = plugins.RecorderPlugin(name, given)
        self._asked.recorders.append(recorder)
        return recorder

    def release(self, plugin: object) -> None:
        """Let the held call of a plugin return; it holds no more calls.

        Raises:
            UsageError: it holds none.

        """
        name = self._installed(plugin)
        if not self._given.plugins[name].holds:
            raise errors.UsageError(f"{name} holds no call: make it with hydra.plugin({name!r}, holds=True)")
        if name not in (held for held, _ in self.target.calls.open.values()):
            raise errors.UsageError(
                f"{name} holds no call now: it was released before, or nothing has called it yet"
            )
        self.play(made(verbs.Release, release=name))

    # The evaluator

    def job(
        self,
        job: str | None = None,
        *,
        jobset: str | None = None,
        needs: Iterable[Build] = (),
        steps: int = 1,
        system: str = "x86_64-linux",
        outputs: Sequence[str] = ("out",),
        products: int = 0,
        metrics: Mapping[str, float] | None = None,
        constituents: Iterable[Build] = (),
        maintainers: Sequence[str] = (),
        same_derivation_as: Build | None = None,
    ) -> Build:
        """Return a build that no evaluation has queued yet, for `evaluate`; nothing is written.

        Args:
            job: name of the job, such as ``iso.x86_64-linux``; None: one is made up.
            jobset: ``project:name``, if it is not the test's.
            needs: builds whose failure takes this one along.
            steps: steps that building it takes.
            system: the platform that it is built on.
            outputs: names of its outputs.
            products: how many products a success leaves.
            metrics: metrics that a success leaves.
            constituents: the builds that an aggregate stands for; it needs each of them.
            maintainers: mail addresses.
            same_derivation_as: a build of the same derivation, and of the same job if ``job`` is None, as a change makes
                that is reverted.

        """
        nickname = told.nickname(
            job or (same_derivation_as.nickname if same_derivation_as else "build"), self._taken
        )
        same = (
            {} if same_derivation_as is None else {"same_derivation_as": self._nickname(same_derivation_as)}
        )
        own: dict[str, Any] = {"system": system, "outputs": list(outputs)}
        if same:
            own = {key: value for key, value in own.items() if value != _USUAL[key]}
        given = made(
            GivenBuild,
            job=job,
            needs=[self._nickname(needed) for needed in needs],
            steps=steps,
            products=products,
            metrics={name: float(value) for name, value in (metrics or {}).items()},
            constituents=[self._nickname(part) for part in constituents],
            maintainers=list(maintainers),
            **own,
            **same,
        )
        if jobset is not None and jobset != self._given.jobset:
            self.story.untellable = f"it has builds of two jobsets, {self._given.jobset} and {jobset}"
        self._actors.add(nickname, given, jobset=jobset or "")
        self._given.builds[nickname] = given
        return self._hold(nickname)

    def queue(self, job: str | None = None, **about: Any) -> Build:
        """Let the evaluator find one new build; what is said of it is what `job` takes. Return it, queued."""
        build = self.job(job, **about)
        self.play(made(verbs.Evaluate, evaluate={"new": [build.nickname]}))
        return build

    def evaluate(
        self,
        *,
        new: Iterable[Build | str] = (),
        cached: Iterable[Build] = (),
        errors: str | None = None,
        flake: str | None = None,
        inputs: Mapping[str, Mapping[str, str]] | None = None,
        unchanged: bool = False,
        fails: bool | str = False,
        fetch_fails: bool | str = False,
        error_changed: bool = False,
        impossible: bool = False,
    ) -> Evaluation | None:
        """Let the evaluator run, and return the evaluation; None if it writes none.

        Args:
            new: builds to queue: from `job`, or names of jobs.
            cached: builds of the last evaluation with new builds: found finished, or still queued.
            errors: what the jobs say that do not evaluate; the others are found, and eval_added is sent.
            flake: the locked reference that is evaluated, where the jobset is a flake.
            inputs: name to ``{"uri": …, "revision": …}``, as it was checked out.
            unchanged: the inputs are as they were.
            fails: the evaluation fails, with this message or one made up.
            fetch_fails: fetching an input fails.
            error_changed: the flag of payloads 2026-09.
            impossible: write it although Hydra never would.

        Raises:
            ImpossibleActionError: Hydra would not do this, and ``impossible`` does not ask for it.

        """
        fresh = [self.job(build) if isinstance(build, str) else build for build in new]
        known = list(cached)
        said: dict[str, Any] = {
            "new": [self._nickname(build) for build in fresh],
            "cached": [self._nickname(build) for build in known],
            "errors": errors,
            "flake": flake,
            "inputs": None if inputs is None else {name: dict(one) for name, one in inputs.items()},
            "unchanged": unchanged,
            "fails": fails,
            "fetch_fails": fetch_fails,
            "error_changed": error_changed,
        }
        writes = not (unchanged or fails or fetch_fails)
        name = told.nickname("evaluation", self._taken) if writes else None
        if name:
            said["name"] = name
        self.play(made(verbs.Evaluate, evaluate=said, impossible=impossible))
        if not name:
            return None
        evaluation = Evaluation(self._actors.evaluation_ids[name], name, (*fresh, *known))
        self._handles.evaluations[evaluation.id] = evaluation
        return evaluation

    # Time

    def settle(self) -> None:
        """Let the dispatcher do all that it has to do; needed only after writing to the database oneself.

        Raises:
            PromiseBrokenError: it does not settle.
            UsageError: it is down.

        """
        if self.dispatcher.begun and not self.target.alive:
            raise errors.UsageError(
                "the dispatcher is down, so it does nothing and settles never: call hydra.dispatcher.start() first"
            )
        self.target.journal.changed()
        before = len(self._written)
        self.play(made(verbs.Settle, settle=True))
        for record in self._written.records[before:]:
            if isinstance(record, history.Expected) and not record.met:
                raise verdict.PromiseBrokenError(f"the dispatcher does not settle: {record.found}")

    @property
    def now(self) -> float:
        """Unix seconds of the simulated clock."""
        return self.target.journal.now

    # Points

    def at(self, point: str, which: int | str | Plugin | None = None, *, hook: str | None = None) -> At:
        """Choose a point of the dispatcher's work, at which something is to happen once.

        ``with hydra.at("after_call", 1, hook="build_finished").crash(): …`` - while the block runs, the dispatcher
        crashes when it gets there. The block fails if it never does, and the test if it has no such block.

        Args:
            point: ``before_call``, ``inside_call``, ``after_call``, ``before_clear``, ``after_clear``,
                ``before_store``, ``after_store``, ``before_wait``, ``between_listen_and_scan``, ``during_scan`` or ``point``.
            which: of a call: a plugin, or the number among the calls of one event, from 1. Of ``during_scan`` and
                ``point``: a number, from 1.
            hook: only while it works on an event of this channel.

        """
        plugin = plugin_name(which) if isinstance(which, Plugin) else which
        chosen = At(self, words.point(point, plugin, hook))
        self._asked.points.append(chosen)
        return chosen

    # Looking

    def calls(self, plugin: object = None, hook: str | None = None) -> list[Call]:
        """Return the calls so far, in their order: all, or those of a plugin or hook.

        Raises:
            UsageError: there is no such plugin or hook, or the plugin does not have the hook.

        """
        name = None if plugin is None else self._installed(plugin)
        if hook is not None:
            self._check_hook(hook, name)
        return [
            found
            for found in seen.calls(self._written, self._handles)
            if (name is None or found.plugin == name) and (hook is None or found.hook == hook)
        ]

    def retries(self) -> list[StoredRetry]:
        """Return the failed calls that wait to be made again, the one that is due first at the beginning."""
        self.target.journal.changed()
        self.target.journal.observe()
        return seen.retries(
            self.target.journal.tasks, self.now, self._handles, self._player.scenario.given.version
        )

    def marks(self) -> list[Build]:
        """Return the builds that carry a mark: finished, and not announced to everybody yet."""
        self.target.journal.changed()
        self.target.journal.observe()
        return [self._handles.build(id_) for id_ in sorted(self.target.journal.marks)]

    @property
    def log(self) -> Sequence[str]:
        """What the dispatcher logged."""
        return self.target.log()

    @property
    def history(self) -> history.History:
        """Everything that happened, as the judge sees it."""
        return self._written

    @property
    def world(self) -> simulator.World:
        """What the simulator's own parts share (`simulator.QueueRunner`, `simulator.Evaluator`)."""
        return self._actors.world

    # Judging

    def check(self) -> Judgements:
        """Judge what happened so far. Every test is judged at its end by itself.

        Raises:
            PromiseBrokenError: a promise was broken, or one that the test means to break was not.

        """
        event = self.judged()
        self._judged_at = len(self._written)
        if complaint := verdict.complain(event, self._tell):
            raise verdict.PromiseBrokenError(complaint)
        return event.judgements

    def end(self) -> None:
        """Let what is held go, let the dispatcher settle, and judge, unless nothing happened since the last time.

        Raises:
            PromiseBrokenError: as `check`.
            NotExercisedError: the test asked for something that did not happen.

        """
        self._feed.end()
        self._player.end()
        self._pass_on_what_the_test_said()
        if len(self._written) != self._judged_at:
            self.check()
        for plugin, what in seen.own_writes(self._written, self._handles):
            warnings.warn(
                f"the plugin {plugin} wrote to Hydra's rows by itself, which a dispatcher does not expect: {what}",
                UserWarning,
                stacklevel=2,
            )
        if in_vain := self._asked.in_vain(self._written):
            raise NotExercisedError("The test asked for what did not happen:\n  " + "\n  ".join(in_vain))

    def points_in_vain(self) -> list[str]:
        """Return what is wrong with each `at` that no ``with`` block was entered for."""
        return self._asked.points_in_vain()

    def judged(self) -> events.ScenarioFinished:
        """Return the run so far with all verdicts, for reports."""
        event = self._runner.finished(
            (self._path, self._scenario, ""),
            self._stage,
            checks.decide(self._written),
            log=tuple(self.log),
            seconds=time.monotonic() - self._begun,
        )
        return replace(event, command=self._command)

    def save(self, path: str | Path) -> Path:
        """Write what the test did as a scenario, and return the file's path.

        Plugins with code of their own become recorders whose calls fail as often as theirs did.

        Raises:
            NotTellableError: the scenario language cannot say it.

        """
        event = self.judged()
        scenario = told.as_scenario(
            self.story,
            self._given,
            self._written,
            event.verdict.violated or verdict.exercised(event),
            sentence=self._scenario.scenario,
            why=f"Written from the test {self._name}.",
            own=self._own,
        )
        file = Path(path)
        file.write_text(to_yaml(scenario), encoding="utf-8")
        return file

    # Steps

    def play(self, step: verbs.StepBase) -> None:
        """Play one step of the scenario language; every action comes through here."""
        if not self.dispatcher.begun and not isinstance(step, verbs.Dispatcher):
            self.dispatcher.start()
        told_step = self.story.begins(step)
        try:
            self._feed.play(step, may_be_held=any(plugin.holds for plugin in self._given.plugins.values()))
            self._pass_on_what_the_test_said()
        except StoryEndsHere as ended:
            raise verdict.NotExercisedError(str(ended)) from None
        except errors.UsageError as error:
            raise error.with_traceback(
                None
            ) from None  # what the test asked for is what is wrong, not the engine
        finally:
            self.story.ends(told_step)

    def _listening_for_the_test(self, code: plugins.Code) -> plugins.Code:
        def called(hook: str, arguments: Mapping[str, Any]) -> None:
            if isinstance(self._said_by_the_test, hook_timeout.HookTimeoutError):
                raise self._said_by_the_test  # The test has failed; a retry would only wait once more.
            try:
                code(hook, arguments)
            except BaseException as error:
                if plugins.is_of_the_test(error):
                    self._said_by_the_test = self._said_by_the_test or error
                raise

        return called

    def _pass_on_what_the_test_said(self) -> None:
        said, self._said_by_the_test = self._said_by_the_test, None
        if said is not None:
            raise said

    def close(self) -> None:
        """Put everything away, whatever state it is in."""
        try:
            self._feed.end()
        finally:
            self._put_away.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hold(self, nickname: str) -> Build:
        known = self._actors.build(nickname)
        build = self.builds[nickname] = self._handles.builds[known.id] = Build(known.id, nickname, known)
        return build

    def _nickname(self, build: object) -> str:
        if not isinstance(build, Build) or self._handles.builds.get(build.id) is not build:
            raise errors.UsageError(
                f"{build!r} is no build of this hydra; give a handle that its queue, job or evaluate returned"
            )
        return build.nickname

    def _installed(self, plugin: object) -> str:
        """Return the name of a plugin. Raises UsageError if it is not installed."""
        name = plugin_name(plugin)
        if name not in self._given.plugins:
            raise errors.UsageError(
                f"there is no plugin {name!r}; there are {', '.join(self._given.plugins) or 'none'}"
            )
        return name

    def _check_hook(self, hook: str, plugin: str | None) -> None:
        """Refuse a hook that is never called: then to find no calls of it would mean nothing. Raises UsageError."""
        if hook not in channels.CHANNELS:
            raise errors.UsageError(
                f"there is no hook {hook!r}; the hooks are {', '.join(channels.CHANNELS)}"
            )
        names = [plugin] if plugin is not None else list(self._given.plugins)
        if not any(hook in self._given.plugins[name].hooks for name in names):
            who = plugin or f"no plugin ({', '.join(names) or 'none is installed'})"
            does = "does not have" if plugin else "has"
            raise errors.UsageError(f"{who} {does} the hook {hook}, so it is never called")

    @property
    def _jobset(self) -> str:
        return self._actors.world.jobset().nickname

    @property
    def _taken(self) -> set[str]:
        return {*self._given.builds, *self._actors.evaluation_ids}
