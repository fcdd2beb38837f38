"""Plugins of a test: an author's own object, or a recorder that does what the scenario language can say."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from hydra_notify_sim import errors
from hydra_notify_sim.dispatcher import plugins, rows
from hydra_notify_sim.scenario.model import GivenPlugin
from hydra_notify_sim.testing.handles import Plugin
from hydra_notify_sim.testing.hook_timeout import HookTimeoutError

__tracebackhide__ = True
"""Pytest shows a failure where the test is, not in here."""

_ROWS: dict[str, type[rows.Row]] = {
    "build": rows.Build,
    "step": rows.Step,
    "evaluation": rows.Evaluation,
    "jobset": rows.Jobset,
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_+-]{0,99}\Z")

Code = Callable[[str, Mapping[str, Any]], None]


class RecorderPlugin(Plugin):
    """A plugin without code of its own."""

    __slots__ = ("given",)

    def __init__(self, name: str, given: GivenPlugin) -> None:
        super().__init__(name, given.hooks)
        self.given = given


def of_object(plugin: object, name: str | None = None) -> tuple[Plugin, Code]:
    """Return the handle of an author's plugin, and what calls it.

    Raises:
        PluginError: it has no hook.
        UsageError: a class was given, or its name cannot stand in a story.

    """
    if isinstance(plugin, type):
        raise errors.UsageError(
            f"{plugin.__name__} is a class: install an object of it, {plugin.__name__}(…)"
        )
    wrapped = plugins.PythonPlugin(plugin, name)
    check_name(wrapped.name)
    hooks = tuple(hook for hook in GivenPlugin().hooks if hook in wrapped.hooks)

    def code(hook: str, arguments: Mapping[str, Any]) -> None:
        wrapped.call(hook, {name: as_row(name, value) for name, value in arguments.items()})

    return Plugin(wrapped.name, hooks, plugin), code


def is_of_the_test(error: BaseException) -> bool:
    """Tell whether something raised in a hook is the test's own word (``pytest.fail()``, a hook's time is up), and not the plugin's failure."""
    return isinstance(error, HookTimeoutError) or (
        not isinstance(error, Exception)
        and any(cls.__module__.startswith(("_pytest.", "hypothesis.")) for cls in type(error).__mro__)
    )


def check_name(name: str) -> None:
    """Refuse a name that cannot stand in a story. Raises UsageError."""
    if not _NAME.match(name):
        raise errors.UsageError(
            f"{name!r} cannot be the name of a plugin here: use letters, digits, '-', '_' and '+', "
            "beginning with a letter"
        )


def as_row(argument: str, value: Any) -> Any:
    """Return a row with attributes; a dispatcher that is a process hands over mappings."""
    if argument == "dependents":
        return [as_row("build", build) for build in value]
    return _ROWS[argument](dict(value)) if isinstance(value, Mapping) and argument in _ROWS else value
