"""Every block of code in docs/strategies.md runs, and what the page names is there."""

import re
from pathlib import Path

import pytest

from hydra_notify_sim import strategies

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "strategies.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_block_runs(pytester: pytest.Pytester) -> None:
    assert PAGE.count("\n```") == 2 * len(BLOCKS)
    for number, block in enumerate(BLOCKS, start=1):
        (pytester.path / f"test_block_{number}.py").write_text(block)
    tests = sum(len(re.findall(r"^(?:def test_|Test\w+ = )", block, re.MULTILINE)) for block in BLOCKS)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-q", "-W", "error")
    result.assert_outcomes(passed=tests)
    assert tests >= 6


def test_what_it_names_is_there() -> None:
    for name in re.findall(r"^\| `(.*?)` \|", PAGE, re.MULTILINE):
        for word in re.findall(r"(\w+)\(", name):
            assert word in strategies.__all__
    rules = re.search(r"The \*\*rules\*\* are.*?Where a rule", PAGE, re.DOTALL)
    assert rules is not None
    for name in re.findall(r"`(\w+)`", rules[0]):
        assert hasattr(strategies.DispatcherMachine, name), name


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE):
        assert (DOCS / target).exists(), target
