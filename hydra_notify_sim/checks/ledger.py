"""Books every emission against the calls that answer it, and every call against a cause (one account an event).

Where a call could have several causes, it is booked on the one that favours the dispatcher: first on an emission
that must be answered, then on a stored task that is due, a mark, an emission that need not be answered, a failed call.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from hydra_notify_sim.checks.events import first_id, rows_named
from hydra_notify_sim.checks.world import Key, World
from hydra_notify_sim.contract import channels


@dataclass(eq=False, slots=True)
class Emission:
    """One notification as PostgreSQL delivered it."""

    record: int
    event: channels.Event
    owed: bool
    """Emitted while up: it must have been handled by the next settled moment (E-live, C-live, B-live)."""
    allowed: bool
    """Emitted while up or starting: a call for it has a cause."""
    place: int = 0
    """Its place among the transaction's notifications."""
    busy: bool = False
    kicked: bool = False
    """A plugin was called for it only after the harness had woken the dispatcher."""
    split: bool = False
    lenient: bool = False
    done: int | None = None
    """Record at which its COMMIT returned; None: it may not have happened yet."""
    missing: frozenset[tuple[str, str]] = frozenset()
    """Rows it names that do not exist, as table and id."""
    never_there: frozenset[tuple[str, str]] = frozenset()
    """Those of them that never existed since it was emitted."""
    unfinished: bool = False
    """For build_finished: the main build was unfinished at some time since."""
    after_reconnect: bool = False
    answered: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    @property
    def must(self) -> bool:
        """Whether every interested plugin has to be called for it."""
        return self.owed and not self.unfinished

    def is_about(self, build: int) -> bool:
        """Tell whether it is a build_finished with this main build."""
        return isinstance(self.event, channels.BuildFinished) and self.event.build == build


@dataclass(slots=True)
class Balance:
    """How one plugin stands with one event."""

    rights: int = 0
    """Further calls that failed calls or stored tasks allow."""
    marks: int = 0
    """Further calls that a mark at a start allows."""
    failed: int = 0
    """Failures that no later success has made good."""
    from_emission: bool = False
    """Whether the last failure was that of an emission's call."""
    last_record: int = -1
    """Record of the last failure."""
    undeleted: int = 0
    """Retries that succeeded and whose task may still be stored."""
    repeatable: int = 0
    """Of the rights: those of calls that had succeeded while their task was still stored."""
    stored: int = 0
    """Tasks that the dispatcher has stored since all was last settled."""
    spare: int = 0
    """Stored tasks that repeat another one: no emission stands behind them, and they allow no call (E-once)."""
    mixed: bool = False
    """Until all is settled: a call was booked on one of several causes, so a later one may be for another of them."""
    cursor: int = 0
    """Emissions before this one are all answered."""


@dataclass(slots=True)
class Account:
    """What is open for one event."""

    event: channels.Event
    emissions: list[Emission] = field(default_factory=list)
    plugins: dict[str, Balance] = field(default_factory=dict)

    def balance(self, plugin: str) -> Balance:
        """Return how a plugin stands, from nothing if need be."""
        found = self.plugins.get(plugin)
        if found is None:
            found = self.plugins[plugin] = Balance()
        return found

    def unanswered(self, plugin: str) -> tuple[Emission | None, Emission | None]:
        """Return the first emission that the plugin was not called for, and the first for which it must be."""
        balance = self.balance(plugin)
        at, emissions = balance.cursor, self.emissions
        while at < len(emissions) and plugin in emissions[at].answered:
            at += 1
        balance.cursor = at
        first = None
        for at in range(balance.cursor, len(emissions)):
            emission = emissions[at]
            if plugin not in emission.answered:
                first = first or emission
                if emission.must:
                    return first, emission
        return first, None


@dataclass(frozen=True, slots=True)
class Booking:
    """What a call was booked on."""

    cause: Literal["emission", "retry", "mark", "surplus"]
    emission: Emission | None = None
    certain: bool = True
    """Whether no other cause was at hand."""
    maybe_retry: bool = False
    """Whether it may be a retry of a failed call."""
    either: bool = False
    """Booked on an emission, and may as well be the retry of a task that is due."""
    since: int = -1
    """Record of the earliest emission that may be its cause; -1: its cause may be another."""
    repeat: bool = False
    """A retry of a call that had succeeded."""


SURPLUS = Booking("surplus")


class Ledger:
    """The open accounts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.accounts: dict[channels.Event, Account] = {}
        self.kicked = -1
        """Record at which the harness last woke the dispatcher."""
        self._touched: dict[channels.Event, None] = {}
        self._failing: dict[Key, None] = {}
        self._owed: list[Emission] = []
        self._unindexed: list[Emission] = []
        self._by_row: dict[tuple[str, str], list[Emission]] = {}
        self._missing: dict[tuple[str, str], list[Emission]] = {}
        self._alike: dict[tuple[str, object], dict[channels.Event, None]] = {}

    # Emissions

    def emit(self, emission: Emission) -> None:
        """Book an emission that may be heard."""
        event = emission.event
        self._account(event).emissions.append(emission)
        if emission.owed:
            self._owed.append(emission)
        self._unindexed.append(emission)
        for row in emission.missing:
            self._missing.setdefault(row, []).append(emission)

    def naming(self, table: str, id_: str) -> Iterable[Emission]:
        """Return the open emissions that name a row."""
        self._index()
        return self._by_row.get((table, id_), ())

    def went_missing(self, table: str, id_: str) -> None:
        """Take in that a row was deleted that open emissions may name."""
        row = (table, id_)
        for emission in self.naming(table, id_):
            if row not in emission.missing:
                emission.missing |= {row}
                self._missing.setdefault(row, []).append(emission)

    def missing(self, table: str, id_: str) -> Iterable[Emission]:
        """Return the open emissions that name a row which did not exist when they were emitted."""
        return self._missing.get((table, id_), ())

    def _index(self) -> None:
        for emission in self._unindexed:
            event = emission.event
            self._alike.setdefault((event.channel, first_id(event)), {})[event] = None
            for row in rows_named(event):
                self._by_row.setdefault(row, []).append(emission)
        self._unindexed.clear()

    def owed(self) -> list[Emission]:
        """Return the emissions that are open and must be answered, in their order."""
        self._owed = [emission for emission in self._owed if emission.owed]
        return self._owed

    def resembling(self, plugin: str, event: channels.Event) -> list[Emission]:
        """Return the unanswered emissions that a call with slightly wrong arguments may have been meant for."""
        self._index()
        found = []
        for alike in self._alike.get((event.channel, first_id(event)), ()):
            account = self.accounts.get(alike)
            first, must = account.unanswered(plugin) if account is not None else (None, None)
            if (emission := must or first) is not None:
                found.append(emission)
        return found

    # Calls

    def call(self, plugin: str, event: channels.Event) -> Booking:
        """Book the beginning of a call."""
        account = self.accounts.get(event)
        if account is None:
            return self._without_cause()
        self._touched[event] = None
        balance = account.balance(plugin)
        first, must = account.unanswered(plugin)
        tasks = self._world.tasks_of.get((plugin, event), {})
        maybe_retry = bool(balance.rights or tasks)
        due = bool(tasks) and any(task.due <= self._world.now + 1 for task in tasks.values())
        retry_first = due and balance.rights > 0 and must is None
        if must is None and balance.marks and not retry_first:
            balance.marks -= 1
            balance.mixed = balance.mixed or first is not None or maybe_retry
            return Booking("mark", certain=False, maybe_retry=maybe_retry)
        chosen = must or (None if retry_first else first)
        if chosen is not None:
            assert first is not None
            chosen.answered.add(plugin)
            chosen.kicked = chosen.kicked or chosen.record < self.kicked
            alone = not balance.marks and not maybe_retry
            alone = alone and not balance.mixed
            since = first.record if alone else -1
            # Of an emission that need not be answered nobody can tell whether the call was for an equal one after it.
            one_of_many = chosen is not first or (
                not chosen.must and account.unanswered(plugin)[0] is not None
            )
            certain = alone and not one_of_many
            balance.mixed = balance.mixed or due or one_of_many
            return Booking(
                "emission",
                chosen,
                certain=certain,
                maybe_retry=maybe_retry,
                either=due,
                since=since,
            )
        if balance.rights:
            balance.rights -= 1
            repeat = bool(balance.repeatable)
            balance.repeatable -= repeat
            certain = first is None and not balance.marks and not balance.mixed
            balance.mixed = not certain
            return Booking("retry", certain=certain, maybe_retry=True, repeat=repeat)
        if balance.spare:
            return Booking("surplus", maybe_retry=True)
        return self._without_cause()

    def _without_cause(self) -> Booking:
        """Take the call for the retry of a task that a person has inserted, if one was not seen yet."""
        if not self._world.unseen_tasks:
            return SURPLUS
        self._world.unseen_tasks.pop()
        return Booking("retry", certain=False, maybe_retry=True)

    def returned(self, plugin: str, event: channels.Event, booking: Booking) -> None:
        """Book a success."""
        if not booking.maybe_retry:
            return
        balance = self._account(event).balance(plugin)
        if booking.cause == "retry" and not booking.repeat:
            balance.undeleted += 1
            balance.failed = max(0, balance.failed - 1)
        if self._world.reconnecting and self.tasks((plugin, event)):
            # Its connections were gone before it could delete the task.
            balance.rights += 1
            balance.repeatable += 1

    def raised(
        self, plugin: str, event: channels.Event, booking: Booking, record: int, *, owed: bool
    ) -> None:
        """Book a failure: it allows one more call and, if it is owed a task, must be stored."""
        balance = self._account(event).balance(plugin)
        balance.rights += 1
        balance.last_record = record
        balance.from_emission = booking.cause == "emission"
        if booking.emission is not None:
            booking.emission.failed.add(plugin)
        if booking.cause != "retry" and owed and not booking.either:
            balance.failed += 1
            self._failing[plugin, event] = None

    def given_up(self, plugin: str, event: channels.Event, *, inserted: bool) -> None:
        """Book that a task was dropped as the contract allows, or deleted by a person.

        ``inserted``: a person had inserted it, so neither a failure nor an emission stands behind it.
        """
        account = self.accounts.get(event)
        if account is None:
            return
        balance = account.balance(plugin)
        balance.rights = max(0, balance.rights - 1)
        if inserted:
            # It may have stood for a failure that a crash kept from being stored, which is owed nothing.
            balance.failed = min(balance.failed, self.tasks((plugin, event)))
            return
        if balance.failed:
            balance.failed -= 1
        else:
            first, must = account.unanswered(plugin)
            if (emission := must or first) is not None:
                emission.answered.add(plugin)

    def retried_by_others(self, plugin: str, event: channels.Event) -> bool:
        """Tell whether another plugin has failed on the event and may be retried."""
        account = self.accounts.get(event)
        return account is not None and any(
            balance.last_record >= 0 for other, balance in account.plugins.items() if other != plugin
        )

    def unstored(self) -> Iterable[tuple[str, channels.Event, Balance]]:
        """Yield plugin, event and balance of the failures for which too few tasks are stored."""
        for plugin, event in self._failing:
            account = self.accounts.get(event)
            if account is not None and account.balance(plugin).failed > self.tasks((plugin, event)):
                yield plugin, event, account.balance(plugin)

    # Tasks and marks

    def task_moved(self, plugin: str, event: channels.Event, *, by_person: bool = False) -> None:
        """Take in that a task came or changed; one that a person has inserted allows a call."""
        self._account(event).balance(plugin).rights += by_person

    def task_stored(self, plugin: str, event: channels.Event) -> None:
        """Take in a task that the dispatcher has stored for a first failure.

        Of an event that no mark brings back, each emission fails once for a plugin: a task more than there are
        emissions was stored twice.
        """
        if isinstance(event, channels.BuildFinished):
            return
        account = self._account(event)
        balance = account.balance(plugin)
        balance.stored += 1
        if balance.stored > max(1, len(account.emissions)):
            balance.spare += 1

    def task_went(self, plugin: str, event: channels.Event, *, succeeded: bool) -> None:
        """Take in that a task is gone, ``succeeded`` after a call that may have been its retry."""
        balance = self._account(event).balance(plugin)
        if balance.spare and not succeeded:
            balance.spare -= 1
        if balance.undeleted:
            balance.undeleted -= 1
        elif succeeded:
            balance.failed = max(0, balance.failed - 1)

    def tasks(self, key: Key) -> int:
        """Return how many tasks are stored for a plugin and an event."""
        return len(self._world.tasks_of.get(key, ()))

    def stored_tasks_allow_calls(self) -> None:
        """Allow one call for each task that is stored as a life begins (E-no-phantom: a stored task is a cause).

        A failure that was not stored before the dispatcher was lost is owed no more (R-stored).
        """
        for plugin, event in self._failing:
            account = self.accounts.get(event)
            if account is not None:
                balance = account.balance(plugin)
                balance.failed = min(balance.failed, self.tasks((plugin, event)))
        for (plugin, event), tasks in self._world.tasks_of.items():
            balance = self._account(event).balance(plugin)
            balance.rights = max(balance.rights, len(tasks) - balance.spare)
            balance.repeatable = max(0, min(balance.undeleted, len(tasks) - balance.failed))

    def marks_allow_calls(self, builds: Iterable[int]) -> None:
        """Allow one call without dependents for each mark that is there as a life begins."""
        interested = self._world.interested("build_finished")
        for build in builds:
            account = self._account(channels.BuildFinished(build))
            for plugin in interested:
                account.balance(plugin).marks += 1

    # Settled

    def close_settled(self) -> None:
        """Forget what is settled; a stored task keeps its account, and allows as many calls as there are tasks."""
        flying = []
        for event in self._touched:
            account = self.accounts.get(event)
            if account is None:
                continue
            account.emissions = [e for e in account.emissions if e.done is None and self._in_flight(e)]
            flying += account.emissions
            account.plugins = {
                plugin: Balance(
                    rights=count - min(before.spare, count),
                    failed=min(before.failed, count),
                    last_record=before.last_record,
                    spare=min(before.spare, count),
                )
                for plugin, before in account.plugins.items()
                if (count := self.tasks((plugin, event)))
            }
            if not account.emissions and not account.plugins:
                del self.accounts[event]
        self._touched.clear()
        self._failing = {key: None for key in self._failing if self._still_failing(key)}
        self._unindexed.clear()
        self._by_row.clear()
        self._missing.clear()
        self._alike.clear()
        self._owed = []
        for emission in flying:
            self.accounts[emission.event].emissions.remove(emission)
            self.emit(emission)

    def _still_failing(self, key: Key) -> bool:
        account = self.accounts.get(key[1])
        return account is not None and key[0] in account.plugins and account.plugins[key[0]].failed > 0

    def _in_flight(self, emission: Emission) -> bool:
        return emission.record in self._world.in_flight

    def _account(self, event: channels.Event) -> Account:
        self._touched[event] = None
        account = self.accounts.get(event)
        if account is None:
            account = self.accounts[event] = Account(event)
        return account
