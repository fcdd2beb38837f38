"""Names for people in a captured story: made-up ones, or the real ones where they may be kept."""

import re
from collections.abc import Iterable, Sequence

from hydra_notify_sim import history
from hydra_notify_sim.scenario.base import NICKNAME
from hydra_notify_sim.scenario.payloads import THE_JOBSET

_NOT_IN_A_NICKNAME = re.compile(r"[^A-Za-z0-9_+-]+")


class Names:
    """Nicknames of builds and plugins, each given once."""

    def __init__(self, *, keep: bool) -> None:
        self.keep = keep
        self.builds: dict[int, str] = {}
        self.plugins: dict[str, str] = {}
        """Plugin's real name to its nickname, in the order in which they stand in the story."""

    def name_builds(
        self, main: Sequence[int], build: int, dependents: Sequence[int], rows: dict[int, history.BuildRow]
    ) -> None:
        """Name the builds that are told of: those that are needed, the one it is about, those that need it."""
        for kind, builds in (("needed", main), ("build", [build]), ("dependent", dependents)):
            for number, one in enumerate(builds, 1):
                made_up = "this-build" if one == build else f"{kind}-{number}"
                job = rows[one].job.partition(".")[0] if self.keep and one in rows else ""
                self.builds[one] = _distinct(_nickname(job) or made_up, self.builds.values())

    def name_plugins(self, plugins: Iterable[str]) -> None:
        """Name plugins that have no name yet."""
        for plugin in plugins:
            if plugin not in self.plugins:
                kept = _nickname(plugin) if self.keep else ""
                made_up = f"plugin-{len(self.plugins) + 1}"
                self.plugins[plugin] = _distinct(kept or made_up, self.plugins.values())


def _nickname(text: str) -> str:
    """Return what is left of a name as a nickname; nothing if that is none."""
    if "\0" in text:
        return ""
    name = _NOT_IN_A_NICKNAME.sub("-", text).strip("-")[:60]
    return name if re.match(NICKNAME, name) and name != THE_JOBSET else ""


def _distinct(name: str, taken: Iterable[str]) -> str:
    others = set(taken)
    number = 1
    made = name
    while made in others:
        number += 1
        made = f"{name}-{number}"
    return made
