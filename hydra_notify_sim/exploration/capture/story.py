"""What a recording says of one build, as a scenario with open places where nobody saw what the dispatcher met.

What was seen stands in it as ``expect``: marks that were cleared, tasks that were left, and what a person missed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra_notify_sim import errors, history
from hydra_notify_sim.contract import channels
from hydra_notify_sim.exploration.capture import drafts as making
from hydra_notify_sim.exploration.capture import facts as known
from hydra_notify_sim.exploration.capture.drafts import Draft
from hydra_notify_sim.exploration.capture.names import Names
from hydra_notify_sim.scenario import Scenario, story
from hydra_notify_sim.scenario.steps import UNKNOWN

ABOUT_BUILDS = ("build_queued", "build_started", "step_finished", "build_finished", "cached_build_finished", "cached_build_queued")  # fmt: skip
SUPPOSED = "\0"
"""What the names of plugins begin with that nobody has named."""
LASTED = 10.0
"""Seconds for which a mark has to have been there as the recording ended, to be expected to stay."""


class UntoldError(errors.UsageError):
    """What a plugin is said not to have told cannot be meant."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person adds to the recording."""

    plugins: tuple[str, ...] = ()
    """Plugins that were installed."""
    untold: tuple[str, ...] = ()
    """Plugins, with their hook perhaps, that should have told of the build, and did not."""
    keep_names: bool = False


@dataclass(frozen=True, slots=True)
class Captured:
    """A story, and what the person should know of it."""

    scenario: Scenario
    plugins: dict[str, str]
    """Nickname of a plugin to its name; a plugin that is only supposed to be there has none."""
    notes: tuple[str, ...] = ()


def capture(source: history.SavedHistory, build: int, wishes: Wishes) -> Captured:
    """Return the story of one build.

    Raises:
        NotInRecordingError: the build does not occur in it.
        UntoldError: a wish cannot be meant.
        HistoryFileError: the file is damaged.

    """
    return _Teller(known.read(source, build), source.header, wishes).tell()


class _Teller:
    def __init__(self, facts: known.Facts, header: history.Header, wishes: Wishes) -> None:
        self.facts = facts
        self.header = header
        self.wishes = wishes
        self.drafter = making.Drafter(facts)
        self.names = Names(keep=wishes.keep_names)
        self.notes: list[str] = []

    def tell(self) -> Captured:
        drafts = self.drafter.draft()
        self.names.name_builds(self.facts.main, self.facts.build, self.facts.dependents, self.drafter.rows)
        untold = [self._untold(text) for text in self.wishes.untold]
        given = self._given(untold)
        scenario = self._possible(drafts, given, untold)
        self._note()
        real = {
            nickname: name for name, nickname in self.names.plugins.items() if not name.startswith(SUPPOSED)
        }
        return Captured(scenario, real, tuple(self.notes))

    def _note(self) -> None:
        if self.facts.left_out:
            self.notes.append(
                f"{self.facts.left_out} further builds that were announced with it are left out of the story."
            )
        gaps = sum(isinstance(fact, known.Gap) for fact in self.facts.told)
        if gaps:
            self.notes.append(
                "The tap had lost its connection for a while: what was emitted then is not in the story."
            )
        if not any("expect" in step for step in self._steps([], ())[0]):
            self.notes.append("Nothing that was seen at the end can be expected: it was still going on.")
        if not self.facts.closed:
            self.notes.append("The recording was cut short; what stands in it until then was used.")

    # What is given

    def _given(self, untold: Sequence[tuple[str, str]]) -> dict[str, Any]:
        builds: dict[str, Any] = {}
        for build in self.facts.builds:
            entry = dict(self.drafter.given[build])
            row = self.drafter.rows.get(build)
            if row is not None and self.wishes.keep_names:
                entry = {"job": row.job, "system": row.system, **entry}
            if build in self.facts.dependents:
                entry["needs"] = [self.names.builds[self.facts.build]]
            elif build == self.facts.build and self.facts.main:
                entry["needs"] = [self.names.builds[main] for main in self.facts.main]
            builds[self.names.builds[build]] = entry
        given: dict[str, Any] = {"builds": builds, "plugins": self._plugins(untold)}
        row = self.drafter.rows.get(self.facts.build)
        if self.wishes.keep_names and row is not None and _is_jobset(row.jobset):
            given["jobset"] = row.jobset
        if self.header.payloads != channels.DEFAULT_PAYLOADS:
            given["payloads"] = self.header.payloads
        return given

    def _plugins(self, untold: Sequence[tuple[str, str]]) -> dict[str, Any]:
        failed = self._failures()
        wanted = list(dict.fromkeys([*self.wishes.plugins, *failed, *(plugin for plugin, _ in untold)]))
        hooks = {hook for _, hook in untold} or {self._hook()}
        # With one plugin nothing can go wrong between two, and a stock Hydra has one more than one configures.
        supposed = [f"{SUPPOSED}{number}" for number in range(2 - len(wanted))]
        wanted = [*supposed, *wanted]
        self.names.name_plugins(wanted)
        plugins: dict[str, Any] = {}
        for plugin in wanted:
            channels_failed = {channel for channel, _, _ in failed.get(plugin, ())}
            entry: dict[str, Any] = {"hooks": sorted(hooks | channels_failed, key=channels.CHANNELS.index)}
            if plugin in failed:
                entry["raises"] = self._raises(failed[plugin])
            plugins[self.names.plugins[plugin]] = entry
        if supposed:
            who = " and ".join(self.names.plugins[plugin] for plugin in supposed)
            self.notes.append(
                f"{who} {'are' if len(supposed) > 1 else 'is'} only supposed to be there: name the plugins that were "
                "installed with --plugin NAME."
            )
        return plugins

    def _failures(self) -> dict[str, list[tuple[str, int, int]]]:
        """Return, by plugin, the channel, the main build and the number of the failures that tasks tell of."""
        seen: dict[int, tuple[history.Task, int]] = {}
        for fact in self.facts.told:
            if isinstance(fact, known.State):
                for task in fact.tasks:
                    before = seen[task.id][1] if task.id in seen else (task.attempts if fact.first else 0)
                    seen[task.id] = task, before
        found: dict[str, list[tuple[str, int, int]]] = {}
        for task, before in seen.values():
            event = _event(task, self.header.payloads)
            if event is not None:
                named = known.named(event)
                found.setdefault(task.plugin, []).append((task.channel, named[0], task.attempts - before))
        return found

    def _raises(self, failures: Iterable[tuple[str, int, int]]) -> dict[str, Any] | None:
        failures = [one for one in failures if one[2] > 0]
        if not failures:
            return None
        raises: dict[str, Any] = {"first": sum(count for _, _, count in failures)}
        about = {build for _, build, _ in failures}
        if len(about) == 1 and (build := next(iter(about))) in self.names.builds:
            raises["for"] = self.names.builds[build]
        return raises

    def _hook(self) -> str:
        """Return the hook that the story is about, if nobody says."""
        if any(outcome.build == self.facts.build for outcome in self.drafter.outcomes) or self.facts.main:
            return "build_finished"
        heard = [fact.event.channel for fact in self.facts.told if isinstance(fact, known.Emitted)]
        return next((channel for channel in heard if channel in channels.CACHED_CHANNELS), "build_finished")

    def _untold(self, text: str) -> tuple[str, str]:
        plugin, dot, hook = text.rpartition(".")
        if not dot or hook not in channels.CHANNELS:
            plugin, hook = text, self._hook()
        if hook not in ABOUT_BUILDS:
            raise UntoldError(
                f"--untold {text}: {hook} is not about a build. Valid: {', '.join(ABOUT_BUILDS)}"
            )
        finished = any(outcome.build == self.facts.build for outcome in self.drafter.outcomes)
        if hook == "build_finished" and not finished and not self.drafter.given[self.facts.build]:
            raise UntoldError(
                f"--untold {text}: build {self.facts.build} was not seen to finish, so there was nothing to tell"
            )
        return plugin, hook

    # The story

    def _possible(
        self, drafts: Sequence[Draft], given: dict[str, Any], untold: Sequence[tuple[str, str]]
    ) -> Scenario:
        """Return a scenario that can be: what cannot have happened as it looks is told by its notification alone."""
        drafts = list(drafts)
        while True:
            steps, origin = self._steps(drafts, untold)
            scenario = Scenario.model_validate(self._data(given, steps))
            wrong = next((finding for finding in story.check(scenario)), None)
            if wrong is None:
                return scenario
            place = wrong.path[1] if wrong.path[:1] == ("story",) and len(wrong.path) > 1 else None
            at = origin.get(place) if isinstance(place, int) else None
            if at is None:
                raise errors.HydraNotifySimError(
                    f"the story of build {self.facts.build} cannot be: {wrong.message}"
                )
            draft = drafts[at]
            if draft.verb == "evaluate" and not draft.options:
                # A story of one build knows a part of each evaluation only: what they hold besides cannot be told.
                draft.options["impossible"] = True
            elif draft.event is not None and draft.verb not in {"notify", "evaluate"}:
                drafts[at] = making.by_hand(draft)
            else:
                self.notes.append(f"'{draft.verb}' was left out of the story: {wrong.message}.")
                del drafts[at]

    def _data(self, given: dict[str, Any], steps: list[Any]) -> dict[str, Any]:
        row = self.drafter.last.get(self.facts.build)
        how = "was announced"
        if row is not None:
            status = making.row_status(row).name.replace("_", " ")
            how = f"ended as {status}" if row.finished else "did not finish"
        hook = self._hook()
        promise = "C-live" if hook in channels.CACHED_CHANNELS else "B-at-least-once"
        return {
            "scenario": f"An incident: {self.names.builds[self.facts.build]} {how}, and what then came of it was seen from outside",
            "why": "Captured from a live Hydra; what the dispatcher met in the open places, nobody saw",
            "exercises": [promise],
            "given": given,
            "story": steps,
        }

    def _steps(
        self, drafts: Sequence[Draft], untold: Sequence[tuple[str, str]]
    ) -> tuple[list[Any], dict[int, int]]:
        """Return the steps, and for each that is a draft its place among the drafts."""
        steps: list[Any] = []
        origin: dict[int, int] = {}
        before = [at for at, draft in enumerate(drafts) if draft.verb == "insert"]
        for at in before:
            origin[len(steps)] = at
            steps.append(self._written(drafts[at]))
        steps.append({"dispatcher": "start"})
        rest = [(at, draft) for at, draft in enumerate(drafts) if at not in before]
        for number, (at, draft) in enumerate(rest):
            origin[len(steps)] = at
            steps.append(self._written(draft))
            if not draft.quiet:
                steps.append({"unknown": list(UNKNOWN)})
                until = rest[number + 1][1].t if number + 1 < len(rest) else None
                steps += self._cleared(draft.t, until)
        if not any("unknown" in step for step in steps):
            steps.append({"unknown": list(UNKNOWN)})
        expect = self._at_the_end(untold)
        return [*steps, "settle", *([{"expect": expect}] if expect else [])], origin

    def _cleared(self, since: float, until: float | None) -> list[Any]:
        """Expect marks to be cleared that were seen cleared before the next thing happened."""
        if until is None:
            return []
        states = [fact for fact in self.facts.told if isinstance(fact, known.State)]
        before = [state for state in states if state.t < since]
        within = [state for state in states if since <= state.t < until]
        marked = set().union(*(state.marks for state in [*before[-1:], *within]))
        if not within or not marked - within[-1].marks:
            return []
        return [{"expect": {"marks": self._nicknames(within[-1].marks)}}]

    def _at_the_end(self, untold: Sequence[tuple[str, str]]) -> dict[str, Any]:
        states = [fact for fact in self.facts.told if isinstance(fact, known.State)]
        last = states[-1] if states else known.State(0.0, frozenset(), ())
        expect: dict[str, Any] = {}
        calls = {}
        for plugin, hook in untold:
            about: dict[str, Any] = {"build": self.names.builds[self.facts.build]}
            row = self.drafter.last.get(self.facts.build)
            if hook == "build_finished" and row is not None and row.finished:
                about["status"] = making.row_status(row).name
            calls[f"{self.names.plugins[plugin]}.{hook}"] = {**about, "at_most": 0}
        if calls:
            expect["calls"] = calls
        end = max((fact.t for fact in self.facts.told), default=last.t)
        if not last.marks or end - last.t >= LASTED:
            expect["marks"] = self._nicknames(last.marks)
        if all(task.due > end for task in last.tasks):  # one that is due may have been under way
            expect["retries"] = [
                {"plugin": self.names.plugins[task.plugin], "attempts": task.attempts} for task in last.tasks
            ]
        if not expect:
            self.notes.append(
                "Nothing that was seen at the end can be expected: let the tap run longer next time."
            )
            expect["retries"] = []
        return expect

    def _nicknames(self, builds: Iterable[int]) -> list[str]:
        return [self.names.builds[build] for build in sorted(builds)]

    def _payload(self, fields: Iterable[Any]) -> list[Any]:
        """Return a payload with nicknames; builds that are not told of are left out of it."""
        names = self.names.builds
        return [
            names[field.build] if isinstance(field, making.Ref) else field
            for field in fields
            if not isinstance(field, making.Ref) or field.build in names
        ]

    def _written(self, draft: Draft) -> dict[str, Any]:
        names = self.names.builds
        what = draft.what
        if draft.verb == "evaluate":
            what = {
                key: value if key == "name" else [names[one] for one in value] for key, value in what.items()
            }
        elif draft.verb == "insert":
            task, due_in = what
            event = _event(task, self.header.payloads)
            hand = making.by_hand(Draft(0.0, "", None, event=event)).what
            what = {
                "task": {
                    "plugin": self.names.plugins[task.plugin],
                    "channel": task.channel,
                    "payload": self._payload(hand["payload"]),
                    "attempts": task.attempts,
                    "due_in": due_in,
                }
            }
        elif draft.verb == "notify":
            what = {**what, "payload": self._payload(what["payload"])}
        elif draft.verb == "delete":
            what = {"build": names[what["build"]]}
        elif draft.verb != "advance":
            what = names[what]
        return {draft.verb: what, **draft.options}


def _event(task: history.Task, payloads: channels.PayloadVersion) -> channels.Event | None:
    try:
        return channels.parse(task.channel, task.payload, payloads)
    except channels.MalformedPayloadError:
        return None


def _is_jobset(text: str) -> bool:
    try:
        Scenario.model_validate(
            {
                "scenario": "x",
                "why": "x",
                "exercises": ["P-format"],
                "given": {"jobset": text},
                "story": ["settle"],
            }
        )
    except ValueError:
        return False
    return True
