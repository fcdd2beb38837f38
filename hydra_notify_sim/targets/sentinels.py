"""Sentinels: evaluation events of the harness's own, whose calls tell how far the dispatcher has come."""

from collections import defaultdict

from hydra_notify_sim.contract import channels
from hydra_notify_sim.recorders import messages
from hydra_notify_sim.recorders.journal import Journal

JOBSET = channels.INT4_MAX
"""Id of the jobset that sentinels name: out of the way of those of a scenario."""
_NAME = "hydra-notify-sim"


class Sentinels:
    """Sends them on the journal's connection, and notes which plugin was called for which."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._sent = 0
        self._seen: dict[str, int] = defaultdict(int)

    def prepare(self) -> None:
        """Make sure that there is a jobset to name."""
        connection = self._journal.connection
        with connection.transaction():
            connection.execute(
                "INSERT INTO users (username, emailaddress, password) VALUES (%s, '', '!') ON CONFLICT DO NOTHING",
                [_NAME],
            )
            connection.execute(
                "INSERT INTO projects (name, displayname, hidden, owner) VALUES (%s, %s, 1, %s) ON CONFLICT DO NOTHING",
                [_NAME, _NAME, _NAME],
            )
            connection.execute(
                "INSERT INTO jobsets (name, id, project, hidden, enabled, emailoverride, nixexprinput, nixexprpath)"
                " VALUES ('sentinel', %s, %s, 1, 0, '', 'none', 'none') ON CONFLICT DO NOTHING",
                [JOBSET, _NAME],
            )

    def send(self) -> int:
        """Send the next one and return its number."""
        self._sent += 1
        self._journal.connection.execute(
            "SELECT pg_notify('eval_started', %s)", [f"{messages.SENTINEL_TRACE}{self._sent}\t{JOBSET}"]
        )
        return self._sent

    def answered(self, plugin: str, trace: str) -> None:
        """Note that a plugin was called for the one with this trace; other traces are a scenario's own."""
        beginning, number = trace[: len(messages.SENTINEL_TRACE)], trace[len(messages.SENTINEL_TRACE) :]
        if beginning == messages.SENTINEL_TRACE and number.isdecimal():
            self._seen[plugin] = max(self._seen[plugin], int(number))

    def confirmed(self, number: int, plugin: str = messages.SENTINEL) -> bool:
        """Tell whether a plugin was called for this one or a later one."""
        return self._seen[plugin] >= number

    def forget_tasks(self) -> None:
        """Delete the tasks that calls for sentinels have left, where a connection was lost in one."""
        self._journal.connection.execute("DELETE FROM taskretries WHERE pluginname = %s", [self.stored_as])

    @property
    def stored_as(self) -> str:
        """The name under which tasks of plugin ``sentinel`` are stored."""
        return self._journal.stored_as(messages.SENTINEL)
