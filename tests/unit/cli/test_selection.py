import pytest

from hydra_notify_sim.cli import selection

NAMES = ["a-build-is-announced", "cached-build", "crash-in-call", "not-settled"]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("build", [0, 1]),
        ("BUILD", [0, 1]),
        ("build and not cached", [0]),
        ("not build", [2, 3]),
        ("not (build or crash)", [3]),
        ("not not crash", [2]),
        ("crash or cached and build", [1, 2]),
        ("(crash or cached) and build", [1]),
        ("'not-s'", [3]),
        ('"and" or crash', [2]),
        ("a-build-is or crash-in", [0, 2]),
        ("nothing-like-it", []),
    ],
)
def test_names_are_chosen_as_pytest_chooses(expression: str, chosen: list[int]) -> None:
    matches = selection.matcher(expression)
    assert [place for place, name in enumerate(NAMES) if matches(name)] == chosen


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "column 1: a part of a name expected, found the end"),
        ("  ", "a part of a name expected, found the end"),
        ("a and", "column 6: a part of a name expected, found the end"),
        ("a b", "column 3: 'and' or 'or' expected, found 'b'"),
        ("(a", r"column 3: '\)' expected, found the end"),
        ("a)", r"column 2: 'and' or 'or' expected, found '\)'"),
        ("or a", "column 1: a part of a name expected, found 'or'"),
        ("a and 'b", "column 7: the quotation mark is never closed"),
    ],
)
def test_a_wrong_expression_is_pointed_at(expression: str, message: str) -> None:
    with pytest.raises(selection.ExpressionError, match=message) as caught:
        selection.matcher(expression)
    assert caught.value.exit_code == 2
