"""How the command begins and ends: every error becomes a message and an exit code, none a stray traceback."""

import contextlib
import errno
import os
import platform
import shlex
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import click

from hydra_notify_sim import __version__, errors
from hydra_notify_sim.cli.app import ClosedPipeError, app
from hydra_notify_sim.reports import safe

PROGRAM = "hydra-notify-sim"
MODULE = "hydra_notify_sim"
CLOSED_PIPE = 128 + signal.SIGPIPE
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP arrived: end as after Ctrl-C, but with the exit code of a termination."""


_asked_to_end = False


def asked_to_end() -> bool:
    """Whether SIGTERM or SIGHUP arrived since `main` began."""
    return _asked_to_end


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code (docs/reference/report.md)."""
    global _asked_to_end  # noqa: PLW0603  # a signal handler has nowhere else to put it
    _asked_to_end = False
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _forgive_encodings()
    with _sigterm_interrupts():
        code = _run(arguments)
        return _flushed(code)


def _run(arguments: list[str]) -> int:
    try:
        result = app.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 128 + (signal.SIGTERM if _asked_to_end else signal.SIGINT)
    except ClosedPipeError:
        return CLOSED_PIPE
    except errors.HydraNotifySimError as error:
        say(f"error: {error}")
        if error.exit_code == 5:
            say(fault(error, arguments))
        return error.exit_code
    except OSError as error:
        if error.errno in NO_SPACE:
            say(
                f"error: {error.filename or 'standard output'} cannot be written: {error.strerror}. Make room and do it again."
            )
            return 3
        say(fault(error, arguments))
        return 5
    except Exception as error:  # noqa: BLE001 - the last line of defence: it is reported whole
        say(fault(error, arguments))
        return 5
    return result if isinstance(result, int) else 0


def program() -> list[str]:
    """Return the words with which this program can be called from here: by name, by path, or as a module."""
    if shutil.which(PROGRAM):
        return [PROGRAM]
    beside = Path(sys.executable).with_name(PROGRAM)
    if not beside.exists():
        return [Path(sys.executable).name, "-m", MODULE]
    here = Path.cwd()
    return [str(beside.relative_to(here) if beside.is_relative_to(here) else beside)]


def say(text: str) -> None:
    """Write to standard error, without passwords and control characters."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(safe.clean(safe.mask(text)) + "\n")
        sys.stderr.flush()


def fault(
    error: BaseException,
    arguments: Sequence[str] = (),
    *,
    server: str = "",
    scenario: str = "",
    command: str = "",
) -> str:
    """Return what a person should report when the harness itself is at fault."""
    again = command or shlex.join([*program(), *arguments])
    facts = [
        f"  hydra-notify-sim {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"  command: {again}",
    ]
    facts += [f"  server: {server}"] if server else []
    facts += [f"  scenario: {scenario}"] if scenario else []
    trace = "".join(traceback.format_exception(error)).rstrip()
    return "\n".join(
        [
            "This is a fault in the harness itself, not in the dispatcher (exit status 5). Please report:",
            *facts,
            "---- traceback begins ----",
            trace,
            "---- traceback ends ----",
        ]
    )


def _forgive_encodings() -> None:
    """Write what an output cannot encode as an escape, rather than fail over it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us, as `>&-` does
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open to the end
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")


def _flushed(code: int) -> int:
    """Flush standard output while a failure of it can still be told."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = CLOSED_PIPE
    except OSError as error:
        say(f"error: standard output cannot be written: {error.strerror}. Make room and do it again.")
        code = 3
    except ValueError:  # already closed
        return code
    else:
        return code
    # The interpreter flushes again at its end, and would complain a second time.
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return code


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """End after SIGTERM, or when the terminal goes away, as after Ctrl-C: servers stopped, reports written."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        global _asked_to_end  # noqa: PLW0603  # a signal handler has nowhere else to put it
        _asked_to_end = True
        raise Terminated

    before = {}
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:  # nohup, say, ignores one on purpose
                before[number] = signal.signal(number, interrupt)
    except ValueError:  # not the main thread: whoever runs us there handles signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
