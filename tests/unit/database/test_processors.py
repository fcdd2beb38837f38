"""Keeping a thread, and what it starts, to one processor."""

import os
import subprocess
import sys

import pytest

from hydra_notify_sim.database import processors

LOOK = "import os; print(sorted(os.sched_getaffinity(0)))"

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone has it")


def test_what_is_started_meanwhile_stays_there_and_the_thread_goes_back() -> None:
    before = os.sched_getaffinity(0)
    with processors.on_one(1):
        kept = sorted(os.sched_getaffinity(0))
        started = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert len(kept) == 1
    assert set(kept) <= before
    assert started.stdout.strip() == str(kept)
    assert os.sched_getaffinity(0) == before


def test_as_many_numbers_as_processors_get_one_each() -> None:
    before = os.sched_getaffinity(0)
    found: set[int] = set()
    for number in range(7, 7 + len(before)):
        with processors.on_one(number):
            found |= os.sched_getaffinity(0)
    assert found == before


def test_where_it_is_not_allowed_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int, _processors: set[int]) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with processors.on_one(0):
        pass


def test_where_there_is_no_such_thing_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    with processors.on_one(0):
        processors.keep_to_one(0)
