"""A campaign's directory: what it counted, which scenarios covered something new, and its counter-examples.

Every file is written whole or not at all: a campaign that is killed loses the last seconds of its counts, and
plays those scenarios again.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import msgspec

from hydra_notify_sim import errors
from hydra_notify_sim.exploration import counter_examples
from hydra_notify_sim.exploration.campaigns.tally import Stories, Tally
from hydra_notify_sim.exploration.campaigns.tasks import Found, Plan

VERSION = 1
STATE = "campaign.json"
STORIES = "stories.bits"
LOCK = "lock"


class Entry(msgspec.Struct, frozen=True):
    """A scenario that covered something which nothing before it had."""

    seed: int
    index: int
    new: tuple[str, ...]


class Known(msgspec.Struct, frozen=True):
    """A counter-example whose file is in the directory."""

    promise: str
    violated: tuple[str, ...]
    signature: str
    actions: int
    seed: int
    index: int


class State(msgspec.Struct):
    """All that is kept of campaigns against one dispatcher."""

    dispatcher: str
    profile: str
    version: int = VERSION
    next: dict[str, int] = msgspec.field(default_factory=dict)
    """`Plan.strand` to the number of its scenarios that were played: there the next campaign goes on."""
    tally: Tally = msgspec.field(default_factory=Tally)
    seconds: float = 0.0
    """Real time that campaigns took, added up."""
    corpus: list[Entry] = msgspec.field(default_factory=list)
    counter_examples: dict[str, Known] = msgspec.field(default_factory=dict)
    """By the file's name without ``.yaml``."""


class Directory:
    """Where a campaign keeps what it found; a context manager that one campaign at a time is in.

    Without a path nothing is kept but the counter-examples, in ``counter-examples`` below the current directory.
    """

    def __init__(self, path: Path | None, plan: Plan) -> None:
        """Open or make it, and see that it can be written to.

        Raises:
            UsageError: it holds something else, a campaign against another dispatcher, or is in use.
            EnvironmentFailedError: it cannot be read or written.

        """
        self.path = path
        self.stories = Stories()
        self.state = State(plan.dispatcher, plan.profile)
        self._lock: IO[bytes] | None = None
        if path is None:
            return
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path)
            self._go_on(path, plan)
            self.save()
        except OSError as error:
            self.close()
            raise unwritable(path, error) from error
        except BaseException:
            self.close()
            raise

    def _go_on(self, path: Path, plan: Plan) -> None:
        """Take up what an earlier campaign left."""
        found = read(path)
        if found is not None:
            if (found.dispatcher, found.profile) != (plan.dispatcher, plan.profile):
                raise errors.UsageError(
                    f"{path} is of campaigns against {found.dispatcher} (profile {found.profile}), not "
                    f"{plan.dispatcher} (profile {plan.profile}). Name another directory."
                )
            self.state = found
            self.stories = _read_stories(path)

    @property
    def examples(self) -> Path:
        """Where the counter-examples lie."""
        return (self.path or Path()) / counter_examples.DIRECTORY

    def save(self) -> None:
        """Write the state; whole, or not at all.

        Raises:
            EnvironmentFailedError: it cannot be written.

        """
        if self.path is not None:
            save(self.path, self.state, self.stories)

    def keep(self, found: Found, seed: int) -> bool:
        """Write a counter-example, unless a story of the same shape is there that is no longer; tell if it is new.

        Raises:
            EnvironmentFailedError: it cannot be written.

        """
        known = self.state.counter_examples.get(found.name)
        if known is not None and known.actions <= found.actions:
            return False
        write(self.examples / f"{found.name}.yaml", found.text.encode())
        self.state.counter_examples[found.name] = Known(
            found.promise, found.violated, found.signature, found.actions, seed, found.index
        )
        return known is None

    def old(self) -> list[tuple[str, str]]:
        """Return name and text of the counter-examples of earlier campaigns.

        Raises:
            EnvironmentFailedError: one cannot be read.

        """
        if self.path is None:
            return []
        try:
            return [
                (file.stem, file.read_text(encoding="utf-8", errors="replace"))
                for file in counter_examples.written(self.examples)
            ]
        except OSError as error:
            raise unwritable(self.examples, error) from error

    def close(self) -> None:
        """Let another campaign use it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def merge(sources: Sequence[Path], target: Path) -> State:
    """Put the states of several directories, such as those of all shards, together in another one.

    What is merged is the same as if one campaign had played all of it. Returns the merged state.

    Raises:
        UsageError: a source holds no campaign, or they are of different dispatchers or overlap.
        EnvironmentFailedError: something cannot be read or written.

    """
    states = []
    for source in sources:
        try:
            found = read(source)
        except OSError as error:
            raise unwritable(source, error) from error
        if found is None:
            raise errors.UsageError(f"{source} holds no campaign ({STATE} is missing).")
        states.append(found)
    first = states[0]
    for source, state in zip(sources, states, strict=True):
        if (state.dispatcher, state.profile) != (first.dispatcher, first.profile):
            raise errors.UsageError(f"{source} is of another dispatcher or profile than {sources[0]}.")
    twice = [
        s for s in {s for state in states for s in state.next} if sum(s in state.next for state in states) > 1
    ]
    if twice:
        raise errors.UsageError(
            f"{', '.join(sorted(twice))}: in two of the directories, and would be counted twice. Merge each once."
        )
    with contextlib.closing(
        Directory(target, Plan(dispatcher=first.dispatcher, profile=first.profile))
    ) as merged:
        if any(strand in merged.state.next for state in states for strand in state.next):
            raise errors.UsageError(f"{target} holds what was merged before; name a new directory.")
        for source, state in zip(sources, states, strict=True):
            _join(merged, source, state)
        _sort_corpus(merged.state)
        merged.save()
        return merged.state


def _join(merged: Directory, source: Path, state: State) -> None:
    merged.state.tally.add(state.tally)
    merged.state.next |= state.next
    merged.state.seconds += state.seconds
    merged.state.corpus += state.corpus
    merged.stories.join(_read_stories(source))
    for name, known in state.counter_examples.items():
        file = source / counter_examples.DIRECTORY / f"{name}.yaml"
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise unwritable(file, error) from error
        found = Found(known.index, known.promise, name, text, known.violated, known.signature, known.actions)
        merged.keep(found, known.seed)


def _sort_corpus(state: State) -> None:
    """Keep of all entries those that cover something new, in the scenarios' order, as one campaign would."""
    seen: set[str] = set()
    kept = []
    for entry in sorted(state.corpus, key=lambda one: (one.seed, one.index)):
        new = tuple(feature for feature in entry.new if feature not in seen)
        seen.update(new)
        if new:
            kept.append(Entry(entry.seed, entry.index, new))
    state.corpus = kept


def read(path: Path) -> State | None:
    """Return the state in a directory, None if there is none.

    Raises:
        UsageError: what is there is not one of ours.
        OSError: it cannot be read.

    """
    file = path / STATE
    if not file.exists():
        return None
    try:
        state = msgspec.json.decode(file.read_bytes(), type=State)
    except msgspec.DecodeError as error:
        raise errors.UsageError(
            f"{file} is not the state of a campaign: {error}. Name another directory."
        ) from error
    if state.version != VERSION:
        raise errors.UsageError(
            f"{file} is of version {state.version}; this program reads version {VERSION}."
        )
    return state


def save(path: Path, state: State, stories: Stories) -> None:
    """Write a state into a directory."""
    write(path / STORIES, bytes(stories))
    write(path / STATE, msgspec.json.format(msgspec.json.encode(state)) + b"\n")


def write(file: Path, data: bytes) -> None:
    """Write a file whole or not at all: beside it first, then renamed.

    Raises:
        EnvironmentFailedError: the disk is full, or the place cannot be written to.

    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
            os.chmod(beside, 0o666 & ~_umask())  # noqa: PTH101  # a descriptor's file, by name
            os.replace(beside, file)  # noqa: PTH105  # mkstemp gives a name
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)  # noqa: PTH108  # as above
            raise
    except OSError as error:
        raise unwritable(file, error) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def unwritable(path: Path, error: OSError) -> errors.EnvironmentFailedError:
    """Return the error for a place that cannot be read or written, in a sentence for people."""
    return errors.EnvironmentFailedError(
        f"{path}: {error.strerror or error}. Make room, or name a directory that can be written; "
        "what was kept there before is whole."
    )


def _read_stories(path: Path) -> Stories:
    try:
        return Stories((path / STORIES).read_bytes())
    except FileNotFoundError:
        return Stories()
    except OSError as error:
        raise unwritable(path / STORIES, error) from error


def _locked(path: Path) -> IO[bytes]:
    stream = (path / LOCK).open("ab")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise errors.UsageError(
            f"{path} is in use by another campaign. Give each its own directory, and merge them."
        ) from None
    except BaseException:
        stream.close()
        raise
    return stream
