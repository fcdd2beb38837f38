"""The command and its sub-commands, each loaded only when it is asked for."""

import importlib
import sys
from typing import Any

import click

from hydra_notify_sim import __version__, errors

COMMANDS = {
    "replay": "Play scenarios against a dispatcher and judge what happened.",
    "conformance": "Say of every promise whether a dispatcher keeps it.",
    "check": "Judge saved histories again, without a database.",
    "explore": "Play generated scenarios, or every fault at every point of written ones.",
    "capture": "Record a live Hydra from outside, or make a story of what was recorded.",
    "doctor": "Say what is wrong with the notifications of a live Hydra, from its database.",
    "explain": "Print a promise or a quirk: its text, why it exists, what exercises it.",
    "dispatchers": "List the dispatchers that scenarios can be played against.",
    "dispatch": "Run the reference dispatcher on a Hydra database.",
    "db": "Start a throw-away Hydra database and print its DSN.",
    "schema": "Print the JSON Schema of a file format.",
}
"""Command to what it does in a sentence; each is a module of this package."""


class ClosedPipeError(Exception):
    """Whoever read our output stopped reading."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used, so that ``--help`` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which a person meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        try:
            module = importlib.import_module(f"hydra_notify_sim.cli.{cmd_name}")
        except ImportError as error:
            if (error.name or "").startswith("hydra_notify_sim"):
                raise  # ours, and our fault
            reason = " ".join(str(error).split())
            raise errors.EnvironmentFailedError(
                f"`{cmd_name}` needs a package that {sys.executable} cannot import: {reason}. "
                "Install what is missing: pip install 'hydra-notify-sim[postgres]' brings everything, libpq included."
            ) from error
        command = module.command
        if not isinstance(command, click.Command):
            raise TypeError(f"{cmd_name}: {command!r} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, importing none."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a closed pipe becomes an error of ours, for click would end with status 1, which means broken."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ClosedPipeError from error


EPILOG = """Exit status, the first that applies: 2 wrong usage or a wrong file; 5 a fault in the harness itself;
3 the environment failed; 1 a promise or an expectation was broken; 130 interrupted (143 by SIGTERM);
4 nothing was exercised; 0 all held."""


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hydra-notify-sim", message="%(prog)s %(version)s")
def app() -> None:
    """Test harness and simulator for the notifications of Hydra, the Nix build farm."""
