"""``explore``: generated scenarios."""

from pathlib import Path

import click

from hydra_notify_sim.cli import explore_campaign
from hydra_notify_sim.contract import profiles


@click.command("explore")
@click.option(
    "--dispatcher",
    default="reference",
    show_default=True,
    metavar="TARGET",
    help="What is under test; see `dispatchers`.",
)
@click.option(
    "--profile",
    type=click.Choice(profiles.PROFILES),
    default=profiles.DEFAULT_PROFILE,
    show_default=True,
    help="Which promises are judged.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the generation.")
@click.option("--budget", metavar="TIME", help="End after this time: 90s, 10m, 1.5h.")
@click.option("--scenarios", type=click.IntRange(1), metavar="N", help="End after so many scenarios.")
@click.option(
    "--workers",
    type=click.IntRange(1, explore_campaign.MOST_WORKERS),
    metavar="N",
    help="Processes that play; one for each core by default.",
)
@click.option("--shard", metavar="I/N", help="Play the I-th of N parts, as in a CI matrix.")
@click.option("--dask", metavar="ADDRESS", help="Let the workers of a Dask scheduler play.")
@click.option(
    "--state",
    "state_directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep what was found there, and go on from it.",
)
@click.option(
    "--merge",
    "sources",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    metavar="DIR",
    help="Add up campaigns' states into --state.",
)
@click.option("--show", type=click.IntRange(0), metavar="I", help="Print scenario number I of the seed.")
@click.option("-x", "stop_at_first", is_flag=True, help="End with the first scenario that breaks a promise.")
@click.option(
    "--dsn", envvar="HYDRA_NOTIFY_SIM_DSN", help="A PostgreSQL server to use, instead of one of our own."
)
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A Hydra checkout's hydra.sql, instead of our tables.",
)
@click.option("--json", "json_name", metavar="FILE", help="Write a JSON report; - is standard output.")
def command(
    *,
    sources: tuple[Path, ...],
    show: int | None,
    seed: int,
    state_directory: Path | None,
    json_name: str | None,
    **rest: object,
) -> int:
    """Play generated scenarios against a dispatcher."""
    if show is not None:
        click.echo(explore_campaign.show(seed, show), nl=False)
        return 0
    if sources:
        return explore_campaign.merge(sources, state_directory, json_name)
    return explore_campaign.run(seed=seed, state_directory=state_directory, json_name=json_name, **rest)  # type: ignore[arg-type]  # click gives them by name
