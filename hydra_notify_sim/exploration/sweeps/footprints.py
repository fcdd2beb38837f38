"""What a step of a story and a call of the dispatcher touch: two that touch nothing in common can change places.

Deliberately coarse. A thing counts as touched wherever it might be: too much said costs a play, too little a finding.
"""

from hydra_notify_sim.scenario import steps as verbs

ROWS, TASKS, INBOX, CLOCK = "rows of builds and evaluations", "stored tasks", "notifications", "time"

_CALLS = {
    "before connect": frozenset({INBOX}),
    "before listen": frozenset({INBOX}),
    "before marked_builds": frozenset({ROWS}),
    "before load": frozenset({ROWS}),
    "before clear_marks": frozenset({ROWS}),
    "before new_task_id": frozenset(),
    "before store_retry": frozenset({TASKS, CLOCK}),
    "before delete_task": frozenset({TASKS}),
    "before due_task": frozenset({TASKS, CLOCK}),
    "before next_due": frozenset({TASKS, CLOCK}),
    "before requeue": frozenset({TASKS, CLOCK}),
}
_EVERYTHING = frozenset({ROWS, TASKS, INBOX, CLOCK})
_TAKES_A_SECOND = (verbs.Finish, verbs.Build, verbs.Substitute, verbs.Cancel, verbs.MarkOnly)


def of_step(step: verbs.StepBase) -> frozenset[str]:
    """Return what playing the step touches."""
    if isinstance(step, verbs.Notify):
        return frozenset({INBOX})
    if isinstance(step, verbs.Insert | verbs.Delete):
        return _EVERYTHING
    return frozenset({ROWS, INBOX}) | ({CLOCK} if isinstance(step, _TAKES_A_SECOND) else set())


def after(kind: str, following: str, *, calls_go_on: bool) -> frozenset[str]:
    """Return what the dispatcher touches between one numbered point and the next.

    Before a point ``after receive`` the inbox was emptied: no point lies before that, for where nothing has come
    nothing is received. ``calls_go_on``: a plugin takes time, or holds its call while the story goes on.
    """
    if following == "after receive":
        return frozenset({INBOX})
    if following == "before load" and kind.startswith("after"):
        # Between two builds that the scan found it looks for live events, and goes on as well if there is none.
        return frozenset({INBOX})
    if kind == "before call" and calls_go_on:
        return _EVERYTHING
    if kind.startswith("after") or kind == "before call":
        # The dispatcher's own reckoning, or a plugin, which sees the rows that were loaded before.
        return frozenset()
    return _CALLS.get(kind, _EVERYTHING)
