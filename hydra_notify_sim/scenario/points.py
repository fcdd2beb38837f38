"""The points of a dispatcher's work at which a scenario can act: names, which one, of which hook."""

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_serializer
from pydantic_core import PydanticCustomError

from hydra_notify_sim.contract import channels
from hydra_notify_sim.scenario.base import Entry, Hook, check_nickname, choose, shown

CALL_POINTS = ("before_call", "inside_call", "after_call")
"""Points around a plugin's call; ``which`` is nothing, the plugin's nickname, or a number from 1."""

NUMBERED_POINTS = ("during_scan", "point")
"""Points of which there are many; ``which`` is a number from 1."""

LONE_POINTS = (
    "before_clear",
    "after_clear",
    "before_store",
    "after_store",
    "before_wait",
    "between_listen_and_scan",
)
"""Points that need no further word."""

MARK_POINTS = ("before_clear", "after_clear", "during_scan")
"""Points that are about marks, which belong to build_finished and to no other hook."""

_NO_HOOK = {
    "before_wait": "the dispatcher has no event in hand there",
    "between_listen_and_scan": "the dispatcher has no event in hand there",
    "point": "its number says already which one it is",
}
"""Points at which a hook has no meaning, with the reason."""

POINTS = (*CALL_POINTS, *LONE_POINTS, *NUMBERED_POINTS)


class Point(Entry):
    """Where in its work the dispatcher is: the steps under ``do`` are played when it gets there."""

    hidden_keys: ClassVar[frozenset[str]] = frozenset({"name", "which"})
    further_keys: ClassVar[tuple[str, ...]] = POINTS

    lone_keys: ClassVar[frozenset[str]] = frozenset(POINTS)

    name: str
    which: Annotated[int, Field(strict=True)] | str | None = None
    """Of a call: a plugin's nickname, or the number of the call among those of the event, from 1. Of
    ``during_scan``: the number of builds found so far. Of ``point``: the number that a sweep gives it."""
    hook: Hook | None = None
    """Only while the dispatcher works on an event of this channel; of a store, on the call of this hook that failed."""

    @classmethod
    def from_yaml(cls, data: Any) -> Any:
        """Read ``before_clear``, ``{after_call: 1}`` or ``{after_call: 1, hook: build_finished}``."""
        if isinstance(data, str):
            data = {data: None} if data in POINTS else {"name": data}
        if not isinstance(data, dict):
            raise PydanticCustomError(
                "point", "write a point's name, or {after_call: 1}, not {shown}", {"shown": shown(data)}
            )
        named = [key for key in data if key in POINTS]
        if named:
            if len(named) > 1:
                raise PydanticCustomError(
                    "point",
                    "two points in one place: {named}; a step has one",
                    {"named": " and ".join(named)},
                )
            rest = {key: value for key, value in data.items() if key not in POINTS}
            data = {"name": named[0], "which": data[named[0]], **rest}
        _check(data)
        return data

    @model_serializer
    def _written(self) -> Any:
        if self.hook is not None:
            return {self.name: self.which, "hook": self.hook}
        return self.name if self.which is None else {self.name: self.which}

    def __str__(self) -> str:
        """Return the point in words: ``after_call 1 of build_finished``."""
        which = "" if self.which is None else f" {self.which}"
        return f"{self.name}{which}" + (f" of {self.hook}" if self.hook else "")


def _check(data: dict[str, Any]) -> None:
    if "name" not in data:
        raise PydanticCustomError("point", "no point is named here", {"valid": list(POINTS)})
    name = choose(data["name"], POINTS, "a point")
    which = data.get("which")
    _check_hook(name, data.get("hook"))
    if name in LONE_POINTS and which is not None:
        raise PydanticCustomError(
            "point", "there is one {name}: write it without '{which}'", {"name": name, "which": shown(which)}
        )
    if name in NUMBERED_POINTS and which is None:
        raise PydanticCustomError("point", "{name} needs a number: {{name}: 1}", {"name": name})
    if which is None or (isinstance(which, int) and not isinstance(which, bool) and 1 <= which < 10**9):
        return
    if name in NUMBERED_POINTS or not isinstance(which, str):
        raise PydanticCustomError(
            "point",
            "'{which}' is not a number from 1 on, which {name} needs",
            {"which": shown(which), "name": name},
        )
    check_nickname(which)


def _check_hook(name: str, hook: Any) -> None:
    """Refuse a hook with which the point would never be reached."""
    if hook is None:
        return
    if name in _NO_HOOK:
        raise PydanticCustomError(
            "point",
            "{name} takes no hook: {why}. Write it without 'hook'",
            {"name": name, "why": _NO_HOOK[name]},
        )
    if name in MARK_POINTS and hook in channels.CHANNELS and hook != "build_finished":
        raise PydanticCustomError(
            "point",
            "{name} of {hook} is never reached: only build_finished has marks. Write it without 'hook'",
            {"name": name, "hook": hook},
        )
