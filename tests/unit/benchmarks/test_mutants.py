"""The mutation tool: what it changes, and that its reasons are about mutants that there are."""

import ast
from pathlib import Path

import pytest

from benchmarks import mutants


def _changes(source: str) -> list[str]:
    tree = ast.parse(source)
    return [
        mutants.replaced(tree, node, changed)
        for _, node in mutants.places(tree)
        for changed in mutants.changes(node)
    ]


@pytest.mark.parametrize(
    ("body", "mutated"),
    [
        ("store.delete(task)", "pass"),
        ("self.up = True", "pass"),
        ("if busy:\n        return", "if not busy:\n        return"),
        ("if busy:\n        return", "pass"),
        ("return a <= b", "return a < b"),
        ("return a and b", "return a or b"),
        ("return a and b", "return b"),
        ("for one in many:\n        call(one)", "for one in list(many)[:1]:\n        call(one)"),
        ("return n + 2", "return n + 3"),
        (
            "return 'SELECT id FROM builds WHERE a = 1 AND finished = 1 ORDER BY id'",
            "return 'SELECT id FROM builds WHERE a = 1 ORDER BY id'",
        ),
        (
            "return 'SELECT id FROM builds WHERE a = 1 AND finished = 1 ORDER BY id'",
            "return 'SELECT id FROM builds WHERE a = 1 AND finished = 1'",
        ),
    ],
)
def test_a_mutant_is_the_module_with_one_change(body: str, mutated: str) -> None:
    assert f"def f():\n    {mutated}" in _changes(f"def f():\n    {body}")


@pytest.mark.parametrize(
    "body", ["LOG.warning('gone: %s', 1)", "'A docstring.'", "raise ValueError(f'{1 + 1} is wrong')"]
)
def test_words_for_people_are_not_changed(body: str) -> None:
    assert [one for one in _changes(f"def f():\n    {body}") if "pass" not in one] == []


def test_every_mutant_of_the_reference_is_a_module_that_compiles_and_has_a_name_of_its_own() -> None:
    made = mutants.mutants()
    assert len(made) > 300
    assert len({one.name for one in made}) == len(made)
    for one in made[::20]:
        compile(one.source, one.module, "exec")


def test_every_reason_is_about_a_mutant_that_there_is() -> None:
    assert mutants.read_reasons().keys() <= {one.name for one in mutants.mutants()}


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(mutants.__file__).parent.parent)
