"""What a test did, as the story of a scenario."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra_notify_sim import errors, history
from hydra_notify_sim.scenario import points
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.model import Given, GivenPlugin, Raises, Scenario
from hydra_notify_sim.targets.points import Armed


class NotTellableError(errors.UsageError):
    """The scenario language cannot say what the test did; the message says what."""


@dataclass
class Told:
    """A step that was played, and what happened at a point of it."""

    step: verbs.StepBase
    point: points.Point | None = None
    do: "list[Told]" = field(default_factory=list)

    def written(self) -> verbs.StepBase:
        """Return the step as a scenario has it."""
        if self.point is None or not self.do:
            return self.step
        return self.step.replaced(at=self.point, do=tuple(told.written() for told in self.do))


class NotedPoint(Armed):
    """A point that is waited for, and that remembers how it was reached."""

    reached_hook: str = ""

    def matches(self, name: str, plugin: str, hook: str, number: int | None) -> bool:
        """Tell whether this arrival is the one waited for, and note its hook."""
        if super().matches(name, plugin, hook, number):
            self.reached_hook = hook
            return True
        return False


class Story:
    """The steps of a test as they come, those at points where they belong."""

    def __init__(self) -> None:
        self._levels: list[list[Told]] = [[]]
        self._playing: list[Told] = []
        self._waiting: dict[NotedPoint, int] = {}
        self.untellable = ""
        """Why the test cannot be written as a scenario; empty if it can."""

    def begins(self, step: verbs.StepBase) -> Told:
        """Take in a step that is played now."""
        told = Told(step)
        self._levels[-1].append(told)
        self._playing.append(told)
        for point in self._waiting:
            self._waiting[point] = point.seen
        return told

    def ends(self, told: Told) -> None:
        """Take in that a step is over; with a held call, those after it are over first."""
        if told in self._playing:
            del self._playing[self._playing.index(told) :]

    def waits(self, point: NotedPoint) -> None:
        """Take in that something is to happen at a point."""
        self._waiting[point] = 0

    def at_point(self, point: NotedPoint) -> None:
        """Take in that the point is reached: the steps that follow belong there."""
        told = self._playing[-1] if self._playing else None
        inner: list[Told] = []
        self._levels.append(inner)
        if told is None:
            self.untellable = f"the point {point} was reached between two steps"
            return
        if told.point is not None:
            self.untellable = (
                f"two points, {told.point} and {point}, are reached within one step ({told.step.verb})"
            )
            return
        which = point.which
        if point.name in points.NUMBERED_POINTS and isinstance(which, int) and point.name == "point":
            which -= self._waiting.get(point, 0)
        hook = (point.reached_hook or None) if point.name in points.CALL_POINTS else None
        told.point = points.Point(name=point.name, which=which, hook=hook)
        told.do = inner

    def point_over(self, point: NotedPoint) -> None:
        """Take in that what follows is not at the point any more."""
        self._levels.pop()
        self._waiting.pop(point, None)

    def steps(self) -> tuple[verbs.StepBase, ...]:
        """Return the whole story."""
        return tuple(told.written() for told in self._levels[0])


def as_scenario(
    story: Story,
    given: Given,
    records: history.History,
    exercised: Sequence[str],
    *,
    sentence: str,
    why: str,
    own: Sequence[str],
) -> Scenario:
    """Return a scenario that does what the test did.

    ``own``: plugins with code of their own; in the scenario they are recorders whose calls fail as often.

    Raises:
        NotTellableError: the language cannot say it.

    """
    if story.untellable:
        raise NotTellableError(f"this test cannot be written as a scenario: {story.untellable}")
    steps = story.steps()
    if not steps:
        raise NotTellableError("this test did nothing yet, so there is no story to write")
    plugins = dict(given.plugins)
    notes = []
    for name in own:
        raises, note = _failures(records, name)
        plugins[name] = GivenPlugin(hooks=plugins[name].hooks, raises=raises)
        notes += [note] if note else []
    return Scenario(
        scenario=sentence,
        why="\n".join([why, *notes]),
        exercises=tuple(exercised) or ("P-format",),
        given=given.replaced(plugins=plugins),
        story=steps,  # type: ignore[arg-type]  # each is one of the verbs
    )


def _failures(records: history.History, plugin: str) -> tuple[Raises | None, str]:
    """Return when the calls of a plugin failed, as far as the language can say it, and what it cannot say."""
    calls = list(_endings(records, plugin))
    failed = [number for number, message in enumerate(calls, start=1) if message is not None]
    if not failed:
        return None, ""
    message = calls[failed[0] - 1] or "failed"
    if len(failed) == len(calls):
        return Raises(always=True, message=message), ""
    if failed == list(range(1, len(failed) + 1)):
        return Raises(first=len(failed), message=message), ""
    numbers = ", ".join(map(str, failed))
    return None, (
        f"In the test, the calls {numbers} of {plugin} failed ({message!r}). The language cannot say that; here "
        "they return."
    )


def _endings(records: history.History, plugin: str) -> Iterator[str | None]:
    """Yield for each call of a plugin what it raised, None if it did not; a call that was cut off is left out."""
    called: set[int] = set()
    for record in records:
        match record:
            case history.Called():
                if record.plugin == plugin:
                    called.add(record.call)
            case history.Returned(call=call) if call in called:
                yield None
            case history.Raised(call=call, message=message) if call in called:
                yield message
            case _:
                pass


def words(text: str) -> str:
    """Return the name of a test as a sentence: ``test_a_502_is_retried`` becomes ``A 502 is retried``."""
    sentence = " ".join(text.removeprefix("test").replace("_", " ").split()) or text
    return sentence[:1].upper() + sentence[1:]


def nickname(wanted: str, taken: Any) -> str:
    """Return a nickname for a build or evaluation that is like a word, and not taken yet."""
    first = "".join(
        c if c.isascii() and (c.isalnum() or c in "_+-") else "-" for c in wanted.partition(".")[0]
    )
    base = first.strip("-")[:80] or "build"
    if not (base[0].isalpha() or base[0] == "_"):
        base = f"build-{base}"
    number, name = 1, base
    while name in taken or name == "jobset":
        number += 1
        name = f"{base}-{number}"
    return name
