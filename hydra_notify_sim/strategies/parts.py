"""Strategies for the parts of a scenario; each value is one of the scenario language's model."""

from collections.abc import Sequence

from hypothesis import strategies as st

from hydra_notify_sim.contract import channels
from hydra_notify_sim.exploration import vocabulary
from hydra_notify_sim.exploration.chance import Chance
from hydra_notify_sim.scenario import (
    Build,
    Evaluation,
    GivenBuild,
    GivenPlugin,
    Notification,
    Point,
    StepBase,
)
from hydra_notify_sim.scenario.steps import VERBS
from hydra_notify_sim.strategies.drawing import Drawn, drawn

MOST_CHARACTERS = 2000
"""Of a hostile payload; PostgreSQL takes 7,999 bytes."""

HOSTILE_TEXT = st.text(
    # Braces stand for ids in a payload, and PostgreSQL takes no NUL.
    st.characters(exclude_characters="{}\0", codec="utf-8"),
    max_size=MOST_CHARACTERS,
)


def valid_payloads(builds: Sequence[str] = ("a",)) -> st.SearchStrategy[Notification]:
    """Return notifications about builds, named by their nicknames, as Hydra or a person by hand sends them."""
    return drawn(
        lambda chance: Notification.model_validate(
            vocabulary.notification(chance, chance.choice(tuple(builds)), tuple(builds))
        )
    )


def nearly_valid_payloads(builds: Sequence[str] = ("a",)) -> st.SearchStrategy[Notification]:
    """Return notifications whose payload is almost right: a field too many, a zero in front, a space for a tab."""
    return st.builds(
        lambda channel, payload, build: Notification(
            channel=channel, payload=payload.replace("{a}", f"{{{build}}}")
        ),
        st.sampled_from(("build_finished", *channels.CHANNELS)),
        st.sampled_from(vocabulary.NEARLY_VALID),
        st.sampled_from(tuple(builds)),
    )


def hostile_payloads() -> st.SearchStrategy[Notification]:
    """Return notifications with any text that PostgreSQL takes, on Hydra's channels and another one."""
    return st.builds(
        lambda channel, payload: Notification(channel=channel, payload=payload),
        st.sampled_from(("build_finished", *channels.CHANNELS, "no_such_channel")),
        st.sampled_from(vocabulary.HOSTILE) | HOSTILE_TEXT,
    )


def payloads(builds: Sequence[str] = ("a",)) -> st.SearchStrategy[Notification]:
    """Return notifications of all three kinds; ``builds`` are the nicknames that they can be about."""
    return st.one_of(valid_payloads(builds), nearly_valid_payloads(builds), hostile_payloads())


def builds(needs: Sequence[str] = ()) -> st.SearchStrategy[GivenBuild]:
    """Return builds that are given; one may need one of ``needs``."""
    return drawn(lambda chance: GivenBuild.model_validate(vocabulary.build(chance, tuple(needs))))


@st.composite
def build_graphs(draw: st.DrawFn, least: int = 1, most: int = 4) -> dict[str, GivenBuild]:
    """Return builds by nickname, ``a``, ``b`` and so on, each needing some of those before it; never a circle."""
    chance = Drawn(draw)
    graph: dict[str, GivenBuild] = {}
    for _ in chance.times(least, most):
        name = f"{chr(ord('a') + len(graph) % 26)}{len(graph) // 26 or ''}"
        about = vocabulary.build(chance, ()) | {"needs": [one for one in graph if chance.happens(0.4)]}
        graph[name] = GivenBuild.model_validate(about)
    return graph


def evaluations(new: Sequence[str] = (), known: Sequence[str] = ()) -> st.SearchStrategy[Evaluation]:
    """Return evaluations: nothing new, some of the builds ``new`` queued and of ``known`` found again, or a failure.

    One with builds has no name; give it one with ``.map(lambda e: e.replaced(name="e1"))``.
    """

    def make(chance: Chance) -> Evaluation:
        if chance.happens(0.3):
            return Evaluation.model_validate(
                chance.choice(({"fails": True}, {"fetch_fails": True}, {"unchanged": True}))
            )
        queued = [name for name in new if chance.happens(0.6)]
        found = [name for name in known if chance.happens(0.6)]
        return Evaluation.model_validate({"new": queued, "cached": found})

    return drawn(make)


def outcomes(build: str = "a") -> st.SearchStrategy[StepBase]:
    """Return steps by which a build that is not finished gets an outcome: it ends, well or not, is fetched or cancelled."""

    def make(chance: Chance) -> StepBase:
        verb = chance.choice(("build", "build", "finish", "substitute", "cancel", "mark_only"))
        about: vocabulary.Step = {verb: build}
        if verb in {"build", "finish", "mark_only"}:
            about |= vocabulary.ending(chance, certain=False, log=verb != "mark_only")
        if verb == "substitute" and chance.happens(0.5):
            about["already_valid"] = True
        return VERBS[verb].model_validate(about)

    return drawn(make)


def plugin_behaviours(build: str = "a") -> st.SearchStrategy[GivenPlugin]:
    """Return plugins: which hooks they have, which calls fail (perhaps those for ``build`` only), how long they take."""

    def make(chance: Chance) -> GivenPlugin:
        about = vocabulary.plugin(chance, build)
        if chance.happens(0.08):
            about["holds"] = True
        return GivenPlugin.model_validate(about)

    return drawn(make)


def points(plugins: Sequence[str] = ()) -> st.SearchStrategy[Point]:
    """Return points of the dispatcher's work on a build that ends; a call may be that of one of the plugins."""
    return drawn(
        lambda chance: Point.model_validate(
            vocabulary.which(chance, chance.choice(vocabulary.AT_ENDS), tuple(plugins))
        )
    )


def faults() -> st.SearchStrategy[StepBase]:
    """Return what goes wrong: a crash, a stop, a lost connection, an answer to a commit that was never seen."""
    return drawn(lambda chance: _step(vocabulary.fault(chance, chance.choice(vocabulary.AT_ENDS))))


def faults_at_points(build: str = "a", plugins: Sequence[str] = ()) -> st.SearchStrategy[Build]:
    """Return steps in which a build ends and something happens at a point of that: mostly a fault."""

    def make(chance: Chance) -> Build:
        about = {"build": build, **vocabulary.ending(chance, certain=False)}
        trouble = vocabulary.trouble(chance, vocabulary.AT_ENDS, build)
        name = trouble["at"] if isinstance(trouble["at"], str) else next(iter(trouble["at"]))
        if plugins and name in vocabulary.CALLS:
            trouble["at"] = vocabulary.which(chance, name, tuple(plugins))
        return Build.model_validate(about | trouble)

    return drawn(make)


def _step(about: vocabulary.Step) -> StepBase:
    return VERBS[next(key for key in about if key in VERBS)].model_validate(about)
