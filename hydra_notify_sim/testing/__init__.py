"""Floor 9: what a plugin's author writes tests with: the ``hydra`` object, and what calls and retries compare with."""

from typing import TYPE_CHECKING, Any

from hydra_notify_sim.testing.comparisons import call, retry

if TYPE_CHECKING:
    from hydra_notify_sim.testing.handles import Build, Evaluation, Plugin
    from hydra_notify_sim.testing.hydra import Hydra
    from hydra_notify_sim.testing.parts import HydraDatabase
    from hydra_notify_sim.testing.unused import NotExercisedError
    from hydra_notify_sim.testing.verdict import PromiseBrokenError

__all__ = [
    "Build",
    "Evaluation",
    "Hydra",
    "HydraDatabase",
    "NotExercisedError",
    "Plugin",
    "PromiseBrokenError",
    "call",
    "retry",
]

_WHERE = {
    "Build": "handles",
    "Evaluation": "handles",
    "Plugin": "handles",
    "Hydra": "hydra",
    "HydraDatabase": "parts",
    "NotExercisedError": "unused",
    "PromiseBrokenError": "verdict",
}


def __getattr__(name: str) -> Any:
    """Import what needs the engine when it is asked for: a test module that only compares stays light."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415  # see above

    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
