import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from hydra_notify_sim.dispatcher import plugins


class Chat:
    def build_started(self, build: object) -> None:
        self.heard = build

    def build_finished(self, build: object, dependents: object) -> None:
        raise RuntimeError("no")


class Perlish:
    def buildFinished(self, build: object) -> None:  # noqa: N802  # the mistake that the message is for
        pass


class Nothing:
    pass


class Failing:
    def __init__(self) -> None:
        raise RuntimeError("no token in the configuration")


HERE = __name__


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `module:Class` find this file under whatever name it was imported."""
    monkeypatch.setitem(sys.modules, "example_plugins", sys.modules[HERE])


def test_methods_named_after_channels_are_the_hooks() -> None:
    plugin = plugins.load("example_plugins:Chat")
    assert plugin.name == "Chat"
    assert plugin.hooks == {"build_started", "build_finished"}


def test_arguments_are_passed_by_position() -> None:
    plugin = plugins.PythonPlugin(Chat())
    plugin.call("build_started", {"build": "row"})
    assert plugin.plugin.heard == "row"


@pytest.mark.parametrize(
    ("specification", "says"),
    [
        ("no_such_module:Chat", "module 'no_such_module' cannot be imported"),
        ("example_plugins:Chad", "Did you mean 'Chat'?"),
        ("example_plugins:Nothing", "has no hook"),
        (
            "example_plugins:Perlish",
            "'buildFinished' is no hook, and is never called. Did you mean 'build_finished'?",
        ),
        ("example_plugins:Failing", "no token in the configuration"),
        ("chat", "neither module:Class nor an entry point"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_a_sentence(specification: str, says: str) -> None:
    with pytest.raises(plugins.PluginError, match="plugin") as error:
        plugins.load(specification)
    assert says in str(error.value)
    assert error.value.exit_code == 2


def test_an_entry_point_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("chat", "example_plugins:Chat", plugins.ENTRY_POINT_GROUP)
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: EntryPoints([point]) if group else EntryPoints()
    )
    assert plugins.load("chat").name == "Chat"


def test_two_plugins_of_one_name_are_refused() -> None:
    with pytest.raises(plugins.PluginError, match="two plugins are called 'Chat'"):
        plugins.load_all(["example_plugins:Chat", "example_plugins:Chat"])
