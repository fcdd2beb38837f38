"""From a broken promise that Hypothesis found to a story that a person reads, in a file that replays.

Hypothesis makes its example small in its own terms, choices; then it is made small in a scenario's terms, and written
to ``counter-examples/``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

from hydra_notify_sim.checks.verdicts import Judgements
from hydra_notify_sim.exploration import counter_examples, shrinking
from hydra_notify_sim.scenario import Scenario
from hydra_notify_sim.strategies.grounds import EnvironmentGone, Ground, quiet

__tracebackhide__ = True
"""Pytest shows what was broken, not our frames."""

DIRECTORY = counter_examples.DIRECTORY
"""Where counter-examples are written, from the current directory."""


class PromiseBroken(AssertionError):  # noqa: N818  # reads as what happened
    """A dispatcher broke a promise; each promise has a class of its own, so that Hypothesis tells them apart."""

    def __init__(self, message: str, *, promise: str, scenario: Scenario, ground: Ground, by: str) -> None:
        super().__init__(message)
        self.promise = promise
        self.scenario = scenario
        """The story that broke it."""
        self.ground = ground
        """Where it can be played again."""
        self.by = by
        """What made it up."""
        self.file: Path | None = None
        """The counter-example, once it is written."""
        self.written_down = False


@lru_cache(maxsize=64)
def _kind(promise: str) -> type[PromiseBroken]:
    return type(f"PromiseBroken({promise})", (PromiseBroken,), {"__doc__": f"{promise} was broken."})


def broken(judgements: Judgements) -> tuple[str, ...]:
    """Return the promises that were broken, in the order of the contract."""
    return tuple(one.promise for one in judgements.verdicts if one.verdict == "violated")


def complain(
    judgements: Judgements, scenario: Callable[[str], Scenario], ground: Ground, by: str
) -> NoReturn:
    """Raise `PromiseBroken` for the first promise that was broken.

    ``scenario`` is asked for the story, given the promise that it exercises.
    """
    said = next(one for one in judgements.verdicts if one.verdict == "violated")
    raise _kind(said.promise)(
        f"{said.promise} was broken: {said.explanation}",
        promise=said.promise,
        scenario=scenario(said.promise),
        ground=ground,
        by=by,
    )


@contextmanager
def written_down(directory: str | Path = DIRECTORY) -> Iterator[None]:
    """Around a Hypothesis test, where Hypothesis is done with it: shrink a broken promise's story and write its file.

    The failure then names the file and the command that plays it again. `machine` and the pytest plugin do this by
    themselves; it is for tests with ``@given`` that run without pytest. It can be a decorator too.
    """
    try:
        yield
    except EnvironmentGone as gone:
        raise gone.error from gone.__cause__
    except PromiseBroken as error:
        _write(error, Path(directory))
        raise
    except BaseExceptionGroup as group:
        found = group.subgroup(PromiseBroken)
        for each in _leaves(found) if found is not None else ():
            _write(each, Path(directory))
        raise


def _leaves(group: BaseExceptionGroup[PromiseBroken]) -> Iterator[PromiseBroken]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _write(error: PromiseBroken, directory: Path) -> None:
    """Write the counter-example of a broken promise, and say so in its message."""
    if error.written_down:
        return
    error.written_down = True
    ground = error.ground
    options = ground.options
    in_process = ground.runner.choice.kind == "in process"
    with quiet():
        found = counter_examples.make(
            ground.stage,
            error.scenario,
            error.promise,
            counter_examples.Origin(by=error.by),
            directory=directory,
            plays=shrinking.budget(in_process=in_process),
        )
    if found is None:
        error.args = (
            f"{error}\nIt was not broken when the same story was played again from a clean database: "
            + (
                "the harness is at fault, please report it."
                if in_process
                else "what happened depends on the time that the dispatcher takes."
            ),
        )
        return
    file = directory / f"{found.name}.yaml"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file.write_text(found.text, encoding="utf-8")
        where = f"{file} tells it"
    except OSError as trouble:
        where = f"{file} could not be written ({trouble.strerror}); it would tell it"
    error.file = file
    command = counter_examples.command(options, str(file))
    size = f"{found.actions} action{'' if found.actions == 1 else 's'}"
    error.args = (f"{error}\n{where} in {size}. Play it again: {command}\n\n{found.text}",)
