"""What the pytest plugin imports when a test asks for it: from settings and markers to the objects of fixtures."""

import math
import shlex
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hydra_notify_sim import errors, scenario
from hydra_notify_sim.contract import channels, promises
from hydra_notify_sim.engine import events
from hydra_notify_sim.engine.claims import NotClaimedError
from hydra_notify_sim.reports import failure
from hydra_notify_sim.simulator import World
from hydra_notify_sim.targets.clock import VirtualClock
from hydra_notify_sim.testing import Hydra, HydraDatabase, parts
from hydra_notify_sim.testing.session import Session, Settings

WIDTH = 110
"""Characters of a line of a story."""

_WORDS = ("dispatcher", "profile", "payloads", "jobset", "flake", "violated", "hook_timeout")


def made_session(settings: Mapping[str, str], worker: str) -> Session:
    """Return the session for what the command line and the ini file say.

    Raises:
        pytest.UsageError: they say something that cannot be.

    """
    try:
        seed = int(settings["seed"])
    except ValueError:
        raise pytest.UsageError(f"--hydra-seed is a whole number, not {settings['seed']!r}") from None
    hook_seconds = _seconds(settings["hook_timeout"])
    if hook_seconds is None:
        raise pytest.UsageError(
            f"--hydra-hook-timeout is a number of seconds above 0, not {settings['hook_timeout']!r}"
        )
    try:
        return Session(
            Settings(
                dispatcher=settings["dispatcher"],
                profile=settings["profile"],
                seed=seed,
                dsn=settings["dsn"] or None,
                worker=worker,
                command=_command(settings),
                hook_seconds=hook_seconds,
            )
        )
    except errors.UsageError as error:
        raise pytest.UsageError(str(error)) from None


def _seconds(said: object) -> float | None:
    """Return a number of seconds above 0; None for anything else."""
    try:
        seconds = float(str(said))
    except ValueError:
        return None
    return seconds if 0 < seconds < math.inf else None


def _command(settings: Mapping[str, str]) -> str:
    """Return what runs a test again as it ran; a DSN may hold a password, and is left out."""
    words = ["pytest"]
    for name, usual in (("dispatcher", "reference"), ("profile", "strict"), ("seed", "0")):
        if settings[name] != usual:
            words += [f"--hydra-{name}", settings[name]]
    return shlex.join(words)


def made_hydra(node: pytest.Item, session: Session) -> Hydra:
    """Return the hydra of a test, as its markers say."""
    said = _said(node)
    changes = {name: said[name] for name in ("dispatcher", "profile") if name in said}
    runner = session.runner(**changes)
    payloads = said.get("payloads")
    if payloads is not None and payloads not in channels.PAYLOAD_VERSIONS:
        raise errors.UsageError(
            f"{node.nodeid}: there are no payloads {payloads!r}; there are {', '.join(channels.PAYLOAD_VERSIONS)}"
        )
    violated = said.get("violated", ())
    violated = [violated] if isinstance(violated, str) else list(violated)
    for promise in violated:
        promises.promise(promise)
    hook_seconds = _seconds(said.get("hook_timeout", session.settings.hook_seconds))
    if hook_seconds is None:
        raise errors.UsageError(
            f"{node.nodeid}: hook_timeout is a number of seconds above 0, not {said['hook_timeout']!r}"
        )
    marker = node.get_closest_marker("hydra_scenario")
    try:
        return Hydra(
            runner,
            name=node.name,
            tell=story,
            path=node.path,
            payloads=payloads,
            jobset=said.get("jobset", "nixpkgs:trunk"),
            flake=said.get("flake"),
            violated=violated,
            scenario=None if marker is None else _scenario(node, marker),
            command=f"{session.settings.command} {shlex.quote(node.nodeid)}",
            hook_seconds=hook_seconds,
        )
    except NotClaimedError as error:
        pytest.skip(f"not claimed: {error}")


def made_world(node: pytest.Item, database: HydraDatabase, session: Session) -> World:
    """Return a world on a database without a dispatcher."""
    payloads = _said(node).get("payloads", channels.DEFAULT_PAYLOADS)
    return parts.world(database, VirtualClock().now, seed=session.settings.seed, payloads=payloads)


def story(event: events.ScenarioFinished) -> str:
    """Return what happened in a run, what broke, and how to see it again, as a person reads it."""
    lines: list[str] = []
    for row in failure.rows_of(
        event, whole=not any(v.verdict == "violated" for v in event.judgements.verdicts)
    ):
        lines += textwrap.wrap(
            row.text,
            WIDTH,
            initial_indent=" " * row.indent,
            subsequent_indent=" " * (row.indent + row.hang),
            replace_whitespace=False,
            drop_whitespace=True,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines)


def _said(node: pytest.Item) -> dict[str, Any]:
    """Return what the markers say, the nearest first."""
    said: dict[str, Any] = {}
    for marker in node.iter_markers("hydra"):
        for name, value in marker.kwargs.items():
            if name not in _WORDS:
                raise errors.UsageError(
                    f"{node.nodeid}: the marker hydra has no {name!r}; it has {', '.join(_WORDS)}"
                )
            said.setdefault(name, value)
        if marker.args:
            raise errors.UsageError(f"{node.nodeid}: the marker hydra takes names: dispatcher=…, profile=…")
    return said


def _scenario(node: pytest.Item, marker: pytest.Mark) -> scenario.Scenario:
    """Return the scenario that a marker names, beside the test's file or from the root directory."""
    if len(marker.args) != 1 or marker.kwargs:
        raise errors.UsageError(f'{node.nodeid}: write the file: @pytest.mark.hydra_scenario("file.yaml")')
    named = Path(marker.args[0])
    places = [node.path.parent / named, node.config.rootpath / named]
    path = next((place for place in places if place.is_file()), places[0])
    return scenario.load(path)
