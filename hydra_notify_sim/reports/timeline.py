"""A history as lines of a story that a person can follow; pure.

One line is one thing that happened; the records that belong to it (a commit and its return, a call and its end)
stand on it together, so that a verdict's proof can be shown by its lines.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hydra_notify_sim import history
from hydra_notify_sim.contract import statuses
from hydra_notify_sim.reports import words

Tone = Literal["commit", "life", "call", "fault", "time", "rows", "settled", "bad"]

_ACTORS = {
    "queue_runner": "queue runner",
    "evaluator": "evaluator",
    "person": "person",
    "harness": "harness",
    "plugin": "plugin",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened."""

    records: tuple[int, ...]
    """Numbers of the records that it stands for."""
    seconds: float
    """Seconds of the history's clock since its first record."""
    who: str
    text: str
    tone: Tone
    depth: int = 0
    """How many calls were open: what happens inside a call stands further in."""
    minor: bool = False
    """Such as settling, which follows every step. Shown only in a whole timeline, or where it proves something."""
    times: int = 1
    """How many equal lines were folded into this one."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Lines that were left out."""

    lines: int


class _Writer:
    """Turns records into lines, remembering what later records refer to."""

    def __init__(self, header: history.Header, names: words.Names) -> None:
        self.header = header
        self.names = names
        self.lines: list[Line] = []
        self.start: float | None = None
        self.now = 0.0
        self.line_of_commit: dict[int, int] = {}
        self.open_calls: dict[int, tuple[history.Called, int]] = {}
        self.marks: Mapping[int, int] = {}
        self.just_marked: set[int] = set()
        """Builds marked by outcomes since the rows were last observed."""
        self.tasks: Mapping[int, history.Task] = {}
        self.counters: Mapping[str, float] = {}

    def take(self, number: int, record: history.AnyRecord) -> None:
        """Add a record's line, or its number to the line it belongs to."""
        if self.start is None:
            self.start = record.t
        self.now = record.t - self.start
        self.names.learn(record)
        match record:
            case history.Commit():
                self.line_of_commit[number] = len(self.lines)
                self.add(number, _ACTORS[record.actor], self.commit(record), "commit")
            case history.Committed():
                self.committed(number, record)
            case history.Called():
                self.open_calls[record.call] = (record, len(self.lines))
                self.add(number, record.plugin, self.call(record) + " …", "call", outside=1)
            case history.Returned():
                self.ended(number, record.call, "returned", "call")
            case history.Raised():
                message = f": {words.one_line(record.message, 120)}" if record.message else ""
                self.ended(number, record.call, f"raised{message}", "call")
            case history.CutOff():
                self.ended(number, record.call, "cut off: the dispatcher was lost", "fault")
            case history.Observed():
                self.observed(number, record)
            case history.Counted():
                self.counted(number, record)
            case _:
                self.other(number, record)

    def add(
        self, number: int, who: str, text: str, tone: Tone, *, minor: bool = False, outside: int = 0
    ) -> None:
        depth = max(0, len(self.open_calls) - outside)
        self.lines.append(Line((number,), self.now, words.one_line(who, 40), text, tone, depth, minor))

    def attach(self, position: int, number: int, text: str | None = None, tone: Tone | None = None) -> None:
        line = self.lines[position]
        self.lines[position] = replace(
            line, records=(*line.records, number), text=text or line.text, tone=tone or line.tone
        )

    def commit(self, record: history.Commit) -> str:
        self.just_marked.update(one.build for one in record.outcomes if one.pending)
        if record.actor == "plugin":
            said = ", ".join(self.row(row) for row in record.rows)
            return f"{record.about} wrote to Hydra's rows by itself: {words.one_line(said, 200)}"
        action = record.action.replace("_", " ")
        text = action
        if record.about and record.about != action:
            text += f" {words.one_line(record.about, 100)}"
        ends = [
            f"{'' if self.names.build(one.build) == record.about else self.names.build(one.build) + ' '}"
            f"{statuses.status_name(one.status).replace('_', ' ')}"
            for one in record.outcomes
        ]
        if ends:
            text += f" ({words.listed(ends)})"
        if record.fault:
            text += f" [{words.one_line(record.fault, 60)}]"
        sent = [
            self.names.event(one.channel, one.payload, self.header.payloads) for one in record.notifications
        ]
        return f"{text} → {words.listed(sent)}" if sent else text

    def row(self, row: history.RowChange) -> str:
        what = f" ({', '.join(row.columns)})" if row.columns else f" {row.change}"
        name = self.names.build(int(row.id)) if row.table == "builds" else f"{row.table} {row.id}"
        return name + what

    def committed(self, number: int, record: history.Committed) -> None:
        position = self.line_of_commit.pop(record.commit, None)
        if not record.ok:
            self.add(number, "server", f"refused the commit #{record.commit}: nothing of it happened", "bad")
        elif position is not None:
            self.attach(position, number)

    def call(self, record: history.Called) -> str:
        return f"{record.hook} {self.names.arguments(record.args)}".rstrip()

    def ended(self, number: int, call: int, how: str, tone: Tone) -> None:
        opened = self.open_calls.pop(call, None)
        if opened is None:
            self.add(number, "a plugin", f"call {call} {how}", tone)
            return
        called, position = opened
        what = self.call(called)
        if all(line.minor for line in self.lines[position + 1 :]):
            self.attach(position, number, f"{what}: {how}", tone)
        else:
            self.attach(position, number)
            self.add(number, called.plugin, f"{what}: {how}", tone)

    def tapped(self, number: int, record: history.Heard | history.Changed | history.Seen) -> None:
        match record:
            case history.Heard():
                what = self.names.event(record.channel, record.payload, self.header.payloads)
                self.add(number, "Hydra", f"emits {what}", "commit")
            case history.Changed():
                self.changed(number, record)
            case history.Seen():
                self.add(number, "rows", self.seen(record), "rows")

    def seen(self, record: history.Seen) -> str:
        name, row = self.names.build(record.build), record.row
        if row is None:
            return f"{name} has no row"
        how = statuses.status_name(row.status).replace("_", " ") if row.finished else "unfinished"
        return f"{name} is {how}{', marked' if row.mark is not None else ''}"

    def changed(self, number: int, record: history.Changed) -> None:
        """Show what a tap found changed, as of all marks and tasks that it knows."""
        marks = {
            build: mark for build, mark in self.marks.items() if build not in record.cleared
        } | record.marked
        tasks = {id_: task for id_, task in self.tasks.items() if id_ not in record.gone}
        tasks |= {task.id: task for task in record.stored}
        self.observed(number, history.Observed(t=record.t, marks=marks, tasks=tuple(tasks.values())))

    def observed(self, number: int, record: history.Observed) -> None:
        tasks = {task.id: task for task in record.tasks}
        changes: list[str] = []
        marked = [self.names.build(one) for one in record.marks if one not in self.marks]
        cleared = [
            self.names.build(one)
            for one in dict.fromkeys([*self.marks, *sorted(self.just_marked)])
            if one not in record.marks
        ]
        self.just_marked.clear()
        if marked:
            changes.append(f"marked: {words.listed(marked)}")
        if cleared:
            changes.append(f"mark cleared: {words.listed(cleared)}")
        again = [
            self.names.build(one)
            for one, since in record.marks.items()
            if self.marks.get(one, since) != since
        ]
        if again:
            changes.append(f"marked anew: {words.listed(again)}")
        for task in tasks.values():
            before = self.tasks.get(task.id)
            if before is None:
                changes.append(f"task stored: {self.task(task, record.t)}")
            elif before.attempts != task.attempts:
                changes.append(f"task put off: {self.task(task, record.t)}")
        changes += [
            f"task gone: {one.plugin} {self.names.event(one.channel, one.payload, self.header.payloads)}"
            for one in self.tasks.values()
            if one.id not in tasks
        ]
        self.marks, self.tasks = record.marks, tasks
        self.add(number, "rows", "; ".join(changes) or "as before", "rows", minor=not changes)

    def task(self, task: history.Task, now: float) -> str:
        what = self.names.event(task.channel, task.payload, self.header.payloads)
        due = words.duration(task.due - now)
        plugin = words.one_line(task.plugin, 40)
        return f"{plugin} {what}, {words.plural(task.attempts, 'attempt')}, due in {due}"

    def counted(self, number: int, record: history.Counted) -> None:
        grown = [
            f"{name} {value:g}"
            for name, value in sorted(record.counters.items())
            if value != self.counters.get(name, 0)
        ]
        self.counters = record.counters
        self.add(number, "dispatcher", f"counts {', '.join(grown) or 'nothing new'}", "rows", minor=True)

    def other(self, number: int, record: history.AnyRecord) -> None:
        if isinstance(record, history.Heard | history.Changed | history.Seen):
            self.tapped(number, record)
            return
        who, text, tone = _plain(record)
        self.add(number, who, text, tone, minor=_is_minor(record))


def _is_minor(record: history.AnyRecord) -> bool:
    """Tell whether a reader who looks for a cause can do without it."""
    if isinstance(record, history.Expected):
        return record.met
    return isinstance(record, history.Kicked | history.Settled | history.ViolationsExpected)


def _plain(record: history.AnyRecord) -> tuple[str, str, Tone]:  # noqa: C901, PLR0912 - a case a record
    match record:
        case history.Starting(life=life, plugins=plugins):
            return "dispatcher", f"starts (life {life}) with {words.listed(plugins) or 'no plugin'}", "life"
        case history.Up():
            return "dispatcher", "is up", "life"
        case history.Crashed():
            return "dispatcher", "crashes", "fault"
        case history.Stopping():
            return "dispatcher", "is asked to stop", "life"
        case history.Stopped(exit_status=status, in_time=in_time):
            if not in_time:
                return "dispatcher", "did not stop in time and was killed", "bad"
            return "dispatcher", f"stopped, exit {status}", "life" if status == 0 else "bad"
        case history.Ended(exit_status=status, message=message):
            end = "" if status is None else f", exit {status}"
            tail = f": {words.one_line(message, 160)}" if message else ""
            return "dispatcher", f"ended unasked{end}{tail}", "bad"
        case history.Disconnected(by=by, server_closed=closed):
            text = "loses its connections" if by == "scenario" else "dropped its connections by itself"
            return "dispatcher", text + ("; the server is closed to it" if closed else ""), "fault"
        case history.ServerOpened():
            return "server", "lets the dispatcher in again", "life"
        case history.Fault(fault=("frozen" | "thawed") as fault):
            return "dispatcher", f"is {fault}", "fault"
        case history.Fault(fault=fault, detail=detail):
            tail = f": {words.one_line(detail, 100)}" if detail else ""
            return "scenario", f"{words.one_line(fault.replace('_', ' '), 60)}{tail}", "fault"
        case history.PointReached(point=point):
            return "scenario", f"holds the dispatcher at {words.one_line(point, 60)}", "fault"
        case history.PointMissed(reason=reason) | history.StoryEnded(reason=reason):
            return "scenario", f"does not go as told: {words.one_line(reason, 160)}", "bad"
        case history.Expected(text=text, met=met, found=found):
            tail = "" if met else f"; found: {words.one_line(found, 160)}"
            return "scenario", f"expects {words.one_line(text, 160)}{tail}", "rows" if met else "bad"
        case history.ViolationsExpected(promises=promises):
            return "scenario", f"expects {words.listed(promises)} to be violated", "rows"
        case history.TimeMoved(seconds=seconds):
            return "clock", f"{words.duration(seconds)} pass", "time"
        case history.Settled():
            return "dispatcher", "has settled", "settled"
        case history.NotSettled(reason=reason, busy=busy):
            tail = ", burning the processor" if busy else ""
            return "dispatcher", f"did not settle{tail}: {words.one_line(reason, 160)}", "bad"
        case history.Gap(t=t, since=since):
            return "tap", f"heard nothing for {words.duration(t - since)}: its connection was lost", "bad"
        case history.Closed():
            return "tap", "ends", "life"
        case history.Kicked():
            return "harness", "sends a notification of its own", "rows"
        case _:
            return "harness", type(record).__name__.lower(), "rows"


def lines(source: history.Source, nicknames: Mapping[int, str] | None = None) -> list[Line]:
    """Return a history's lines, every one of them; ``nicknames`` maps build ids, beside those that its rows carry."""
    writer = _Writer(source.header, words.Names(nicknames))
    for number, record in enumerate(source):
        writer.take(number, record)
    return writer.lines


def fold(story: Iterable[Line], keep: Collection[int] = ()) -> list[Line]:
    """Fold runs of lines that read alike into one; lines with a record of ``keep`` fold only among themselves."""
    folded: list[Line] = []
    for line in story:
        last = folded[-1] if folded else None
        alike = last is not None and (last.who, last.text, last.depth) == (line.who, line.text, line.depth)
        if last and alike and _proves(line, keep) == _proves(last, keep):
            folded[-1] = replace(last, times=last.times + 1, records=last.records + line.records)
        else:
            folded.append(line)
    return folded


def relevant(
    story: Sequence[Line], proof: Collection[int], *, around: int = 4, tail: int = 6, limit: int = 60
) -> list[Line | Gap]:
    """Return the part of a story that a reader of a violation needs, with `Gap` where lines were left out.

    The lines that prove it, ``around`` lines before and after each, the dispatcher's lives and the faults between
    the first and the last of them, and where nothing proves anything the last ``tail`` lines. About ``limit`` lines
    at most: beyond that only what proves and the lives stay.
    """
    proofs = set(proof)
    story = [line for line in story if not line.minor or _proves(line, proofs)]
    proving = [place for place, line in enumerate(story) if _proves(line, proofs)]
    if not proving:
        chosen = set(range(max(0, len(story) - tail), len(story)))
    else:
        first, last = proving[0], proving[-1]
        chosen = {
            place
            for middle in proving
            for place in range(max(0, middle - around), min(len(story), middle + around + 1))
        }
        milestones = {place for place in range(first, last) if story[place].tone in {"life", "fault", "bad"}}
        chosen |= milestones
        if len(chosen) > limit:
            chosen = set(proving[: limit // 2]) | set(proving[-limit // 2 :]) | set(sorted(milestones)[-10:])
    return _with_gaps(story, chosen)


def _with_gaps(story: Sequence[Line], chosen: Collection[int]) -> list[Line | Gap]:
    shown: list[Line | Gap] = []
    next_place = 0
    for place in sorted(chosen):
        if place > next_place:
            shown.append(Gap(place - next_place))
        shown.append(story[place])
        next_place = place + 1
    if next_place < len(story):
        shown.append(Gap(len(story) - next_place))
    return shown


def _proves(line: Line, proof: Collection[int]) -> bool:
    return any(number in proof for number in line.records)
