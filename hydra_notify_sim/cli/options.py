"""Options that several commands share, each defined once."""

from pathlib import Path

import click

from hydra_notify_sim.contract import channels, profiles

DSN_VARIABLE = "HYDRA_NOTIFY_SIM_DSN"

dispatcher = click.option(
    "--dispatcher",
    default="reference",
    show_default=True,
    metavar="TARGET",
    help="What is under test; see `dispatchers`.",
)
profile = click.option(
    "--profile",
    type=click.Choice(profiles.PROFILES),
    default=profiles.DEFAULT_PROFILE,
    show_default=True,
    help="Which promises are judged.",
)
known = click.option(
    "--known",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Deviations that are known: YAML, a list of promise and reason.",
)
known_lenient = click.option(
    "--known-lenient", is_flag=True, help="Do not fail over a known deviation that was not found."
)
payloads = click.option(
    "--payloads",
    type=click.Choice(channels.PAYLOAD_VERSIONS),
    default=channels.DEFAULT_PAYLOADS,
    show_default=True,
    help="Which version of the payloads Hydra sends.",
)
reads = click.option(
    "--payloads",
    "reads",
    multiple=True,
    type=click.Choice(channels.PAYLOAD_VERSIONS),
    help="A version of the payloads that the dispatcher reads, if its recorders do not say so; stories of others are not "
    "claimed. May be given several times.  [default: all]",
)
patience = click.option(
    "--patience",
    type=click.FloatRange(min=0.1, max=1000),
    default=1.0,
    show_default=True,
    help="Multiplies every deadline of a dispatcher in a process.",
)
seed = click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything made up.")
dsn = click.option(
    "--dsn",
    envvar=DSN_VARIABLE,
    help=f"A PostgreSQL server to use, instead of one of our own.  [env: {DSN_VARIABLE}]",
)
json_name = click.option(
    "--json", "json_name", metavar="FILE", help="Write a JSON report; - is standard output."
)
junit_path = click.option(
    "--junit", "junit_path", type=click.Path(path_type=Path), metavar="FILE", help="Write a JUnit XML report."
)


def dsn_of_the_command_line(dsn_given: str | None) -> str | None:
    """Return the DSN if it was given as an option, None if by the environment: a command to show holds only the first."""
    source = click.get_current_context().get_parameter_source("dsn")
    return dsn_given if source is click.core.ParameterSource.COMMANDLINE else None
