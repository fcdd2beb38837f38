"""The known-bad dispatchers by name, with what each breaks and who made that mistake."""

from dataclasses import dataclass

from hydra_notify_sim.dispatcher import core


@dataclass(frozen=True, slots=True)
class KnownBad:
    """A dispatcher that is wrong on purpose."""

    name: str
    dispatcher: type[core.Dispatcher]
    breaks: tuple[str, ...]
    """The promises that it breaks, the main one first."""
    story: str
    """What it does wrong, and where that mistake was made in real life."""
    as_process: bool = False
    """Whether it is only wrong as a process: its mistake is about signals."""


KNOWN_BAD: dict[str, KnownBad] = {}


def known_bad(name: str, *breaks: str, as_process: bool = False) -> "_Registration":
    """Register a dispatcher class under a name; its docstring is its story."""
    return _Registration(name, breaks, as_process=as_process)


class _Registration:
    def __init__(self, name: str, breaks: tuple[str, ...], *, as_process: bool) -> None:
        self._name = name
        self._breaks = breaks
        self._as_process = as_process

    def __call__(self, dispatcher: type[core.Dispatcher]) -> type[core.Dispatcher]:
        story = " ".join((dispatcher.__doc__ or "").split())
        KNOWN_BAD[self._name] = KnownBad(self._name, dispatcher, self._breaks, story, self._as_process)
        return dispatcher
