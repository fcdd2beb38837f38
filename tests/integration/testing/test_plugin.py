"""The pytest plugin as its users meet it: failures, markers, options, scenario files, other plugins."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

# Runs within this process forget what they import; what is there already stays, and is quick.
from hydra_notify_sim import pytest_fixtures, pytest_scenarios  # noqa: F401  # see above
from hydra_notify_sim.database import Server, start_server

BROKEN = "known-bad:clears-after-the-first-plugin"
TESTS = """
import pytest
from hydra_notify_sim.testing import call

def deploy(hydra):
    hydra.install(hydra.plugin("first", hooks=["build_finished"]))
    hydra.install(hydra.plugin("second", hooks=["build_finished"]))
    with hydra.at("after_call", 1, hook="build_finished").crash():
        iso = hydra.build(hydra.queue("iso"))
    hydra.dispatcher.start()
    return iso
"""
STORY = """
scenario: A deploy between two plugins
why: It was lost
exercises: [B-clear-after]
given:
  builds: {iso: {}}
  plugins: {first: {hooks: [build_finished]}, second: {hooks: [build_finished]}}
story:
  - dispatcher: start
  - build: iso
    at: {after_call: 1, hook: build_finished}
    do: [dispatcher: crash]
  - dispatcher: start
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    def run_it(*arguments: str, files: str = "", **more: str) -> pytest.RunResult:
        if files:
            pytester.makepyfile(test_it=TESTS + files)
        for name, text in more.items():
            pytester.path.joinpath(name + ".yaml").write_text(text)
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)

    return run_it


def test_a_broken_promise_fails_the_test_with_its_story_and_no_traceback(run: Run) -> None:
    result = run(f"--hydra-dispatcher={BROKEN}", files="def test_deploys(hydra):\n    deploy(hydra)\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            f"hydra-notify-sim *: dispatcher {BROKEN}, profile strict, seed 0, server: *",
            "  Deploys",
            "  B-clear-after was broken",
            "*the mark of iso * should be cleared only when every interested plugin*",
            "  The story so far (> marks what proves it)",
            "*dispatcher * starts (life 2) with first and second*",
            f"    pytest --hydra-dispatcher {BROKEN} test_it.py::test_deploys",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert "hydra_notify_sim/" not in result.stdout.str()


def test_a_marker_relaxes_it(run: Run) -> None:
    result = run(
        files=f"""
@pytest.mark.hydra(dispatcher="{BROKEN}", violated=["B-clear-after", "B-at-least-once"])
def test_deploys(hydra):
    deploy(hydra)

@pytest.mark.hydra(violated=["B-clear-after"])
def test_better_than_that(hydra):
    deploy(hydra)

@pytest.mark.hydra(flavour="mild")
def test_wrong(hydra):
    pass

@pytest.mark.hydra(dispatcher="referenc")
def test_unknown(hydra):
    pass

@pytest.mark.xfail(strict=True)
@pytest.mark.hydra(dispatcher="{BROKEN}")
def test_expected_to_fail(hydra):
    deploy(hydra)
"""
    )
    result.assert_outcomes(passed=1, failed=1, errors=2, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "*marker hydra has no 'flavour'; it has dispatcher, *",
            "*there is no dispatcher 'referenc'. Did you mean 'reference'*",
            "The test is marked to break B-clear-after, and nothing broke it.*",
        ]
    )


def test_a_failed_comparison_shows_what_differs(run: Run) -> None:
    result = run(
        files="""
def test_compares(hydra):
    iso = deploy(hydra)
    assert hydra.calls("first") == [call.build_queued(iso), call.build_finished(iso, status="failed")]
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*the calls are not those expected: 2 found, 2 expected",
            "E*- call.build_queued(iso)",
            "E*+ first: build_finished(iso, status='succeeded') [[]returned[]]",
            "E*status 'succeeded', not 'failed'",
            "*hydra's story*",
        ]
    )


def test_a_test_that_fails_while_a_call_is_held_leaves_nothing_behind(run: Run) -> None:
    result = run(
        files="""
def test_fails(hydra):
    hydra.install(hydra.plugin("slow", hooks=["build_finished"], holds=True))
    hydra.build(hydra.queue("iso"))
    assert [c.ended for c in hydra.calls("slow")] == ["returned"]

def test_goes_on(hydra):
    deploy(hydra)
"""
    )
    result.assert_outcomes(passed=1, failed=1)
    assert [
        thread.name for thread in threading.enumerate() if thread.name.startswith("hydra-notify-sim")
    ] == []


def test_scenario_files_are_tests(run: Run) -> None:
    wrong = "services:\n  web: {image: nginx}\n"
    result = run("deploy.yaml", "-k", "B-clear-after", deploy=STORY)
    result.assert_outcomes(passed=1)
    result = run("deploy.yaml", f"--hydra-dispatcher={BROKEN}", "--junitxml=report.xml", deploy=STORY)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*scenario: A deploy between two plugins*", "B-* violated", "  B-clear-after was broken"]
    )
    assert "Traceback" not in result.stdout.str()
    assert 'name="deploy"' in Path("report.xml").read_text()
    result = run("compose.yaml", compose=wrong)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*compose.yaml:*services*"])


def test_only_files_that_are_named_or_match_are_collected(run: Run, pytester: pytest.Pytester) -> None:
    assert run(deploy=STORY).ret == pytest.ExitCode.NO_TESTS_COLLECTED
    pytester.makeini("[pytest]\nhydra_scenarios = stories/**/*.yaml\n")
    stories = pytester.mkdir("stories")
    stories.joinpath("deploy.yaml").write_text(STORY)
    run("-v").assert_outcomes(passed=1)


def test_a_scenario_is_played_with_the_tests_own_plugin(run: Run) -> None:
    result = run(
        files="""
class Second:
    name = "second"
    def __init__(self): self.told = []
    def build_finished(self, build, dependents): self.told.append(build.buildstatus)

@pytest.fixture
def second(hydra):
    second = Second()
    hydra.install(second)
    return second

@pytest.mark.hydra_scenario("deploy.yaml")
def test_plays(hydra, second):
    assert second.told == [0]
    assert hydra.calls("second") == [call.build_finished(hydra.builds["iso"], status="succeeded")]

@pytest.mark.hydra_scenario("deploy.yaml")
def test_without_hydra():
    pass

@pytest.mark.hydra_scenario("nowhere.yaml")
def test_without_file(hydra):
    pass
""",
        deploy=STORY,
    )
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*nowhere.yaml*there is no such file*", "*is for tests that use the fixture hydra"]
    )


def test_settings_come_from_the_ini_file_and_the_command_line(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\nhydra_dispatcher = {BROKEN}\nhydra_seed = 3\nhydra_profile = manual\n")
    result = run("--hydra-seed=5", files="def test_nothing(): pass\n")
    result.stdout.fnmatch_lines(
        [f"*: dispatcher {BROKEN}, profile manual, seed 5, server: a PostgreSQL of its own"]
    )
    for wrong in ("--hydra-profile=lax", "--hydra-dispatcher=none", "--hydra-seed=x"):
        result = run(wrong, files="def test_it(hydra): pass\n")
        result.assert_outcomes(errors=1)


def test_no_password_is_shown(run: Run) -> None:
    result = run("--hydra-dsn=postgresql://me:secret@127.0.0.1:1/hydra", files="def test_it(hydra): pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*server: postgresql://me:***@127.0.0.1:1/hydra"])
    result.stdout.fnmatch_lines(["Database 'hydra' cannot be reached: *Is the server running*"])
    assert "secret" not in result.stdout.str()


@pytest.fixture(scope="module")
def farm() -> Iterator[Server]:
    """A server that was not started by the tests that use it."""
    with start_server() as started:
        yield started


def test_with_a_dsn_each_worker_has_a_database_of_its_own(
    farm: Server, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw3")
    files = "def test_deploys(hydra, hydra_database):\n    deploy(hydra)\n    assert 'farm_gw3' in hydra_database.dsn\n"
    run(f"--hydra-dsn={farm.dsn('farm')}", files=files).assert_outcomes(passed=1)
    with psycopg.connect(farm.dsn("postgres")) as connection:
        names = {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}
    assert "farm_gw3" in names
    assert "farm" not in names


def test_who_may_not_make_the_workers_database_is_told_what_to_do(
    farm: Server, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(farm.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE ROLE modest LOGIN")
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw4")
    dsn = farm.dsn("meadow").replace("//postgres@", "//modest@")
    result = run(f"--hydra-dsn={dsn}", files="def test_it(hydra): pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*'meadow_gw4' does not exist and could not be made*needs CREATEDB*meadow_gw0*"]
    )


AUTHORS = """
OUTBOX = '''
CREATE TABLE outbox (build int REFERENCES builds ON DELETE CASCADE);
CREATE FUNCTION to_outbox() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO outbox VALUES (NEW.id); RETURN NULL; END $$;
CREATE TRIGGER to_outbox AFTER INSERT ON builds FOR EACH ROW EXECUTE FUNCTION to_outbox();
ALTER TABLE builds ADD COLUMN told int;
'''

def outbox(database):
    (there,) = database.connection.execute("SELECT to_regclass('outbox')").fetchone()
    return there and database.connection.execute("SELECT count(*) FROM outbox").fetchone()[0]

def test_first(hydra, hydra_database):
    assert outbox(hydra_database) is None
    hydra_database.connection.execute(OUTBOX)
    deploy(hydra)
    assert outbox(hydra_database)

def test_second(hydra, hydra_database):
    print("rows:", outbox(hydra_database))
    deploy(hydra)
"""


def test_what_an_author_made_is_gone_for_the_next_test(run: Run) -> None:
    result = run("-s", "-W", "error", files=AUTHORS)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*rows: None"])


def test_in_a_users_database_it_is_emptied_and_named(
    farm: Server, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    result = run("-s", "-W", "default", f"--hydra-dsn={farm.dsn('orchard')}", files=AUTHORS)
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "*rows: 0",
            "*test_it.py::test_first left in database 'orchard', for the tests that follow: column builds.told, *",
        ]
    )
    with psycopg.connect(farm.dsn("orchard")) as connection:
        assert connection.execute("SELECT to_regclass('outbox')").fetchone() == ("outbox",)


def test_it_costs_nothing_when_it_is_not_used() -> None:
    code = (
        "import sys, pytest, hydra_notify_sim.pytest_plugin; "
        "print({'psycopg', 'hypothesis', 'testcontainers', 'pydantic', 'msgspec', 'rich'} & sys.modules.keys())"
    )
    heavy = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert heavy == "set()\n"


def test_a_session_that_is_killed_leaves_no_server_behind(
    tmp_path: Path, lives: Callable[[int], bool]
) -> None:
    tmp_path.joinpath("test_long.py").write_text(
        "import time\n"
        "def test_long(hydra_database):\n"
        "    pid = hydra_database._environment.database.server.pid\n"
        "    open('pid.new', 'w').write(str(pid))\n"
        "    import os; os.rename('pid.new', 'pid')\n"
        "    time.sleep(600)\n"
    )
    killed = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *_plugin()],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
    )
    pid = int(_within(60, lambda: tmp_path.joinpath("pid").exists() and tmp_path.joinpath("pid").read_text()))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert _within(60, lambda: not lives(pid))


def _plugin() -> list[str]:
    from importlib.metadata import entry_points  # noqa: PLC0415  # see the root conftest.py

    installed = any(point.name == "hydra_notify_sim" for point in entry_points(group="pytest11"))
    return [] if installed else ["-p", "hydra_notify_sim.pytest_plugin"]


def _within(seconds: float, wanted: Callable[[], object]) -> str:
    deadline = time.monotonic() + seconds
    while not (found := wanted()):
        assert time.monotonic() < deadline
        time.sleep(0.02)  # another process is looked at, and nothing tells of it
    return str(found)
