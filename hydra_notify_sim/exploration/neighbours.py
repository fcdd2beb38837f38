"""The smaller neighbours of a scenario, as the data that its file would hold.

Each neighbourhood yields copies with one thing less, the boldest first. A neighbour need not be a valid
scenario: who tries them finds out. What is taken away goes with all that refers to it.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hydra_notify_sim.contract import channels
from hydra_notify_sim.scenario import Scenario
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.payloads import PLACEHOLDER

Data = dict[str, Any]
Path = tuple[str | int, ...]
Neighbourhood = Callable[[Data], Iterator[Data]]

VERBS = frozenset(verbs.VERBS)

PAIRS_UP_TO = 14
"""Steps in one list of which every pair is tried together; of more, only neighbours."""

FEW = 16
"""A number up to this is lowered by one, too; a greater one by an eighth, for each try is a play."""

_NO_OPTION = frozenset(
    {"scenario", "why", "exercises", "known", "given", "story", "at", "do", "builds", "plugins", "hooks"}
)
"""Keys that say what the file is, or that have a neighbourhood of their own (without ``hooks`` a plugin has them all)."""


def data_of(scenario: Scenario) -> Data:
    """Return a scenario as its file would hold it; reading that gives the same scenario."""
    data = scenario.model_dump(by_alias=True, exclude_defaults=True)
    plain: Data = json.loads(json.dumps(data))
    return plain


def fingerprint(data: Mapping[str, Any]) -> str:
    """Return a text that is the same for equal data."""
    return json.dumps(data, sort_keys=True)


# Steps


def fewer_steps(data: Data) -> Iterator[Data]:
    """Leave out steps: halves of a list first, single steps last, then pairs that only go together."""
    for path in _step_lists(data):
        count = len(_at(data, path))
        size = count
        while size >= 1:
            for end in range(count, 0, -size):
                yield _without(data, path, set(range(max(0, end - size), end)))
            size //= 2
        reach = count if count <= PAIRS_UP_TO else 3
        for last in range(count - 1, 0, -1):
            for first in range(last - 1, max(-1, last - reach), -1):
                yield _without(data, path, {first, last})


def plainer_steps(data: Data) -> Iterator[Data]:
    """Take away what happens at a point, or let it happen after the step; write out what is repeated."""
    for path in _step_lists(data):
        for index, step in enumerate(_at(data, path)):
            if "do" in step:
                bare = {key: value for key, value in step.items() if key not in {"at", "do"}}
                yield _replaced(data, path, index, [bare])
                yield _replaced(data, path, index, [bare, *step["do"]])
                yield _replaced(data, path, index, step["do"])
            if "repeat" in step:
                yield _replaced(data, path, index, step["repeat"]["steps"])


def gentler_steps(data: Data) -> Iterator[Data]:
    """Take a ``restart`` of the dispatcher for a start."""
    for path in _step_lists(data):
        for index, step in enumerate(_at(data, path)):
            if step.get("dispatcher") == "restart":
                yield _replaced(data, path, index, [{**step, "dispatcher": "start"}])


# What is given


def fewer_builds(data: Data) -> Iterator[Data]:
    """Leave out a build, with every step and payload that names it."""
    for name in reversed(list(data.get("given", {}).get("builds", {}))):
        smaller = copy.deepcopy(data)
        del smaller["given"]["builds"][name]
        yield _forget(smaller, name)


def fewer_plugins(data: Data) -> Iterator[Data]:
    """Leave out a plugin, with every step that names it."""
    for name in reversed(list(data.get("given", {}).get("plugins", {}))):
        smaller = copy.deepcopy(data)
        del smaller["given"]["plugins"][name]
        yield _forget(smaller, name)


def fewer_hooks(data: Data) -> Iterator[Data]:
    """Give a plugin one hook only, or one less."""
    for name, plugin in data.get("given", {}).get("plugins", {}).items():
        hooks = plugin.get("hooks", "all")
        listed = list(channels.CHANNELS) if hooks == "all" else hooks
        kept = [[hook] for hook in listed] if len(listed) > 1 else []
        kept += [[one for one in listed if one != hook] for hook in listed] if len(listed) > 2 else []
        for hooks_left in kept:
            yield _put(data, ("given", "plugins", name, "hooks"), hooks_left)


# Options and numbers


def fewer_options(data: Data) -> Iterator[Data]:
    """Leave out any key that has a default."""
    for path, _ in _walk(data):
        key = path[-1]
        if isinstance(key, str) and key not in _NO_OPTION and key not in VERBS and not _is_entry(path):
            yield _drop(data, path)


def shorter_lists(data: Data) -> Iterator[Data]:
    """Leave out one of several names or fields; a list of one is left to the other neighbourhoods."""
    for path, value in _walk(data):
        if (
            isinstance(value, list)
            and len(value) > 1
            and path[-1] not in {"story", "do", "steps", "exercises", "hooks"}
        ):
            for index in range(len(value) - 1, -1, -1):
                yield _put(data, path, value[:index] + value[index + 1 :])


def smaller_numbers(data: Data) -> Iterator[Data]:
    """Lower a number: to one, to its half, by a quarter, by a little."""
    for path, value in _walk(data):
        if isinstance(value, bool) or not isinstance(value, int | float) or "payload" in path or value <= 1:
            continue
        nearly = int(value) - 1 if value <= FEW else int(value * 7 // 8)
        for lower in dict.fromkeys((1, int(value // 2), int(value * 3 // 4), nearly)):
            if 1 <= lower < value:
                yield _put(data, path, lower)


ALL: tuple[Neighbourhood, ...] = (
    fewer_steps,
    plainer_steps,
    fewer_builds,
    fewer_plugins,
    gentler_steps,
    fewer_options,
    shorter_lists,
    smaller_numbers,
    fewer_hooks,
)
"""All neighbourhoods, what takes most away first."""


def _step_lists(data: Data) -> list[Path]:
    """Return the paths of all lists of steps that hold any, the outermost first."""
    return [
        path
        for path, value in _walk(data)
        if isinstance(value, list)
        and value
        and (path == ("story",) or path[-1] in {"do", "steps"})
        and isinstance(value[0], dict)
    ]


def _is_entry(path: Path) -> bool:
    """Whether this is a build or a plugin itself, under ``given``."""
    return len(path) == 3 and path[0] == "given" and path[1] in {"builds", "plugins"}


def _walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, (*path, index))


def _at(data: Any, path: Path) -> Any:
    for key in path:
        data = data[key]
    return data


def _put(data: Data, path: Path, value: Any) -> Data:
    changed = copy.deepcopy(data)
    _at(changed, path[:-1])[path[-1]] = copy.deepcopy(value)
    return changed


def _drop(data: Data, path: Path) -> Data:
    changed = copy.deepcopy(data)
    del _at(changed, path[:-1])[path[-1]]
    return changed


def _replaced(data: Data, path: Path, index: int, steps: list[Any]) -> Data:
    kept = _at(data, path)
    return _put(data, path, [*kept[:index], *steps, *kept[index + 1 :]])


def _without(data: Data, path: Path, gone: set[int]) -> Data:
    left = [step for index, step in enumerate(_at(data, path)) if index not in gone]
    smaller = _put(data, path, left)
    return _tidy(smaller)


def _tidy(data: Data) -> Data:
    """Take away what has lost its contents: a ``do`` without steps, a ``repeat`` of nothing."""

    def tidy(steps: list[Any]) -> list[Any]:
        kept = []
        for step in steps:
            if "repeat" in step:
                step["repeat"]["steps"] = tidy(step["repeat"]["steps"])
                if not step["repeat"]["steps"]:
                    continue
            if "do" in step:
                step["do"] = tidy(step["do"])
                if not step["do"]:
                    del step["do"], step["at"]
            kept.append(step)
        return kept

    data["story"] = tidy(data["story"])
    return data


def _forget(data: Data, name: str) -> Data:
    """Take every mention of a nickname out of a scenario, and what is nothing without it."""
    for build in data["given"].get("builds", {}).values():
        for key in ("needs", "constituents", "same_derivation_as"):
            _forget_in(build, key, name)
    for plugin in data["given"].get("plugins", {}).values():
        raises = plugin.get("raises")
        if isinstance(raises, dict) and not _forget_in(raises, "for", name):
            del plugin["raises"]
    data["story"] = _steps_without(data["story"], name)
    return data


def _forget_in(entry: Data, key: str, name: str) -> bool:
    """Take a name out of a list or a lone word; False if nothing is left of it."""
    if key not in entry:
        return True
    value = entry[key]
    left = [one for one in (value if isinstance(value, list) else [value]) if not _means(one, name)]
    entry[key] = left
    if not left:
        del entry[key]
    return bool(left)


def _means(word: Any, name: str) -> bool:
    return isinstance(word, str) and word.split(".")[0] == name


def _steps_without(steps: list[Any], name: str) -> list[Any]:
    kept = []
    for step in steps:
        inner = _steps_without(step.get("do", []), name)
        if "repeat" in step:
            step["repeat"]["steps"] = _steps_without(step["repeat"]["steps"], name)
        if _is_about(step, name):
            kept += inner
            continue
        if "do" in step:
            step["do"] = inner
            at = step["at"]
            if not inner or (isinstance(at, dict) and name in at.values()):
                del step["do"], step["at"]
        kept.append(step)
    return [step for step in kept if "repeat" not in step or step["repeat"]["steps"]]


def _is_about(step: Data, name: str) -> bool:
    """Take a name out of a step, and tell whether nothing is left that the step could be about."""
    verb = next(iter(step.keys() & VERBS))
    what = step[verb]
    if verb == "evaluate":
        for key in ("new", "cached"):
            _forget_in(what, key, name)
        return False
    if verb == "dispatcher":
        if "plugins" in step:
            step["plugins"] = [one for one in step["plugins"] if one != name]
        return False
    if verb == "notify":
        payload = what["payload"]
        words = PLACEHOLDER.findall(payload) if isinstance(payload, str) else payload
        return any(_means(word, name) for word in words)
    if verb in {"delete", "insert"}:
        return any(_means(value, name) for _, value in _walk(what))
    if verb == "lock":
        return _means(what["build"], name)
    if verb in {
        "edit_jobset",
        "connection",
        "postgres",
        "settings",
        "migrate",
        "advance",
        "settle",
        "repeat",
        "expect",
        "unknown",
    }:
        return False
    return not _forget_in(step, verb, name)
