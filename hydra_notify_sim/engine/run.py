"""Plays scenarios one after the other, judges each, and yields what happens as events."""

import platform
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg

from hydra_notify_sim import __version__, checks, errors, history
from hydra_notify_sim.contract import profiles
from hydra_notify_sim.contract.deviations import Deviation
from hydra_notify_sim.dispatcher import metrics
from hydra_notify_sim.engine import behaviours, claims, events
from hydra_notify_sim.engine.actors import Actors
from hydra_notify_sim.engine.environment import Environment, opened
from hydra_notify_sim.engine.play import Player
from hydra_notify_sim.engine.server_faults import ServerFaults
from hydra_notify_sim.recorders.journal import Journal
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.model import Scenario
from hydra_notify_sim.scenario.names import walk
from hydra_notify_sim.targets import registry
from hydra_notify_sim.targets.clock import VirtualClock
from hydra_notify_sim.targets.in_process import InProcessTarget
from hydra_notify_sim.targets.process import ProcessTarget
from hydra_notify_sim.targets.process_clock import ProcessClock
from hydra_notify_sim.targets.target import Clock, PayloadsNotReadError, Target

Loaded = tuple[Path, Scenario, str]
"""A scenario's file, what it says, and its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How scenarios are to be played."""

    dispatcher: str = "reference"
    profile: str = "strict"
    seed: int = 0
    dsn: str | None = None
    schema: Path | None = None
    wipe: str | None = None
    """Name of a user's database that may be made empty."""
    stop_at_first: bool = False
    known: tuple[Deviation, ...] = ()
    """Deviations of the dispatcher that are known beforehand."""
    known_file: Path | None = None
    """The file that they were read from, for the commands that are shown."""
    known_lenient: bool = False
    """Whether a known deviation that is not found any more fails no run."""
    reads: claims.Reads | None = None
    """The versions of the payloads that the dispatcher reads; None: as its recorder says, all if it says nothing."""
    patience: float = 1.0
    """What every deadline of a dispatcher in a process is multiplied with."""
    command: str = "hydra-notify-sim replay"
    """The command line, without its paths, that plays a scenario again."""

    @property
    def words(self) -> list[str]:
        """Return the options of ``replay`` with which a scenario is played the same way on any database.

        Only what is no default, and nothing of where the database is: its DSN may hold a password.
        """
        words: list[str] = []
        words += ["--dispatcher", self.dispatcher] if self.dispatcher != "reference" else []
        words += ["--profile", self.profile] if self.profile != profiles.DEFAULT_PROFILE else []
        words += ["--known", str(self.known_file)] if self.known_file else []
        words += ["--known-lenient"] if self.known_lenient else []
        words += [word for version in self.reads or () for word in ("--payloads", version)]
        words += ["--patience", f"{self.patience:g}"] if self.patience != 1 else []
        words += ["--seed", str(self.seed)] if self.seed else []
        return words


@dataclass(slots=True)
class Stage:
    """One scenario being played: all that has to be put away afterwards."""

    target: Target
    player: Player
    written: history.History


def play_all(scenarios: Sequence[Loaded], options: Options) -> Iterator[events.Event]:
    """Play scenarios on one server and yield typed events.

    Raises:
        UsageError: the dispatcher, the profile or the database is not one that can be used.
        EnvironmentFailedError: there is no server.

    """
    choice = registry.choose(options.dispatcher)
    profiles.named(options.profile)
    begun = time.monotonic()
    interrupted = False
    with opened(options.dsn, options.schema, options.wipe) as environment:
        runner = Runner(environment, choice, options)
        yield events.RunStarted(
            len(scenarios),
            options.dispatcher,
            options.profile,
            options.seed,
            f"PostgreSQL {environment.database.server.version} ({environment.database.server.source})",
            options.command,
        )
        try:
            for loaded in scenarios:
                path, scenario, _ = loaded
                yield events.ScenarioStarted(path.stem, path, scenario.scenario, len(scenario.story))
                event = runner.play(loaded)
                yield event
                if _is_last(event, environment, stop_at_first=options.stop_at_first):
                    break
        except KeyboardInterrupt:
            interrupted = True
        yield events.RunFinished(interrupted, time.monotonic() - begun)


def _is_last(event: events.Ended, environment: Environment, *, stop_at_first: bool) -> bool:
    """Tell whether the run ends here: as it was asked to, or because the database is of no more use."""
    if isinstance(event, events.ScenarioNotClaimed):
        return False
    if isinstance(event, events.ScenarioFinished):
        return stop_at_first and not event.passed
    return stop_at_first or not environment.usable()


class Runner:
    """Plays scenarios in one environment."""

    def __init__(self, environment: Environment, choice: registry.Choice, options: Options) -> None:
        self.environment = environment
        self.choice = choice
        self.options = options
        self.reads = choice.reads if options.reads is None else options.reads
        """The versions of the payloads that the dispatcher reads, as far as is known: a recorder says it at its start."""
        environment.be_patient(options.patience)
        self._metrics = metrics.Metrics()

    def play(self, loaded: Loaded) -> events.Ended:
        """Play one scenario from a clean database, and judge it, unless the dispatcher does not claim it."""
        path, scenario, document = loaded
        begun = time.monotonic()
        try:
            with ExitStack() as put_away:
                stage = self.set_up(path, scenario, document, put_away)
                stage.player.play()
                log = tuple(stage.target.log())
            verdict = checks.decide(stage.written)
        except claims.NotClaimedError as error:
            exercises = tuple(scenario.exercises)
            return events.ScenarioNotClaimed(path.stem, path, scenario.scenario, exercises, str(error))
        except PayloadsNotReadError as error:
            # Said at the first start: from here on it is known, and this story is told as it can be read, if it can.
            self.reads = tuple(one for one in error.reads if self.reads is None or one in self.reads)
            return self.play(loaded)
        except psycopg.OperationalError as error:
            lost = errors.EnvironmentFailedError(
                f"the database was lost while {path} was played: {str(error).strip()}. Is the server still there?"
            )
            return events.ScenarioFailed(path.stem, path, scenario.scenario, lost, self._command(path))
        except Exception as error:  # noqa: BLE001  # told to the person with what to report, and the run goes on
            return events.ScenarioFailed(path.stem, path, scenario.scenario, error, self._command(path))
        return self.finished(loaded, stage, verdict, log=log, seconds=time.monotonic() - begun)

    def set_up(self, path: Path, scenario: Scenario, document: str, put_away: ExitStack) -> Stage:
        """Make a clean database, a target and the actors ready; what they hold is given back by ``put_away``.

        Raises:
            NotClaimedError: the dispatcher does not read the story's payloads.

        """
        scenario = claims.as_read(scenario, self.reads)
        environment = self.environment
        environment.clean()
        choice = self.choice if scenario.given.dispatcher != "process" else self.choice.as_process()
        written = history.History(self._header(path, scenario, document, choice))
        put_away.callback(environment.mend)
        target, clock = self._make_target(choice, scenario, written)
        put_away.callback(target.close)
        actors = Actors(scenario, environment.connection, target, clock, seed=self.options.seed)
        plugins = behaviours.of(scenario, actors.ids)
        server = ServerFaults(environment, target, actors)
        put_away.callback(server.mend)
        actors.set_the_scene()
        return Stage(target, Player(scenario, target, actors, plugins, server), written)

    def _make_target(
        self, choice: registry.Choice, scenario: Scenario, written: history.History
    ) -> tuple[Target, Clock]:
        environment = self.environment
        if choice.kind == "process":
            return self._make_process(choice, scenario, written)
        clock = VirtualClock()
        journal = Journal(written, clock, environment.connection)
        target = InProcessTarget(
            journal,
            environment.connect,
            release=environment.release,
            clock=clock,
            make_dispatcher=choice.dispatcher,
            payloads=scenario.given.version,
            counters=self._metrics,
        )
        return target, clock

    def _make_process(
        self, choice: registry.Choice, scenario: Scenario, written: history.History
    ) -> tuple[Target, Clock]:
        environment = self.environment
        clock = ProcessClock()
        journal = Journal(written, clock, environment.connection)
        dsn, payloads = environment.database.dsn, scenario.given.version
        relayed = environment.database.server.own and any(
            isinstance(step, verbs.Connection) and step.connection == "silent"
            for _, step in walk(scenario.story)
        )
        if choice.program is not None:
            target = ProcessTarget(
                journal,
                dsn,
                choice.program,
                clock=clock,
                keep=environment.own_backends,
                payloads=payloads,
                patience=self.options.patience,
                relayed=relayed,
            )
        else:
            target = ProcessTarget.reference(
                journal,
                dsn,
                clock=clock,
                dispatcher=choice.dispatcher,
                hello=choice.hello,
                keep=environment.own_backends,
                payloads=payloads,
                patience=self.options.patience,
                relayed=relayed,
            )
        return target, clock

    def _header(
        self, path: Path, scenario: Scenario, document: str, choice: registry.Choice
    ) -> history.Header:
        return history.Header(
            name=path.stem,
            scenario=scenario.scenario,
            file=str(path),
            document=document,
            exercises=tuple(scenario.exercises),
            known=dict(scenario.known),
            may_break=dict(scenario.may_break),
            deviations=self.options.known,
            known_lenient=self.options.known_lenient,
            profile=self.options.profile,
            dispatcher=self.options.dispatcher,
            in_process=choice.kind == "in process",
            payloads=scenario.given.version,
            plugins={name: tuple(plugin.hooks) for name, plugin in scenario.given.plugins.items()},
            seed=self.options.seed,
            versions={
                "hydra_notify_sim": __version__,
                "python": platform.python_version(),
                "postgresql": self.environment.database.server.version,
            },
        )

    def finished(
        self,
        loaded: Loaded,
        stage: Stage,
        verdict: checks.StoryVerdict,
        *,
        log: tuple[str, ...],
        seconds: float,
    ) -> events.ScenarioFinished:
        """Return the event for a scenario that was played and judged."""
        path, scenario, _ = loaded
        return events.ScenarioFinished(
            path.stem,
            path,
            scenario.scenario,
            stage.written,
            verdict,
            seconds,
            self._command(path),
            log,
            dict(stage.player.actors.nicknames),
        )

    def _command(self, path: Path) -> str:
        return f"{self.options.command} {shlex.quote(str(path))}"
