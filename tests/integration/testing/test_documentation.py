"""Every block of code in the tutorial and in the fixtures' reference runs, and the example passes its tests."""

import re
import shlex
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

# Runs within this process forget what they import; what is there already stays, and is quick.
from hydra_notify_sim import pytest_fixtures, pytest_scenarios  # noqa: F401  # see above

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


Outcome = tuple[int, str]
Run = Callable[..., Outcome]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    def run_it(*arguments: str) -> Outcome:
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-W", "error", *arguments)
        return int(result.ret), result.stdout.str() + result.stderr.str()

    return run_it


def run_console(text: str, run: Run) -> int:
    """Run each command of a block, and hold its output to the lines that follow it."""
    commands = [part.splitlines() for part in re.split(r"^\$ ", text, flags=re.MULTILINE) if part.strip()]
    for command, *expected in commands:
        program, *arguments = shlex.split(command)
        assert program == "pytest"
        status, output = run(*arguments)
        assert expected, command
        for line in expected:
            assert line in output, f"{command}\n{output}"
        assert (status == 0) == (not any("failed" in line for line in expected)), output
    return len(commands)


@pytest.mark.parametrize("page", ["tutorial.md", "fixtures.md"])
def test_every_block_runs(page: str, run: Run, pytester: pytest.Pytester) -> None:
    text = (ROOT / "docs" / page).read_text()
    blocks = BLOCK.findall(text)
    assert text.count("\n```") == 2 * len(blocks)
    unnamed = ran = 0
    for language, name, code in blocks:
        if language == "console":
            ran += run_console(code, run)
            continue
        file = name
        if not file:
            unnamed += 1
            file = f"test_block_{unnamed}.py"
        with (pytester.path / file).open("a") as stream:
            stream.write(("\n\n" if name.startswith("test_") and stream.tell() else "") + code)
    assert ran >= 2
    status, output = run("-q")
    tests = sum(
        len(re.findall(r"^def test_", code, re.MULTILINE))
        for language, _, code in blocks
        if language == "python"
    )
    assert f"{tests} passed" in output, output
    assert status == 0


def test_the_example_passes_its_tests(run: Run, pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_httpserver")
    # This file is run alone too, without the conftest that has a fixture for this.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        try:
            socket.create_connection(listening.getsockname(), timeout=30).close()
        except OSError as error:
            pytest.skip(f"not even the loopback interface is up here: {error}")
    shutil.copytree(ROOT / "examples" / "github-status", pytester.path, dirs_exist_ok=True)
    status, output = run("-q")
    assert status == 0, output
    assert re.search(r"\d passed", output)


def test_links_lead_somewhere() -> None:
    for page in ("tutorial.md", "fixtures.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "docs" / page).read_text()):
            assert (ROOT / "docs" / target).exists(), f"{page}: {target}"
