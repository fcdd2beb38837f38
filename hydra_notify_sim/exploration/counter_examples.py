"""A broken promise as a scenario file that a person can read, and that replays to the same verdict.

The same promise broken by the same shape of story (its verbs, points and outcomes, without names) is one file.
"""

import hashlib
import platform
import shlex
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra_notify_sim import __version__, history
from hydra_notify_sim.contract import promises
from hydra_notify_sim.engine import Options, events
from hydra_notify_sim.exploration import neighbours, shrinking
from hydra_notify_sim.exploration.playing import Stage, violated
from hydra_notify_sim.scenario import Scenario, to_yaml

DIRECTORY = "counter-examples"
"""Where they are written, in the directory of a campaign."""

WIDTH = 100

SUCCEEDED = "succeeded"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a failing scenario came from, for whoever reads the file."""

    seed: int | None = None
    """Seed of the generation; None: it was not generated."""
    index: int | None = None
    """Number of the scenario under that seed, from 0."""
    by: str = ""
    """What made it up, where that was no campaign."""


@dataclass(frozen=True, slots=True)
class CounterExample:
    """A shrunk story that breaks a promise."""

    name: str
    """Of the file, without ``.yaml``: the promise and its signature."""
    promise: str
    violated: tuple[str, ...]
    """All that the shrunk story breaks, in the order of the contract."""
    signature: str
    """What tells this shape of story from others."""
    actions: int
    """Actions beyond what is given."""
    text: str
    """The file."""
    plays: int
    """Scenarios that the shrinking played."""
    complete: bool
    """Nothing smaller breaks the promise; False: the shrinking was cut short."""


def make(
    stage: Stage,
    failing: Scenario,
    promise: str,
    origin: Origin,
    *,
    directory: Path,
    plays: int = shrinking.PLAYS,
    interrupted: Any = lambda: False,
) -> CounterExample | None:
    """Shrink a scenario that breaks a promise, and write it down; None if it does not break it when played again.

    ``directory`` is where the file will lie, for the command that it shows. A story in which a plugin is called stays
    one: a run that calls nobody fails whatever it expects.
    """
    event = stage.play(failing)
    if not isinstance(event, events.ScenarioFinished) or promise not in violated(event):
        return None
    calls = _calls(event)

    def breaks_it(smaller: Scenario) -> bool:
        event = stage.play(smaller)
        return (
            isinstance(event, events.ScenarioFinished)
            and promise in violated(event)
            and (_calls(event) or not calls)
        )

    before = shrinking.actions(failing)
    shrunk = shrinking.shrink(
        failing,
        breaks_it,
        plays=plays,
        interrupted=interrupted,
    )
    event = stage.play(shrunk.scenario)
    if not isinstance(event, events.ScenarioFinished):
        return None
    broken = violated(event)
    if promise not in broken:
        return None
    said = next(v.explanation for v in event.judgements.verdicts if v.promise == promise)
    shape = signature(promise, shrunk.scenario)
    scenario = _told(shrunk.scenario, promise, broken, said)
    name = f"{promise}-{hashlib.sha256(shape.encode()).hexdigest()[:8]}"
    head = _head(
        stage.options,
        stage.environment.database.server.version,
        promise,
        _made(origin, before, shrunk),
        directory / f"{name}.yaml",
    )
    return CounterExample(
        name,
        promise,
        broken,
        shape,
        shrinking.actions(shrunk.scenario),
        head + to_yaml(scenario),
        shrunk.plays,
        shrunk.complete,
    )


def _calls(event: events.ScenarioFinished) -> bool:
    return any(isinstance(record, history.Called) for record in event.history)


def signature(promise: str, scenario: Scenario) -> str:
    """Return a promise with the shape of the story: what is done, at which points, how it ends; no names, no numbers."""
    data = neighbours.data_of(scenario)
    given = data.get("given", {})
    plugins = sorted(
        " ".join(sorted(key for key in ("raises", "takes", "holds") if key in plugin)) or "plugin"
        for plugin in given.get("plugins", {}).values()
    )
    builds = sorted(
        " ".join(sorted(key for key in ("finished", "pending", "row", "needs") if key in build)) or "build"
        for build in given.get("builds", {}).values()
    )
    story = " ".join(_shapes(data["story"]))
    return f"{promise}: {', '.join(builds)}; {', '.join(plugins)}; {story}"


def shape_of(scenario: Scenario) -> str:
    """Return the shape of a story alone, by which distinct stories are counted."""
    return " ".join(_shapes(neighbours.data_of(scenario)["story"]))


def _shapes(steps: Iterable[dict[str, Any]]) -> Iterator[str]:
    for step in steps:
        verb = next(iter(step.keys() & neighbours.VERBS))
        if verb in {"settle", "expect"}:
            continue
        if verb == "repeat":
            yield f"repeat[{' '.join(_shapes(step['repeat']['steps']))}]"
            continue
        yield verb + _outcome(step, verb) + _point(step)


def _outcome(step: dict[str, Any], verb: str) -> str:
    """Return what a step is besides its verb: failed or not, which fault, which channel; no names."""
    what = step[verb]
    if verb in {"dispatcher", "connection", "postgres"}:
        return f":{what}" + (":reply_lost" if step.get("reply_lost") else "")
    if verb == "evaluate":
        return ":" + "+".join(sorted(key for key in what if key != "name")) if what else ""
    if verb == "notify":
        kind = "fields" if isinstance(what["payload"], list) else "raw"
        return f":{what['channel']}:{kind}" + (":rolled back" if what.get("in") == "rolled back" else "")
    if verb in {"settings", "migrate"}:
        return ":" + "+".join(sorted(what))
    if verb in {"delete", "insert"}:
        return f":{next(iter(what))}"
    failed = step.get("status", SUCCEEDED) != SUCCEEDED
    return (":failed" if failed else "") + (":same_second" if step.get("same_second") else "")


def _point(step: dict[str, Any]) -> str:
    if "at" not in step:
        return ""
    at = step["at"]
    point = at if isinstance(at, str) else next(key for key in at if key != "hook")
    return f"@{point}[{' '.join(_shapes(step['do']))}]"


def _told(scenario: Scenario, promise: str, broken: tuple[str, ...], said: str) -> Scenario:
    """Return the scenario with a sentence of its own, the reason, and what it is expected to break."""
    data = neighbours.data_of(scenario)
    story = [step for step in data["story"] if "expect" not in step]
    first = [promise, *(one for one in broken if one != promise)]
    data |= {
        "scenario": _sentence(promise, story),
        "why": " ".join(said.split()) or f"{promise} was broken",
        "exercises": [promise],
        "story": [*story, {"expect": {"violated": first}}],
    }
    data.pop("known", None)
    return Scenario.model_validate(data)


def _sentence(promise: str, story: list[dict[str, Any]]) -> str:
    shapes = list(_shapes(story))
    told = ", ".join(
        shape.replace("[", " (").replace("]", ")").replace(":", " ").replace("@", " at ") for shape in shapes
    )
    return textwrap.shorten(f"{promise} is broken by: {told}", 160, placeholder=" …")


def _head(options: Options, server: str, promise: str, made: str, file: Path) -> str:
    text = promises.promise(promise).text
    lines = [f"Broken promise: {promise}."]
    lines += textwrap.wrap(" ".join(text.split()), WIDTH - 4, initial_indent="  ", subsequent_indent="  ")
    lines += [made] if made else []
    lines.append(
        f"hydra-notify-sim {__version__}, Python {platform.python_version()}, PostgreSQL {server}, "
        f"profile {options.profile}."
    )
    lines.append(f"Again: {command(options, str(file))}")
    lines.append(
        "The last step expects the promise to be broken. To keep this as a regression test, move the file into"
    )
    lines.append("scenarios/ and delete that step: it passes from the day on which the promise is kept.")
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _made(origin: Origin, before: int, shrunk: shrinking.Shrunk) -> str:
    """Return where the story came from and what shrinking made of it; nothing if nobody made it up."""
    after = shrinking.actions(shrunk.scenario)
    cut_short = "" if shrunk.complete else ", and could be smaller: the budget was used up"
    size = f"{before} actions, shrunk to {after} in {shrunk.plays} plays{cut_short}."
    if origin.seed is not None:
        return f"Generated from seed {origin.seed} as scenario {origin.index}; {size}"
    return f"Made up by {origin.by}; {size}" if origin.by else ""


def command(options: Options, file: str) -> str:
    """Return the command that plays a counter-example again, on any database."""
    return shlex.join(["hydra-notify-sim", "replay", *options.words, file])


def written(directory: Path) -> list[Path]:
    """Return the counter-examples of a directory, by name."""
    return sorted(directory.glob("*.yaml")) if directory.is_dir() else []
