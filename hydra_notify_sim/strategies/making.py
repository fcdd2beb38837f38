"""Makes the machine of one dispatcher, and runs one without pytest."""

from pathlib import Path

from hypothesis import settings

from hydra_notify_sim.contract import channels, profiles
from hydra_notify_sim.exploration.campaigns.tally import Tally
from hydra_notify_sim.strategies import broken, grounds
from hydra_notify_sim.strategies.case import STEPS, run_as_test, settings_of
from hydra_notify_sim.strategies.rules import DispatcherMachine
from hydra_notify_sim.targets import registry


def machine(
    dispatcher: str = "reference",
    *,
    profile: str = profiles.DEFAULT_PROFILE,
    known: str | Path | None = None,
    payloads: channels.PayloadVersion | None = None,
    examples: int | None = None,
    steps: int = STEPS,
    seed: int | None = None,
    dsn: str | None = None,
    schema: Path | None = None,
    patience: float = 1.0,
    server_restarts: bool = False,
    directory: str | Path = broken.DIRECTORY,
) -> type[DispatcherMachine]:
    """Return a machine for a dispatcher; its ``TestCase`` is what pytest or unittest runs.

    Args:
        dispatcher: as for ``hydra-notify-sim replay``.
        profile: which promises are judged.
        known: a file of known deviations, as for ``replay --known``: what it names is not complained of.
        payloads: the form of eval_added and eval_failed; None: the one that the dispatcher reads.
        examples: how many examples, if not as many as Hypothesis's profile says.
        steps: rules of one example at most.
        seed: the same seed gives the same examples; None: as Hypothesis's settings and ``--hypothesis-seed`` say,
            else a new one, which the counter-example names.
        dsn: a server of yours.
        schema: a schema of Hydra's in place of ours.
        patience: what every deadline of a dispatcher in a process is multiplied with.
        server_restarts: whether the database server is restarted too; each time takes as long as dozens of examples.
        directory: where counter-examples are written.

    Raises:
        UsageError: there is no such dispatcher or profile, or ``known`` is wrong.

    """
    registry.choose(dispatcher)
    made: type[DispatcherMachine] = type(
        "DispatcherMachine",
        (DispatcherMachine,),
        {
            "__doc__": f"The machine for {dispatcher}.",
            "__module__": DispatcherMachine.__module__,
            "options": grounds.options_of(
                dispatcher, profile=profile, known=known, dsn=dsn, schema=schema, patience=patience
            ),
            "payloads": payloads,
            "seed": seed,
            "server_restarts": server_restarts,
            "directory": directory,
        },
    )
    made.TestCase.settings = settings_of(examples, steps)
    return made


def run(machine_class: type[DispatcherMachine], *, settings: settings | None = None) -> Tally:
    """Run a machine without pytest, and return what it covered; a broken promise is raised, with its story written.

    Raises:
        PromiseBroken: a promise was broken.
        NothingTestedError: nothing was put to the test.
        EnvironmentFailedError: there is no server, or the dispatcher's program failed.

    """
    run_as_test(machine_class, settings or machine_class.TestCase.settings)
    return machine_class.tally
