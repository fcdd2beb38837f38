"""Books every emission against the calls that answer it, and every call against a cause (one account an event).

Where a call could have several causes, it is booked on the one that favours the dispatcher.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from hydra_notify_sim.checks.world import Key, World
from hydra_notify_sim.contract import channels


@dataclass(eq=False, slots=True)
class Emission:
    """One notification as PostgreSQL delivered it."""

    record: int
    order: int
    event: channels.Event
    owed: bool
    """Emitted while up: it must have been handled by the next settled moment (E-live, C-live, B-live)."""
    allowed: bool
    """Emitted while up or starting: a call for it has a cause."""
    busy: bool = False
    split: bool = False
    lenient: bool = False
    missing: set[str] = field(default_factory=set)
    """Rows it names that do not exist, as ``table:id``."""
    unfinished: bool = False
    """For build_finished: the main build was unfinished at some time since."""
    after_reconnect: bool = False
    answered: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Balance:
    """How one plugin stands with one event."""

    rights: int = 0
    """Further calls that failed calls or stored tasks allow."""
    marks: int = 0
    """Further calls that a mark at a start allows."""
    failed: int = 0
    """Failures that no later success has made good."""
    unseen: int = 0
    """Failures that no call shows: a row was missing."""
    last_failure: float = 0.0
    last_record: int = -1
    undeleted: int = 0
    """Retries that succeeded and whose task may still be stored."""
    repeatable: int = 0
    """Of the rights: those of calls that had succeeded while their task was still stored."""


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


@dataclass(frozen=True, slots=True)
class Booking:
    """What a call was booked on."""

    cause: Literal["emission", "retry", "mark", "surplus"]
    emission: Emission | None = None
    certain: bool = True
    """Whether no other cause was at hand (only then its order is judged)."""
    repeat: bool = False
    """A retry of a call that had succeeded."""


class Ledger:
    """The open accounts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.accounts: dict[channels.Event, Account] = {}
        self._orders = 0

    def emit(self, emission: Emission) -> None:
        """Book an emission."""
        self._account(emission.event).emissions.append(emission)

    def next_order(self) -> int:
        """Return the next number in the order of all emissions."""
        self._orders += 1
        return self._orders

    def call(self, plugin: str, event: channels.Event) -> Booking:
        """Book the beginning of a call."""
        account = self.accounts.get(event)
        if account is None:
            return Booking("surplus")
        balance = account.balance(plugin)
        if balance.marks:
            balance.marks -= 1
            return Booking("mark", certain=False)
        for emission in account.emissions:
            if emission.allowed and plugin not in emission.answered:
                emission.answered.add(plugin)
                return Booking("emission", emission, certain=not balance.rights)
        if balance.rights:
            balance.rights -= 1
            repeat = bool(balance.repeatable)
            balance.repeatable -= repeat
            return Booking("retry", repeat=repeat)
        return Booking("surplus")

    def returned(self, plugin: str, event: channels.Event, booking: Booking) -> None:
        """Book a success."""
        balance = self._account(event).balance(plugin)
        if booking.cause == "retry" and not booking.repeat:
            balance.undeleted += 1
            if balance.failed:
                balance.failed -= 1
            elif balance.unseen:
                balance.unseen -= 1

    def raised(self, plugin: str, event: channels.Event, booking: Booking, now: float, record: int) -> None:
        """Book a failure: it allows one more call."""
        balance = self._account(event).balance(plugin)
        balance.rights += 1
        balance.last_failure = now
        balance.last_record = record
        if booking.emission is not None:
            booking.emission.failed.add(plugin)
        if booking.cause != "retry":
            balance.failed += 1

    def given_up(self, plugin: str, event: channels.Event) -> None:
        """Book that a task was dropped as the contract allows, or deleted by a person."""
        account = self.accounts.get(event)
        if account is None:
            return
        balance = account.balance(plugin)
        balance.rights = max(0, balance.rights - 1)
        if balance.failed:
            balance.failed -= 1
        else:
            for emission in account.emissions:
                if plugin not in emission.answered:
                    emission.answered.add(plugin)
                    break

    def stored_tasks_allow_calls(self) -> None:
        """Allow one call for each task that is stored as a life begins (E-no-phantom: a stored task is a cause).

        A failure that was not stored before the dispatcher was lost is owed no more (R-stored).
        """
        for account in self.accounts.values():
            for plugin, balance in account.plugins.items():
                balance.failed = min(balance.failed, self.tasks((plugin, account.event)))
        for (plugin, event), tasks in self._world.tasks_of.items():
            balance = self._account(event).balance(plugin)
            balance.rights = max(balance.rights, len(tasks))
            balance.repeatable = min(balance.undeleted, len(tasks) - balance.failed)

    def marks_allow_calls(self, builds: Iterable[int]) -> None:
        """Allow one call without dependents for each mark that is there as a life begins."""
        for build in builds:
            event = channels.BuildFinished(build)
            account = self._account(event)
            for plugin in self._world.interested("build_finished"):
                account.balance(plugin).marks += 1

    def resembling(self, plugin: str, event: channels.Event) -> list[Emission]:
        """Return the unanswered emissions that a call with slightly wrong arguments may have been meant for."""
        first = _first_id(event)
        return [
            emission
            for account in self.accounts.values()
            if type(account.event) is type(event) and _first_id(account.event) == first
            for emission in account.emissions
            if emission.allowed and plugin not in emission.answered
        ]

    def open_emissions(self) -> Iterator[Emission]:
        """Yield all emissions that are not closed."""
        for account in self.accounts.values():
            yield from account.emissions

    def retried_by_others(self, plugin: str, event: channels.Event) -> bool:
        """Tell whether another plugin is being retried for the event."""
        account = self.accounts.get(event)
        return account is not None and any(
            balance.last_record >= 0 for other, balance in account.plugins.items() if other != plugin
        )

    def close_settled(self) -> None:
        """Forget what is settled; a stored task keeps its account, and allows as many calls as there are tasks."""
        kept: dict[channels.Event, Account] = {}
        for (plugin, event), tasks in self._world.tasks_of.items():
            account = kept.get(event)
            if account is None:
                account = kept[event] = Account(event)
            old = self.accounts.get(event)
            before = old.balance(plugin) if old is not None else Balance()
            count = len(tasks)
            account.plugins[plugin] = Balance(
                rights=count,
                failed=min(before.failed, count),
                unseen=max(0, count - before.failed),
                last_failure=before.last_failure,
                last_record=before.last_record,
                repeatable=0,
            )
        self.accounts = kept

    def tasks(self, key: Key) -> int:
        """Return how many tasks are stored for a plugin and an event."""
        return len(self._world.tasks_of.get(key, ()))

    def _account(self, event: channels.Event) -> Account:
        account = self.accounts.get(event)
        if account is None:
            account = self.accounts[event] = Account(event)
        return account


def _first_id(event: channels.Event) -> object:
    match event:
        case channels.CachedBuildFinished(_, build) | channels.CachedBuildQueued(_, build):
            return build
        case (
            channels.EvalStarted(trace)
            | channels.EvalAdded(trace)
            | channels.EvalCached(trace)
            | channels.EvalFailed(trace)
        ):
            return trace
        case channels.StepFinished(build, step, _):
            return build, step
        case _:
            return event.build
