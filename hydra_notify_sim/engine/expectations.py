"""What an ``expect`` step says, held against what the history shows so far."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra_notify_sim import checks, history
from hydra_notify_sim.checks.retries import DUE_TOLERANCE, PARKED
from hydra_notify_sim.checks.verdicts import Allowed
from hydra_notify_sim.contract import statuses
from hydra_notify_sim.scenario import expect as wanted

DEPENDENTS_TOLD = 8
"""Names of dependents in a message about one call; of further ones the number is told."""


@dataclass(slots=True)
class Seen:
    """One call, as the history shows it."""

    plugin: str
    hook: str
    build: int | None
    status: int | None
    dependents: tuple[int, ...]
    ended: str = "open"


@dataclass(frozen=True, slots=True)
class Moment:
    """What an expectation can look at."""

    so_far: history.History
    marks: Mapping[int, int]
    tasks: Sequence[history.Task]
    now: float
    log: Sequence[str]
    ids: Mapping[str, int]
    """Nickname of a build to its id."""
    evaluations: Mapping[str, int]
    nicknames: Mapping[int, str]
    """Id of a build to its nickname."""
    singles: Callable[[tuple[str, ...]], tuple[str, ...]]
    """From nicknames to those of single builds."""


def calls(records: history.History) -> list[Seen]:
    """Return all calls so far, in order."""
    seen: dict[int, Seen] = {}
    for record in records:
        match record:
            case history.Called(call=call, plugin=plugin, hook=hook, args=args):
                build = args.get("build") or {}
                step = args.get("step") or {}
                seen[call] = Seen(
                    plugin,
                    hook,
                    build.get("id", step.get("build")),
                    build.get("buildstatus") if build.get("finished") else None,
                    tuple(dependent["id"] for dependent in args.get("dependents", ())),
                )
            case history.Returned(call=call):
                seen[call].ended = "returned"
            case history.Raised(call=call):
                seen[call].ended = "raised"
            case history.CutOff(call=call):
                seen[call].ended = "cut off"
            case _:
                pass
    return list(seen.values())


def evaluate(expect: wanted.Expect, moment: Moment, line: int) -> list[history.Expected]:
    """Return what the step expects, one by one, and whether each is so; ``violated`` waits for the end."""
    return [
        history.Expected(t=moment.now, text=text, met=not found, found=found, line=line)
        for text, found in _each(expect, moment)
    ]


def _each(expect: wanted.Expect, moment: Moment) -> Iterator[tuple[str, str]]:
    """Yield what is expected and what was found instead, empty if it was met."""
    seen = calls(moment.so_far) if expect.calls is not None or expect.last is not None else []
    for who, wish in (expect.calls or {}).items():
        yield from _calls(who, wish, [call for call in seen if _is_of(call, who)], moment)
    for who, one in (expect.last or {}).items():
        of_whom = [call for call in seen if _is_of(call, who) and _is_about(call, one, moment)]
        found = "" if of_whom and _matches(of_whom[-1], one, moment) else _told(of_whom[-1:], moment)
        yield f"last call of {who}: {_wish(one)}", found
    if expect.marks is not None:
        marked = sorted(moment.nicknames.get(build, f"build {build}") for build in moment.marks)
        same = marked == sorted(moment.singles(expect.marks))
        yield (
            f"marks on: {', '.join(expect.marks) or 'nothing'}",
            "" if same else ", ".join(marked) or "nothing",
        )
    if expect.retries is not None:
        yield _retries(expect.retries, moment)
    if expect.lost is not None or expect.repeated is not None:
        allowed = checks.judge(moment.so_far).allowed
        for kind, wishes in (("lost", expect.lost or ()), ("repeated", expect.repeated or ())):
            of_kind = [a for a in allowed if a.kind == kind]
            for allowance in wishes:
                met = any(_is_allowed(a, allowance, moment) for a in of_kind)
                found = "" if met else "; ".join(a.what for a in of_kind) or f"nothing was {kind}"
                yield f"{kind}: {allowance.hook} {allowance.about}, allowed by {allowance.allowed_by}", found
    if expect.log is not None:
        pattern = re.compile(expect.log)
        found = "" if any(pattern.search(line) for line in moment.log) else "no such line in the log"
        yield f"log: {expect.log}", found


def _is_of(call: Seen, who: str) -> bool:
    plugin, _, hook = who.partition(".")
    return call.plugin == plugin and (not hook or call.hook == hook)


def _is_about(call: Seen, wish: wanted.Call, moment: Moment) -> bool:
    """Tell whether a call is of the build and the hook that the wish names, whatever it showed of it."""
    return (wish.build is None or call.build == moment.ids.get(wish.build)) and wish.hook in {None, call.hook}


def _calls(
    who: str, wish: tuple[wanted.Call, ...] | wanted.CallCount, seen: list[Seen], moment: Moment
) -> Iterator[tuple[str, str]]:
    if isinstance(wish, wanted.CallCount):
        matching = [call for call in seen if _matches(call, wish, moment)]
        least, most = wish.bounds
        bounds = f"at least {least}" if most is None else f"{least} to {most}"
        met = least <= len(matching) and (most is None or len(matching) <= most)
        found = "" if met else f"{len(matching)}; all calls: {_told(seen, moment)}"
        yield f"calls of {who}: {bounds} {_wish(wish)}", found
        return
    met = len(seen) == len(wish) and all(
        _matches(call, one, moment) for call, one in zip(seen, wish, strict=True)
    )
    yield f"calls of {who}: {', '.join(map(_wish, wish)) or 'none'}", "" if met else _told(seen, moment)


def _matches(call: Seen, wish: wanted.Call | wanted.CallCount, moment: Moment) -> bool:
    return (
        (wish.ended is None or call.ended == wish.ended)
        and (wish.hook is None or call.hook == wish.hook)
        and (wish.build is None or call.build == moment.ids.get(wish.build))
        and (wish.status is None or call.status == wish.status)
        and (
            wish.dependents is None
            # In whatever order: theirs means nothing, and P-arguments judges it.
            or sorted(call.dependents)
            == sorted(moment.ids.get(name, -1) for name in moment.singles(wish.dependents))
        )
    )


def _wish(wish: wanted.Call | wanted.CallCount) -> str:
    parts = [
        wish.hook or "",
        wish.build or "",
        wish.status.name if wish.status is not None else "",
        "" if wish.dependents is None else _with(wish.dependents) or "without dependents",
        wish.ended or "",
    ]
    return " ".join(part for part in parts if part) or "calls"


def _with(dependents: Sequence[str]) -> str:
    more = len(dependents) - DEPENDENTS_TOLD
    tail = f" and {more} more" if more > 0 else ""
    return f"with {', '.join(dependents[:DEPENDENTS_TOLD])}{tail}" if dependents else ""


def _told(seen: Sequence[Seen], moment: Moment) -> str:
    return ", ".join(_tell(call, moment) for call in seen) or "no call"


def _tell(call: Seen, moment: Moment) -> str:
    build = "" if call.build is None else moment.nicknames.get(call.build, f"build {call.build}")
    status = f"({statuses.status_name(call.status)})" if call.status is not None else ""
    dependents = _with([moment.nicknames.get(id_, f"build {id_}") for id_ in call.dependents])
    return " ".join(part for part in (call.hook, build, status, dependents, call.ended) if part)


def _retries(wishes: Sequence[wanted.Retry], moment: Moment) -> tuple[str, str]:
    waiting = [
        task for task in moment.tasks if task.due <= moment.now + PARKED
    ]  # or it was parked (R-poison)
    left = list(waiting)
    for wish in wishes:
        match = next((task for task in left if _is_task(task, wish, moment)), None)
        if match is None:
            break
        left.remove(match)
    else:
        if not left:
            return _retries_text(wishes), ""
    found = ", ".join(
        f"{task.plugin} {task.channel} {task.payload!r} attempts {task.attempts} due in {task.due - moment.now:.0f} s"
        for task in waiting
    )
    return _retries_text(wishes), found or "no task is stored"


def _is_task(task: history.Task, wish: wanted.Retry, moment: Moment) -> bool:
    early, late = DUE_TOLERANCE
    due_in = task.due - moment.now
    named = task.payload.split("\t")
    return (
        task.plugin == wish.plugin
        and (wish.attempts is None or task.attempts == wish.attempts)
        and (wish.due_in is None or wish.due_in + early <= due_in <= wish.due_in + late)
        and (wish.hook is None or task.channel == wish.hook)
        and (wish.build is None or str(moment.ids.get(wish.build)) in named)
    )


def _retries_text(wishes: Sequence[wanted.Retry]) -> str:
    said = [
        f"{wish.plugin}"
        + (f" attempts {wish.attempts}" if wish.attempts is not None else "")
        + (f" due in {wish.due_in:g} s" if wish.due_in is not None else "")
        for wish in wishes
    ]
    return f"retries: {', '.join(said) or 'none'}"


def _is_allowed(allowed: Allowed, wish: wanted.Allowance, moment: Moment) -> bool:
    about: Any = moment.ids.get(wish.about, moment.evaluations.get(wish.about))
    return (
        allowed.hook == wish.hook
        and allowed.promise == wish.allowed_by
        and (allowed.build is None or allowed.build == about)
        and (wish.plugin is None or wish.plugin in {allowed.plugin, ""} or wish.plugin in allowed.what)
    )
