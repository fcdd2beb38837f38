"""Programs that are bad dispatchers, and harnesses that die: each is reported as what it is, and nothing is left."""

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hydra_notify_sim import errors, history
from hydra_notify_sim.checks import judge
from hydra_notify_sim.database import Database
from hydra_notify_sim.recorders.journal import Journal
from hydra_notify_sim.recorders.messages import ProtocolError
from hydra_notify_sim.recorders.recorder import Behaviour
from hydra_notify_sim.targets.process import ProcessTarget
from hydra_notify_sim.targets.process_clock import ProcessClock
from hydra_notify_sim.targets.programs import Program

pytestmark = pytest.mark.slow

Make = Callable[..., ProcessTarget]

CONNECT = """
import json, os, signal, socket, sys
def connect(name, **hello):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ["HYDRA_NOTIFY_SIM_SOCKET"])
    connection.sendall(json.dumps({"hello": 1, "plugin": name, "pid": os.getpid()} | hello).encode() + b"\\n")
    print(connection.makefile().readline(), flush=True)
    return connection
def connect_all():
    return [connect(name) for name in os.environ["HYDRA_NOTIFY_SIM_PLUGINS"].split(",")]
"""


@pytest.fixture
def make(database: Database) -> Iterator[Make]:
    """A target whose dispatcher is the given Python program."""
    made: list[ProcessTarget] = []
    connection = database.connect("hydra-notify-sim harness")

    def make_one(program: str, patience: float = 1.0) -> ProcessTarget:
        clock = ProcessClock()
        written = history.History(
            history.Header(name="test", in_process=False, plugins={"alpha": ("build_queued",)})
        )
        target = ProcessTarget(
            Journal(written, clock, connection),
            database.dsn,
            [sys.executable, "-c", CONNECT + textwrap.dedent(program)],
            clock=clock,
            keep=lambda: {database.control_pid},
            patience=patience,
        )
        made.append(target)
        return target

    try:
        yield make_one
    finally:
        for target in made:
            target.close()
        connection.close()


def start(target: ProcessTarget) -> None:
    target.start({"alpha": Behaviour(hooks=("build_queued",))})


def test_a_program_that_is_not_there(make: Make) -> None:
    target = make("")
    target._program = Program(("/no/such/program",))
    with pytest.raises(errors.EnvironmentFailedError, match="/no/such/program: No such file"):
        start(target)
    assert not target.alive


def test_one_that_dies_before_its_recorders_connect(make: Make) -> None:
    target = make("sys.exit('configuration file missing')")
    with pytest.raises(
        errors.EnvironmentFailedError, match=r"exit status 1 before any(.|\n)*configuration file missing"
    ):
        start(target)
    assert not target.alive


def test_one_that_loads_no_recorders(make: Make) -> None:
    target = make("print('ready', flush=True); signal.pause()", patience=0.06)
    with pytest.raises(errors.EnvironmentFailedError, match=r"alpha, sentinel has connected(.|\n)*ready"):
        start(target)
    assert not target.alive


def test_one_that_ends_once_its_recorders_have_connected(make: Make) -> None:
    target = make("connections = connect_all(); print('cannot go on', flush=True); sys.exit(3)")
    start(target)
    ended = [record for record in target.journal.history if isinstance(record, history.Ended)]
    assert [(record.exit_status, record.message) for record in ended] == [(3, "cannot go on")]
    assert {v.promise for v in judge(target.journal.history).verdicts if v.verdict == "violated"} >= {
        "L-lives"
    }


def test_temporary_files_of_one_that_is_killed_go_with_the_run(make: Make) -> None:
    target = make(
        "import tempfile; connections = connect_all(); print('made', tempfile.mkdtemp(), flush=True); signal.pause()",
        patience=0.06,
    )
    start(target)
    (made,) = [Path(line.removeprefix("made ")) for line in target.log() if line.startswith("made ")]
    assert made.is_dir()
    target.close()
    assert not made.exists()


def test_one_that_never_listens_has_not_settled_and_ignores_sigterm(
    make: Make, lives: Callable[[int], bool]
) -> None:
    target = make(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); connections = connect_all()\nwhile True: signal.pause()",
        patience=0.06,
    )
    start(target)
    assert target.alive
    not_settled = [record for record in target.journal.history if isinstance(record, history.NotSettled)]
    assert "has not come up" in not_settled[0].reason
    assert not not_settled[0].busy
    life = target._life
    assert life is not None
    target.stop()
    stopped = [record for record in target.journal.history if isinstance(record, history.Stopped)]
    assert [(record.exit_status, record.in_time) for record in stopped] == [(-signal.SIGKILL, False)]
    assert not lives(life.child.pid)


def test_one_that_burns_its_processor_is_busy(make: Make) -> None:
    target = make("connections = connect_all()\nwhile True: pass", patience=0.06)
    start(target)
    not_settled = [record for record in target.journal.history if isinstance(record, history.NotSettled)]
    assert not_settled[0].busy


def test_a_child_of_its_own_is_killed_with_it(make: Make, lives: Callable[[int], bool]) -> None:
    target = make(
        "import subprocess\n"
        "other = subprocess.Popen(['sleep', '600'])\n"
        "print('child', other.pid, flush=True)\n"
        "connections = connect_all()\n"
        "signal.pause()",
        patience=0.06,
    )
    start(target)
    target.crash()
    line = next(line for line in target.log() if line.startswith("child"))
    assert not lives(int(line.split()[1]))


FORKS = """
import time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("daemon", os.getpid(), flush=True)
        {work}
        while True: signal.pause()
    os._exit(0)
os.wait()
{parent}
"""


def daemon_of(target: ProcessTarget) -> int:
    line = next(line for line in target.log() if line.startswith("daemon"))
    return int(line.split()[1])


def test_one_that_goes_into_the_background_is_told_to_stay_and_killed(
    make: Make, lives: Callable[[int], bool]
) -> None:
    target = make(FORKS.format(work="pass", parent="sys.stdin.close(); sys.exit(0)"))
    with pytest.raises(
        errors.EnvironmentFailedError, match=r"exit status 0 before any.*stay in the foreground"
    ):
        start(target)
    assert not target.alive
    for pid in [int(line.split()[1]) for line in target.log() if line.startswith("daemon")]:
        assert not lives(pid)


def test_a_daemon_that_has_left_the_process_group_is_killed_with_it(
    make: Make, lives: Callable[[int], bool]
) -> None:
    target = make(
        FORKS.format(work="connections = connect_all()", parent="while True: signal.pause()"), patience=0.06
    )
    start(target)
    assert target.alive
    target.crash()
    assert not lives(daemon_of(target))


def test_one_that_floods_its_output_is_drained_and_its_last_lines_kept(make: Make) -> None:
    target = make(
        "for n in range(200): print(str(n) * 20_000)\n"
        "for n in range(3000): print('line', n)\n"
        "sys.stdout.flush()\n"
        "sys.exit('no more')"
    )
    with pytest.raises(
        errors.EnvironmentFailedError, match=r"exit status 1(.|\n)*line 2999(.|\n)*no more"
    ) as caught:
        start(target)
    assert "line 2970" not in str(caught.value)
    assert len(target.log()) <= 2_000
    assert max(map(len, target.log())) <= 4_096


def test_sigterm_goes_to_the_process_alone_and_what_it_leaves_behind_is_killed(
    make: Make, lives: Callable[[int], bool]
) -> None:
    target = make(
        "import subprocess\n"
        'code = \'import signal; signal.signal(15, lambda *_: print("child was told", flush=True)); '
        'print("ready", flush=True)\\nwhile True: signal.pause()\'\n'
        "other = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)\n"
        "other.stdout.readline()\n"
        "print('child', other.pid, flush=True)\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n"
        "connections = connect_all()\n"
        "while True: signal.pause()",
        patience=0.06,
    )
    start(target)
    target.stop()
    stopped = [record for record in target.journal.history if isinstance(record, history.Stopped)]
    assert [(record.exit_status, record.in_time) for record in stopped] == [(0, True)]
    assert not any("child was told" in line for line in target.log())
    line = next(line for line in target.log() if line.startswith("child"))
    assert not lives(int(line.split()[1]))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("connect('alpha', hello=2)", "speaks version 2 of the protocol"),
        ("connect('gamma')", "calls itself 'gamma'"),
        ("connect('alpha', hello='one')", "first message must be a hello"),
        ("connect_all()[0].sendall(b'nonsense\\n')", "must send calls"),
        (
            """connect_all()[0].sendall(b'{"call": 2, "hook": "build_queued", "args": {}}\\n')""",
            "1 should come, 2 came",
        ),
        (
            """connect_all()[0].sendall(b'{"call": 1, "hook": "buildQueued", "args": {}}\\n')""",
            "no hook 'buildQueued'",
        ),
    ],
)
def test_a_recorder_that_does_not_speak_the_protocol(make: Make, program: str, message: str) -> None:
    target = make(f"kept = {program}; signal.pause()")
    with pytest.raises(ProtocolError, match=message) as caught:
        start(target)
    assert caught.value.exit_code == 3
    assert not target.alive


HARNESS = """
import signal, sys
import psycopg
from hydra_notify_sim import history
from hydra_notify_sim.recorders.journal import Journal
from hydra_notify_sim.recorders.recorder import Behaviour
from hydra_notify_sim.targets.process import ProcessTarget
from hydra_notify_sim.targets.programs import Program
from hydra_notify_sim.targets.process_clock import ProcessClock
clock = ProcessClock()
connection = psycopg.connect(sys.argv[1], autocommit=True)
journal = Journal(history.History(history.Header(name="killed")), clock, connection)
target = ProcessTarget.reference(journal, sys.argv[1], clock=clock, keep=lambda: {int(sys.argv[2])})
target.start({"alpha": Behaviour(hooks=("build_queued",))})
from hydra_notify_sim.targets.guard import GUARD
print(target._life.child.pid, GUARD._process.pid, target._directory, flush=True)
signal.pause()
"""


def test_nothing_is_left_when_the_harness_is_killed(database: Database, lives: Callable[[int], bool]) -> None:
    harness = subprocess.Popen(
        [sys.executable, "-c", HARNESS, database.dsn, str(database.control_pid)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert harness.stdout is not None
    with harness.stdout:
        child, guard, directory = harness.stdout.readline().split()
        assert lives(int(child))
        watched = [os.pidfd_open(int(pid)) for pid in (child, guard)]
        harness.kill()
        harness.wait()
    for descriptor in watched:
        # It becomes readable when the process ends.
        signal_came = wait_readable(descriptor, 20)
        os.close(descriptor)
        assert signal_came
    assert not Path(directory).exists()


def wait_readable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def test_the_environment_is_that_of_the_protocol(make: Make, database: Database) -> None:
    target = make("print(json.dumps(dict(os.environ)), flush=True); sys.exit(1)")
    with pytest.raises(errors.EnvironmentFailedError):
        start(target)
    environment = json.loads(next(line for line in target.log() if line.startswith("{")))
    assert environment["HYDRA_NOTIFY_SIM_PLUGINS"] == "alpha,sentinel"
    assert environment["HYDRA_NOTIFY_SIM_DSN"] == database.dsn
    assert environment["HYDRA_DATABASE_URL"].startswith("postgres://")
    assert environment["HYDRA_DBI"].startswith("dbi:Pg:dbname=")
    assert environment["HYDRA_CONFIG"].startswith(str(target._directory))
    assert environment["HYDRA_NOTIFY_SIM_SOCKET"].startswith(str(target._directory))
    assert Path(environment["HYDRA_NOTIFY_SIM_SOCKET"]).stat().st_mode & 0o777 == 0o600
