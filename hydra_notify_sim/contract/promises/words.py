"""The contract's words: each means exactly this wherever a promise or a report uses it."""

WORDS: dict[str, str] = {
    "Emission": "One notification as PostgreSQL delivers it: equal (channel, payload) pairs of one transaction are one.",
    "Before, after a commit": (
        "The history records when COMMIT was sent and when it returned; in between, what favours the "
        "dispatcher holds. (A call is often recorded before the harness's own COMMIT has returned.)"
    ),
    "Outcome": (
        "Of a build: one transition to finished, known by buildStatus, startTime, stopTime; transitions equal "
        "in all three are one outcome."
    ),
    "Pending": (
        "The row carries a mark (`builds.notificationpendingsince`) when the outcome commits, whoever set it, "
        "so also a build cancelled over a stale mark."
    ),
    "Its NOTIFY": (
        "An emission that names the build, as main build or dependent, committed with or after the outcome "
        "and before the build's next transition."
    ),
    "Lost": "The dispatcher crashed, stopped, or a connection of it is gone, or passes nothing on any more.",
    "Refused": (
        "A statement fails and the session goes on: a lock or statement timeout, a deadlock, a serialization "
        "failure, a plan that a migration has made out of date. Nothing is lost by it: what was emitted while "
        "up is owed as before."
    ),
    "Starting": (
        "From process start, or from when the server lets the dispatcher in again after a lost connection, "
        "until up. While the server takes no writes the dispatcher is starting, and stores nothing."
    ),
    "Up": "Listening, scan finished, until lost.",
    "Interested": (
        "A plugin that has the hook in the life that clears the mark or, while it is not cleared, in the "
        "present one."
    ),
    "Settled": (
        "Up, every earlier emission handled, no call open, no task with a due time past. That marks or tasks "
        "have not changed counts only after the deadline."
    ),
    "Covers": (
        "Of a call, a build and an outcome: a buildFinished call in which the build is the main build or a "
        "dependent, the row handed over shows that outcome or a later one, and which returned normally."
    ),
    "Given up": (
        "Its task was dropped under R-backoff, R-gone-plugin or R-poison, or deleted by a person; that plugin "
        "is owed nothing more."
    ),
}
"""Word to meaning, in the contract's order."""
