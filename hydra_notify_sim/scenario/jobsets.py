"""The story's jobset at a moment of the story: whether it is evaluated, and what its evaluations can find cached.

The rules are the evaluator's (docs/reference/hydra.md, section 3). Where the order of evaluations is not known, only what
is impossible in all of them is reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hydra_notify_sim.scenario.model import Scenario
from hydra_notify_sim.scenario.parts import Evaluation, JobsetEdit
from hydra_notify_sim.scenario.problems import Finding, Path_

_ALL_THE_SAME = "or write 'impossible: true' beside 'evaluate', to have it all the same"
_ENABLE = f"Write 'edit_jobset: {{enabled: true}}' before it, {_ALL_THE_SAME}."
_QUEUE_ANEW = (
    "Give another build with 'same_derivation_as: {name}', list it under 'new', and let it be substituted with "
    f"'already_valid: true'; {_ALL_THE_SAME}."
)


@dataclass(frozen=True, slots=True)
class _Found:
    """An evaluation that has a row."""

    name: str | None
    members: frozenset[str] | None
    """The builds that may be its members; None: nothing had changed, so it has none."""


class StoryJobset:
    """The jobset of a story, told of each step that changes it."""

    def __init__(self, scenario: Scenario, before: frozenset[str]) -> None:
        """``before``: the builds that exist before the story, which an evaluation before it found."""
        self._scenario = scenario
        self.deleted = False
        self.nickname = scenario.given.jobset
        """``project:name``, as it is called now."""
        self._disabled = self._one_shot = False
        self._evaluations = [_Found(None, before)] if before else []
        self._sure = True

    def order_is_unknown(self) -> None:
        """Take note that from now on nobody knows which evaluation comes first."""
        self._sure = False

    def edited(self, edit: JobsetEdit) -> None:
        """Take in what a person changes at the web page."""
        if edit.name is not None:
            self.nickname = f"{self._scenario.given.project}:{edit.name}"
        if edit.enabled is not None:
            self._disabled, self._one_shot = edit.enabled == "disabled", edit.enabled == "one_shot"

    def is_deleted(self) -> None:
        """Take in that it is gone, with its evaluations."""
        self.deleted = True
        self._evaluations.clear()

    def evaluation_is_deleted(self, name: str) -> None:
        """Take in that an evaluation is gone: the one before it counts again."""
        self._evaluations = [found for found in self._evaluations if found.name != name]

    def build_is_deleted(self, build: str) -> None:
        """Take in that a build is gone, and its places in evaluations."""
        self._evaluations = [
            _Found(found.name, None if found.members is None else found.members - {build})
            for found in self._evaluations
        ]

    def evaluated(self, evaluation: Evaluation) -> None:
        """Take in an evaluation: which builds are members from now on."""
        if self._one_shot and not (evaluation.unchanged or evaluation.fails or evaluation.fetch_fails):
            self._disabled = self._sure
        if evaluation.unchanged or evaluation.fails or evaluation.fetch_fails:
            return
        found = frozenset(self._scenario.singles((*evaluation.new, *evaluation.cached)))
        before = self._members
        changed = bool(evaluation.new) or (before is not None and len(before) != len(found))
        if not self._sure and before is not None:
            found |= before
        self._evaluations.append(_Found(evaluation.name, found if changed else None))

    def problems(self, evaluation: Evaluation, path: Path_, *, impossible: bool) -> Iterator[Finding]:
        """Yield why Hydra does not evaluate this now; ``impossible``: the story asks for it all the same."""
        if self._disabled and not impossible:
            yield Finding(path, "the jobset is disabled, and Hydra evaluates no such jobset", _ENABLE)
        if evaluation.unchanged and not self._evaluations and self._sure:
            yield Finding(
                (*path, "unchanged"), "there is no evaluation before this one, so nothing can be as it was"
            )
        yield from self._jobs_twice(evaluation, path)
        if self._sure and not impossible:
            yield from self._not_members(evaluation, path)
            yield from self._not_new(evaluation, path)

    @property
    def _members(self) -> frozenset[str] | None:
        """What the last evaluation with new builds may hold; None if there is none."""
        return next(
            (found.members for found in reversed(self._evaluations) if found.members is not None), None
        )

    def _named(self, evaluation: Evaluation, key: str) -> Iterator[tuple[Path_, str]]:
        """Yield the single builds under a key, with the place of each."""
        for index, nickname in enumerate(getattr(evaluation, key)):
            for name in self._scenario.singles((nickname,)):
                yield (key, index), name

    def _not_members(self, evaluation: Evaluation, path: Path_) -> Iterator[Finding]:
        members = self._members or frozenset()
        for place, name in self._named(evaluation, "cached"):
            if name not in members:
                yield Finding(
                    (*path, *place),
                    f"{name} is not found cached here: Hydra finds only what the jobset's last evaluation with new builds "
                    "holds, and queues everything else anew",
                    _QUEUE_ANEW.format(name=name),
                )

    def _not_new(self, evaluation: Evaluation, path: Path_) -> Iterator[Finding]:
        members = sorted(self._members or ())
        for place, name in self._named(evaluation, "new"):
            same = next((one for one in members if self._scenario.same_job_and_derivation(one, name)), None)
            if same is not None and same != name:
                yield Finding(
                    (*path, *place),
                    f"{name} is of the same job and derivation as {same}, which the last evaluation with new builds holds, "
                    "so Hydra finds that one",
                    f"Write 'cached: {same}'.",
                )

    def _jobs_twice(self, evaluation: Evaluation, path: Path_) -> Iterator[Finding]:
        jobs: dict[str, str] = {}
        for key in ("cached", "new"):
            for place, name in self._named(evaluation, key):
                job = self._scenario.job_of(name)
                if job is not None and (other := jobs.setdefault(job, name)) != name:
                    yield Finding(
                        (*path, *place),
                        f"{name} and {other} are builds of one job, {job}, and an evaluation finds each job once",
                    )
