"""Every promise has a story in which it is kept and one in which it is broken."""

from pathlib import Path

from hydra_notify_sim.contract.promises import FAMILIES, PROMISES


def test_every_promise_has_a_test_in_which_it_is_broken_and_one_in_which_it_is_kept() -> None:
    text = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_promises_*.py"))
    for promise in PROMISES:
        name = promise.id.lower().replace("-", "_")
        assert f"def test_{name}_held(" in text, f"{promise.id} has no test in which it is kept"
        assert f"def test_{name}_violated(" in text, f"{promise.id} has no test in which it is broken"


def test_every_family_has_a_file_of_its_own() -> None:
    files = {
        path.stem.removeprefix("test_promises_") for path in Path(__file__).parent.glob("test_promises_*.py")
    }
    assert files == set(FAMILIES.values())
