"""Writes a variant that broke a promise as a scenario file, which replays to the same verdict."""

from pathlib import Path

from hydra_notify_sim import __version__, errors
from hydra_notify_sim.engine.run import Options
from hydra_notify_sim.exploration import counter_examples
from hydra_notify_sim.exploration.sweeps.trying import Tried
from hydra_notify_sim.exploration.sweeps.variants import told
from hydra_notify_sim.scenario import steps as verbs
from hydra_notify_sim.scenario.model import Scenario
from hydra_notify_sim.scenario.write import to_yaml


def write(directory: Path, source: Path, bare: Scenario, tried: Tried, options: Options) -> Path:
    """Write ``directory/NAME.yaml`` and return its path; ``bare`` is the scenario without what it expects.

    Raises:
        EnvironmentFailedError: the file cannot be written.

    """
    moves = tried.variant.moves
    variant = told(bare, moves)
    expect = verbs.ExpectStep.model_validate({"expect": {"violated": list(tried.broken)}})
    where = ", ".join(f"{move.action} at point {move.point} ({move.kind})" for move in moves) or "as written"
    one = variant.model_copy(
        update={
            "exercises": tuple(tried.broken),
            "story": (*variant.story, verbs.Settle(settle=True), expect),
            "why": f"{variant.why.rstrip()} (found by a sweep: {where})",
        }
    )
    points = "-".join(f"{move.action.replace(' ', '-')}-{move.point}" for move in moves) or "as-written"
    path = directory / f"{source.stem}.{points}.yaml"
    head = [
        f"{source.name} with: {where}.",
        f"Broken: {', '.join(tried.broken)}, by {options.dispatcher}, profile {options.profile}.",
        f"Seed {options.seed}, hydra-notify-sim {__version__}.",
        f"Again: {counter_examples.command(options, str(path))}",
    ]
    text = "".join(f"# {' '.join(line.split())}\n" for line in head) + to_yaml(one)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise errors.EnvironmentFailedError(f"{path} cannot be written: {error.strerror}") from error
    return path
