"""The soak: the reference as a process through one bad day after another, judged by the checks of the project.

SOAK_SECONDS is how long (20 s by default; ten minutes now and then, by hand), SOAK_SEED where the stories begin. The seeds are printed:

    SOAK_SECONDS=600 python -m pytest tests/integration/dispatcher/test_soak.py -m slow -k survives
"""

import os
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hydra_notify_sim import engine, history, scenario
from hydra_notify_sim.engine import events
from hydra_notify_sim.engine.environment import Environment
from hydra_notify_sim.engine.run import Runner
from hydra_notify_sim.exploration.chance import Chance, Seeded
from hydra_notify_sim.scenario import Scenario
from hydra_notify_sim.targets import registry

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
SEED = int(os.environ.get("SOAK_SEED") or Random().randrange(1_000_000))
STEPS = 60
"""Steps of a story: a quarter of a minute."""
SILENCE_FROM = 60.0
"""Seconds of soak from which on connections fall silent too: the dispatcher takes 20 s of real time to notice."""


Step = dict[str, Any]

PLUGINS: dict[str, Step] = {
    "github": {"raises": {"for": ["b4", "b11", "b18"], "first": 5}},
    "mail": {"hooks": ["build_finished", "eval_failed"], "raises": {"first": 3}},
    "chat": {"hooks": ["build_started", "build_finished", "step_finished", "cached_build_finished"]},
}
POINTS = ("before_call", "inside_call", "after_call", "before_clear", "after_clear")
TIMEOUTS = (
    {"lock_timeout": 0.1},
    {"statement_timeout": 0.2},
    {"lock_timeout": 0.1, "isolation": "serializable"},
)


class Teller:
    """One story in the making: an operator's worst day, with builds all the while.

    Unlike the stories of a campaign it is about the server: outages, switchovers, locks, timeouts, migrations. It keeps
    account of what is finished, up and locked, so that each story can be played to its end.
    """

    def __init__(self, chance: Chance, steps: int, *, silence: bool) -> None:
        """``silence``: connections may fall silent, which the dispatcher takes half a minute of real time to notice."""
        self._chance = chance
        self._steps = steps
        self._faults = [
            self._lost, self._lost, self._crash, self._stop, self._restart_server, self._outage, self._read_only,
            self._locked, self._locked, self._set_otherwise, self._migrate, *([self._silence] if silence else []),
        ]  # fmt: skip
        self._story: list[Step] = []
        self._fresh: list[str] = []
        self._started: list[str] = []
        self._done: list[str] = []
        self._given: dict[str, Step] = {}
        self._members: list[str] = []
        self._columns = 0
        self._evaluations = 0

    def scenario(self) -> Scenario:
        """Tell it."""
        self._story.append({"dispatcher": "start"})
        while len(self._story) < self._steps:
            self._work()
            if self._chance.happens(0.4):
                self._chance.choice(self._faults)()
            if self._chance.happens(0.15):
                self._story += [{"advance": self._chance.choice((1, 3, 10, 60))}, {"settle": True}]
        self._story += [{"advance": "10m"}, {"dispatcher": "restart"}, {"settle": True}]
        return Scenario.model_validate(
            {
                "scenario": "Everything that can go wrong with a server goes wrong, one after the other",
                "why": "A service that runs for a year meets all of it",
                "exercises": ["L-lives"],
                "given": {"dispatcher": "process", "builds": self._given, "plugins": self._plugins()},
                "story": self._story,
            }
        )

    def _plugins(self) -> dict[str, Step]:
        """Return the plugins; what is not given by then cannot be failed for."""
        made = {name: dict(plugin) for name, plugin in PLUGINS.items()}
        known = [name for name in made["github"]["raises"]["for"] if name in self._given]
        made["github"]["raises"] = {"for": known, "first": 5} if known else {"first": 2}
        return made

    # What Hydra does meanwhile

    def _work(self) -> None:
        chance = self._chance
        match chance.choice(
            ("build", "build", "build", "start", "restart", "evaluate", "mark_only", "notify")
        ):
            case "build":
                self._story.append({"build": self._new(), **self._ending(), **self._trouble()})
                self._started_again()
            case "start":
                self._started.append(self._new(done=False))
                self._story.append({"start": self._started[-1]})
            case "restart" if self._done:
                name = chance.choice(self._done)
                self._story += [{"restart": name}, {"build": name, **self._ending(), **self._trouble()}]
                self._started_again()
            case "evaluate":
                self._evaluate()
            case "mark_only":
                self._story.append({"mark_only": self._new()})
            case "notify" if self._done:
                channel = chance.choice(("build_finished", "build_started", "build_queued"))
                self._story.append({"notify": {"channel": channel, "payload": [chance.choice(self._done)]}})
            case _:
                for name in self._started:
                    self._story.append({"finish": name, **self._ending()})
                self._done += self._started
                self._started = []

    def _new(self, *, done: bool = True) -> str:
        """Take a build that an evaluation has queued, or one that was given; ``done``: it finishes with the step."""
        name = self._fresh.pop(0) if self._fresh else f"b{len(self._given)}"
        self._given.setdefault(name, {})
        if done:
            self._done.append(name)
        return name

    def _ending(self) -> Step:
        made: Step = {}
        if self._chance.happens(0.3):
            made["status"] = self._chance.choice(("failed", "timed_out", "failed_with_output"))
        if self._chance.happens(0.2):
            made["same_second"] = True
        return made

    def _evaluate(self) -> None:
        chance = self._chance
        self._evaluations += 1
        match chance.choice(("found", "found", "unchanged", "fails")):
            case "found":
                new = [f"b{len(self._given) + n}" for n in range(chance.between(1, 4))]
                self._given |= {name: {} for name in new}
                self._fresh += new
                step = {"name": f"e{self._evaluations}", "new": new}
                if known := chance.sample(self._members, min(2, len(self._members))):
                    step["cached"] = known
                self._members = [*new, *known]
                self._story.append({"evaluate": step})
            case "fails":
                self._story.append({"evaluate": {"fails": True}})
            case _ if self._members:
                self._story.append({"evaluate": {"unchanged": True}})
            case _:
                pass

    # What goes wrong

    def _trouble(self) -> Step:
        """Return what happens in the middle of an announcement; what it leaves is mended by `_started_again`."""
        chance = self._chance
        if not chance.happens(0.4):
            return {}
        fault = chance.choice(
            ({"connection": "lost"}, {"dispatcher": "crash"}, {"dispatcher": "stop"}, {"postgres": "restart"})
        )
        return {"at": chance.choice(POINTS), "do": [*self._meanwhile(), fault]}

    def _started_again(self) -> None:
        do = self._story[-1].get("do", ())
        if do and "dispatcher" in do[-1]:
            self._down()

    def _meanwhile(self) -> list[Step]:
        """Return what Hydra does while the dispatcher is at work or away."""
        chance = self._chance
        made: list[Step] = []
        for _ in chance.times(0, 3):
            name = self._new()
            made.append(chance.choice(({"build": name}, {"mark_only": name}, {"substitute": name})))
        return made

    def _down(self) -> None:
        """Let it be down for a while."""
        self._story += [*self._meanwhile(), {"dispatcher": "start"}]

    def _lost(self) -> None:
        self._story.append({"connection": "lost"})

    def _crash(self) -> None:
        self._story.append({"dispatcher": "crash"})
        self._down()

    def _stop(self) -> None:
        self._story.append({"dispatcher": "stop"})
        self._down()

    def _restart_server(self) -> None:
        self._story.append({"postgres": "restart"})

    def _outage(self) -> None:
        """Stop the server; the dispatcher may be stopped or killed before it is back."""
        how = self._chance.choice(("", "", "stop", "crash"))
        self._story += [{"postgres": "stop"}, {"advance": "2m"}]
        self._story += [{"dispatcher": how}] if how else []
        self._story += [{"postgres": "start"}]
        if how:
            self._down()

    def _read_only(self) -> None:
        """Switch over to a server for reading only; the dispatcher may be restarted there."""
        self._story += [{"postgres": "read_only"}, *self._meanwhile()]
        if self._chance.happens(0.4):
            self._story.append({"dispatcher": self._chance.choice(("restart", "crash"))})
            if self._story[-1] == {"dispatcher": "crash"}:
                self._down()
        self._story += [{"advance": "1m"}, {"postgres": "writable"}]

    def _locked(self) -> None:
        """Let somebody keep the row of a build that is being announced; connections may be lost, or it may be asked to stop."""
        chance = self._chance
        if chance.happens(0.6):
            self._settings(chance.choice(TIMEOUTS))
        name = self._new()
        lock: Step = {"lock": {"build": name, "for": "20s"}}
        self._story.append({"build": name, "at": "inside_call", "do": [lock]})
        self._story += self._meanwhile()
        match chance.choice(("", "lost", "stop", "crash")):
            case "lost":
                self._lost()
            case "stop":
                self._stop()
            case "crash":
                self._crash()
            case _:
                pass
        self._story.append({"advance": "30s"})

    def _set_otherwise(self) -> None:
        self._settings(self._chance.choice(({}, {"isolation": "repeatable read"}, *TIMEOUTS)))

    def _settings(self, settings: Step) -> None:
        self._story += [{"settings": settings}, {"connection": "lost"}]

    def _migrate(self) -> None:
        self._columns += 1
        self._story.append(
            {"migrate": {"add": f"{'abcdefghij'[self._columns % 10]}{'x' * (self._columns // 10)}"}}
        )

    def _silence(self) -> None:
        if self._chance.happens(0.2):
            self._story += [{"connection": "silent"}, *self._meanwhile(), {"settle": True}]


def play(environment: Environment, seed: int, directory: Path, dispatcher: str) -> events.ScenarioFinished:
    """Play the story of a seed; it is written down first."""
    told = Teller(Seeded(Random(seed)), STEPS, silence=SECONDS >= SILENCE_FROM).scenario()
    text = scenario.to_yaml(told)
    path = directory / f"soak-{seed}.yaml"
    path.write_text(text)
    event = Runner(environment, registry.choose(dispatcher), engine.Options(dispatcher=dispatcher)).play(
        (path, told, text)
    )
    assert isinstance(event, events.ScenarioFinished), f"story {seed} could not be played: {event}"
    return event


def counted(event: events.ScenarioFinished) -> Counter[str]:
    """Return what happened in a story, by kind."""
    found: Counter[str] = Counter()
    for record in event.history:
        match record:
            case history.Fault(fault=fault):
                found[fault] += 1
            case (
                history.Called()
                | history.Raised()
                | history.Starting()
                | history.Crashed()
                | history.Stopped()
            ):
                found[type(record).__name__.lower()] += 1
            case history.Commit():
                found["outcomes"] += len(record.outcomes)
                found["notifications"] += len(record.notifications)
            case _:
                pass
    found.update(f"{one.kind}, as {one.promise} allows" for one in event.judgements.allowed)
    return found


def complaint(event: events.ScenarioFinished, story: str) -> str:
    """Return all that there is to say of a story that was not passed, as one text: pytest cuts everything else short."""
    broken = [one for one in event.judgements.verdicts if one.verdict == "violated"]
    return "\n".join(
        [
            f"{event.name} came to {event.verdict.outcome}",
            *(f"{one.promise}: {one.explanation} (records {one.records})" for one in broken),
            *(f"expected: {one.text}; found: {one.found}" for one in event.verdict.unmet),
            *event.verdict.not_exercised,
            *event.log[-40:],
            story,
        ]
    )


def test_it_survives_one_bad_day_after_another(
    environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    until = time.monotonic() + SECONDS
    happened: Counter[str] = Counter()
    seed = SEED
    while time.monotonic() < until:
        event = play(environment, seed, tmp_path, "reference")
        # A refused statement may keep a point from being reached: such a story ends early, and says nothing of the dispatcher.
        assert event.verdict.outcome != "broken", complaint(
            event, (tmp_path / f"soak-{seed}.yaml").read_text()
        )
        happened += counted(event)
        happened[f"stories {event.verdict.outcome}"] += 1
        seed += 1
    with capsys.disabled():
        sys.stdout.write(
            f"\nSoak of {SECONDS:.0f} s, seeds {SEED} to {seed - 1}: {dict(happened.most_common())}\n"
        )
    assert happened["called"]
    assert happened["outcomes"]


@pytest.mark.parametrize(
    ("name", "promise", "seed"),
    [
        ("takes-a-refusal-for-a-lost-connection", "E-no-phantom", 2),
        ("forgets-retries-at-restart", "R-stored", 1),
        ("does-not-scan-again", "B-recover", 1),
    ],
)
def test_its_stories_find_a_known_bad_dispatcher(
    environment: Environment, tmp_path: Path, name: str, promise: str, seed: int
) -> None:
    event = play(environment, seed, tmp_path, f"known-bad:{name}")
    assert promise in event.verdict.violated
