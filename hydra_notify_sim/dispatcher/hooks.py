"""Finds the hooks of a plugin's object, and refuses methods that only look like hooks: nobody would call or await them."""

import contextlib
import inspect
import re
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from hydra_notify_sim import errors
from hydra_notify_sim.contract import channels

NEAR = 2
"""Letters in which a method's name may differ from a hook's and still be taken for a misspelt one."""

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""Where a word begins in a name of Perl's, such as ``buildFinished``."""

Hook = Callable[..., object]


class PluginError(errors.UsageError):
    """A plugin cannot be loaded, has no hook, or has a method that looks like a hook and is none."""


class UnfinishedHookError(Exception):
    """A hook returned something that has yet to be run, so it did not do its work: a failed call."""


def of_object(plugin: object, name: str) -> dict[str, Hook]:
    """Return the hooks of an object by their names.

    Raises:
        PluginError: it has none; or one that is asynchronous, a generator, or takes other arguments; or a method that
            is named almost like one.

    """
    hooks: dict[str, Hook] = {
        hook: method for hook in channels.CHANNELS if callable(method := getattr(plugin, hook, None))
    }
    _refuse_near_misses(plugin, name, hooks)
    if not hooks:
        raise PluginError(
            f"plugin {name} has no hook. Hooks are methods named {', '.join(channels.CHANNELS)}."
        )
    for hook, method in hooks.items():
        _refuse_unfinished(name, hook, method)
        _refuse_other_arguments(name, hook, method)
    return hooks


def call(hook: str, method: Hook, arguments: dict[str, Any]) -> None:
    """Call a hook with its arguments by position.

    Raises:
        UnfinishedHookError: it returned a coroutine, another awaitable or a generator, which nobody would run.

    """
    result = method(*arguments.values())
    if isinstance(result, Awaitable | Generator) or inspect.isasyncgen(result):
        if close := getattr(result, "close", None):
            close()  # or Python would warn of a coroutine that nobody awaited
        raise UnfinishedHookError(
            f"{hook} returned a {type(result).__name__}, which a dispatcher neither awaits nor iterates: its work was "
            f"not done. Do the work before {hook} returns, with asyncio.run(…) if it has to be asynchronous"
        )


def _refuse_unfinished(name: str, hook: str, method: Hook) -> None:
    # Of an object that can be called it is the class's method that says how.
    for candidate in (method, type(method).__call__):
        if inspect.iscoroutinefunction(candidate):
            raise PluginError(
                f"plugin {name}: {hook} is an `async def`. A dispatcher calls hooks and does not await them, so nothing "
                f"would be done. Write `def {hook}(self, …):` and in it `asyncio.run(self._{hook}(…))`."
            )
        if inspect.isgeneratorfunction(candidate) or inspect.isasyncgenfunction(candidate):
            raise PluginError(
                f"plugin {name}: {hook} has a `yield`. A dispatcher calls hooks and does not iterate over what they "
                f"return, so nothing would be done. Write `def {hook}(self, …):` without `yield`."
            )


def _refuse_other_arguments(name: str, hook: str, method: Hook) -> None:
    """Refuse a hook that could only raise TypeError; ``error_changed`` comes with newer payloads only."""
    names = channels.ARGUMENTS[hook]
    without = [one for one in names if one != "error_changed"]
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):
        return  # of what is written in C little is known
    for given in (names, without):
        with contextlib.suppress(TypeError):
            signature.bind(*given)
            return
    raise PluginError(
        f"plugin {name}: {hook} is called with {', '.join(without)}, by position, and it takes {signature}. "
        f"Write `def {hook}(self, {', '.join(without)}):`."
    )


def _refuse_near_misses(plugin: object, name: str, hooks: dict[str, Hook]) -> None:
    for attribute in dir(plugin):
        if attribute.startswith("_") or attribute in channels.CHANNELS:
            continue
        hook = _meant(attribute)
        # Beside the hook itself a name like it is a helper's: nothing is lost.
        if hook is None or hook in hooks or not callable(getattr(plugin, attribute, None)):
            continue
        raise PluginError(
            f"plugin {name}: its method {attribute!r} is no hook, and is never called. Did you mean {hook!r}? If it is a "
            f"helper, begin its name with an underscore. Hooks are methods named {', '.join(channels.CHANNELS)}."
        )


def _meant(attribute: str) -> str | None:
    """Return the hook that a method's name is almost the name of."""
    word = _CAMEL.sub("_", attribute).lower().removeprefix("on_")
    distances = {hook: _edits(word, hook) for hook in channels.CHANNELS}
    nearest = min(distances, key=lambda hook: distances[hook])
    return nearest if distances[nearest] <= NEAR else None


def _edits(one: str, other: str) -> int:
    """Return how many letters have to be inserted, deleted or replaced to make one word of the other (Levenshtein)."""
    if abs(len(one) - len(other)) > NEAR:
        return NEAR + 1
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, opposite in enumerate(other, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (letter != opposite))
    return row[-1]
