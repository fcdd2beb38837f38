"""The house's own order: ruff, mypy strict, import-linter, and what may not stand in the repository."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _runs(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def _tool(module: str) -> None:
    """Leave the test out where a distribution's build has not installed the developers' tools."""
    if (
        importlib.util.find_spec(module) is None
        or _runs(sys.executable, "-m", module, "--version").returncode
    ):
        pytest.skip(f"{module} is not installed here")


@pytest.mark.parametrize("arguments", [["check", "--no-cache"], ["format", "--check", "--no-cache"]])
def test_ruff_is_content(arguments: list[str]) -> None:
    _tool("ruff")
    result = _runs(sys.executable, "-m", "ruff", *arguments, ".")
    assert result.returncode == 0, result.stdout + result.stderr


def test_mypy_strict_is_content(tmp_path: Path) -> None:
    _tool("mypy")
    result = _runs(sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_room_imports_only_from_floors_below_its_own() -> None:
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("import-linter is not installed here")
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    result = _runs(sys.executable, "-c", program)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_module_says_in_its_first_line_what_it_does() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "hydra_notify_sim").rglob("*.py")
        if not re.match(r'r?"""[A-Z`].{15,}', path.read_text().splitlines()[0])
    ]
    assert silent == []


def test_every_ignore_has_its_reason_beside_it() -> None:
    bare = re.compile(r"#\s*(?:noqa|type: ignore|pragma: no cover)\S*(?:\[[^\]]*\])?(?::\s*[A-Z0-9, ]+)?\s*$")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("hydra_notify_sim", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if bare.search(line)
    ]
    assert found == []
