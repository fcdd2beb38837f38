"""What a run yields, as typed events; every report is a consumer of them, and none knows another."""

from dataclasses import dataclass, field
from pathlib import Path

from hydra_notify_sim import errors, history
from hydra_notify_sim.checks.verdict import StoryVerdict
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
    generated: int = 0
    """Stories that are made up and played besides."""


@dataclass(frozen=True, slots=True)
class ScenarioStarted:
    """A scenario begins."""

    name: str
    file: Path
    sentence: str
    """The scenario's first sentence."""
    steps: int


@dataclass(frozen=True, slots=True)
class ScenarioFinished:
    """A scenario was played and judged."""

    name: str
    file: Path
    sentence: str
    history: history.Source
    verdict: StoryVerdict
    seconds: float
    """Real time that playing and judging took."""
    command: str
    """The command line that plays this scenario again."""
    log: tuple[str, ...] = ()
    """What the dispatcher logged (in a process: the last lines of its output)."""
    nicknames: dict[int, str] = field(default_factory=dict)
    """Build id to the scenario's nickname."""

    @property
    def judgements(self) -> Judgements:
        """What the checks say of each promise."""
        return self.verdict.judgements

    @property
    def passed(self) -> bool:
        """Whether the scenario passed."""
        return self.verdict.passed


@dataclass(frozen=True, slots=True)
class ScenarioFailed:
    """A scenario could not be played to its end: the environment or the harness failed, not the dispatcher."""

    name: str
    file: Path
    sentence: str
    error: Exception
    command: str


@dataclass(frozen=True, slots=True)
class ScenarioNotClaimed:
    """A scenario is about payloads that the dispatcher does not read: it was not played, and fails nothing."""

    name: str
    file: Path
    sentence: str
    exercises: tuple[str, ...]
    """The promises that the scenario exists for."""
    reason: str

    @property
    def error(self) -> errors.UsageError:
        """Return the same as an error, for those who need this scenario to be played."""
        return errors.UsageError(f"{self.file}: not claimed: {self.reason}")


@dataclass(frozen=True, slots=True)
class RunFinished:
    """After the last scenario, or when a person interrupted."""

    interrupted: bool
    seconds: float


Ended = ScenarioFinished | ScenarioFailed | ScenarioNotClaimed
"""How a scenario ended."""
Event = RunStarted | ScenarioStarted | Ended | RunFinished
