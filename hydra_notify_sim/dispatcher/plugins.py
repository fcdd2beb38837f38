"""Plugins: Python objects with methods named after the channels; where they are loaded from."""

import difflib
import importlib
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any, Protocol

from hydra_notify_sim.dispatcher import hooks
from hydra_notify_sim.dispatcher.hooks import PluginError

__all__ = ["ENTRY_POINT_GROUP", "Plugin", "PluginError", "PythonPlugin", "load", "load_all"]

ENTRY_POINT_GROUP = "hydra_notify_sim.plugins"


class Plugin(Protocol):
    """What the core calls."""

    @property
    def name(self) -> str:
        """The name under which its failures are stored."""

    @property
    def hooks(self) -> frozenset[str]:
        """The channels it is interested in."""

    def call(self, hook: str, arguments: dict[str, Any]) -> None:
        """Call a hook; whatever it raises is the plugin's failure."""


class PythonPlugin:
    """An object whose methods are its hooks: ``build_finished(build, dependents)`` and so on.

    The arguments are passed by position, in the order of docs/reference/hydra.md, section 6.
    """

    def __init__(self, plugin: object, name: str | None = None) -> None:
        """Look at what hooks the object has.

        Raises:
            PluginError: it has none, one that is asynchronous, or a method that is named almost like one.

        """
        self.plugin = plugin
        self.name = name or str(getattr(plugin, "name", "") or type(plugin).__name__)
        self._hooks = hooks.of_object(plugin, self.name)
        self.hooks = frozenset(self._hooks)

    def call(self, hook: str, arguments: dict[str, Any]) -> None:
        """Call the method of that name."""
        hooks.call(hook, self._hooks[hook], arguments)


def load(specification: str) -> PythonPlugin:
    """Load a plugin from ``module:Class``, or by the name of an entry point of group `ENTRY_POINT_GROUP`.

    Raises:
        PluginError: it cannot be imported, made, or has no hooks that can be called; the message says which.

    """
    factory = _from_module(specification) if ":" in specification else _from_entry_point(specification)
    try:
        made = factory() if isinstance(factory, type) or callable(factory) else factory
    except Exception as error:
        raise PluginError(
            f"plugin {specification}: making it failed: {type(error).__name__}: {error}"
        ) from error
    return PythonPlugin(made)


def load_all(specifications: Sequence[str]) -> list[PythonPlugin]:
    """Load several plugins; two of one name are refused, for tasks are stored under the name."""
    loaded = [load(specification) for specification in specifications]
    names = [plugin.name for plugin in loaded]
    for name in names:
        if names.count(name) > 1:
            raise PluginError(f"two plugins are called {name!r}; give one of them a `name` attribute")
    return loaded


def _from_module(specification: str) -> Any:
    module_name, _, attribute = specification.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise PluginError(
            f"plugin {specification}: module {module_name!r} cannot be imported: {type(error).__name__}: {error}. "
            "It must be installed, or PYTHONPATH must name its directory."
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        near = difflib.get_close_matches(attribute, dir(module), 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise PluginError(
            f"plugin {specification}: module {module_name!r} has no {attribute!r}.{hint}"
        ) from None


def _from_entry_point(name: str) -> Any:
    found = entry_points(group=ENTRY_POINT_GROUP)
    for point in found:
        if point.name == name:
            try:
                return point.load()
            except Exception as error:
                raise PluginError(f"plugin {name}: {point.value} cannot be imported: {error}") from error
    known = ", ".join(sorted(found.names)) or "none is installed"
    raise PluginError(
        f"plugin {name!r} is neither module:Class nor an entry point of group {ENTRY_POINT_GROUP} ({known})"
    )
