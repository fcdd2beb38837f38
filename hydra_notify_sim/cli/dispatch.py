"""``dispatch``: runs the reference dispatcher in earnest."""

import click

from hydra_notify_sim.cli import ending, options
from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher import command as command_module
from hydra_notify_sim.dispatcher import core
from hydra_notify_sim.known_bad import KNOWN_BAD
from hydra_notify_sim.targets import registry


@click.command("dispatch")
@click.option(
    "--dsn",
    envvar="HYDRA_NOTIFY_SIM_DSN",
    required=True,
    help="The Hydra database.  [env: HYDRA_NOTIFY_SIM_DSN]",
)
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    required=True,
    metavar="MODULE:CLASS",
    help="A plugin, or the name of an entry point; may be given several times.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Serve Prometheus metrics on this port of the loopback interface.",
)
@click.option("--once", is_flag=True, help="Handle what is pending now, and end.")
@click.option("--check", is_flag=True, help="Look whether it could start, and end: exit status 0 or 3.")
@click.option(
    "--adopt-retries",
    is_flag=True,
    help="Drop the stored tasks of plugins that are not given; otherwise they are left alone.",
)
@options.payloads
@click.option(
    "--known-bad",
    metavar="NAME",
    help="Run one that breaks a promise (see `dispatchers`), to try things out: never where anyone counts on it.",
)
def command(
    *,
    dsn: str,
    plugins: tuple[str, ...],
    metrics_port: int | None,
    once: bool,
    check: bool,
    adopt_retries: bool,
    payloads: channels.PayloadVersion,
    known_bad: str | None,
) -> int:
    """Run the reference dispatcher on a Hydra database until SIGTERM or Ctrl-C.

    Never beside a live hydra-notify: two dispatchers on one database clear each other's marks.
    """
    if check:
        found = command_module.check(dsn, plugins)
        ending.say(f"A dispatcher can start on {found.database}: {found.server}, encoding {found.encoding}.")
        return 0
    make_dispatcher = core.Dispatcher
    if known_bad is not None:
        make_dispatcher = registry.choose(f"known-bad:{known_bad}").dispatcher
        ending.say(f"This dispatcher is wrong on purpose: {KNOWN_BAD[known_bad].story}")
    return command_module.run(
        dsn,
        plugins,
        metrics_port=metrics_port,
        once=once,
        adopt_retries=adopt_retries,
        payloads=payloads,
        make_dispatcher=make_dispatcher,
    )
