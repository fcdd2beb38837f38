"""Tells a story from a source of chance: builds, plugins, what befalls them, and what happens at which point.

Each story draws from some kinds of actions only (swarm testing): what is left out makes room for what is rare
beside it. The teller keeps account of what is finished and whether the dispatcher runs, so that almost every story
can happen; where a point is never reached, the rest may not, and the run says so.
"""

from random import Random
from typing import Any

from hydra_notify_sim.contract import channels
from hydra_notify_sim.scenario import Scenario

Step = dict[str, Any]

MOST_STEPS = 9
FAILURES = (
    "failed",
    "failed",
    "aborted",
    "timed_out",
    "cached_failure",
    "not_deterministic",
    "failed_with_output",
)
TAKES_ALONG = frozenset({"failed", "timed_out", "not_deterministic"})
"""Failures that the builds which need this one fail with."""
MAY_TAKE_ALONG = frozenset({"aborted", "cached_failure"})
"""Failures that sometimes do: where it matters, they do not happen, for nobody would know what is finished."""
CALLS = ("before_call", "inside_call", "after_call", "inside_call", "after_call")
AT_START = ("between_listen_and_scan", "during_scan", *CALLS, "before_clear")

RAW = (
    "", "x", "{a}\t", "\t{a}", "{a}\tx", "0{a}", "{a}\n", "{a} ", "{a} {a}", "-1", "99999999999", "{a}\t2147483648",
    "{a}\t{a}\t", "{a}.0", "\uff11",
)  # fmt: skip
"""Payloads that are nearly right, wrong, or hostile."""

KINDS = (
    "evaluate", "build", "build", "finish", "start", "step", "substitute", "abort", "cancel", "restart", "bump",
    "mark_only", "notify", "raw", "task", "delete", "life", "life", "connection", "advance", "settle",
)  # fmt: skip


def scenario(chance: Random) -> Scenario:
    """Return a scenario; the same for a source in the same state."""
    rare = chance.random()
    if rare < 0.006:
        return _many(chance)
    if rare < 0.010:
        return _ladder(chance)
    return Teller(chance).scenario()


class Teller:
    """One story in the making."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._kinds = [kind for kind in KINDS if chance.random() < 0.55] or ["build"]
        self._faulty = chance.choice((0.0, 0.25, 0.5, 0.8))
        self._builds: dict[str, Step] = {}
        self._done: dict[str, bool | None] = {}
        """Whether a build is finished; None: it has no row."""
        self._plugins: dict[str, Step] = {}
        self._up = False
        self._held = self._holding = self._unheard = False
        self._story: list[Step] = []
        self._evaluations = 0
        self._given()

    # What is given

    def _given(self) -> None:
        chance = self._chance
        for name in "abc"[: chance.choice((1, 2, 2, 3))]:
            build: Step = {}
            if self._builds and chance.random() < 0.4:
                build["needs"] = [chance.choice(list(self._builds))]
            if chance.random() < 0.2:
                build["steps"] = 2
            self._done[name] = False
            if chance.random() < 0.2:
                build["finished"] = chance.choice(("succeeded", "succeeded", "failed"))
                self._done[name] = True
                if chance.random() < 0.5:
                    build["pending"] = True
            elif chance.random() < 0.08:
                build["row"] = "later"
                self._done[name] = None
            self._builds[name] = build
        self._later = [name for name, done in self._done.items() if done is False and chance.random() < 0.3]
        for name in self._later if "evaluate" in self._kinds else ():
            self._done[name] = None
        for name in ("github", "mail", "chat")[: chance.choice((1, 2, 2, 2, 3))]:
            self._plugins[name] = self._plugin()
        if chance.random() < 0.08:
            chance.choice(list(self._plugins.values()))["holds"] = True
            self._holding = True

    def _plugin(self) -> Step:
        chance = self._chance
        plugin: Step = {}
        if chance.random() < 0.5:
            plugin["hooks"] = sorted(
                {"build_finished", *chance.sample(channels.CHANNELS, chance.randint(0, 3))} if chance.random() < 0.85
                else set(chance.sample(channels.CHANNELS, chance.randint(1, 4)))
            )  # fmt: skip
        if chance.random() < 0.4:
            plugin["raises"] = chance.choice(
                ({"first": 1}, {"first": 2}, {"first": 3}, "always", {"for": "a"}, {"first": 1, "for": "a"})
            )
        if chance.random() < 0.1:
            plugin["takes"] = chance.choice((1, 2, 5))
        return plugin

    # The story

    def scenario(self) -> Scenario:
        """Tell it."""
        chance = self._chance
        if chance.random() < 0.75:
            self._start()
        for _ in range(chance.randint(2, MOST_STEPS)):
            self._step(chance.choice(self._kinds))
        self._end()
        return Scenario.model_validate(
            {
                "scenario": "A story made up by chance",
                "why": "Stories that someone thought of find what someone thought of",
                "exercises": ["L-lives"],
                "given": {"builds": self._builds, "plugins": self._plugins},
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
        if self._chance.random() < (0.8 if fails else 0.3):
            self._story.append({"advance": self._chance.choice((2, 5, 10, 30))})
        if self._chance.random() < 0.4:
            self._story.append({"dispatcher": "restart"})
        if not self._held:
            self._story.append({"settle": True})

    def _start(self) -> None:
        step: Step = {"dispatcher": "start"}
        if len(self._plugins) > 1 and self._story and self._chance.random() < 0.15:
            step["plugins"] = list(self._plugins)[1:]
        self._up = True
        self._held = self._holding
        owed = any("pending" in build for build in self._builds.values()) or self._unheard
        self._add(step, AT_START if owed else ("between_listen_and_scan",))
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
        if step.keys() & {"build", "finish", "substitute"}:
            clears = ("before_clear", "after_clear")
            return (*CALLS, *clears, *self._stores()) if "build_finished" in heard else clears
        if "start" in step or "step" in step:
            hook = "build_started" if "start" in step else "step_finished"
            return (*CALLS, *self._stores()) if hook in heard else ()
        if "notify" in step and isinstance(step["notify"]["payload"], list):
            name = step["notify"]["payload"][0]
            shown = step["notify"]["channel"] != "build_finished" or self._done[name]
            return CALLS if shown and step["notify"]["channel"] in heard else ()
        return ()

    def _stores(self) -> tuple[str, ...]:
        fails = [plugin["raises"] for plugin in self._plugins.values() if "raises" in plugin]
        likely = "always" in fails or (fails and self._chance.random() < 0.4)
        return ("before_store", "after_store", "before_store") if likely else ()

    def _add(self, step: Step, points: tuple[str, ...]) -> None:
        """Put a step into the story, perhaps with something that happens at a point."""
        self._story.append(step)
        if not (self._up and points) or self._held or self._chance.random() >= self._faulty:
            return
        at = self._chance.choice(points)
        do = self._at_point(at, step)
        if do:
            step["at"] = self._which(at)
            step["do"] = do

    def _which(self, at: str) -> Any:
        if at == "during_scan":
            return {at: 1}
        if at in CALLS and self._chance.random() < 0.4:
            return {at: self._chance.choice((1, 2, *self._plugins))}
        return at

    def _at_point(self, at: str, step: Step) -> list[Step]:
        """Return what happens at a point: mostly a fault, perhaps after something else."""
        chance = self._chance
        do: list[Step] = []
        if at == "between_listen_and_scan" and chance.random() < 0.6:
            finished = self._finishes("build")
            return [finished] if finished else []
        about = step.get("build") or step.get("finish")
        if isinstance(about, str) and chance.random() < 0.4:
            again: Step = {"build": about, "status": chance.choice(("succeeded", "failed"))}
            if again["status"] == "failed":
                self._take_along(about)
            if chance.random() < 0.5:
                again["same_second"] = True
            if chance.random() < 0.4:
                again |= {"at": "inside_call", "do": [{"dispatcher": "crash"}]}
                self._up = False
            do += [{"restart": about}, again]
            if chance.random() < 0.7 or not self._up:
                return do
        elif chance.random() < 0.3:
            other = self._action(
                chance.choice(("build", "finish", "notify", "cancel", "restart")), inside=True
            )
            do += [other] if other else []
        return [*do, self._fault(at)]

    def _fault(self, at: str) -> Step:
        """Return something that goes wrong at a point."""
        chance = self._chance
        fault = chance.choice(("crash", "crash", "crash", "stop", "lost", "reply lost", "reply lost"))
        if at == "before_store" and chance.random() < 0.5:
            # The one write that may be there twice, or not at all, and nobody knows.
            fault = "reply lost"
        if fault in {"crash", "stop"}:
            self._up = False
            return {"dispatcher": fault}
        if fault == "lost" or not at.startswith("before_"):
            return {"connection": "lost"}
        return {"connection": "lost", "reply_lost": True}

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
            if kind == "substitute" and self._chance.random() < 0.5
            else {kind: name}
        )

    def _one(self, *, done: bool | None) -> str | None:
        names = [name for name, is_done in self._done.items() if is_done is done]
        return self._chance.choice(names) if names else None

    def _evaluate(self) -> Step:
        chance = self._chance
        new = [name for name in self._later if self._done[name] is None]
        if new and chance.random() < 0.7:
            for name in new:
                self._done[name] = False
            return {"evaluate": {"new": new}}
        known = [name for name, done in self._done.items() if done is not None]
        self._evaluations += 1
        if known and chance.random() < 0.6:
            return {"evaluate": {"name": f"e{self._evaluations}", "cached": [chance.choice(known)]}}
        return {"evaluate": chance.choice(({}, {"fails": True}, {"fetch_fails": True}))}

    def _finishes(self, kind: str) -> Step | None:
        chance = self._chance
        name = self._one(done=False)
        if name is None and kind == "build" and (again := self._one(done=True)) is not None:
            self._done[again] = False
            return {"restart": again}
        if name is None:
            return None
        self._done[name] = True
        step: Step = {kind: name}
        if chance.random() < 0.4:
            step["status"] = chance.choice(FAILURES)
            needed = any(name in build.get("needs", ()) for build in self._builds.values())
            if step["status"] in MAY_TAKE_ALONG and (needed or kind == "mark_only"):
                step["status"] = "failed"
            if step["status"] in TAKES_ALONG:
                self._take_along(name)
        if chance.random() < 0.2:
            step["same_second"] = True
        if kind != "mark_only" and chance.random() < 0.2:
            step["log"] = False
        return step

    def _take_along(self, name: str) -> None:
        """Note what fails with a build: all that needs it, through whichever others."""
        for other, build in self._builds.items():
            if name in build.get("needs", ()):
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
        touched = {one.get(verb) for one in self._story for verb in ("start", "restart", "build")}
        fresh = [name for name, done in self._done.items() if done is False and name not in touched]
        return self._chance.choice(fresh) if fresh else None

    def _notify(self, *, raw: bool) -> Step | None:
        chance = self._chance
        name = chance.choice(list(self._builds))
        if raw:
            channel = chance.choice(
                (*channels.CHANNELS, "build_finished", "build_finished", "no_such_channel")
            )
            return {
                "notify": {"channel": channel, "payload": chance.choice(RAW).replace("{a}", f"{{{name}}}")}
            }
        channel = chance.choice(("build_finished", "build_finished", "build_queued", "build_started"))
        payload: list[Any] = [name]
        if channel == "build_finished" and chance.random() < 0.4:
            payload.append(chance.choice([*self._builds, 4711]))
        notify: Step = {"channel": channel, "payload": payload}
        if chance.random() < 0.2:
            notify |= {"times": 2, "in": chance.choice(("same transaction", "separate", "rolled back"))}
        return {"notify": notify}

    def _rows(self, kind: str) -> Step | None:
        chance = self._chance
        plugin = chance.choice([*self._plugins, "gone_plugin"])
        later = [name for name, build in self._builds.items() if "row" in build and self._done[name] is None]
        if later:
            self._done[later[0]] = False
            return {"insert": {"build": later[0]}}
        if kind == "delete":
            return {
                "delete": {
                    "task": {} if chance.random() < 0.5 or plugin == "gone_plugin" else {"plugin": plugin}
                }
            }
        channel = chance.choice(("build_finished", "build_started", "no_such_channel"))
        payload = chance.choice((["a"], ["a"], "not an id", ""))
        task: Step = {"plugin": plugin, "channel": channel, "payload": payload}
        if chance.random() < 0.3:
            task["due_in"] = 3
        if chance.random() < 0.3:
            task["attempts"] = chance.choice((3, 9, 100, 101))
        return {"insert": {"task": task}}

    def _life(self, kind: str) -> Step | None:
        chance = self._chance
        if kind == "advance":
            return {"advance": chance.choice((1, 2, 3, 5, 10, 60))}
        if self._held:
            return None
        if kind == "settle":
            return {"settle": True}
        if not self._up:
            self._start()
            return None
        if kind == "connection":
            return {"postgres": "restart"} if chance.random() < 0.03 else {"connection": "lost"}
        what = chance.choice(("crash", "stop", "restart"))
        self._up = what == "restart"
        return {"dispatcher": what}


def _many(chance: Random) -> Scenario:
    """Return a failure with so many dependents that its notification is split."""
    return Scenario.model_validate(
        {
            "scenario": "A failure takes so many dependents along that its announcement is split",
            "why": "Above 7,000 bytes build_finished is several notifications",
            "exercises": ["L-split"],
            "given": {
                "builds": {"a": {}, "many": {"needs": ["a"], "copies": chance.randint(640, 760)}},
                "plugins": {"github": {"hooks": ["build_finished"]}},
                "first_build": chance.randint(1, 2) * 100_000_000,
            },
            "story": [{"dispatcher": "start"}, {"build": "a", "status": "failed"}],
        }
    )


def _ladder(chance: Random) -> Scenario:
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
