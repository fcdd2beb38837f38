"""What counts as a hook of a plugin, what is refused, and what a hook may return."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock

import pytest

from hydra_notify_sim.dispatcher import hooks, plugins


async def post(build: object, dependents: object) -> None:
    """Say something."""


def generate(build: object, dependents: object) -> Iterator[object]:
    yield build


async def generate_async(build: object, dependents: object) -> AsyncIterator[object]:
    yield build


class Callable_:  # noqa: N801  # an object that can be called, with a name of its own in messages
    async def __call__(self, build: object, dependents: object) -> None:
        """Say something."""


class Plain:
    def build_started(self, build: object) -> None:
        """Have one good hook."""


def with_hook(hook: str, method: Callable[..., Any]) -> object:
    plugin = Plain()
    setattr(plugin, hook, method)
    return plugin


@pytest.mark.parametrize(
    "method",
    [post, functools.partial(post, object()), Callable_(), AsyncMock()],
    ids=["async def", "partial", "object", "mock"],
)
def test_an_asynchronous_hook_is_refused_with_what_to_write(method: Callable[..., Any]) -> None:
    with pytest.raises(plugins.PluginError) as refused:
        plugins.PythonPlugin(with_hook("build_finished", method), "chat")
    assert "plugin chat: build_finished is an `async def`" in str(refused.value)
    assert "asyncio.run(self._build_finished(…))" in str(refused.value)


@pytest.mark.parametrize("method", [generate, generate_async])
def test_a_hook_that_is_a_generator_is_refused(method: Callable[..., Any]) -> None:
    with pytest.raises(plugins.PluginError, match=r"build_finished has a `yield`.*without `yield`"):
        plugins.PythonPlugin(with_hook("build_finished", method))


@pytest.mark.parametrize("method", [post, generate, generate_async])
def test_a_hook_that_returns_what_has_yet_to_be_run_has_failed(method: Callable[..., Any]) -> None:
    @functools.wraps(method)
    def hidden(*rows: object) -> object:
        return method(*rows)

    plugin = plugins.PythonPlugin(with_hook("build_finished", hidden))
    with pytest.raises(hooks.UnfinishedHookError, match=r"build_finished returned a .*its work was not done"):
        plugin.call("build_finished", {"build": object(), "dependents": []})


def test_a_decorator_that_runs_an_asynchronous_function_is_no_mistake() -> None:
    told = []

    @functools.wraps(post)
    def run(*rows: object) -> object:
        asyncio.run(post(*rows))
        told.append(rows)
        return "sent"

    plugins.PythonPlugin(with_hook("build_finished", run)).call(
        "build_finished", {"build": 1, "dependents": []}
    )
    assert told == [(1, [])]


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("build_finish", "build_finished"),
        ("buildFinished", "build_finished"),
        ("buid_finished", "build_finished"),
        ("on_build_finished", "build_finished"),
        ("onBuildFinished", "build_finished"),
        ("steps_finished", "step_finished"),
        ("cachedBuildFinish", "cached_build_finished"),
        ("eval_add", "eval_added"),
        ("build_queue", "build_queued"),
    ],
)
def test_a_misspelt_hook_beside_a_good_one_is_refused(misspelt: str, meant: str) -> None:
    with pytest.raises(plugins.PluginError, match=f"'{misspelt}' is no hook.*Did you mean '{meant}'"):
        plugins.PythonPlugin(with_hook(misspelt, print))


@pytest.mark.parametrize(
    "helper",
    [
        "_build_finish",
        "finish",
        "build",
        "build_is_finished",
        "build_status",
        "step_text",
        "evaluate",
        "queue_build",
    ],
)
def test_a_helper_is_not_refused(helper: str) -> None:
    assert plugins.PythonPlugin(with_hook(helper, print)).hooks == {"build_started"}


@pytest.mark.parametrize(
    ("hook", "method"),
    [
        ("build_finished", lambda _build: None),
        ("build_finished", lambda _build, _dependents, _more: None),
        ("build_queued", lambda: None),
        ("eval_added", lambda _trace, _jobset: None),
        ("step_finished", lambda *, step, log_path: (step, log_path)),
    ],
)
def test_a_hook_that_takes_other_arguments_is_refused(hook: str, method: Callable[..., Any]) -> None:
    with pytest.raises(plugins.PluginError, match=rf"{hook} is called with .*Write `def {hook}\(self, "):
        plugins.PythonPlugin(with_hook(hook, method))


@pytest.mark.parametrize(
    ("hook", "method"),
    [
        ("build_finished", lambda *_rows: None),
        ("build_finished", lambda _build, _dependents=(), _more=None: None),
        ("eval_added", lambda _trace, _jobset, _evaluation: None),
        ("eval_added", lambda _trace, _jobset, _evaluation, _changed: None),
        ("eval_failed", lambda _trace, _jobset, _changed=None: None),
    ],
)
def test_a_hook_may_take_more_and_know_one_version_of_payloads(hook: str, method: Callable[..., Any]) -> None:
    assert hook in plugins.PythonPlugin(with_hook(hook, method)).hooks


def test_what_cannot_be_called_or_stands_beside_the_hook_itself_is_not_refused() -> None:
    plugin: Any = with_hook("build_start", print)
    plugin.eval_cache = {}
    assert plugins.PythonPlugin(plugin).hooks == {"build_started"}


def test_no_property_is_evaluated_to_find_the_hooks() -> None:
    class Lazy(Plain):
        @property
        def connection(self) -> object:
            raise AssertionError("nobody asked for it")

    assert plugins.PythonPlugin(Lazy()).hooks == {"build_started"}
