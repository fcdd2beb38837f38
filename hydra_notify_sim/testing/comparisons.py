"""What happened, and what a test expects of it: calls and retries, with differences that a person can read."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from hydra_notify_sim import errors
from hydra_notify_sim.checks.retries import DUE_TOLERANCE
from hydra_notify_sim.contract import channels, statuses
from hydra_notify_sim.testing.handles import Build, Evaluation, plugin_name

__tracebackhide__ = True
"""Pytest shows a failure where the test is, not in here."""

ENDINGS = ("returned", "raised", "cut off", "open")
"""How a call ended: ``cut off``, the dispatcher was lost in it; ``open``, it has not ended."""

_ANY = object()


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a plugin's hook."""

    plugin: str
    hook: str
    build: Build | None = None
    """The build that it is about; of step_finished, the build of the step."""
    dependents: tuple[Build, ...] = ()
    """As the plugin was handed them, which no order of yours has to match (P-arguments judges it): after a failure Hydra repeats the main build among them (qr-self-dependent)."""
    status: str | None = None
    """How the build (of step_finished, the step) had ended when it was called; None: it was not finished."""
    step: int | None = None
    """Which of its build's steps it is, from 1; one that no test has made has the number of its row."""
    log_path: str | None = None
    evaluation: Evaluation | None = None
    jobset: str | None = None
    """``project:name``, of the hooks that are handed a jobset."""
    trace_id: str | None = None
    error_changed: int | None = None
    ended: str = "open"
    message: str = ""
    """What it raised."""
    number: int = 0
    """Counts the calls of a test, from 1."""
    args: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The arguments as the history keeps them."""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ExpectedCall):
            return other == self
        return isinstance(other, Call) and other.number == self.number and other.args == self.args

    def __hash__(self) -> int:
        return hash(("call", self.number))

    def __repr__(self) -> str:
        facts: dict[str, Any] = {"status": self.status} if self.status is not None else {}
        facts |= {"step": self.step} if self.step is not None else {}
        how = f"{self.ended}: {self.message}" if self.message else self.ended
        return f"{self.plugin}: {_shown(self.hook, self.build or self.evaluation, facts)} [{how}]"


class ExpectedCall:
    """What a call should be; what is not said is not compared."""

    def __init__(self, hook: str, subject: Build | None, facts: Mapping[str, Any]) -> None:
        self.hook = hook
        self.subject = subject
        self.facts = dict(facts)

    def differences(self, found: Call) -> list[str]:
        """Return in words what is otherwise in a call."""
        if found.hook != self.hook:
            return [f"{found.hook}, not {self.hook}"]
        told = []
        if self.subject is not None and found.build != self.subject:
            told.append(f"build {found.build}, not {self.subject}")
        for name, wanted in self.facts.items():
            value = getattr(found, name)
            same = Counter(value) == Counter(wanted) if name == "dependents" else value == wanted
            if not same:
                told.append(f"{name} {_value(value)}, not {_value(wanted)}")
        return told

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ExpectedCall):
            return (self.hook, self.subject, self.facts) == (other.hook, other.subject, other.facts)
        return isinstance(other, Call) and not self.differences(other)

    def __hash__(self) -> int:
        return hash(self.hook)

    def __repr__(self) -> str:
        return f"call.{_shown(self.hook, self.subject, self.facts)}"


class CallMaker:
    """Makes what calls are compared with: one method for each hook; what is left out is not compared."""

    def build_queued(self, build: Build | None = None, **facts: Any) -> ExpectedCall:
        """Expect build_queued. Facts of any call: ``plugin``, ``ended``, ``message``; of a build: ``status``."""
        return _expected("build_queued", build, facts)

    def build_started(self, build: Build | None = None, **facts: Any) -> ExpectedCall:
        """Expect build_started. Facts: ``status`` (None: not finished yet), and those of any call."""
        return _expected("build_started", build, facts)

    def step_finished(self, build: Build | None = None, **facts: Any) -> ExpectedCall:
        """Expect step_finished. Facts: ``step`` (from 1), ``status``, ``log_path``, and those of any call."""
        return _expected("step_finished", build, facts)

    def build_finished(self, build: Build | None = None, **facts: Any) -> ExpectedCall:
        """Expect build_finished. Facts: ``status`` by name, ``dependents``, ``plugin``, ``ended``, ``message``."""
        return _expected("build_finished", build, facts)

    def cached_build_finished(self, build: Build | None = None, **facts: Any) -> ExpectedCall:
        """Expect cached_build_finished. Facts: ``evaluation``, ``status``, and those of any call."""
        return _expected("cached_build_finished", build, facts)

    def cached_build_queued(self, build: Build | None = None, **facts: Any) -> ExpectedCall:
        """Expect cached_build_queued. Facts: ``evaluation``, ``status``, and those of any call."""
        return _expected("cached_build_queued", build, facts)

    def eval_started(self, **facts: Any) -> ExpectedCall:
        """Expect eval_started. Facts: ``jobset`` (``project:name``), ``trace_id``, and those of any call."""
        return _expected("eval_started", None, facts)

    def eval_added(self, evaluation: Evaluation | None = None, **facts: Any) -> ExpectedCall:
        """Expect eval_added. Facts: ``jobset``, ``trace_id``, ``error_changed``, and those of any call."""
        return _expected("eval_added", None, _with_evaluation(evaluation, facts))

    def eval_cached(self, evaluation: Evaluation | None = None, **facts: Any) -> ExpectedCall:
        """Expect eval_cached. Facts: ``jobset``, ``trace_id``, and those of any call."""
        return _expected("eval_cached", None, _with_evaluation(evaluation, facts))

    def eval_failed(self, **facts: Any) -> ExpectedCall:
        """Expect eval_failed. Facts: ``jobset``, ``trace_id``, ``error_changed``, and those of any call."""
        return _expected("eval_failed", None, facts)


call = CallMaker()
"""``call.build_finished(iso, status="failed")``: compares with what `Hydra.calls` returns."""


@dataclass(frozen=True, eq=False)
class StoredRetry:
    """A failed call that the dispatcher will make again: a row of ``taskretries``."""

    plugin: str
    hook: str
    attempts: int
    """How often it failed so far."""
    due_in: float
    """Seconds from now; negative once it is overdue."""
    build: Build | None = None
    payload: str = ""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ExpectedRetry):
            return other == self
        return isinstance(other, StoredRetry) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((self.plugin, self.hook, self.payload))

    def __repr__(self) -> str:
        about = f" {self.build}" if self.build is not None else ""
        return f"{self.plugin}: {self.hook}{about}, attempts={self.attempts}, due_in={self.due_in:g}"


class ExpectedRetry:
    """What a retry should be; what is not said is not compared."""

    def __init__(self, plugin: str, hook: str, facts: Mapping[str, Any]) -> None:
        self.plugin = plugin
        self.hook = hook
        self.facts = dict(facts)

    def differences(self, found: StoredRetry) -> list[str]:
        """Return in words what is otherwise in a retry."""
        wanted = {"plugin": self.plugin, "hook": self.hook, **self.facts}
        return [
            f"{name} {_value(getattr(found, name))}, not {_value(value)}"
            for name, value in wanted.items()
            if not self._is_so(name, getattr(found, name), value)
        ]

    @staticmethod
    def _is_so(name: str, found: Any, wanted: Any) -> bool:
        if name != "due_in":
            return bool(found == wanted)
        early, late = DUE_TOLERANCE
        return bool(wanted + early <= found <= wanted + late)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ExpectedRetry):
            return (self.plugin, self.hook, self.facts) == (other.plugin, other.hook, other.facts)
        return isinstance(other, StoredRetry) and not self.differences(other)

    def __hash__(self) -> int:
        return hash((self.plugin, self.hook))

    def __repr__(self) -> str:
        facts = "".join(f", {name}={_value(value)}" for name, value in self.facts.items())
        return f"retry({self.plugin}, {self.hook!r}{facts})"


def retry(
    plugin: object,
    hook: str,
    *,
    attempts: int | None = None,
    due_in: float | None = None,
    build: Build | None = None,
) -> ExpectedRetry:
    """Return what a retry in `Hydra.retries` is compared with; what is left out is not compared.

    ``attempts`` counts the failures so far, ``due_in`` the seconds from now, which may be one less or two more (R-backoff).
    """
    if hook not in channels.CHANNELS:
        raise errors.UsageError(f"there is no hook {hook!r}; the hooks are {', '.join(channels.CHANNELS)}")
    facts = {"attempts": attempts, "due_in": due_in, "build": build}
    return ExpectedRetry(
        plugin_name(plugin), hook, {name: value for name, value in facts.items() if value is not None}
    )


def explain(left: object, right: object) -> list[str] | None:
    """Return the difference between what happened and what was expected, as lines; None if it is about neither."""
    for found, wanted in ((left, right), (right, left)):
        if isinstance(found, Call | StoredRetry) and isinstance(wanted, ExpectedCall | ExpectedRetry):
            return [f"{found!r} is not {wanted!r}", *_differences(wanted, found)]
    if not isinstance(left, list) or not isinstance(right, list):
        return None
    kinds = (Call, StoredRetry)
    if left and all(isinstance(item, kinds) for item in left):
        return _lists(left, right)
    if right and all(isinstance(item, kinds) for item in right):
        return _lists(right, left)
    if not left and right and all(isinstance(item, ExpectedCall | ExpectedRetry) for item in right):
        return _lists(left, right)
    return None


def _lists(found: Sequence[Any], wanted: Sequence[Any]) -> list[str]:
    noun = (
        "retries" if any(isinstance(i, StoredRetry | ExpectedRetry) for i in (*found, *wanted)) else "calls"
    )
    lines = [
        f"the {noun} are not those expected: {len(found)} found, {len(wanted)} expected",
        "  (- expected and not found, + found and not expected)",
    ]
    # Elements are compared with ==, not by hash: an expectation stands for many calls.
    table = [[item == other for other in found] for item in wanted]
    expected = [_first_like(table, index) for index in range(len(wanted))]
    seen = [_first_match(table, index) for index in range(len(found))]
    matcher = SequenceMatcher(None, expected, seen, autojunk=False)
    for what, a, b, c, d in matcher.get_opcodes():
        if what == "equal":
            lines += [f"    {item!r}" for item in found[c:d]]
            continue
        for offset in range(max(b - a, d - c)):
            if a + offset < b:
                lines.append(f"  - {wanted[a + offset]!r}")
            if c + offset < d:
                lines.append(f"  + {found[c + offset]!r}")
            if a + offset < b and c + offset < d:
                lines += _differences(wanted[a + offset], found[c + offset])
    return lines


def _first_like(table: Sequence[Sequence[bool]], index: int) -> str:
    """Return a token that expectations of the same calls share."""
    same = next(i for i, row in enumerate(table) if row == table[index])
    return f"wanted {same}" if any(table[same]) else f"nowhere {index}"


def _first_match(table: Sequence[Sequence[bool]], column: int) -> str:
    for index, row in enumerate(table):
        if row[column]:
            return _first_like(table, index)
    return f"unexpected {column}"


def _differences(wanted: Any, found: Any) -> list[str]:
    if not isinstance(wanted, ExpectedCall | ExpectedRetry):
        return []
    of: Callable[[Any], list[str]] = wanted.differences
    told = of(found)
    return [f"      {'; '.join(told)}"] if told else []


def _expected(hook: str, build: object, facts: dict[str, Any]) -> ExpectedCall:
    if build is not None and not isinstance(build, Build):
        raise errors.UsageError(
            f"call.{hook}: {build!r} is no build; give the handle that hydra.queue returned"
        )
    common = {"plugin", "ended", "message"}
    more = {
        "build_queued": {"status"},
        "build_started": {"status"},
        "step_finished": {"step", "status", "log_path"},
        "build_finished": {"status", "dependents"},
        "cached_build_finished": {"status", "evaluation"},
        "cached_build_queued": {"status", "evaluation"},
        "eval_started": {"jobset", "trace_id"},
        "eval_added": {"jobset", "trace_id", "error_changed", "evaluation"},
        "eval_cached": {"jobset", "trace_id", "evaluation"},
        "eval_failed": {"jobset", "trace_id", "error_changed"},
    }
    valid = common | more.get(hook, set())
    for name in facts:
        if name not in valid:
            raise errors.UsageError(f"call.{hook} has no {name!r}; it has {', '.join(sorted(valid))}")
    if facts.get("status") is not None and facts["status"] not in statuses.Status.__members__:
        known = ", ".join(status.name for status in statuses.Status)
        raise errors.UsageError(f"call.{hook}: {facts['status']!r} is not a status; Hydra has {known}")
    if facts.get("ended", "open") not in ENDINGS:
        raise errors.UsageError(
            f"call.{hook}: a call has ended as {', '.join(ENDINGS)}, not {facts['ended']!r}"
        )
    if "plugin" in facts:
        facts["plugin"] = plugin_name(facts["plugin"])
    if isinstance(dependents := facts.get("dependents", _ANY), Iterable):
        facts["dependents"] = tuple(dependents)
    return ExpectedCall(hook, build, facts)


def _with_evaluation(evaluation: Evaluation | None, facts: dict[str, Any]) -> dict[str, Any]:
    return facts if evaluation is None else {"evaluation": evaluation, **facts}


def _shown(hook: str, subject: object, facts: Mapping[str, Any]) -> str:
    parts = [] if subject is None else [repr(subject)]
    parts += [f"{name}={_value(value)}" for name, value in facts.items()]
    return f"{hook}({', '.join(parts)})"


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(repr, value))}]"
    return f"{value:g}" if isinstance(value, float) else repr(value)
