"""What a sweep covered: action by kind of point, what held, and the first that broke."""

import math
from collections import Counter
from dataclasses import dataclass, field

from hydra_notify_sim.exploration.sweeps.trying import Tried

AS_WRITTEN = "as written"


@dataclass(slots=True)
class Cell:
    """All variants whose last action was of one kind, at points of one kind."""

    tried: int = 0
    astray: int = 0
    failed: int = 0
    first: Tried | None = None
    """The first that did not hold."""


@dataclass(slots=True)
class Matrix:
    """Counts, as the results come in."""

    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    """By action and kind of point."""
    broken: Counter[str] = field(default_factory=Counter)
    """Promise id to the variants that broke it."""
    scenarios: set[int] = field(default_factory=set)
    violated: int = 0
    errors: int = 0
    stopped: int = 0
    """Variants in which the harness's actors were asked for the impossible before any fault."""
    unreached: int = 0
    pruned: int = 0
    played: int = 0
    """Variants that were played: one stands for all at the points of `Move.also`."""

    @property
    def tried(self) -> int:
        """Return how many variants were tried, the stories as written not counted."""
        return sum(cell.tried for (action, _), cell in self.cells.items() if action != AS_WRITTEN)

    @property
    def astray(self) -> int:
        """Return in how many the story did not go on as written."""
        return sum(cell.astray for cell in self.cells.values())

    def add(self, tried: Tried) -> None:
        """Count one result."""
        moves = tried.variant.moves
        action = " + ".join(move.action for move in moves) or AS_WRITTEN
        kinds = (moves[-1].kind, *moves[-1].also) if moves else ("",)
        # Of pairs, each at one of the first points with each at one of the second.
        times = math.prod(1 + len(move.also) for move in moves[:-1])
        for kind in kinds:
            self._count(self.cells.setdefault((action, kind), Cell()), tried, times)
        times *= len(kinds)
        self.scenarios.add(tried.variant.scenario)
        self.played += bool(moves)
        self.broken.update(dict.fromkeys(tried.broken, times))
        self.violated += bool(tried.broken) * times
        self.stopped += tried.error.startswith("stopped:") * times
        self.errors += (bool(tried.error) and not tried.error.startswith("stopped:")) * times
        self.unreached += tried.unreached * times
        self.pruned += tried.pruned

    def _count(self, cell: Cell, tried: Tried, times: int) -> None:
        cell.tried += times
        cell.astray += bool(tried.astray) * times
        cell.failed += (not tried.held) * times
        if not tried.held and (cell.first is None or _order(tried) < _order(cell.first)):
            cell.first = tried


def _order(tried: Tried) -> tuple[int, int, tuple[int, ...]]:
    points = tuple(move.point for move in tried.variant.moves)
    return (tried.variant.scenario, len(points), points)
