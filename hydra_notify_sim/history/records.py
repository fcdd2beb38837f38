"""What can happen in a run, as typed records in one order; JSON Lines in and out.

A verdict depends on the history alone: it can be saved, sent to someone, and judged again by a newer version.
The first line of a saved history is its `Header`; each further line is one record. A record is known by its
number: its position, counted from 0, which is what verdicts cite. Times are Unix seconds of the story's clock,
which moves only when the story says so.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from hydra_notify_sim.contract.deviations import Deviation

VERSION = 2
READABLE = (1, 2)
"""Versions that are read. In one of version 1 no expectation stands; everything else is the same."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a history needs to be judged without anything else at hand."""

    version: int = VERSION
    name: str
    """The scenario's name: its file's stem, or what the maker of the history calls it."""
    scenario: str = ""
    """The scenario's first sentence."""
    file: str = ""
    document: str = ""
    """The scenario as YAML text, whole."""
    exercises: tuple[str, ...] = ()
    """Promise ids that the scenario exists for; one of them not exercised fails it."""
    known: dict[str, tuple[str, ...]] = {}
    """Quirk id to the promises it breaks on dispatchers with that quirk."""
    may_break: dict[str, tuple[str, ...]] = {}
    """Quirk id to the promises it breaks as well, depending on timing or on the order of the plugins."""
    deviations: tuple[Deviation, ...] = ()
    """Deviations of this dispatcher that are known beforehand (``--known``)."""
    known_lenient: bool = False
    """Whether a known deviation that is not found any more fails no run."""
    profile: str = "strict"
    dispatcher: str = "reference"
    in_process: bool = True
    """Whether counters can be read and every write of the dispatcher was observed at once."""
    payloads: Literal["2026-08", "2026-09"] = "2026-08"
    plugins: dict[str, tuple[str, ...]] = {}
    """Plugin to its hooks. Each life's own set stands in its `Starting`."""
    seed: int = 0
    versions: dict[str, str] = {}
    """Program to version: hydra_notify_sim, python, postgresql."""
    tap: bool = False
    """Recorded by a tap on a live Hydra (`hydra-notify-sim capture`), which sees no calls and no dispatcher."""
    records: int | None = None
    """How many records follow in a saved history, so that one that lost some is not judged. None: not saved yet."""


class Notification(msgspec.Struct, frozen=True, omit_defaults=True):
    """One emission: equal (channel, payload) pairs of one transaction are one, in the order first sent."""

    channel: str
    payload: str
    raw: bool = False
    """Sent by a person or by a raw payload of the scenario: exempt from P-format and the Q promises."""
    missing: tuple[str, ...] = ()
    """Rows it names that did not exist at the commit, as ``table:id`` (``buildsteps:5/2`` for a step)."""


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """One transition of a build to finished, as its row shows it."""

    build: int
    status: int
    start: int
    stop: int
    pending: bool
    """Whether the row carries a mark (``notificationpendingsince``) as the outcome commits, whoever set it."""
    cached: bool = False
    """``iscachedbuild``."""


class RowChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row that a transaction wrote, as far as a check or a reader needs it."""

    change: Literal["inserted", "deleted", "updated"]
    table: str
    id: str
    """The primary key, as text; ``5/2`` for step 2 of build 5."""
    nickname: str = ""
    columns: tuple[str, ...] = ()
    """Columns that an update changed in value (compared before and after)."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """The part that all records share."""

    t: float
    """Unix seconds."""


class Commit(Record, frozen=True, kw_only=True, omit_defaults=True, tag="commit"):
    """COMMIT was sent. What the transaction holds; it counts from here on in the dispatcher's favour."""

    actor: Literal["queue_runner", "evaluator", "person", "harness", "plugin"]
    """Who wrote; ``plugin``: the code of a plugin, named under ``about``, by statements of its own."""
    action: str
    """Which transaction of the Hydra reference this is (`hydra_notify_sim.contract.transactions`)."""
    about: str = ""
    """The builds or rows concerned, in the scenario's nicknames: for people."""
    notifications: tuple[Notification, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    restarted: tuple[int, ...] = ()
    """Builds that went from finished to unfinished."""
    rows: tuple[RowChange, ...] = ()
    fault: str = ""
    """The scenario's named deviation from Q-transactions, if this is one."""
    busy: bool = False
    """Committed while the dispatcher was held at a point or inside a call (L-no-stall)."""


class Committed(Record, frozen=True, kw_only=True, omit_defaults=True, tag="committed"):
    """COMMIT returned."""

    commit: int
    """Number of the `Commit` record."""
    ok: bool = True
    """False: the server refused it, and nothing of it happened."""


class Starting(Record, frozen=True, kw_only=True, omit_defaults=True, tag="starting"):
    """A process of the dispatcher began a life."""

    life: int
    plugins: dict[str, tuple[str, ...]]
    """The plugins of this life and their hooks: who is interested."""


class Up(Record, frozen=True, kw_only=True, omit_defaults=True, tag="up"):
    """The dispatcher listens and its start-up scan is finished."""

    life: int


class Crashed(Record, frozen=True, kw_only=True, omit_defaults=True, tag="crashed"):
    """The scenario killed the dispatcher: no goodbye, memory gone."""

    life: int


class Stopping(Record, frozen=True, kw_only=True, omit_defaults=True, tag="stopping"):
    """The dispatcher was asked to stop (SIGTERM)."""

    life: int
    busy: bool = False
    """Asked while it was held at a point or inside a call: an event is in hand (L-stop)."""


class Stopped(Record, frozen=True, kw_only=True, omit_defaults=True, tag="stopped"):
    """The dispatcher ended after it was asked to."""

    life: int
    exit_status: int = 0
    in_time: bool = True
    """False: it had not ended when the deadline passed, and was killed."""


class Ended(Record, frozen=True, kw_only=True, omit_defaults=True, tag="ended"):
    """The dispatcher ended though nobody asked it to (L-lives)."""

    life: int
    exit_status: int | None = None
    message: str = ""


class Disconnected(Record, frozen=True, kw_only=True, omit_defaults=True, tag="disconnected"):
    """The dispatcher's connections are gone; it is lost until it is up again."""

    life: int
    by: Literal["scenario", "dispatcher"] = "scenario"
    server_closed: bool = False
    """The server lets nobody in until `ServerOpened`."""


class ServerOpened(Record, frozen=True, kw_only=True, omit_defaults=True, tag="server_opened"):
    """The server lets the dispatcher in again: from here until up it is starting."""


class Called(Record, frozen=True, kw_only=True, omit_defaults=True, tag="called"):
    """A hook of a plugin was called."""

    call: int
    """Counts calls over the whole history, from 1."""
    life: int
    plugin: str
    hook: str
    args: dict[str, Any]
    """The hook's arguments by name, rows as objects of their compared columns (docs/reference/hydra.md, section 6)."""


class Returned(Record, frozen=True, kw_only=True, omit_defaults=True, tag="returned"):
    """The call ended normally."""

    call: int


class Raised(Record, frozen=True, kw_only=True, omit_defaults=True, tag="raised"):
    """The call failed."""

    call: int
    message: str = ""


class CutOff(Record, frozen=True, kw_only=True, omit_defaults=True, tag="cut_off"):
    """The dispatcher was lost while the call was open."""

    call: int


class Fault(Record, frozen=True, kw_only=True, omit_defaults=True, tag="fault"):
    """The scenario did something to the dispatcher, its connection or its server."""

    fault: str
    detail: str = ""


class PointReached(Record, frozen=True, kw_only=True, omit_defaults=True, tag="point_reached"):
    """The dispatcher is held at a point of the scenario; what follows happens there."""

    point: str


class PointMissed(Record, frozen=True, kw_only=True, omit_defaults=True, tag="point_missed"):
    """A point was never reached, or cannot be forced on this dispatcher: the scenario is not exercised."""

    point: str
    reason: str
    """A sentence that says where, which point, and why."""
    diverged: bool = False
    """The story was off its path by then, as a `repeat` with a point allows: it says nothing against the run."""


class StoryEnded(Record, frozen=True, kw_only=True, omit_defaults=True, tag="story_ended"):
    """The rest of the story could not be played: the scenario is not exercised."""

    reason: str
    diverged: bool = False
    """As in `PointMissed`."""


class Expected(Record, frozen=True, kw_only=True, omit_defaults=True, tag="expected"):
    """The scenario said what should be so at this moment, and was or was not right."""

    text: str
    met: bool
    found: str = ""
    """What was there instead, where it was not met."""
    line: int = 0
    """Line of the scenario's file, from 1; 0 for one without a file."""


class ViolationsExpected(Record, frozen=True, kw_only=True, omit_defaults=True, tag="violations_expected"):
    """The scenario, or a test's marker, says which promises the dispatcher breaks: these, and no others."""

    promises: tuple[str, ...]
    line: int = 0
    """As in `Expected`."""


class TimeMoved(Record, frozen=True, kw_only=True, omit_defaults=True, tag="time_moved"):
    """The scenario moved time on."""

    seconds: float


class Settled(Record, frozen=True, kw_only=True, omit_defaults=True, tag="settled"):
    """Up, every earlier emission handled, no call open, no task with a due time past."""


class NotSettled(Record, frozen=True, kw_only=True, omit_defaults=True, tag="not_settled"):
    """The deadline passed and the dispatcher had not settled."""

    reason: str
    busy: bool = False
    """It burnt a quarter of a core or more while it did nothing (R-gone-plugin)."""


class Kicked(Record, frozen=True, kw_only=True, omit_defaults=True, tag="kicked"):
    """The harness sent a notification of its own to wake the dispatcher."""


class Task(msgspec.Struct, frozen=True):
    """A row of ``taskretries``."""

    id: int
    channel: str
    plugin: str
    payload: str
    attempts: int
    due: float
    """``retry_at`` in Unix seconds of the history's clock."""


class Observed(Record, frozen=True, kw_only=True, omit_defaults=True, tag="observed"):
    """All marks and tasks as rows show them at this moment; recorded whenever they differ from the last."""

    marks: dict[int, int]
    """Build to ``notificationpendingsince``."""
    tasks: tuple[Task, ...] = ()


class Counted(Record, frozen=True, kw_only=True, omit_defaults=True, tag="counted"):
    """The dispatcher's own counters, in process only."""

    counters: dict[str, float]
    """Totals since this life began: ``malformed``, ``dropped``."""


# What only a tap records. Each happened after `since` and not after `t`, by the clock of the tap's machine; nothing
# closer is known of it.


class Heard(Record, frozen=True, kw_only=True, omit_defaults=True, tag="heard"):
    """A tap received a notification: it was emitted after ``since``."""

    since: float
    channel: str
    payload: str
    backend: int
    """Process id of the server's session that emitted it."""


class BuildRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row of ``builds``, as far as a story needs it; ``mark`` is ``notificationpendingsince``."""

    jobset: str
    """``project:name``."""
    job: str
    system: str
    finished: bool
    status: int | None = None
    start: int | None = None
    stop: int | None = None
    mark: int | None = None
    cached: bool = False


class Seen(Record, frozen=True, kw_only=True, omit_defaults=True, tag="seen"):
    """A tap looked at a build's row for the first time, or found it different from the last time."""

    since: float
    build: int
    row: BuildRow | None
    """None: there is no such row (any more)."""


class Changed(Record, frozen=True, kw_only=True, omit_defaults=True, tag="changed"):
    """A tap found marks or tasks different from the last time; `Observed` is where it counts from."""

    since: float
    marked: dict[int, int] = {}
    """Builds that carry a mark or another mark than before, with it."""
    cleared: tuple[int, ...] = ()
    """Builds that carry none any more."""
    stored: tuple[Task, ...] = ()
    """Tasks that are new, or differ in anything."""
    gone: tuple[int, ...] = ()
    """Ids of tasks that are there no more."""


class Gap(Record, frozen=True, kw_only=True, omit_defaults=True, tag="gap"):
    """A tap had lost its connection: what was emitted after ``since`` it did not hear."""

    since: float
    reason: str = ""


class Closed(Record, frozen=True, kw_only=True, omit_defaults=True, tag="closed"):
    """A tap ended in order; a file without it was cut short."""


AnyRecord = (
    Commit
    | Committed
    | Starting
    | Up
    | Crashed
    | Stopping
    | Stopped
    | Ended
    | Disconnected
    | ServerOpened
    | Called
    | Returned
    | Raised
    | CutOff
    | Fault
    | PointReached
    | PointMissed
    | StoryEnded
    | Expected
    | ViolationsExpected
    | TimeMoved
    | Settled
    | NotSettled
    | Kicked
    | Observed
    | Counted
    | Heard
    | Seen
    | Changed
    | Gap
    | Closed
)


class History:
    """A header and the records so far, in memory."""

    def __init__(self, header: Header, records: Iterable[AnyRecord] = ()) -> None:
        self.header = header
        self.records: list[AnyRecord] = list(records)

    def append(self, record: AnyRecord) -> int:
        """Add a record and return its number."""
        self.records.append(record)
        return len(self.records) - 1

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[AnyRecord]:
        return iter(self.records)

    def __getitem__(self, number: int) -> AnyRecord:
        return self.records[number]
