"""What is known of one build about which something is open: its outcomes, and who was shown which."""

from dataclasses import dataclass, field

from hydra_notify_sim.contract import channels, statuses

Shown = tuple[int | None, int | None, int | None]
"""Status, start and stop of a finished row; transitions equal in all three are one outcome."""


@dataclass(slots=True)
class Version:
    """A build's row after one transition."""

    record: int
    """Record of the transaction; -1: before this build was looked at."""
    shown: Shown | None
    """None: unfinished."""
    pending: bool = False
    done: int | None = None
    """Record at which the transaction's COMMIT returned; None: not yet."""
    known: bool = True
    """False: how the row was before, of which nothing is remembered."""

    def __str__(self) -> str:
        if self.shown is None:
            return "unfinished" if self.known else "unknown"
        status, _, stop = self.shown
        name = "no status" if status is None else statuses.status_name(status)
        return f"{name}, stopped at {stop}"


@dataclass(slots=True)
class EventSeen:
    """The calls of one event that named a build, since the build's last transition, in one life."""

    first: int
    returned: set[str] = field(default_factory=set)
    raised: set[str] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class Tracked:
    """A build about which something is open. Versions are counted from 0 in ``versions``."""

    id: int
    versions: list[Version] = field(default_factory=lambda: [Version(-1, None, done=-1, known=False)])
    newest_of: dict[Shown | None, int] = field(default_factory=dict)
    """What a row shows to the newest version that looks so."""
    last_finished: int = -1
    restarted: bool = False

    # Of the present outcome
    notified: int = -1
    """Record of a NOTIFY of the present outcome, committed while up or starting."""
    notified_as_main: int = -1
    """The same, of a NOTIFY that named it as the main build."""
    notified_while: str = ""
    unheard: int = -1
    """Record of an event that named the present outcome and found no interested plugin."""
    owed_to: frozenset[str] | None = None
    """Who was interested when the mark was cleared."""
    given_up: set[str] = field(default_factory=set)
    recover: int = -1
    """Record of the start at which it carried a mark and was finished."""
    recover_unfinished: int = -1
    """Record of the start at which it carried a mark and was unfinished."""

    # Of all outcomes
    shown: dict[str, int] = field(default_factory=dict)
    """Plugin to the newest version that a call showed it."""
    covered: dict[str, int] = field(default_factory=dict)
    """Plugin to the newest version that a call showed it and returned from."""
    last_shown: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Plugin to the version that its last call showed, and that call's record."""
    last_ended: dict[str, int] = field(default_factory=dict)
    """Plugin to the record at which its last call ended."""
    open_calls: int = 0

    # Of the time since the dispatcher was lost or began
    epoch: int = -1
    main_while_up: bool = False
    """Its NOTIFY was committed while up and named it as the main build."""
    recovered: set[str] = field(default_factory=set)
    """Who was called with it as main build, without dependents."""
    events: dict[channels.Event, EventSeen] = field(default_factory=dict)
    seen_since_settled: bool = False
    settled_at: int = -1
    """Record at which the dispatcher had last settled with all that was known of it."""
    overtaken: int = -1
    """Record of an outcome that committed after a call had shown an older one."""

    @property
    def present(self) -> Version:
        """The row as it is now."""
        return self.versions[-1]

    @property
    def newest(self) -> int:
        """The present version's number."""
        return len(self.versions) - 1

    def refresh(self, epoch: int) -> None:
        """Forget what counts only until the dispatcher is lost or begins."""
        if self.epoch != epoch:
            self.epoch = epoch
            self.main_while_up = self.seen_since_settled = False
            self.overtaken = -1
            self.recovered.clear()
            self.events.clear()

    def becomes(self, version: Version) -> None:
        """Take in a transition; who was shown an equal outcome before has been shown this one."""
        self.versions.append(version)
        new, shown = self.newest, version.shown
        if shown is not None:
            equal = self.newest_of.get(shown)
            if equal is not None:
                for seen in (self.shown, self.covered):
                    for plugin, number in seen.items():
                        if number >= equal:
                            seen[plugin] = new
                for plugin, (number, record) in self.last_shown.items():
                    if self.versions[number].shown == shown:
                        self.last_shown[plugin] = new, record
            self.last_finished = new
        self.newest_of[shown] = new
        self.notified = self.notified_as_main = self.unheard = -1
        self.recover = self.recover_unfinished = -1
        self.notified_while = ""
        self.main_while_up = False
        self.owed_to = None
        self.events.clear()
        self.recovered.clear()
        self.given_up.clear()

    def version_of(self, shown: Shown | None) -> int | None:
        """Return the newest version that looks so; None if none is remembered."""
        found = self.newest_of.get(shown)
        if found is None and not self.versions[0].known:
            return 0
        return found

    def version_at(self, record: int) -> int:
        """Return the newest version that had committed for certain before a transaction was sent, or in it."""
        for number in range(self.newest, 0, -1):
            version = self.versions[number]
            if version.record == record or (version.done is not None and version.done < record):
                return number
        return 0

    def latest(self, number: int) -> int:
        """Return the newest version that equals this one."""
        version = self.versions[number]
        return max(number, self.newest_of.get(version.shown, number)) if version.known else number

    def forget_old_versions(self) -> None:
        """Keep the two newest versions; a call that is still open keeps what it showed."""
        if len(self.versions) < 4 or self.open_calls:
            return
        cut = self.newest - 1
        self.versions = self.versions[cut:]
        self.newest_of = {version.shown: at for at, version in enumerate(self.versions) if version.known}
        self.last_finished = max((n for s, n in self.newest_of.items() if s is not None), default=-1)
        for seen in (self.shown, self.covered):
            for plugin in seen:
                seen[plugin] = max(-1, seen[plugin] - cut)
        self.last_shown = {p: (n - cut, r) for p, (n, r) in self.last_shown.items() if n >= cut}
