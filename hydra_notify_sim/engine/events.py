"""What a run yields, as typed events; every report is a consumer of them, and none knows another."""

from dataclasses import dataclass, field
from pathlib import Path

from hydra_notify_sim import history
from hydra_notify_sim.checks.verdicts import Judgements


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Before the first scenario."""

    scenarios: int
    dispatcher: str
    profile: str
    seed: int
    server: str
    """Version and source of the PostgreSQL server, for people."""
    command: str
    """The command line that plays this run again."""


@dataclass(frozen=True, slots=True)
class ScenarioStarted:
    """A scenario begins."""

    name: str
    file: Path
    sentence: str
    """The scenario's first sentence."""
    steps: int


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an ``expect`` step said, and whether it was so."""

    text: str
    met: bool
    found: str = ""
    """What was there instead, where it was not met."""
    line: int = 0
    """Line of the scenario's file, from 1."""


@dataclass(frozen=True, slots=True)
class ScenarioFinished:
    """A scenario was played and judged."""

    name: str
    file: Path
    sentence: str
    history: history.Source
    judgements: Judgements
    expectations: tuple[Expectation, ...]
    not_exercised: tuple[str, ...]
    """Why it does not count as exercised: points never reached, promises under ``exercises`` that were not."""
    passed: bool
    seconds: float
    """Real time that playing and judging took."""
    command: str
    """The command line that plays this scenario again."""
    log: tuple[str, ...] = ()
    """What the dispatcher logged (in a process: the last lines of its output)."""
    nicknames: dict[int, str] = field(default_factory=dict)
    """Build id to the scenario's nickname."""


@dataclass(frozen=True, slots=True)
class ScenarioFailed:
    """A scenario could not be played to its end: the environment or the harness failed, not the dispatcher."""

    name: str
    file: Path
    sentence: str
    error: Exception
    command: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """After the last scenario, or when a person interrupted."""

    interrupted: bool
    seconds: float


Event = RunStarted | ScenarioStarted | ScenarioFinished | ScenarioFailed | RunFinished


def points_missed(event: ScenarioFinished) -> list[str]:
    """Return why a story did not go as told: the points that were not reached, or that nobody can be held at."""
    unexercised = [f"{promise} stands" for promise in event.history.header.exercises]
    return [one for one in event.not_exercised if not one.startswith(tuple(unexercised))]
