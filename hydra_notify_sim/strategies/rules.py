"""A Hypothesis state machine for any dispatcher: what Hydra, people, time and bad luck can do to it, one rule each.

Rare states are reached on purpose. Hypothesis leaves out some rules in each example (swarm testing), the machine some
faults and points, so that what is left does not drown in what is common. With Hypothesis's phase ``target`` it climbs
to examples that put many promises to the test.
"""

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from hydra_notify_sim.exploration import vocabulary
from hydra_notify_sim.exploration.chance import Chance
from hydra_notify_sim.scenario.model import GivenBuild, GivenPlugin
from hydra_notify_sim.strategies import handles
from hydra_notify_sim.strategies.drawing import dealt
from hydra_notify_sim.strategies.handles import Build, Plugin
from hydra_notify_sim.strategies.improvising import Improvising, Step

MOST_BUILDS = 6
TROUBLE_SHARE = 0.9
HERE = "a"
"""The nickname that stands for the build a rule is about, in what is drawn before the build is known."""

CACHED = ("cached_build_finished", "cached_build_queued")
ELSE: tuple[Step, ...] = ({}, {"fails": True}, {"fetch_fails": True})
"""Evaluations that find nothing."""
SECONDS = (2, 5, 1, 10, 60)
LEFT_OUT: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            (),
            (),
            (),
            (),
            ("lost", "reply lost"),
            ("crash", "stop"),
            ("stop", "lost", "before_call", "inside_call"),
            ("crash", "inside_call", "after_call"),
            ("before_call", "inside_call", "after_call"),
            ("crash", "stop", "lost", "reply lost"),
        ),
    )
)
"""Faults and points that do not happen in one example."""


def _builds(chance: Chance) -> dict[str, Step]:
    made: dict[str, Step] = {}
    for name, _ in zip("abc", chance.times(1, 3), strict=False):
        made[name] = vocabulary.build(chance, list(made))
    return made


def _plugins(chance: Chance) -> dict[str, Step]:
    made: dict[str, Step] = {}
    for name, _ in zip(("github", "mail", "chat"), chance.times(1, 3), strict=False):
        made[name] = vocabulary.plugin(chance, HERE)
        if chance.happens(0.04):
            made[name]["holds"] = True
    return made


def _trouble(points: tuple[str, ...], about: str = HERE) -> st.SearchStrategy[Step | None]:
    # Hypothesis takes the first ones far more often than the others: in the end there is trouble at every third step.
    return dealt(
        lambda chance: vocabulary.trouble(chance, points, about) if chance.happens(TROUBLE_SHARE) else None,
        500,
    )


TROUBLE = _trouble(vocabulary.AT_ENDS)
TROUBLE_OF_EVENTS = _trouble(vocabulary.AT_EVENTS, "")
TROUBLE_AT_START = _trouble(vocabulary.AT_START, "")
ENDING = dealt(lambda chance: vocabulary.ending(chance, certain=False), 200)
BY_HAND = dealt(lambda chance: vocabulary.notification(chance, HERE, [HERE]), 200)
RAW = dealt(lambda chance: vocabulary.raw(chance, HERE), 200)
TASK = dealt(lambda chance: vocabulary.task(chance, "", HERE), 200)
EDIT = dealt(vocabulary.edit, 50)
MARKING = dealt(lambda chance: vocabulary.ending(chance, certain=False, log=False), 200)

# Preconditions have names: Hypothesis shows them, and asks them often.


def is_up(machine: "DispatcherMachine") -> bool:
    """Whether the dispatcher runs."""
    return machine.alive


def is_down(machine: "DispatcherMachine") -> bool:
    """Whether it does not."""
    return not machine.alive


def at_rest(machine: "DispatcherMachine") -> bool:
    """Whether no call is held."""
    return not machine.inside


def has_room(machine: "DispatcherMachine") -> bool:
    """Whether one more build is few enough."""
    return len(machine.known_builds) < MOST_BUILDS


def has_evaluations(machine: "DispatcherMachine") -> bool:
    """Whether there is an evaluation."""
    return machine.written_evaluations > 0


def has_a_jobset(machine: "DispatcherMachine") -> bool:
    """Whether nobody deleted it."""
    return not machine.story.actors.world.jobset_deleted


def has_several_plugins(machine: "DispatcherMachine") -> bool:
    """Whether one of the plugins can be missing."""
    return len(machine.known_plugins) > 1


def some_plugin_holds(machine: "DispatcherMachine") -> bool:
    """Whether a plugin holds its calls."""
    return any(plugin.holding for plugin in machine.known_plugins)


def may_restart_the_server(machine: "DispatcherMachine") -> bool:
    """Whether it was asked for, and the server is ours."""
    return machine.server_restarts and machine.server_is_ours


class Some:
    """The precondition that some build is in a state."""

    def __init__(self, state: Callable[[Build], bool]) -> None:
        self._state = state
        self.__name__ = f"some_build_{state.__name__}"

    def __call__(self, machine: "DispatcherMachine") -> bool:
        """Look at all of them."""
        return any(map(self._state, machine.known_builds))


class DispatcherMachine(Improvising):
    """Everything that can happen to a dispatcher. Set ``options`` in a subclass, or use `machine`."""

    builds = Bundle("builds")
    evaluations = Bundle("evaluations")
    plugins = Bundle("plugins")

    # What is given

    @initialize(target=builds, given=dealt(_builds, 200))
    def given_builds(self, given: dict[str, Step]) -> MultipleResults[Build]:
        """Give builds that are there before the story begins."""
        self._given_builds = {name: GivenBuild.model_validate(about) for name, about in given.items()}
        return multiple(*(self.hold(name, row_comes_later="row" in about) for name, about in given.items()))

    @initialize(
        target=plugins,
        given=dealt(_plugins, 1000),
        up=st.sampled_from((True, True, True, False)),
        leave_out=st.sampled_from(LEFT_OUT),
    )
    def given_plugins(
        self, given: dict[str, Step], up: bool, leave_out: frozenset[str]
    ) -> MultipleResults[Plugin]:
        """Give the dispatcher its plugins; say whether it runs from the beginning, and what does not happen to it.

        ``leave_out``: faults and points. Fewer kinds of trouble make room for what is rare beside them.
        """
        self.known_plugins = [
            Plugin(name, GivenPlugin.model_validate(about)) for name, about in given.items()
        ]
        self._given_plugins = {plugin.name: plugin.given for plugin in self.known_plugins}
        self._begins_up, self._left_out = up, leave_out
        return multiple(*self.known_plugins)

    @invariant()
    def promises_are_kept(self) -> None:
        """Judge the history so far."""
        self.judge()

    # The evaluator

    @precondition(has_room)
    @precondition(has_a_jobset)
    @rule(target=builds, steps=st.sampled_from((1, 1, 2)), found=st.booleans())
    def queue(self, steps: int, found: bool) -> Build:
        """Let the evaluator find a new build, perhaps beside all that it knows."""
        return self.new_build(found=found, steps=steps)

    @precondition(has_room)
    @precondition(has_a_jobset)
    @rule(target=builds, needs=builds, how=st.sampled_from(("needs", "needs", "constituents")))
    def queue_one_that_needs(self, needs: Build, how: str) -> Build:
        """Let the evaluator find a new build that fails if another one does, perhaps an aggregate."""
        if how == "constituents":
            return self.new_build(constituents=[needs.nickname])
        return self.new_build(needs=[needs.nickname])

    @precondition(has_room)
    @precondition(Some(handles.was_left_behind))
    @rule(target=builds, build=builds.filter(handles.was_left_behind))
    def queue_once_more(self, build: Build) -> Build:
        """Let the evaluator find that a change was reverted: a new build of the same derivation."""
        return self.new_build(same_derivation_as=build.nickname)

    @precondition(Some(handles.can_be_found))
    @rule(
        target=evaluations,
        build=builds.filter(handles.can_be_found),
        alone=st.sampled_from((False, False, True)),
    )
    def find_again(self, build: Build, alone: bool) -> str:
        """Let the evaluator find what it found before: all of it, or one build that is left."""
        name = f"e{self.named_evaluations + 1}"
        found = [one.nickname for one in self.known_builds if one is build or handles.can_be_found(one)]
        self.act({"evaluate": {"name": name, "cached": [build.nickname] if alone else found}})
        self.named_evaluations += 1
        self.written_evaluations += 1
        return name

    @precondition(has_a_jobset)
    @rule(how=st.sampled_from(ELSE))
    def evaluate(self, how: Step) -> None:
        """Let the evaluator find nothing, or fail."""
        self.act({"evaluate": how})
        self.written_evaluations += not how

    @precondition(has_evaluations)
    @precondition(has_a_jobset)
    @rule()
    def evaluate_unchanged(self) -> None:
        """Let the evaluator see that the inputs are as they were."""
        self.act({"evaluate": {"unchanged": True}})

    # The queue runner

    @precondition(Some(handles.exists))
    @rule(build=builds.filter(handles.exists), ending=ENDING, trouble=TROUBLE)
    def build(self, build: Build, ending: Step, trouble: Step | None) -> None:
        """Start a build, if it was not, and end it; a person restarts one that is finished."""
        if build.now.finished:
            self.act({"restart": build.nickname})
        self.act({"build": build.nickname, **ending}, trouble, build.nickname)

    @precondition(Some(handles.is_open))
    @rule(build=builds.filter(handles.is_open), ending=ENDING, trouble=TROUBLE)
    def finish(self, build: Build, ending: Step, trouble: Step | None) -> None:
        """End a build."""
        self.act({"finish": build.nickname, **ending}, trouble, build.nickname)

    @precondition(Some(handles.can_start))
    @rule(build=builds.filter(handles.can_start), trouble=TROUBLE_OF_EVENTS)
    def start(self, build: Build, trouble: Step | None) -> None:
        """Send the next step of a build to a machine."""
        self.act({"start": build.nickname}, trouble)

    @precondition(Some(handles.is_on_the_way))
    @rule(build=builds.filter(handles.is_on_the_way), log=st.booleans(), trouble=TROUBLE_OF_EVENTS)
    def step(self, build: Build, log: bool, trouble: Step | None) -> None:
        """End a step that is not the last one of its build."""
        self.act({"step": build.nickname, "log": log}, trouble)

    @precondition(Some(handles.is_under_way))
    @rule(build=builds.filter(handles.is_under_way))
    def abort(self, build: Build) -> None:
        """Lose the machine."""
        self.act({"abort": build.nickname})

    @precondition(Some(handles.is_fresh))
    @rule(build=builds.filter(handles.is_fresh), already_valid=st.booleans(), trouble=TROUBLE)
    def substitute(self, build: Build, already_valid: bool, trouble: Step | None) -> None:
        """Fetch a build's outputs, or find them there."""
        self.act({"substitute": build.nickname, "already_valid": already_valid}, trouble, build.nickname)

    @precondition(Some(handles.is_open))
    @rule(build=builds.filter(handles.is_open), ending=MARKING)
    def mark_only(self, build: Build, ending: Step) -> None:
        """Let the queue runner die before it notifies."""
        self.act({"mark_only": build.nickname, **ending})

    # The person

    @precondition(Some(handles.is_open))
    @rule(build=builds.filter(handles.is_open))
    def cancel(self, build: Build) -> None:
        """Cancel a build at the web page."""
        self.act({"cancel": build.nickname})

    @precondition(Some(handles.is_finished))
    @rule(build=builds.filter(handles.is_finished))
    def restart(self, build: Build) -> None:
        """Restart a build at the web page."""
        self.act({"restart": build.nickname})

    @precondition(Some(handles.exists))
    @rule(build=builds.filter(handles.exists))
    def bump(self, build: Build) -> None:
        """Give a build more priority."""
        self.act({"bump": build.nickname})

    @rule(build=builds, what=BY_HAND, trouble=TROUBLE_OF_EVENTS)
    def notify(self, build: Build, what: Step, trouble: Step | None) -> None:
        """Send a notification by hand."""
        payload = [build.nickname if field == HERE else field for field in what["payload"]]
        self.act({"notify": {**what, "payload": payload}}, trouble)

    @rule(build=builds, dependent=builds)
    def notify_of_two(self, build: Build, dependent: Build) -> None:
        """Send a build_finished with a dependent by hand."""
        payload = [build.nickname, dependent.nickname]
        self.act({"notify": {"channel": "build_finished", "payload": payload}})

    @rule(evaluation=evaluations, build=builds, channel=st.sampled_from(CACHED))
    def notify_of_an_evaluation(self, evaluation: str, build: Build, channel: str) -> None:
        """Send again by hand what an evaluation found."""
        self.act({"notify": {"channel": channel, "payload": [evaluation, build.nickname]}})

    @rule(build=builds, what=RAW)
    def notify_raw(self, build: Build, what: Step) -> None:
        """Send a payload that is nearly right, wrong or hostile."""
        payload = what["payload"].replace(f"{{{HERE}}}", f"{{{build.nickname}}}")
        self.act({"notify": {**what, "payload": payload}})

    @rule(plugin=plugins, gone=st.sampled_from((False, False, True)), build=builds, what=TASK)
    def insert_task(self, plugin: Plugin, gone: bool, build: Build, what: Step) -> None:
        """Leave a stored task in the table, for a plugin or one that was uninstalled."""
        name = "gone_plugin" if gone else plugin.name
        payload = [build.nickname] if isinstance(what["payload"], list) else what["payload"]
        self.act({"insert": {"task": {**what, "plugin": name, "payload": payload}}})

    @rule(plugin=plugins, all_of_them=st.booleans())
    def delete_tasks(self, plugin: Plugin, all_of_them: bool) -> None:
        """Delete the tasks of a plugin, or all that there are."""
        self.act({"delete": {"task": {} if all_of_them else {"plugin": plugin.name}}})

    @precondition(has_a_jobset)
    @precondition(Some(handles.is_missing))
    @rule(build=builds.filter(handles.is_missing))
    def insert_build(self, build: Build) -> None:
        """Let the row of a build appear."""
        self.act({"insert": {"build": build.nickname}})

    @precondition(has_evaluations)
    @precondition(has_a_jobset)
    @rule(evaluation=consumes(evaluations))
    def delete_evaluation(self, evaluation: str) -> None:
        """Delete the row of an evaluation."""
        self.act({"delete": {"evaluation": evaluation}})
        self.written_evaluations -= 1

    @precondition(has_a_jobset)
    @rule(edit=EDIT)
    def edit_jobset(self, edit: Step) -> None:
        """Rename, hide or show the jobset."""
        self.act({"edit_jobset": edit})

    @precondition(has_a_jobset)
    @precondition(Some(handles.is_finished))
    @rule(really=st.sampled_from((False, False, False, False, False, True)))
    def delete_project(self, really: bool) -> None:
        """Delete the project with all builds; seldom, for little can happen afterwards."""
        if really:
            self.act({"delete": {"project": "nixpkgs"}})

    # The dispatcher's life

    @precondition(is_down)
    @rule(trouble=TROUBLE_AT_START)
    def start_dispatcher(self, trouble: Step | None) -> None:
        """Start the dispatcher."""
        self.act({"dispatcher": "start"}, trouble)

    @precondition(has_several_plugins)
    @precondition(is_down)
    @rule(missing=plugins)
    def start_without(self, missing: Plugin) -> None:
        """Start the dispatcher without one of its plugins."""
        names = [plugin.name for plugin in self.known_plugins if plugin is not missing]
        self.act({"dispatcher": "start", "plugins": names})

    @precondition(at_rest)
    @precondition(is_up)
    @rule()
    def stop_dispatcher(self) -> None:
        """Stop the dispatcher (SIGTERM)."""
        self.act({"dispatcher": "stop"})

    @precondition(is_up)
    @rule()
    def crash_dispatcher(self) -> None:
        """Kill the dispatcher (SIGKILL)."""
        self.act({"dispatcher": "crash"})

    @precondition(at_rest)
    @precondition(is_up)
    @rule()
    def restart_dispatcher(self) -> None:
        """Stop the dispatcher and start it."""
        self.act({"dispatcher": "restart"})

    @precondition(is_up)
    @rule()
    def lose_connection(self) -> None:
        """Lose the dispatcher's connections."""
        self.act({"connection": "lost"})

    @precondition(at_rest)
    @precondition(may_restart_the_server)
    @rule()
    def restart_server(self) -> None:
        """Restart the database server."""
        self.act({"postgres": "restart"})

    @precondition(some_plugin_holds)
    @rule(plugin=plugins)
    def release(self, plugin: Plugin) -> None:
        """Let a held call return."""
        if plugin.holding:
            self.act({"release": plugin.name})
            plugin.released = True

    # Time

    @rule(seconds=st.sampled_from(SECONDS))
    def advance(self, seconds: int) -> None:
        """Let time pass."""
        self.act({"advance": seconds})

    @precondition(is_up)
    @precondition(at_rest)
    @rule()
    def settle(self) -> None:
        """Let the dispatcher do all that it has to do."""
        self.act({"settle": True})
