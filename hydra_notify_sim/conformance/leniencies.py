"""What a dispatcher does with payloads of which the manual leaves open whether they are good: reported, not judged."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from hydra_notify_sim import history
from hydra_notify_sim.checks.events import called_event, read, task_event
from hydra_notify_sim.checks.judge import that_happened
from hydra_notify_sim.contract import channels

Kind = Literal["leading zeros", "a tab at the end", "a line break at the end", "an id beyond int4"]
KINDS: tuple[Kind, ...] = (
    "leading zeros",
    "a tab at the end",
    "a line break at the end",
    "an id beyond int4",
)

Outcome = Literal["accepted", "refused", "kept for retry", "ended"]
WORDS: dict[Outcome, str] = {
    "accepted": "accepted: the plugin was called",
    "refused": "refused: no plugin was called, no task stored",
    "kept for retry": "accepted: no such row, kept for retry",
    "ended": "the dispatcher ended",
}


@dataclass(frozen=True, slots=True)
class Leniency:
    """One payload that the manual leaves open, and what became of it."""

    kind: Kind
    channel: str
    payload: str
    outcome: Outcome
    scenario: str


@dataclass(slots=True)
class _Open:
    kind: Kind
    event: channels.Event
    notification: history.Notification
    outcome: Outcome = "refused"


def found(source: history.Source) -> Iterator[Leniency]:
    """Yield what became of each such payload that was sent alone while the dispatcher was up."""
    watch = _Watch(source.header)
    for _, record in that_happened(source):
        ended = watch.take(record)
        if ended:
            yield ended


class _Watch:
    """Looks at one payload at a time, from its commit to the next settled moment."""

    def __init__(self, header: history.Header) -> None:
        self._header = header
        self._up = False
        self._open: _Open | None = None

    def take(self, record: history.AnyRecord) -> Leniency | None:
        """Take the next record; return what became of a payload if it is known now."""
        match record:
            case history.Up():
                self._up = True
            case history.Commit(notifications=notifications) if notifications and self._up:
                self._open = (
                    _opened(notifications[0], self._header.payloads) if len(notifications) == 1 else None
                )
            case history.Crashed() | history.Stopping() | history.Disconnected():
                self._up, self._open = False, None
            case _:
                return self._follow(self._open, record) if self._open else None
        return None

    def _follow(self, one: _Open, record: history.AnyRecord) -> Leniency | None:
        match record:
            case history.Called(hook=hook, args=args) if called_event(hook, args) == one.event:
                one.outcome = "accepted"
            case history.Observed(tasks=tasks) if one.outcome == "refused":
                if any(task_event(task, self._header.payloads) == one.event for task in tasks):
                    one.outcome = "kept for retry"
            case history.Ended():
                one.outcome = "ended"
        if not isinstance(record, history.Settled | history.Ended):
            return None
        self._open = None
        return Leniency(
            one.kind, one.notification.channel, one.notification.payload, one.outcome, self._header.name
        )


def _opened(notification: history.Notification, version: channels.PayloadVersion) -> _Open | None:
    event, written, _ = read(notification.channel, notification.payload, version)
    if event is not None:
        if any(type(value) is int and value > channels.INT4_MAX for value in _values(event)):
            return _Open("an id beyond int4", event, notification)
        return _Open("leading zeros", event, notification) if written != notification.payload else None
    for ending, kind in (("\t", KINDS[1]), ("\n", KINDS[2])):
        if notification.payload.endswith(ending):
            event = read(notification.channel, notification.payload[: -len(ending)], version)[0]
            return _Open(kind, event, notification) if event is not None else None
    return None


def _values(event: channels.Event) -> Iterator[object]:
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        yield from value if isinstance(value, tuple) else (value,)
