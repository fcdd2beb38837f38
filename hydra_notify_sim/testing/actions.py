"""What a test lets the queue runner and the person at the web page do: one method for each verb of a scenario."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

from hydra_notify_sim import errors
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.durations import UNTIL_DUE, UntilDue
from hydra_notify_sim.testing.handles import Build, Evaluation
from hydra_notify_sim.testing.words import made

__tracebackhide__ = True
"""Pytest shows a failure where the test is, not in here."""


class Actions(ABC):
    """The actions of `Hydra` on builds that exist; each settles before it returns."""

    @abstractmethod
    def play(self, step: verbs.StepBase) -> None:
        """Play one step of the scenario language; every action comes through here."""

    @abstractmethod
    def _nickname(self, build: object) -> str:
        """Return the nickname of a build of this test. Raises UsageError for anything else."""

    @property
    @abstractmethod
    def _jobset(self) -> str:
        """The test's jobset as it is called now."""

    # The queue runner

    def start(self, *builds: Build) -> Build:
        """Send the next step of builds to a machine: build_started for each. Return the first."""
        return self._about(verbs.Start, "start", builds)

    def step(self, build: Build, *, status: str = "succeeded", log: bool = True) -> Build:
        """End the step under way of a build, which is not its last: step_finished."""
        return self._about(verbs.StepEnds, "step", (build,), status=status, log=log)

    def finish(
        self, *builds: Build, status: str = "succeeded", same_second: bool = False, log: bool = True
    ) -> Build:
        """End builds: step_finished, then build_finished with the dependents that fail with it. Return the first.

        ``status`` is a name such as ``failed`` or ``timed_out``; ``same_second``: the clock does not move for it;
        ``log``: there is one.
        """
        return self._about(verbs.Finish, "finish", builds, status=status, same_second=same_second, log=log)

    def build(
        self, *builds: Build, status: str = "succeeded", same_second: bool = False, log: bool = True
    ) -> Build:
        """Build: start, the steps, and finish, for each in turn. Return the first."""
        return self._about(verbs.Build, "build", builds, status=status, same_second=same_second, log=log)

    def substitute(self, *builds: Build, already_valid: bool = False) -> Build:
        """Fetch the outputs from a binary cache: build_finished only."""
        return self._about(verbs.Substitute, "substitute", builds, already_valid=already_valid)

    def abort(self, *builds: Build) -> Build:
        """Lose the machine: the step under way is aborted, and can be started again."""
        return self._about(verbs.Abort, "abort", builds)

    def mark_only(self, *builds: Build, status: str = "succeeded") -> Build:
        """Let the queue runner mark builds as finished and die before it notifies (quirk qr-notify-gap)."""
        return self._about(verbs.MarkOnly, "mark_only", builds, status=status)

    # The person

    def restart(self, *builds: Build) -> Build:
        """Restart finished builds at the web page. Return the first."""
        return self._about(verbs.Restart, "restart", builds)

    def cancel(self, *builds: Build) -> Build:
        """Cancel builds at the web page: finished, and nobody is told. Return the first."""
        return self._about(verbs.Cancel, "cancel", builds)

    def bump(self, *builds: Build) -> Build:
        """Give builds more priority at the web page."""
        return self._about(verbs.Bump, "bump", builds)

    def edit_jobset(
        self, *, name: str | None = None, hidden: bool | None = None, enabled: bool | str | None = None
    ) -> None:
        """Rename, hide, show, disable or enable the test's jobset at the web page; its builds go on.

        ``enabled``: False and True, or ``"one_shot"`` (evaluated once, then disabled) or ``"one_at_a_time"``.
        """
        edit = {"name": name, "hidden": hidden, "enabled": enabled}
        self.play(made(verbs.EditJobset, edit_jobset={k: v for k, v in edit.items() if v is not None}))

    def delete_jobset(self) -> None:
        """Delete the test's jobset at the web page, with its evaluations and builds."""
        self.play(made(verbs.Delete, delete={"jobset": self._jobset}))

    def delete_project(self) -> None:
        """Delete the project of the test's jobset at the web page, with its jobsets, evaluations and builds."""
        self.play(made(verbs.Delete, delete={"project": self._jobset.partition(":")[0]}))

    def delete(self, row: Build | Evaluation) -> None:
        """Delete the row of a build or an evaluation by hand."""
        kind = "build" if isinstance(row, Build) else "evaluation"
        self.play(made(verbs.Delete, delete={kind: row.nickname}))

    def notify(
        self,
        channel: str,
        *values: Build | Evaluation | str | int,
        times: int = 1,
        how: Literal["same transaction", "separate", "rolled back"] = "separate",
    ) -> None:
        """Send a notification by hand, its fields handles, numbers or text.

        ``how``: with ``times``, each in its own transaction, all in one, or all in one that is rolled back.
        """
        fields = [value.nickname if isinstance(value, Build | Evaluation) else value for value in values]
        payload: Any = fields or ""
        self.play(
            made(verbs.Notify, notify={"channel": channel, "payload": payload, "times": times, "in": how})
        )

    # Time

    def advance(self, seconds: float | UntilDue = 0, *, minutes: float = 0, hours: float = 0) -> None:
        """Let simulated time pass; what falls due on the way is done in its order.

        ``hydra.advance("until due")`` stops when the next stored retry has been made, whenever this dispatcher has it due: the
        contract leaves it three seconds (R-backoff). The test fails where none is stored.
        """
        if seconds == UNTIL_DUE and (minutes or hours):
            raise errors.UsageError('hydra.advance("until due") takes no minutes or hours; advance once more')
        span = seconds if isinstance(seconds, str) else seconds + 60 * minutes + 3600 * hours
        self.play(made(verbs.Advance, advance=span))

    def _about(self, verb: type[verbs.StepBase], key: str, builds: Sequence[Build], **more: Any) -> Build:
        if not builds:
            raise errors.UsageError(f"hydra.{key}: name at least one build")
        self.play(made(verb, **{key: [self._nickname(build) for build in builds]}, **more))
        return builds[0]
