"""Every known-bad dispatcher against the scenarios: which promises each was found to break, and by which stories.

The reference dispatcher is played first, as the control: a story that finds fault with it finds fault with anything.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from hydra_notify_sim.conformance.playing import Ended, Job, Stage, restarts_the_server
from hydra_notify_sim.contract import promises
from hydra_notify_sim.engine import events
from hydra_notify_sim.engine.run import Loaded, Options
from hydra_notify_sim.known_bad import KNOWN_BAD, KnownBad
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.durations import UNTIL_DUE
from hydra_notify_sim.scenario.model import Scenario

CONTROL = "reference"
PATIENCE = 0.2
"""Deadlines of those that are played as a process: all that is known of them is that they answer at once, or never."""
LONG = 10 * 3600
"""Simulated seconds from which on waiting is costly: a retry falls due at least every 17 minutes."""
MANY = 100
"""Copies of a build from which on a story is costly."""

KEPT_BY_THE_SIMULATOR = "what the simulator itself keeps: no dispatcher can break it"
NO_KNOWN_BAD: dict[str, str] = {
    promise.id: KEPT_BY_THE_SIMULATOR
    for promise in promises.PROMISES
    if promise.id == "P-format" or promise.id.startswith("Q-")
}
"""Promises that no known-bad dispatcher breaks, with the reason; histories in which they are broken are among the unit tests."""


@dataclass(slots=True)
class Row:
    """One dispatcher: what was played against it, and what that found."""

    name: str
    """As ``--dispatcher`` takes it."""
    breaks: tuple[str, ...] = ()
    """The promises that it is there to break, the main one first."""
    story: str = ""
    caught: dict[str, list[str]] = field(default_factory=dict)
    """Promise that was found violated to the scenarios that found it."""
    wanted: int = 0
    """How many scenarios are to be played against it."""
    played: int = 0
    left_out: tuple[str, ...] = ()
    """Scenarios that were not played against it: costly ones that do not exist for the promise that it is there to break."""
    failed: dict[str, str] = field(default_factory=dict)
    """Scenario that could not be played to its end, to the reason."""

    @property
    def complete(self) -> bool:
        """Whether all was played that is to be."""
        return self.played >= self.wanted

    @property
    def main(self) -> str:
        """The promise that it is there to break."""
        return self.breaks[0] if self.breaks else ""

    @property
    def survived(self) -> bool:
        """Whether nothing found its main promise violated."""
        return self.complete and bool(self.breaks) and self.main not in self.caught

    @property
    def missed(self) -> list[str]:
        """Further promises that it is said to break, and that nothing found violated."""
        return [one for one in self.breaks[1:] if self.complete and one not in self.caught]


@dataclass(slots=True)
class Matrix:
    """All rows, the control's apart."""

    control: Row
    rows: list[Row]
    scenarios: int = 0
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def survivors(self) -> list[Row]:
        """Those that were not caught by the promise that they are there to break."""
        return [one for one in self.rows if one.survived]

    def killers(self, promise: str) -> list[Row]:
        """Return the dispatchers that are there to break a promise and were caught by it, the main ones first."""
        found = [one for one in self.rows if promise in one.breaks and promise in one.caught]
        return sorted(found, key=lambda one: one.main != promise)

    @property
    def uncovered(self) -> list[str]:
        """Promises that no known-bad dispatcher was found to break, though one could."""
        return [
            one.id for one in promises.PROMISES if one.id not in NO_KNOWN_BAD and not self.killers(one.id)
        ]

    @property
    def holds(self) -> bool:
        """Whether every known-bad dispatcher was caught by all that it is said to break, every promise was, and the control by none."""
        return not (
            self.survivors
            or any(one.missed for one in self.rows)
            or self.uncovered
            or self.control.caught
            or self.control.failed
            or not all(one.complete for one in (self.control, *self.rows))
        )


def empty(scenarios: Sequence[Loaded], names: Sequence[str] | None = None) -> Matrix:
    """Return the matrix before anything was played: of all known-bad dispatchers, or of some."""
    bad = [one for name, one in KNOWN_BAD.items() if names is None or name in names]
    rows = [
        Row(
            f"known-bad:{one.name}",
            one.breaks,
            one.story,
            left_out=tuple(path.stem for path, scenario, _ in scenarios if not _is_played(one, scenario)),
        )
        for one in bad
    ]
    for row in rows:
        row.wanted = len(scenarios) - len(row.left_out)
    return Matrix(Row(CONTROL, wanted=len(scenarios)), rows, len(scenarios))


def jobs(matrix: Matrix, scenarios: Sequence[Loaded]) -> list[Job]:
    """Return what has to be played, what takes long first: nobody waits for it at the end."""
    found = [
        Job(number, row.name)
        for row in (matrix.control, *matrix.rows)
        for number, (path, _, _) in enumerate(scenarios)
        if path.stem not in row.left_out
    ]
    return sorted(found, key=lambda job: not is_costly(scenarios[job.scenario][1]))


def play(
    matrix: Matrix, scenarios: Sequence[Loaded], options: Options, workers: int
) -> Iterator[tuple[str, int, int]]:
    """Play all that a matrix needs and fill it; yield who is being played, how much is done, and how much there is.

    Raises:
        UsageError: the database is not one that can be used.
        EnvironmentFailedError: there is no server, or a process of ours was lost.

    """
    rows = {row.name: row for row in (matrix.control, *matrix.rows)}
    wanted = jobs(matrix, scenarios)
    options = replace(options, patience=PATIENCE)
    done = 0
    with ExitStack() as put_away:
        stage = Stage(scenarios, options, workers=workers, reduce=violated, put_away=put_away)
        for job, found in stage.play(wanted):
            row = rows[job.dispatcher]
            if found is not None:
                done += 1
                _add(row, scenarios[job.scenario][0].stem, found)
            yield row.name, done, len(wanted)
    for row in rows.values():
        row.caught = {one.id: sorted(row.caught[one.id]) for one in promises.PROMISES if one.id in row.caught}


Violated = tuple[tuple[str, ...], str]
"""The promises that a scenario found violated, and why it could not be played to its end, if so."""


def violated(event: Ended) -> Violated:
    """Return of how a scenario ended what the matrix asks for."""
    if isinstance(event, events.ScenarioFailed):
        return (), f"{type(event.error).__name__}: {event.error}"
    if isinstance(event, events.ScenarioNotClaimed):
        return (), ""
    return tuple(one.promise for one in event.judgements.verdicts if one.verdict == "violated"), ""


def _add(row: Row, scenario: str, found: Violated) -> None:
    broken, error = found
    row.played += 1
    for promise in broken:
        row.caught.setdefault(promise, []).append(scenario)
    if error:
        row.failed[scenario] = error


def _is_played(bad: KnownBad, scenario: Scenario) -> bool:
    if bad.as_process:
        return not set(bad.breaks).isdisjoint(scenario.exercises)
    return bad.breaks[0] in scenario.exercises or not is_costly(scenario)


def is_costly(scenario: Scenario) -> bool:
    """Tell whether a story takes long: it needs a process, restarts the server, waits for long, or is about hundreds of builds."""
    return (
        scenario.given.dispatcher == "process"
        or restarts_the_server(scenario.story)
        or any(
            isinstance(step, verbs.Advance) and step.advance != UNTIL_DUE and step.advance > LONG
            for step in scenario.story
        )
        or any(build.copies > MANY for build in scenario.given.builds.values())
    )
