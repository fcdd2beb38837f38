"""``dispatch``: runs the reference dispatcher in earnest."""

import click

from hydra_notify_sim.contract import channels
from hydra_notify_sim.dispatcher.command import run


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
@click.option(
    "--payloads",
    type=click.Choice(channels.PAYLOAD_VERSIONS),
    default=channels.DEFAULT_PAYLOADS,
    show_default=True,
    help="Which version of the payloads Hydra sends.",
)
def command(
    *,
    dsn: str,
    plugins: tuple[str, ...],
    metrics_port: int | None,
    once: bool,
    payloads: channels.PayloadVersion,
) -> int:
    """Run the reference dispatcher on a Hydra database until SIGTERM or Ctrl-C.

    Never beside a live hydra-notify: two dispatchers on one database clear each other's marks.
    """
    return run(dsn, plugins, metrics_port=metrics_port, once=once, payloads=payloads)
