"""Scenario files as pytest's items: a failure is the story and the promise, never a traceback."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hydra_notify_sim import errors, scenario
from hydra_notify_sim.engine import events
from hydra_notify_sim.pytest_fixtures import story
from hydra_notify_sim.reports import failure
from hydra_notify_sim.testing.session import Session

SessionOf = Callable[[pytest.Config], Session]
"""From pytest's configuration to what the tests of its session share."""


class ScenarioNotPassedError(Exception):
    """A scenario did not pass; the message is what pytest shows."""


class ScenarioFile(pytest.File):
    """A YAML file with one scenario."""

    def __init__(self, *, session_of: SessionOf, **more: Any) -> None:
        super().__init__(**more)
        self._session_of = session_of

    def collect(self) -> Iterator[pytest.Item]:
        """Read it, and yield its item."""
        try:
            ((path, said, text),) = scenario.load_all([self.path])
        except errors.HydraNotifySimError as error:
            raise self.CollectError(str(error)) from None
        yield ScenarioItem.from_parent(
            self, name=path.stem, loaded=(path, said, text), session_of=self._session_of
        )


class ScenarioItem(pytest.Item):
    """A scenario, to be played against the dispatcher of the session."""

    def __init__(
        self, *, loaded: tuple[Path, scenario.Scenario, str], session_of: SessionOf, **more: Any
    ) -> None:
        super().__init__(**more)
        self._session_of = session_of
        self.loaded = loaded
        self.extra_keyword_matches.update(loaded[1].exercises)  # so that -k B-recover finds it

    def runtest(self) -> None:
        """Play it and judge, as the command ``replay`` does.

        Raises:
            ScenarioNotPassedError: a promise or an expectation was broken, or something was not exercised.
            HydraNotifySimError: the environment failed.

        """
        event = self._session_of(self.config).runner().play(self.loaded)
        if isinstance(event, events.ScenarioFailed):
            raise event.error
        if isinstance(event, events.ScenarioNotClaimed):
            pytest.skip(f"not claimed: {event.reason}")
        if not event.passed:
            raise ScenarioNotPassedError(f"{failure.headline(event)}\n{story(event)}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show what a person needs; a traceback only for a fault of our own."""
        if isinstance(excinfo.value, ScenarioNotPassedError | errors.HydraNotifySimError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Name the scenario by its sentence."""
        return self.path, None, f"scenario: {self.loaded[1].scenario}"
