"""Known-bad dispatchers whose arguments are almost right: what they hand over looks like what the payload names."""

import contextlib
import dataclasses
import posixpath
from typing import Any

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import core
from hydra_notify_sim.known_bad.registry import known_bad

WITH_A_TRACE = (channels.EvalStarted, channels.EvalAdded, channels.EvalCached, channels.EvalFailed)


@known_bad("prints-the-trace-again", "P-arguments")
class PrintsTheTraceAgain(core.Dispatcher):
    """Hands over a trace id that it has parsed and printed again, for most of them look like numbers.

    YAML, CSV and spreadsheets do it to version numbers, and JSON in a language with one kind of number does.
    """

    def deliver(self, event: channels.Event, payload: str) -> None:
        """Read the trace as a number, if it is one."""
        if isinstance(event, WITH_A_TRACE):
            with contextlib.suppress(ValueError):
                event = dataclasses.replace(event, trace=f"{float(event.trace):g}")
        super().deliver(event, payload)


@known_bad("sorts-the-dependents", "P-arguments", "B-dependents")
class SortsTheDependents(core.Dispatcher):
    """Hands over the dependents in the order of their ids.

    What comes of `SELECT … WHERE id IN (…)` where nobody puts the rows back into the payload's order.
    """

    def deliver(self, event: channels.Event, payload: str) -> None:
        """Sort the list."""
        if isinstance(event, channels.BuildFinished):
            event = channels.BuildFinished(event.build, tuple(sorted(event.dependents)))
        super().deliver(event, payload)


@known_bad("tidies-log-paths-up", "P-arguments")
class TidiesLogPathsUp(core.Dispatcher):
    """Hands over the log path as a library for paths prints it: a plugin that compares texts finds another one.

    What every path class does as it reads a text, such as pathlib's.
    """

    def deliver(self, event: channels.Event, payload: str) -> None:
        """Normalise the path."""
        if isinstance(event, channels.StepFinished) and event.log_path is not None:
            event = channels.StepFinished(event.build, event.step, posixpath.normpath(event.log_path))
        super().deliver(event, payload)


@known_bad("takes-the-newest-evaluation", "P-arguments")
class TakesTheNewestEvaluation(core.Dispatcher):
    """Hands over the jobset's newest evaluation, whichever the payload names.

    The query of Hydra's page of a jobset, which is at hand; right for as long as nobody evaluates again meanwhile.
    """

    def deliver(self, event: channels.Event, payload: str) -> None:
        """Ask for the newest one of the jobset of the one that is named."""
        if isinstance(event, channels.EvalAdded | channels.EvalCached):
            (found,) = query(
                self,
                "SELECT max(newest.id) FROM jobsetevals AS newest JOIN jobsetevals AS named USING (jobset_id)"
                " WHERE named.id = %s",
                event.evaluation,
            )
            event = dataclasses.replace(event, evaluation=found[0] or event.evaluation)
        super().deliver(event, payload)


@known_bad("takes-the-last-step", "P-arguments")
class TakesTheLastStep(core.Dispatcher):
    """Hands over the last step of the build, whichever has finished.

    The join without the step's number, sorted by it: right for builds of one step, which most are.
    """

    def deliver(self, event: channels.Event, payload: str) -> None:
        """Ask for the highest number."""
        if isinstance(event, channels.StepFinished):
            (found,) = query(self, "SELECT max(stepnr) FROM buildsteps WHERE build = %s", event.build)
            event = channels.StepFinished(event.build, found[0] or event.step, event.log_path)
        super().deliver(event, payload)


@known_bad("finds-builds-by-their-job", "P-arguments")
class FindsBuildsByTheirJob(core.Dispatcher):
    """Hands over the newest build of the job that the named build belongs to.

    `/job/…/latest` in place of `/build/…`: right until somebody restarts an old build, or two are under way.
    """

    def deliver(self, event: channels.Event, payload: str) -> None:
        """Ask for the newest one of the job."""
        if isinstance(event, channels.BuildQueued | channels.BuildStarted):
            (found,) = query(
                self,
                "SELECT max(newest.id) FROM builds AS newest JOIN builds AS named USING (jobset_id, job)"
                " WHERE named.id = %s",
                event.build,
            )
            event = dataclasses.replace(event, build=found[0] or event.build)
        super().deliver(event, payload)


def query(dispatcher: core.Dispatcher, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Ask Hydra's tables what no port of the reference asks."""
    connection = session_of(dispatcher).querying
    rows: list[tuple[Any, ...]] = connection.execute(sql, parameters).fetchall()
    return rows


def session_of(dispatcher: core.Dispatcher) -> Any:
    """Return the connections behind the dispatcher's ports."""
    store: Any = dispatcher.store
    if "_port" in vars(store):  # in process its calls are watched
        store = store._port  # noqa: SLF001 - there is no port for what only a wrong dispatcher wants
    return store.session
