"""Scenario files into scenarios: all problems of all files in one error, each with its line and column."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hydra_notify_sim.scenario import document as documents
from hydra_notify_sim.scenario import sentences, story
from hydra_notify_sim.scenario.base import NICKNAME, Reading
from hydra_notify_sim.scenario.document import Document, DocumentError
from hydra_notify_sim.scenario.model import Scenario
from hydra_notify_sim.scenario.problems import Finding, Path_, Problem, ScenarioFileError, key_text
from hydra_notify_sim.scenario.steps import Repeat, StepBase


def load(path: Path) -> Scenario:
    """Read one scenario file.

    Raises:
        ScenarioFileError: the file is wrong; with all that is wrong.

    """
    return load_text(text_of(path), path)


def load_all(paths: Sequence[Path]) -> list[tuple[Path, Scenario, str]]:
    """Read scenario files; directories are searched for ``*.yaml``. Return path, scenario and text of each.

    Raises:
        ScenarioFileError: any file is wrong, or there is none; with all that is wrong in all files.

    """
    problems: list[Problem] = []
    scenarios: list[tuple[Path, Scenario, str]] = []
    for file in _files(paths, problems):
        try:
            text = text_of(file)
            scenarios.append((file, load_text(text, file), text))
        except ScenarioFileError as error:
            problems += error.problems
    if problems:
        raise ScenarioFileError(problems)
    return scenarios


def load_text(text: str, file: Path = Path("scenario.yaml")) -> Scenario:
    """Read a scenario from text; ``file`` is the name that problems are reported with.

    Raises:
        ScenarioFileError: the text is wrong; with all that is wrong.

    """
    try:
        document = documents.read(text)
    except DocumentError as error:
        raise ScenarioFileError([_whole(file, error)]) from None
    findings = [
        Finding(
            path,
            f"the key '{path[-1]}' stands here a second time; the first is in line {first[0]}",
            at_key=True,
        )
        for path, _, first in document.duplicates
    ]
    again = {path: place for path, place, _ in document.duplicates}
    scenario, more = _validate(document)
    problems = [
        Problem(
            file,
            *again.get(finding.path, document.place(finding.path)),
            key_text(finding.path),
            finding.message,
        )
        for finding in findings
    ]
    problems += [
        Problem(
            file,
            *document.place(finding.path, at_key=finding.at_key),
            key_text(finding.path),
            finding.message,
            finding.hint,
        )
        for finding in more
    ]
    if problems or scenario is None:
        unique = dict.fromkeys(problems)
        raise ScenarioFileError(sorted(unique, key=lambda problem: (problem.line, problem.column)))
    _place_steps(scenario.story, ("story",), document)
    return scenario


def _validate(document: Document) -> tuple[Scenario | None, list[Finding]]:
    if not isinstance(document.value, dict):
        return None, [Finding((), "a scenario is a mapping that begins with 'scenario: what happens'")]
    reading = Reading()
    try:
        scenario = Scenario.model_validate(document.value, context=reading)
    except ValidationError as error:
        findings = sentences.findings_of(error, reading, document)
        rest = _without(document.value, [finding.path for finding in findings])
        return None, findings + (story.check_names(rest[0], rest[1]) if rest else [])
    findings = sentences.findings_of(None, reading, document)
    return scenario, findings + story.check(scenario)


def _without(value: dict[str, Any], wrong: Iterable[Path_]) -> tuple[Scenario, dict[int, int]] | None:
    """Return what is left of a wrong scenario without its wrong parts, so that its names can still be checked.

    With it goes the place in the file of each step that is left.
    """
    paths = set(wrong)
    steps = value.get("story")
    given = value.get("given")
    if not isinstance(steps, list) or not isinstance(given, dict | None):
        return None
    bad_steps = {path[1] for path in paths if path[:1] == ("story",) and len(path) > 1}
    kept = [index for index in range(len(steps)) if index not in bad_steps]
    bad_given = {path[1:3] for path in paths if path[:1] == ("given",)}
    world: dict[str, Any] = {}
    for kind in ("builds", "plugins"):
        entries = (given or {}).get(kind, {})
        if not isinstance(entries, dict):
            return None
        world[kind] = {
            name: {} if (kind, name) in bad_given else entry
            for name, entry in entries.items()
            if re.match(NICKNAME, name)
        }
    try:
        scenario = Scenario.model_validate(
            {
                "scenario": "what is left",
                "why": "to check its names",
                "exercises": ["P-format"],
                "given": world,
                "story": [steps[index] for index in kept] or ["settle"],
            },
            context=Reading(),
        )
    except ValidationError:
        return None
    return scenario, dict(enumerate(kept))


def _place_steps(steps: Sequence[StepBase], path: Path_, document: Document) -> None:
    for index, step in enumerate(steps):
        here = (*path, index)
        step.placed(document.place(here)[0])
        _place_steps(step.do, (*here, "do"), document)
        if isinstance(step, Repeat):
            _place_steps(step.repeat.steps, (*here, "repeat", "steps"), document)


def _files(paths: Iterable[Path], problems: list[Problem]) -> list[Path]:
    found: dict[Path, Path] = {}
    for path in paths:
        try:
            files = sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
        except OSError as error:
            problems.append(Problem(path, 0, 0, "", f"cannot be searched: {error.strerror}"))
            continue
        if not files:
            problems.append(Problem(path, 0, 0, "", "there is no scenario (*.yaml) in this directory"))
        for file in files:
            # Not `resolve`, which raises where symbolic links go round in circles; reading says that better.
            found.setdefault(Path(os.path.realpath(file)), file)
    return list(found.values())


def text_of(path: Path) -> str:
    """Return what a file holds. Raises ScenarioFileError."""
    try:
        if not path.exists():
            message = "there is no such file or directory"
        elif not path.is_file():
            message = "this is not a file"
        else:
            size = path.stat().st_size
            if size <= documents.MOST_BYTES:
                return documents.decode(path.read_bytes())
            message = f"the file has {size:,} bytes; a scenario has at most {documents.MOST_BYTES:,}"
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except DocumentError as error:
        raise ScenarioFileError([_whole(path, error)]) from None
    raise ScenarioFileError([Problem(path, 0, 0, "", message)])


def _whole(file: Path, error: DocumentError) -> Problem:
    return Problem(file, *error.place, "", error.message, error.hint)
