"""Text that is pleasant to read: one line, counts and spans of time in words, nicknames for ids."""

import re
from collections.abc import Iterable, Mapping

from hydra_notify_sim import history
from hydra_notify_sim.contract import channels, statuses
from hydra_notify_sim.reports.safe import clean

_BUILD_ID = re.compile(r"\b([Bb]uilds? )(\d+(?:(?:, | and )\d+)*)\b(?! \()")


def one_line(text: str, limit: int = 0) -> str:
    """Clean a text and bring it on one line, shortened in the middle to ``limit`` characters where one is given."""
    line = clean(text.replace("\t", "\\t").replace("\r\n", " ").replace("\n", " ")).strip()
    if not limit or len(line) <= limit:
        return line
    kept = limit - 1
    return f"{line[: kept - kept // 3]}…{line[-(kept // 3) :]}"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 scenario``, ``2 scenarios``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def times(count: int) -> str:
    """Return how often: ``once``, ``2 times``."""
    return "once" if count == 1 else f"{count} times"


def duration(seconds: float) -> str:
    """Return a span of time as a person says it: ``0.3 s``, ``6 s``, ``2 min``, ``26.5 h``."""
    sign = "-" if seconds < 0 else ""
    size = abs(seconds)
    for unit, length in (("h", 3600), ("min", 60)):
        if size >= 2 * length or (size >= length and size % length == 0):
            return f"{sign}{size / length:.3g} {unit}"
    return f"{sign}{round(size, 1 if size < 10 else 0):g} s"


class Names:
    """Nicknames of a history's builds and evaluations, for ids that stand in payloads and calls."""

    def __init__(
        self, builds: Mapping[int, str] | None = None, evaluations: Mapping[int, str] | None = None
    ) -> None:
        self.builds = dict(builds or {})
        self.evaluations = dict(evaluations or {})

    def learn(self, record: history.AnyRecord) -> None:
        """Take the nicknames that a record's rows carry; what was given at the start stays."""
        if not isinstance(record, history.Commit):
            return
        for row in record.rows:
            if not row.nickname or not row.id.isdecimal():
                continue
            if row.table == "builds":
                self.builds.setdefault(int(row.id), row.nickname)
            elif row.table == "jobsetevals":
                self.evaluations.setdefault(int(row.id), row.nickname)

    def build(self, number: int) -> str:
        """Return the nickname of a build, or its id."""
        return self.builds.get(number) or f"build {number}"

    def evaluation(self, number: int) -> str:
        """Return the nickname of an evaluation, or its id."""
        return self.evaluations.get(number) or f"evaluation {number}"

    def event(self, channel: str, payload: str, version: channels.PayloadVersion) -> str:
        """Return an emission in words: ``build_finished iso with kernel``; the raw payload where it is malformed.

        Other programs of Hydra have channels of their own, whose payloads are shown as they are.
        """
        if channel not in channels.CHANNELS:
            return f"{one_line(channel, 60)} {one_line(payload, 200)}".rstrip()
        try:
            event = channels.parse(channel, payload, version)
        except channels.MalformedPayloadError:
            return f"{one_line(channel, 60)} {payload[:200]!r} (malformed)"
        return f"{channel} {self._subject(event)}"

    def _subject(self, event: channels.Event) -> str:
        match event:
            case channels.BuildQueued(build) | channels.BuildStarted(build):
                return self.build(build)
            case channels.StepFinished(build, step):
                return f"{self.build(build)}, step {step}"
            case channels.BuildFinished(build, dependents):
                return self._with(self.build(build), dependents)
            case channels.CachedBuildFinished(evaluation, build) | channels.CachedBuildQueued(
                evaluation, build
            ):
                return f"{self.build(build)} ({self.evaluation(evaluation)})"
            case channels.EvalStarted(trace, jobset) | channels.EvalFailed(trace, jobset):
                return f"jobset {jobset} (trace {one_line(trace, 24)})"
            case channels.EvalAdded(trace, _, evaluation) | channels.EvalCached(trace, _, evaluation):
                return f"{self.evaluation(evaluation)} (trace {one_line(trace, 24)})"

    def _with(self, main: str, dependents: Iterable[int]) -> str:
        names = [self.build(number) for number in dependents]
        return f"{main} with {listed(names)}" if names else main

    def arguments(self, args: Mapping[str, object]) -> str:
        """Return what a hook was handed, in words: nicknames, and the status where a build has one."""
        parts = []
        for name, value in args.items():
            if name == "build":
                parts.append(self._row(value))
            elif name == "dependents" and isinstance(value, list | tuple):
                if value:
                    parts.append("with " + listed([self._row(row) for row in value]))
            elif name == "step" and isinstance(value, Mapping):
                parts.append(f"{self._id(value.get('build'))}, step {value.get('stepnr')}")
            elif name == "evaluation" and isinstance(value, Mapping):
                number = value.get("id")
                parts.append(self.evaluation(number) if isinstance(number, int) else "an evaluation")
            elif name == "jobset" and isinstance(value, Mapping):
                parts.append(one_line(f"{value.get('project')}:{value.get('name')}", 60))
            elif name == "error_changed":
                parts.append(f"error {'changed' if value else 'as before'}")
        return " ".join(parts)

    def _id(self, number: object) -> str:
        return self.build(number) if isinstance(number, int) else "a build"

    def _row(self, row: object) -> str:
        if not isinstance(row, Mapping):
            return one_line(repr(row), 60)
        status = row.get("buildstatus")
        name = self._id(row.get("id"))
        if not row.get("finished"):
            return f"{name} (unfinished)"
        return (
            f"{name} ({statuses.status_name(status if isinstance(status, int) else None).replace('_', ' ')})"
        )

    def explain(self, text: str) -> str:
        """Add nicknames to the build ids of a sentence: ``build 3`` becomes ``build 3 (iso)``."""

        def named(found: re.Match[str]) -> str:
            return found[1] + re.sub(r"\d+", lambda digits: self._known(digits[0]), found[2])

        return _BUILD_ID.sub(named, text) if self.builds else text

    def _known(self, digits: str) -> str:
        nickname = self.builds.get(int(digits)) if len(digits) < 19 else None
        return f"{digits} ({nickname})" if nickname else digits


def listed(names: Iterable[str], limit: int = 6) -> str:
    """Return names as a list for people, the tail of a long one counted."""
    names = list(names)
    if len(names) > limit:
        names = [*names[: limit - 1], f"{len(names) - limit + 1} more"]
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1] if names else ""
