"""The pytest plugin: fixtures, markers and options. Thin: nothing of ours is imported until a test asks for it."""

import os
import sys
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hydra_notify_sim import __version__

if TYPE_CHECKING:
    from hydra_notify_sim.simulator import Evaluator, QueueRunner, World
    from hydra_notify_sim.testing import Hydra, HydraDatabase
    from hydra_notify_sim.testing.session import Session

_MARKERS = (
    (
        "hydra(dispatcher=…, profile=…, payloads=…, jobset=…, flake=…, violated=[…], hook_timeout=…): how the test's hydra is: "
        "another dispatcher, a milder profile, the payloads' version, the jobset, promises that the test means to break, seconds "
        "that a hook may take"
    ),
    "hydra_scenario(file): the test's hydra plays this scenario first, with the plugins that fixtures installed",
)
_SETTINGS = {
    "dispatcher": (
        "reference",
        "dispatcher under test: reference, reference-process, known-good:NAME, known-bad:NAME",
    ),
    "dsn": (
        "",
        "PostgreSQL server and database to use, in place of a server of our own; with xdist NAME_gwN",
    ),
    "profile": ("strict", "how strictly promises are judged: strict, manual, upstream"),
    "seed": ("0", "seed of made-up names"),
    "hook_timeout": ("60", "seconds in which a hook of a test's own plugin has to return"),
}
_COVERED = "hydra-notify-sim covered: "
"""Before the name of a property that says what a test of Hypothesis's covered."""
_session: pytest.StashKey["Session"] = pytest.StashKey()
_hydra: pytest.StashKey["Hydra"] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--hydra-…`` and the ini settings of the same names."""
    group = parser.getgroup("hydra", "hydra-notify-sim: tests of Hydra plugins")
    for name, (default, text) in _SETTINGS.items():
        group.addoption(f"--hydra-{name.replace('_', '-')}", default=None, metavar=name.upper(), help=text)
        parser.addini(f"hydra_{name}", text, default=default)
    parser.addini(
        "hydra_scenarios", "patterns of scenario files (YAML) that are tests", type="args", default=[]
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_report_header(config: pytest.Config) -> str:
    """Name dispatcher and server."""
    from hydra_notify_sim.reports.safe import mask  # noqa: PLC0415  # see the module's docstring

    server = mask(setting(config, "dsn")) or "a PostgreSQL of its own"
    return (
        f"hydra-notify-sim {__version__}: dispatcher {setting(config, 'dispatcher')}, "
        f"profile {setting(config, 'profile')}, seed {setting(config, 'seed')}, server: {server}"
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take scenario files that are named, or match the ini setting ``hydra_scenarios``, for tests."""
    if file_path.suffix not in {".yaml", ".yml"}:
        return None
    patterns = parent.config.getini("hydra_scenarios")
    if not parent.session.isinitpath(file_path) and not _matches(file_path, patterns, parent.config.rootpath):
        return None
    from hydra_notify_sim.pytest_scenarios import ScenarioFile  # noqa: PLC0415  # see the module's docstring

    return ScenarioFile.from_parent(parent, path=file_path, session_of=session_of)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Show in words how calls and retries differ."""
    if op != "==":
        return None
    sample = next(
        (item for side in (left, right) for item in (side if isinstance(side, list) else [side])), None
    )
    if not type(sample).__module__.startswith("hydra_notify_sim.testing"):
        return None
    from hydra_notify_sim.testing.comparisons import explain  # noqa: PLC0415  # see the module's docstring

    return explain(left, right)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Judge a test when its function has returned; show the story of one that failed by itself."""
    hydra = item.stash.get(_hydra, None)
    if hydra is not None:
        hydra.begin()
    elif item.get_closest_marker("hydra_scenario"):
        pytest.fail("the marker hydra_scenario is for tests that use the fixture hydra", pytrace=False)
    try:
        with _made_up(item):
            yield
    except Exception:
        if hydra is not None:
            from hydra_notify_sim.pytest_fixtures import story  # noqa: PLC0415  # see the module's docstring

            item.add_report_section("call", "hydra's story", story(hydra.judged()))
            if in_vain := hydra.points_in_vain():
                item.add_report_section("call", "what never happened", "\n".join(in_vain))
        raise
    if hydra is not None:
        _end(hydra)


@contextmanager
def _made_up(item: pytest.Item) -> Iterator[None]:
    """Write down the story of a promise that Hypothesis broke, and keep the account of what it covered."""
    try:
        yield
    except BaseException:
        if broken := sys.modules.get("hydra_notify_sim.strategies.broken"):
            with broken.written_down():
                raise
        raise
    finally:
        if coverage := sys.modules.get("hydra_notify_sim.strategies.coverage"):
            item.user_properties += [(_COVERED + what, text) for what, text in coverage.collect().items()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the examples of Hypothesis covered: with xdist, those of every worker."""
    for report in (one for reports in terminalreporter.stats.values() for one in reports):
        if getattr(report, "when", "") != "call":
            continue
        for name, account in report.user_properties:
            if str(name).startswith(_COVERED):
                terminalreporter.section(f"{str(name).removeprefix(_COVERED)} ({report.nodeid})", sep="-")
                terminalreporter.write_line(account)


def _end(hydra: "Hydra") -> None:
    from hydra_notify_sim.testing import NotExercisedError, PromiseBrokenError  # noqa: PLC0415  # imported already

    complaint = ""
    try:
        hydra.end()
    except (PromiseBrokenError, NotExercisedError) as error:
        complaint = str(error)
    if complaint:
        pytest.fail(complaint, pytrace=False)


@contextmanager
def _in_plain_words() -> Iterator[None]:
    """Fail with the message alone where the cause is not in the test: a traceback would show a DSN's password."""
    from hydra_notify_sim.errors import HydraNotifySimError  # noqa: PLC0415  # see the module's docstring

    complaint = ""
    try:
        yield
    except HydraNotifySimError as error:
        complaint = str(error)
    if complaint:
        pytest.fail(complaint, pytrace=False)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server."""
    if session := config.stash.get(_session, None):
        session.close()


def setting(config: pytest.Config, name: str) -> str:
    """Return a setting: of the command line, else of the ini file."""
    given = config.getoption(f"--hydra-{name.replace('_', '-')}")
    return str(config.getini(f"hydra_{name}") if given is None else given)


def session_of(config: pytest.Config) -> "Session":
    """Return what the tests of this session share; the server starts when its environment is asked for."""
    if (session := config.stash.get(_session, None)) is None:
        from hydra_notify_sim.pytest_fixtures import made_session  # noqa: PLC0415  # see the module's docstring

        session = config.stash[_session] = made_session(
            {name: setting(config, name) for name in _SETTINGS}, os.environ.get("PYTEST_XDIST_WORKER", "")
        )
    return session


def _matches(path: Path, patterns: list[str], root: Path) -> bool:
    """Tell whether a file matches a pattern: relative to the root directory, ``**`` stands for any folders."""
    if not patterns or not path.is_relative_to(root):
        return False
    return any(path in set(root.glob(pattern)) for pattern in patterns)


def _name_what_was_left(request: pytest.FixtureRequest) -> None:
    """Warn of what a test added to a user's database, where nothing is dropped."""
    database = session_of(request.config).environment.database
    if left := database.left_behind():
        warnings.warn(
            pytest.PytestWarning(
                f"{request.node.nodeid} left in database {database.name!r}, for the tests that follow: {', '.join(left)}. "
                "Drop it at the end of the test; on a server of our own it would be dropped for you."
            ),
            stacklevel=1,
        )


@pytest.fixture
def hydra(request: pytest.FixtureRequest) -> Iterator["Hydra"]:
    """Give a clean Hydra database, a simulated Hydra and a dispatcher; judged when the test ends."""
    from hydra_notify_sim.pytest_fixtures import made_hydra  # noqa: PLC0415  # see the module's docstring

    with _in_plain_words():
        fresh = made_hydra(request.node, session_of(request.config))
    with fresh as made:
        request.node.stash[_hydra] = made
        yield made
        del request.node.stash[_hydra]
    _name_what_was_left(request)


@pytest.fixture
def hydra_database(request: pytest.FixtureRequest) -> Iterator["HydraDatabase"]:
    """Give a clean Hydra database with ``dsn``, ``connection`` and ``connect()``."""
    from hydra_notify_sim.testing import HydraDatabase  # noqa: PLC0415  # see the module's docstring

    if "hydra" in request.fixturenames:
        request.getfixturevalue("hydra")
    with _in_plain_words():
        environment = session_of(request.config).environment
        if "hydra" not in request.fixturenames:
            environment.clean()
    database = HydraDatabase(environment)
    yield database
    database.close()
    _name_what_was_left(request)


@pytest.fixture
def hydra_world(request: pytest.FixtureRequest, hydra_database: "HydraDatabase") -> "World":
    """Give what queue runner and evaluator share: ``world.build("iso")`` makes up a build."""
    if "hydra" in request.fixturenames:
        world: World = request.getfixturevalue("hydra").world
        return world
    from hydra_notify_sim.pytest_fixtures import made_world  # noqa: PLC0415  # see the module's docstring

    return made_world(request.node, hydra_database, session_of(request.config))


@pytest.fixture
def hydra_queue_runner(hydra_world: "World") -> "QueueRunner":
    """Give the fake queue runner alone: its transactions and notifications, on `hydra_database`."""
    from hydra_notify_sim.simulator import QueueRunner  # noqa: PLC0415  # see the module's docstring

    return QueueRunner(hydra_world)


@pytest.fixture
def hydra_evaluator(hydra_world: "World") -> "Evaluator":
    """Give the fake evaluator alone: its transactions and notifications, on `hydra_database`."""
    from hydra_notify_sim.simulator import Evaluator  # noqa: PLC0415  # see the module's docstring

    return Evaluator(hydra_world)
