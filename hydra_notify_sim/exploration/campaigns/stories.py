"""Tells a story from a source of chance: builds, plugins, what befalls them, and what happens at which point.

Each story draws from some kinds of actions only (swarm testing): what is left out makes room for what is rare
beside it. The teller keeps account of what is finished and whether the dispatcher runs, so that almost every story
can happen; where a point is never reached, the rest may not, and the run says so.
"""

from typing import Any

from hydra_notify_sim.contract import channels
from hydra_notify_sim.exploration import vocabulary
from hydra_notify_sim.exploration.chance import Chance
from hydra_notify_sim.exploration.vocabulary import Step
from hydra_notify_sim.scenario import Scenario

MOST_STEPS = 9

KINDS = (
    "evaluate", "build", "build", "finish", "start", "step", "substitute", "abort", "cancel", "restart", "bump",
    "mark_only", "notify", "raw", "task", "delete", "jobset", "life", "life", "connection", "advance", "settle",
)  # fmt: skip


def scenario(chance: Chance) -> Scenario:
    """Return a scenario; the same for a source in the same state."""
    plain = Teller(chance).scenario()
    # Asked last: Hypothesis takes what needs fewer choices for simpler, and these two need next to none.
    match chance.rarely({"many": 0.006, "ladder": 0.004}):
        case "many":
            return _many(chance)
        case "ladder":
            return _ladder(chance)
        case _:
            return plain


class Teller:
    """One story in the making."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._kinds = [kind for kind in KINDS if chance.happens(0.55)] or ["build"]
        self._faulty = chance.choice((0.0, 0.25, 0.5, 0.8))
        self._builds: dict[str, Step] = {}
        self._done: dict[str, bool | None] = {}
        """Whether a build is finished; None: it has no row."""
        self._plugins: dict[str, Step] = {}
        self._up = False
        self._held = self._holding = self._unheard = False
        self._story: list[Step] = []
        self._evaluations = 0
        self._members: list[str] = []
        """Builds of the last evaluation with new builds: what the next one can find cached."""
        self._deleted = False
        """A person deleted the jobset."""
        self._flake = chance.happens(0.08)
        self._given()

    # What is given

    def _given(self) -> None:
        chance = self._chance
        for name in "abc"[: chance.choice((1, 2, 2, 3))]:
            build = self._builds[name] = vocabulary.build(chance, list(self._builds))
            self._done[name] = None if "row" in build else "finished" in build
        self._later = [name for name, done in self._done.items() if done is False and chance.happens(0.3)]
        for name in self._later if "evaluate" in self._kinds else ():
            self._done[name] = None
        self._members = [name for name, done in self._done.items() if done is not None]
        for name in ("github", "mail", "chat")[: chance.choice((1, 2, 2, 2, 3))]:
            self._plugins[name] = vocabulary.plugin(chance, "a")
        if chance.happens(0.08):
            chance.choice(list(self._plugins.values()))["holds"] = True
            self._holding = True

    # The story

    def scenario(self) -> Scenario:
        """Tell it."""
        chance = self._chance
        if chance.happens(0.75):
            self._start()
        for _ in chance.times(2, MOST_STEPS):
            self._step(chance.choice(self._kinds))
        self._end()
        return Scenario.model_validate(
            {
                "scenario": "A story made up by chance",
                "why": "Stories that someone thought of find what someone thought of",
                "exercises": ["L-lives"],
                "given": {
                    **({"flake": "github:example/farm"} if self._flake else {}),
                    "builds": self._builds,
                    "plugins": self._plugins,
                },
                "story": self._story,
            }
        )

    def _end(self) -> None:
        for name, plugin in self._plugins.items():
            if plugin.get("holds"):
                self._story.append({"release": name})
        self._held = self._holding = False
        while not self._up:
            self._start()
        fails = any("raises" in plugin for plugin in self._plugins.values())
        if self._chance.happens(0.8 if fails else 0.3):
            self._story.append({"advance": self._chance.choice((2, 5, 10, 30))})
        if self._chance.happens(0.4):
            self._story.append({"dispatcher": "restart"})
        if not self._held:
            self._story.append({"settle": True})

    def _start(self) -> None:
        step: Step = {"dispatcher": "start"}
        if len(self._plugins) > 1 and self._story and self._chance.happens(0.15):
            step["plugins"] = list(self._plugins)[1:]
        self._up = True
        self._held = self._holding
        owed = any("pending" in build for build in self._builds.values()) or self._unheard
        if owed:
            self._add(step, vocabulary.AT_START)
        else:
            self._add(step, ("between_listen_and_scan",) if self._chance.happens(0.5) else ())
        self._unheard = False

    def _step(self, kind: str) -> None:
        step = self._action(kind, inside=False)
        if step is None:
            return
        if not self._up:
            self._unheard = self._unheard or kind in {"build", "finish", "mark_only", "substitute"}
        self._add(step, self._points(step))

    def _points(self, step: Step) -> tuple[str, ...]:
        """Return the points that the dispatcher most likely gets to by what this step causes."""
        heard = {hook for plugin in self._plugins.values() for hook in plugin.get("hooks", channels.CHANNELS)}
        named = step["notify"]["payload"][:1] if "notify" in step else ""
        return vocabulary.points(
            step,
            heard,
            self._stores,
            shown=isinstance(named, list) and bool(self._done[named[0]]),
        )

    def _stores(self) -> tuple[str, ...]:
        fails = [plugin["raises"] for plugin in self._plugins.values() if "raises" in plugin]
        likely = "always" in fails or (fails and self._chance.happens(0.7))
        return vocabulary.STORES if likely else ()

    def _add(self, step: Step, points: tuple[str, ...]) -> None:
        """Put a step into the story, perhaps with something that happens at a point."""
        self._story.append(step)
        if not (self._up and points) or self._held or not self._chance.happens(self._faulty):
            return
        at = self._chance.choice(points)
        do = self._at_point(at, step)
        if do:
            step["at"] = vocabulary.which(self._chance, at, list(self._plugins))
            step["do"] = do

    def _at_point(self, at: str, step: Step) -> list[Step]:
        """Return what happens at a point: mostly a fault, perhaps after something else."""
        chance = self._chance
        do: list[Step] = []
        if at == "between_listen_and_scan" and chance.happens(0.6):
            finished = self._finishes("build")
            return [finished] if finished else []
        about = step.get("build") or step.get("finish")
        if isinstance(about, str) and chance.happens(0.4):
            again = vocabulary.again(chance, about)
            if again["status"] == "failed":
                self._take_along(about)
            if "do" in again:
                self._up = False
            do += [{"restart": about}, again]
            if chance.happens(0.7) or not self._up:
                return do
        elif chance.happens(0.3):
            other = self._action(
                chance.choice(("build", "finish", "notify", "cancel", "restart")), inside=True
            )
            do += [other] if other else []
        fault = vocabulary.fault(chance, at)
        if "dispatcher" in fault:
            self._up = False
        return [*do, fault]

    # Actions

    def _action(self, kind: str, *, inside: bool) -> Step | None:
        """Return a step of this kind that can happen now, and keep account of it; None if none can."""
        match kind:
            case "evaluate":
                return self._evaluate()
            case "build" | "finish" | "mark_only":
                return self._finishes(kind)
            case "start" | "step" | "abort":
                return self._before_the_end(kind)
            case "substitute" | "cancel" | "restart" | "bump":
                return self._at_once(kind)
            case "notify" | "raw":
                return self._notify(raw=kind == "raw")
            case "task" | "delete":
                return self._rows(kind)
            case "jobset":
                return self._edit_or_delete_the_jobset()
            case _:
                return None if inside else self._life(kind)

    def _at_once(self, kind: str) -> Step | None:
        """Return what takes no time: a download, or what a person does at the web page."""
        match kind:
            case "substitute":
                name = self._fresh()
            case "cancel":
                name = self._one(done=False)
            case "restart":
                name = self._one(done=True)
            case _:
                name = self._one(done=False) or self._one(done=True)
        if name is None:
            return None
        if kind != "bump":
            self._done[name] = kind != "restart"
        return (
            {kind: name, "already_valid": True}
            if kind == "substitute" and self._chance.happens(0.5)
            else {kind: name}
        )

    def _one(self, *, done: bool | None) -> str | None:
        names = [name for name, is_done in self._done.items() if is_done is done]
        return self._chance.choice(names) if names else None

    def _edit_or_delete_the_jobset(self) -> Step | None:
        if self._deleted:
            return None
        if self._chance.happens(0.7):
            return {"edit_jobset": vocabulary.edit(self._chance)}
        self._deleted = True
        self._members = []
        self._done = dict.fromkeys(self._done)
        return {"delete": {"project": "nixpkgs"}}

    def _reverted(self) -> str | None:
        """Give a build of the same derivation as one that left the jobset; None if there is none."""
        gone = [
            name
            for name, done in self._done.items()
            if done and name not in self._members and "same_derivation_as" not in self._builds[name]
        ]
        if not gone or "again" in self._builds:
            return None
        self._builds["again"] = {"same_derivation_as": self._chance.choice(gone)}
        return "again"

    def _evaluate(self) -> Step | None:
        chance = self._chance
        if self._deleted:
            return None
        new = [name for name in self._later if self._done[name] is None]
        known: list[str] = []
        if self._members and chance.happens(0.6):
            known = self._members if chance.happens(0.6) else [chance.choice(self._members)]
        if new and chance.happens(0.7):
            return self._finds(new, known)
        if (again := self._reverted()) is not None:
            return self._finds([again], known)
        if known:
            self._evaluations += 1
            self._members = known
            return {"evaluate": {"name": f"e{self._evaluations}", **vocabulary.found(chance, (), known)}}
        ending: Step = chance.choice(({}, {"fails": True}, {"fetch_fails": True}))
        if not ending:
            self._members = []
        return {"evaluate": ending}

    def _finds(self, new: list[str], known: list[str]) -> Step:
        for name in new:
            self._done[name] = False
        self._members = [*new, *known]
        return {"evaluate": vocabulary.found(self._chance, new, known)}

    def _finishes(self, kind: str) -> Step | None:
        chance = self._chance
        name = self._one(done=False)
        if name is None and kind == "build" and (again := self._one(done=True)) is not None:
            self._done[again] = False
            return {"restart": again}
        if name is None:
            return None
        self._done[name] = True
        twins = [twin for twin in self._twins(name) if self._done[twin] is False]
        self._done |= dict.fromkeys(twins, True)
        needed = bool(twins) or any(vocabulary.needs(build, name) for build in self._builds.values())
        # Which failure it has from before is seen before it is started.
        certain = needed or kind == "mark_only" or name in self._started()
        ends = vocabulary.ending(chance, certain=certain, log=kind != "mark_only")
        if ends.get("status") in vocabulary.TAKES_ALONG:
            for one in (name, *twins):
                self._take_along(one)
        return {kind: name, **ends}

    def _twins(self, name: str) -> list[str]:
        """Return the other builds of its derivation: one step finishes them too."""
        same = self._builds[name].get("same_derivation_as")
        return [
            other
            for other, build in self._builds.items()
            if other == same or build.get("same_derivation_as") == name
        ]

    def _take_along(self, name: str) -> None:
        """Note what fails with a build: all that needs it, through whichever others."""
        for other, build in self._builds.items():
            if vocabulary.needs(build, name):
                if self._done[other] is False:
                    self._done[other] = True
                self._take_along(other)

    def _before_the_end(self, kind: str) -> Step | None:
        """Begin a build whose steps no other step touches but its end."""
        name = self._fresh()
        if name is None:
            return None
        if kind != "start":
            self._story.append({"start": name})
            if kind == "step" and self._builds[name].get("steps") == 2:
                return {"step": name}
            if kind == "abort":
                return {"abort": name}
            return None
        return {"start": name}

    def _fresh(self) -> str | None:
        """Return a build that was never begun."""
        touched = self._started() | {one.get(verb) for one in self._story for verb in ("restart", "build")}
        fresh = [name for name, done in self._done.items() if done is False and name not in touched]
        return self._chance.choice(fresh) if fresh else None

    def _started(self) -> set[Any]:
        """Return the builds of which a step was sent to a machine at some time."""
        return {step.get("start") for step in self._story}

    def _notify(self, *, raw: bool) -> Step | None:
        chance = self._chance
        name = chance.choice(list(self._builds))
        if raw:
            return {"notify": vocabulary.raw(chance, name)}
        return {"notify": vocabulary.notification(chance, name, list(self._builds))}

    def _rows(self, kind: str) -> Step | None:
        chance = self._chance
        plugin = chance.choice([*self._plugins, "gone_plugin"])
        later = [name for name, build in self._builds.items() if "row" in build and self._done[name] is None]
        if later and not self._deleted:
            self._done[later[0]] = False
            return {"insert": {"build": later[0]}}
        if kind == "delete":
            return {
                "delete": {
                    "task": {} if chance.happens(0.5) or plugin == "gone_plugin" else {"plugin": plugin}
                }
            }
        return {"insert": {"task": vocabulary.task(chance, plugin, "a")}}

    def _life(self, kind: str) -> Step | None:
        chance = self._chance
        if kind == "advance":
            return {"advance": chance.choice((1, 2, 3, 5, 10, 60))}
        if self._held:
            return None
        if not self._up:
            self._start()
            return None
        if kind == "settle":
            return {"settle": True}
        if kind == "connection":
            return {"postgres": "restart"} if chance.happens(0.03) else {"connection": "lost"}
        what = chance.choice(("crash", "stop", "restart"))
        self._up = what == "restart"
        return {"dispatcher": what}


def _many(chance: Chance) -> Scenario:
    """Return a failure with so many dependents that its notification is split."""
    return Scenario.model_validate(
        {
            "scenario": "A failure takes so many dependents along that its announcement is split",
            "why": "Above 7,000 bytes build_finished is several notifications",
            "exercises": ["L-split"],
            "given": {
                "builds": {"a": {}, "many": {"needs": ["a"], "copies": chance.between(640, 760)}},
                "plugins": {"github": {"hooks": ["build_finished"]}},
                "first_build": chance.between(1, 2) * 100_000_000,
            },
            "story": [{"dispatcher": "start"}, {"build": "a", "status": "failed"}],
        }
    )


def _ladder(chance: Chance) -> Scenario:
    """Return a failure that is retried to the end."""
    return Scenario.model_validate(
        {
            "scenario": "A plugin fails until its task is dropped",
            "why": "Attempt 102 is the last",
            "exercises": ["R-backoff"],
            "given": {
                "builds": {"a": {}},
                "plugins": {
                    "github": {
                        "hooks": [chance.choice(("build_finished", "build_started"))],
                        "raises": "always",
                    }
                },
            },
            "story": [{"dispatcher": "start"}, {"build": "a"}, {"advance": "30h"}, {"settle": True}],
        }
    )
