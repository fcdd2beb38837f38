"""Names in a story that mean nothing: builds, evaluations, plugins and hooks that are not there."""

from collections.abc import Iterator, Sequence

from hydra_notify_sim.contract import channels
from hydra_notify_sim.scenario import parts
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.expect import Allowance, Call, CallCount, Expect
from hydra_notify_sim.scenario.model import Scenario
from hydra_notify_sim.scenario.payloads import PLACEHOLDER, THE_JOBSET, Payload, fields_of
from hydra_notify_sim.scenario.points import MARK_POINTS, Point
from hydra_notify_sim.scenario.problems import Finding, Path_, closest, hint_for

OTHER_CHANNELS = (
    channels.DUMP_METRICS,
    "step_started",
    "builds_added",
    "builds_deleted",
    "builds_restarted",
    "builds_cancelled",
    "builds_bumped",
    "jobsets_added",
    "jobsets_deleted",
    "jobset_shares_changed",
    "jobset_scheduling_changed",
)
"""Channels of Hydra's that no plugin hears of (docs/reference/hydra.md, section 1)."""

_MALFORMED = "To send a malformed payload, write it as one string."

PlacedSteps = Iterator[tuple[Path_, verbs.StepBase]]


def walk(steps: Sequence[verbs.StepBase], path: Path_ = ("story",)) -> PlacedSteps:
    """Yield every step of a story with its path, those under ``do`` and ``repeat`` too."""
    for index, step in enumerate(steps):
        here = (*path, index)
        yield here, step
        if isinstance(step, verbs.Repeat):
            yield from walk(step.repeat.steps, (*here, "repeat", "steps"))
        yield from walk(step.do, (*here, "do"))


def check(scenario: Scenario) -> list[Finding]:
    """Return every name that means nothing."""
    return list(dict.fromkeys(_Names(scenario).check()))


class _Names:
    """The names that a scenario knows, and the checks against them."""

    def __init__(self, scenario: Scenario) -> None:
        self._given = scenario.given
        self._payloads = scenario.given.version
        self._steps = list(walk(scenario.story))
        self._evaluations: dict[str, Path_] = {}
        self._inserted: set[str] = {
            step.insert.task.plugin
            for _, step in self._steps
            if isinstance(step, verbs.Insert) and step.insert.task is not None
        }

    def check(self) -> Iterator[Finding]:
        yield from self._world()
        yield from self._evaluation_names()
        for path, step in self._steps:
            if step.at is not None:
                yield from self._point((*path, "at"), step.at)
            if not isinstance(step, verbs.Unknown):
                yield from self._step(path, step)
            elif len(path) > 2:
                said = "an open place stands in the story itself, not under 'do' or 'repeat'"
                yield Finding((*path, "unknown"), said, at_key=True)

    def _world(self) -> Iterator[Finding]:
        for nickname, build in self._given.builds.items():
            path = ("given", "builds", nickname)
            if nickname == THE_JOBSET or "." in nickname:
                yield Finding(
                    path, f"'{nickname}' cannot name a build: it has a meaning of its own", at_key=True
                )
            for key, what in (
                ("needs", "needs an unknown build"),
                ("constituents", "stands for an unknown build"),
            ):
                for index, name in enumerate(getattr(build, key)):
                    yield from self._build((*path, key, index), name, what)
            if build.same_derivation_as is not None:
                yield from self._same_derivation(
                    (*path, "same_derivation_as"), nickname, build.same_derivation_as
                )
        yield from self._cycles()
        for nickname, plugin in self._given.plugins.items():
            path = ("given", "plugins", nickname)
            if "." in nickname:
                yield Finding(path, "the nickname of a plugin has no dot", at_key=True)
            for index, name in enumerate(plugin.raises.for_ or () if plugin.raises else ()):
                yield from self._build((*path, "raises", "for", index), name)

    def _cycles(self) -> Iterator[Finding]:
        needs = {
            name: {word.split(".")[0] for word in (*build.needs, *build.constituents)}
            for name, build in self._given.builds.items()
        }
        while ready := [name for name, needed in needs.items() if not needed & needs.keys()]:
            for name in ready:
                del needs[name]
        # Each build that is left needs another one that is left: going on from any of them leads into a circle.
        while needs:
            chain = [next(iter(needs))]
            while chain[-1] not in chain[:-1]:
                chain.append(min(needs[chain[-1]] & needs.keys()))
            circle = chain[chain.index(chain[-1]) :]
            path = ("given", "builds", circle[0], "needs")
            yield Finding(path, f"builds that wait for each other: {' needs '.join(circle)}")
            gone = set(chain)
            while gone:
                for name in gone:
                    needs.pop(name, None)
                gone = {name for name, needed in needs.items() if not needed & needs.keys()}

    def _same_derivation(self, path: Path_, nickname: str, other: str) -> Iterator[Finding]:
        yield from self._single(path, other)
        chain = [nickname]
        while (
            build := self._given.builds.get(chain[-1])
        ) is not None and build.same_derivation_as is not None:
            if build.same_derivation_as in chain:
                yield Finding(
                    path, "builds that are each of the same derivation as the other: give one of them anew"
                )
                return
            chain.append(build.same_derivation_as)

    def _evaluation_names(self) -> Iterator[Finding]:
        for path, step in self._steps:
            if not isinstance(step, verbs.Evaluate) or step.evaluate.name is None:
                continue
            name, here = step.evaluate.name, (*path, "evaluate", "name")
            if name in self._evaluations:
                yield Finding(here, f"there is an evaluation '{name}' already")
            elif name in self._given.builds or name == THE_JOBSET:
                yield Finding(
                    here, f"'{name}' names {'a build' if name != THE_JOBSET else 'the jobset'} already"
                )
            elif "repeat" in path:
                yield Finding(here, "an evaluation that is repeated has no name: each time it is another one")
            self._evaluations.setdefault(name, here)

    def _step(self, path: Path_, step: verbs.StepBase) -> Iterator[Finding]:
        here = (*path, step.verb)
        match step:
            case verbs.Dispatcher():
                for index, name in enumerate(step.plugins or ()):
                    yield from self._plugin((*path, "plugins", index), name)
            case verbs.Evaluate():
                yield from self._evaluated(here, step.evaluate)
            case verbs.Notify():
                yield from self._channel((*here, "channel"), step.notify.channel)
                yield from self._payload((*here, "payload"), step.notify.channel, step.notify.payload)
            case verbs.Delete() | verbs.Insert() | verbs.Lock():
                yield from self._row(here, step)
            case verbs.Release():
                yield from self._released(here, step.release)
            case verbs.ExpectStep():
                yield from self._expect(here, step.expect)
            case _ if isinstance(nicknames := getattr(step, step.verb), tuple):
                for index, name in enumerate(nicknames):
                    yield from self._build((*here, index), name)

    def _evaluated(self, path: Path_, evaluation: parts.Evaluation) -> Iterator[Finding]:
        for key in ("new", "cached"):
            for index, name in enumerate(getattr(evaluation, key)):
                yield from self._build((*path, key, index), name)
        if evaluation.flake is not None and self._given.flake is None:
            yield Finding((*path, "flake"), "the jobset is no flake; it needs 'flake' under given")
        if evaluation.inputs is not None and self._given.flake is not None:
            yield Finding((*path, "inputs"), "the jobset is a flake, which has no inputs")
        if evaluation.error_changed and self._payloads == "2026-08":
            yield Finding(
                (*path, "error_changed"),
                "payloads 2026-08 have no such flag; it needs 'payloads: 2026-09' under given",
            )

    def _released(self, path: Path_, name: str) -> Iterator[Finding]:
        yield from self._plugin(path, name)
        if name in self._given.plugins and not self._given.plugins[name].holds:
            yield Finding(path, f"{name} holds no call: it has no 'holds: true' under given.plugins")

    def _row(self, path: Path_, step: verbs.Delete | verbs.Insert | verbs.Lock) -> Iterator[Finding]:
        if isinstance(step, verbs.Lock):
            yield from self._single((*path, "build"), step.lock.build)
        elif isinstance(step, verbs.Delete):
            yield from self._deleted(path, step.delete)
        else:
            yield from self._inserted_row(path, step.insert)

    def _deleted(self, path: Path_, row: parts.DeletedRow) -> Iterator[Finding]:
        if row.build is not None:
            yield from self._single((*path, "build"), row.build)
        if row.step is not None:
            yield from self._single((*path, "step", "build"), row.step.build)
        if row.evaluation is not None:
            yield from self._evaluation((*path, "evaluation"), row.evaluation)
        if row.project is not None and row.project != self._given.project:
            yield Finding((*path, "project"), f"the story's project is {self._given.project}")
        if row.task is not None:
            here = (*path, "task")
            if row.task.plugin is not None:
                yield from self._plugin((*here, "plugin"), row.task.plugin, inserted=True)
            if row.task.channel is not None:
                yield from self._channel((*here, "channel"), row.task.channel)
            if row.task.payload is not None:
                yield from self._payload((*here, "payload"), row.task.channel or "", row.task.payload)

    def _inserted_row(self, path: Path_, row: parts.InsertedRow) -> Iterator[Finding]:
        if row.build is not None:
            yield from self._single((*path, "build"), row.build)
        if row.task is not None:
            here = (*path, "task")
            meant = closest(row.task.plugin, list(self._given.plugins), 0.85)
            if meant is not None and row.task.plugin not in self._given.plugins:
                yield Finding(
                    (*here, "plugin"), f"there is no plugin '{row.task.plugin}'", f"Did you mean '{meant}'?"
                )
            yield from self._channel((*here, "channel"), row.task.channel)
            yield from self._payload((*here, "payload"), row.task.channel, row.task.payload)

    def _expect(self, path: Path_, expect: Expect) -> Iterator[Finding]:
        for subject, calls in (expect.calls or {}).items():
            here = (*path, "calls", subject)
            yield from self._subject(here, subject)
            several = [(here, calls)] if isinstance(calls, CallCount) else enumerate_under(here, calls)
            for place, call in several:
                yield from self._call(place, subject, call)
        for subject, call in (expect.last or {}).items():
            yield from self._subject((*path, "last", subject), subject)
            yield from self._call((*path, "last", subject), subject, call)
        for index, name in enumerate(expect.marks or ()):
            yield from self._build((*path, "marks", index), name)
        for index, retry in enumerate(expect.retries or ()):
            here = (*path, "retries", index)
            yield from self._plugin((*here, "plugin"), retry.plugin, inserted=True)
            if retry.hook is not None and retry.plugin not in self._inserted:
                yield from self._has_hook((*here, "hook"), retry.plugin, retry.hook)
            if retry.build is not None:
                yield from self._single((*here, "build"), retry.build)
        for key in ("lost", "repeated"):
            for index, allowance in enumerate(getattr(expect, key) or ()):
                yield from self._allowance((*path, key, index), allowance)

    def _subject(self, path: Path_, subject: str) -> Iterator[Finding]:
        plugin, dot, hook = subject.partition(".")
        yield from self._plugin(path, plugin, at_key=True)
        if dot and hook not in channels.CHANNELS:
            yield Finding(path, f"'{hook}' is not a hook", hint_for(hook, channels.CHANNELS), at_key=True)
        elif dot:
            yield from self._has_hook(path, plugin, hook, at_key=True)

    def _call(self, path: Path_, subject: str, call: Call | CallCount) -> Iterator[Finding]:
        plugin, _, hook = subject.partition(".")
        if call.build is not None:
            yield from self._single((*path, "build"), call.build)
        for index, name in enumerate(call.dependents or ()):
            yield from self._build((*path, "dependents", index), name)
        if call.hook is not None and hook and hook != call.hook:
            yield Finding((*path, "hook"), f"these are calls of {hook}; {call.hook} is another hook")
        elif call.hook is not None:
            yield from self._has_hook((*path, "hook"), plugin, call.hook)

    def _allowance(self, path: Path_, allowance: Allowance) -> Iterator[Finding]:
        here = (*path, allowance.hook)
        if allowance.hook.startswith("eval_"):
            yield from self._evaluation(here, allowance.about, jobset=True)
        else:
            yield from self._single(here, allowance.about)
        if allowance.plugin is not None:
            yield from self._plugin((*path, "plugin"), allowance.plugin, inserted=True)
            yield from self._has_hook((*path, "plugin"), allowance.plugin, allowance.hook)

    def _point(self, path: Path_, point: Point) -> Iterator[Finding]:
        if isinstance(point.which, str):
            yield from self._plugin((*path, point.name), point.which)
            if point.hook is not None:
                yield from self._has_hook((*path, "hook"), point.which, point.hook)
        elif (
            point.hook is not None
            and point.name not in MARK_POINTS  # a mark that nobody is interested in is cleared all the same
            and not any(point.hook in p.hooks for p in self._given.plugins.values())
        ):
            yield Finding((*path, "hook"), f"no plugin has the hook {point.hook}, so it is never called")

    def _build(self, path: Path_, name: str, what: str = "there is no build") -> Iterator[Finding]:
        head, _, number = name.partition(".")
        build = self._given.builds.get(head)
        if build is None:
            yield Finding(
                path, f"{what} '{name}' under given.builds", hint_for(head, list(self._given.builds))
            )
        elif number and int(number) > build.copies:
            copies = f"only {build.copies} copies" if build.copies > 1 else "no copies"
            yield Finding(path, f"there is no '{name}': {head} has {copies}")

    def _single(self, path: Path_, name: str) -> Iterator[Finding]:
        yield from self._build(path, name)
        build = self._given.builds.get(name)
        if build is not None and build.copies > 1:
            yield Finding(
                path, f"'{name}' stands for {build.copies} builds; name one of them, such as {name}.1"
            )

    def _evaluation(self, path: Path_, name: str, *, jobset: bool = False) -> Iterator[Finding]:
        known = [*self._evaluations, *([THE_JOBSET] if jobset else [])]
        if name not in known:
            yield Finding(
                path,
                f"there is no evaluation '{name}'",
                hint_for(name, known) if known else "Name one: 'evaluate: {name: e1, …}'.",
            )

    def _plugin(
        self, path: Path_, name: str, *, at_key: bool = False, inserted: bool = False
    ) -> Iterator[Finding]:
        known = [*self._given.plugins, *sorted(self._inserted if inserted else ())]
        if name not in known:
            yield Finding(
                path, f"there is no plugin '{name}' under given.plugins", hint_for(name, known), at_key=at_key
            )

    def _has_hook(self, path: Path_, plugin: str, hook: str, *, at_key: bool = False) -> Iterator[Finding]:
        known = self._given.plugins.get(plugin)
        if known is not None and hook not in known.hooks:
            yield Finding(
                path,
                f"{plugin} does not have the hook {hook}",
                f"Its hooks: {', '.join(known.hooks) or 'none'}",
                at_key=at_key,
            )

    def _channel(self, path: Path_, channel: str) -> Iterator[Finding]:
        known = (*channels.CHANNELS, *OTHER_CHANNELS)
        meant = None if channel in known else closest(channel, known, 0.85)
        if meant is not None:
            yield Finding(path, f"there is no channel '{channel}'", f"Did you mean '{meant}'?")

    def _payload(self, path: Path_, channel: str, payload: Payload) -> Iterator[Finding]:
        if isinstance(payload, str):
            yield from self._placeholders(path, payload)
            return
        kinds = fields_of(channel, len(payload), self._payloads)
        if kinds is None:
            yield Finding(path, f"{channel} does not have {len(payload)} fields", _MALFORMED)
            return
        for index, (field, kind) in enumerate(zip(payload, kinds, strict=True)):
            if isinstance(field, str) and kind != "text":
                yield from self._field((*path, index), field, kind)

    def _field(self, path: Path_, field: str, kind: str) -> Iterator[Finding]:
        if kind == "build":
            yield from self._build(path, field)
        elif kind == "evaluation":
            yield from self._evaluation(path, field)
        elif kind == "number":
            yield Finding(path, f"'{field}' should be a number", _MALFORMED)
        elif field != THE_JOBSET:
            yield Finding(path, f"'{field}' should be the word jobset or a number", _MALFORMED)

    def _placeholders(self, path: Path_, payload: str) -> Iterator[Finding]:
        named = [*self._given.builds, *self._evaluations, THE_JOBSET]
        for word in PLACEHOLDER.findall(payload):
            if word.partition(".")[0] not in named:
                yield Finding(path, f"nothing is named '{word}'", hint_for(word, named))
            elif word not in named or word in self._given.builds:
                yield from self._single(path, word)


def enumerate_under(path: Path_, calls: Sequence[Call]) -> list[tuple[Path_, Call]]:
    """Give each call of a list its path."""
    return [((*path, index), call) for index, call in enumerate(calls)]
