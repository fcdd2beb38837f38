"""The calls and retries of a run, read from its history, in the handles of a test."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hydra_notify_sim import history
from hydra_notify_sim.checks.retries import PARKED
from hydra_notify_sim.contract import channels
from hydra_notify_sim.contract.statuses import status_name
from hydra_notify_sim.testing.comparisons import Call, StoredRetry
from hydra_notify_sim.testing.handles import Build, Evaluation


class Handles:
    """The handles of one test, by the ids of their rows."""

    def __init__(self) -> None:
        self.builds: dict[int, Build] = {}
        self.evaluations: dict[int, Evaluation] = {}

    def build(self, id_: int) -> Build:
        """Return the handle of a build; one that nobody made here is named after its row."""
        return self.builds.get(id_) or Build(id_, f"build-{id_}")

    def evaluation(self, id_: int) -> Evaluation:
        """Return the handle of an evaluation."""
        return self.evaluations.get(id_) or Evaluation(id_, f"evaluation-{id_}")


def calls(records: Iterable[history.AnyRecord], handles: Handles) -> list[Call]:
    """Return all calls so far, in the order in which they began."""
    facts: dict[int, dict[str, Any]] = {}
    for record in records:
        match record:
            case history.Called():
                facts[record.call] = {
                    "plugin": record.plugin,
                    "hook": record.hook,
                    "number": record.call,
                    "args": record.args,
                    **_arguments(record.args, handles),
                }
            case history.Returned(call=call):
                facts[call]["ended"] = "returned"
            case history.Raised(call=call, message=message):
                facts[call] |= {"ended": "raised", "message": message}
            case history.CutOff(call=call):
                facts[call]["ended"] = "cut off"
            case _:
                pass
    return [Call(**fact) for fact in facts.values()]


def _arguments(args: Mapping[str, Any], handles: Handles) -> dict[str, Any]:
    facts: dict[str, Any] = {
        name: args[name] for name in ("log_path", "trace_id", "error_changed") if name in args
    }
    if "build" in args:
        build = args["build"]
        facts["build"] = handles.build(build["id"])
        facts["status"] = status_name(build["buildstatus"]) if build["finished"] else None
    if "dependents" in args:
        facts["dependents"] = tuple(handles.build(row["id"]) for row in args["dependents"])
    if "step" in args:
        step = args["step"]
        build = handles.build(step["build"])
        facts |= {
            "build": build,
            "step": build.nth_step(step["stepnr"]),
            "status": status_name(step["status"]),
        }
    if "evaluation" in args:
        facts["evaluation"] = handles.evaluation(args["evaluation"]["id"])
    if "jobset" in args:
        facts["jobset"] = f"{args['jobset']['project']}:{args['jobset']['name']}"
    return facts


def own_writes(records: Iterable[history.AnyRecord], handles: Handles) -> Iterator[tuple[str, str]]:
    """Yield each plugin that wrote to Hydra's rows by itself, with what it changed first."""
    named = set()
    for record in records:
        if isinstance(record, history.Commit) and record.actor == "plugin" and record.about not in named:
            named.add(record.about)
            yield record.about, ", ".join(_changed(row, handles) for row in record.rows)


def _changed(row: history.RowChange, handles: Handles) -> str:
    what = f"{row.change} ({', '.join(row.columns)})" if row.columns else row.change
    return f"{handles.build(int(row.id)) if row.table == 'builds' else row.table} {what}"


def retries(
    tasks: Iterable[history.Task], now: float, handles: Handles, payloads: channels.PayloadVersion
) -> list[StoredRetry]:
    """Return the stored retries, the one that is due first at the beginning; one that was parked (R-poison) waits no more."""
    return [
        StoredRetry(
            plugin=task.plugin,
            hook=task.channel,
            attempts=task.attempts,
            due_in=round(task.due - now, 3),
            build=_build_of(task, handles, payloads),
            payload=task.payload,
        )
        for task in sorted(tasks, key=lambda task: (task.due, task.id))
        if task.due <= now + PARKED
    ]


def _build_of(task: history.Task, handles: Handles, payloads: channels.PayloadVersion) -> Build | None:
    try:
        event = channels.parse(task.channel, task.payload, payloads)
    except channels.MalformedPayloadError:
        return None
    id_ = getattr(event, "build", None)
    return handles.build(id_) if id_ is not None else None
