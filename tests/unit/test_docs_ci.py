"""The workflows in docs/ci.md are YAML, and every command line of conformance in the pages is one that the program takes."""

import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from ruamel.yaml import YAML

from hydra_notify_sim.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "docs" / "ci.md",
    ROOT / "docs" / "conformance.md",
    ROOT / "examples" / "dispatcher" / "README.md",
]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"(?:^|\$ |--command )(hydra-notify-sim [a-z][a-z-]*\b(?! \]).*)", re.DOTALL)
_INLINE = re.compile(r"`(hydra-notify-sim [^`\n]*)`")


def workflows() -> list[object]:
    page = PAGES[0].read_text(encoding="utf-8")
    return [YAML(typ="safe").load(io.StringIO(text)) for kind, text in _BLOCK.findall(page) if kind == "yaml"]


def scripts(value: object) -> Iterator[str]:
    """Yield the shell lines of a workflow: what stands under ``run`` and ``script``."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "run":
                yield inner
            elif key == "script":
                yield from inner
            else:
                yield from scripts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from scripts(inner)


def commands() -> list[str]:
    lines = [" ".join(line.split()) for workflow in workflows() for line in scripts(workflow)]
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for kind, block in _BLOCK.findall(text):
            if kind in {"console", "nix"}:
                lines += block.replace("\\\n", " ").splitlines()
        lines += _INLINE.findall(_BLOCK.sub("", text))
    return [found[1] for line in lines if (found := _COMMAND.search(line.strip()))]


def test_each_workflow_runs_conformance_and_keeps_what_it_wrote() -> None:
    found = workflows()
    assert len(found) == 3
    for workflow in found:
        lines = " ".join(scripts(workflow))
        written = re.findall(r"--(?:junit|markdown|json) (\S+)", lines)
        assert written
        assert all(
            name in str(workflow).replace(lines, "") or "conformance.*" in str(workflow) for name in written
        )


@pytest.mark.parametrize("line", commands())
def test_each_command_is_one_that_the_program_takes(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    command = app.get_command(click.Context(app), name)
    assert command is not None, name
    command.make_context(name, [argument for argument in arguments if argument != "…"])


def test_every_option_of_conformance_is_told_on_its_page() -> None:
    command = app.get_command(click.Context(app), "conformance")
    assert command is not None
    page = PAGES[1].read_text(encoding="utf-8") + PAGES[0].read_text(encoding="utf-8")
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    untold = {"--known-lenient", "--seed"}  # of `replay`, told in docs/reference/report.md
    assert {one for one in options - untold if f"{one}" not in page} == set()
