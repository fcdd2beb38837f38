"""``capture``: a read-only tap on a live Hydra, and the story of one build out of what it recorded."""

import platform
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click

from hydra_notify_sim import __version__, errors, history, scenario
from hydra_notify_sim.cli import ending, files, interruption, options, times
from hydra_notify_sim.contract import channels
from hydra_notify_sim.exploration.capture import recording, tap
from hydra_notify_sim.exploration.capture import story as tales
from hydra_notify_sim.reports import words

OF_A_STORY = {
    "story": "--story",
    "build": "--build",
    "source": "HISTORY",
    "untold": "--untold",
    "plugins": "--plugin",
    "keep_names": "--keep-names",
}
OF_A_TAP = {
    "dsn": "--dsn",
    "out": "--out",
    "interval": "--interval",
    "length": "--for",
    "payloads": "--payloads",
}


@click.command("capture")
@click.argument("source", metavar="[HISTORY]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--dsn", envvar="HYDRA_NOTIFY_SIM_DSN", help="The Hydra database to record.  [env: HYDRA_NOTIFY_SIM_DSN]"
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Record into this file.")
@click.option(
    "--interval",
    default="1s",
    show_default=True,
    metavar="TIME",
    help="Look at the rows at least this often, besides after every notification.",
)
@click.option("--for", "length", metavar="TIME", help="End by itself after this time: 90s, 10m, 24h.")
@options.payloads
@click.option(
    "--story",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the story of one build, out of HISTORY, to this file.",
)
@click.option("--build", type=click.IntRange(1, 2**31 - 1), metavar="ID", help="The build that it is about.")
@click.option(
    "--untold",
    metavar="PLUGIN[.HOOK]",
    multiple=True,
    help="A plugin that should have told how the build ended, and never did.",
)
@click.option(
    "--plugin",
    "plugins",
    metavar="NAME",
    multiple=True,
    help="A plugin that was installed; may be given several times.",
)
@click.option("--keep-names", is_flag=True, help="Keep the names of project, jobset, jobs and plugins.")
@click.option("--overwrite", is_flag=True, help="Allow the file to be replaced.")
def command(*, overwrite: bool, **given: Any) -> int:
    """Record what can be seen of a live Hydra from outside, or turn a recording into a story.

    With --dsn and --out it listens and reads until Ctrl-C or SIGTERM, both of which end it with exit status 0, and never
    writes to the database. With --story and --build it writes a scenario out of a recording, with open places where
    nobody saw what the dispatcher met; `explore --fill` fills them (docs/incident.md).
    """
    if _mode() == "story":
        return tell(
            given["source"],
            given["build"],
            given["story"],
            tales.Wishes(given["plugins"], given["untold"], given["keep_names"]),
            overwrite=overwrite,
        )
    return record(
        given["dsn"],
        given["out"],
        interval=times.seconds("--interval", given["interval"]),
        length=times.seconds("--for", given["length"]) if given["length"] is not None else None,
        payloads=given["payloads"],
        overwrite=overwrite,
    )


def _mode() -> str:
    """Return what is asked for; options of both are a contradiction."""
    context = click.get_current_context()
    asked = {
        mode: option
        for mode, options in (("tap", OF_A_TAP), ("story", OF_A_STORY))
        for name, option in options.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    if len(asked) > 1:
        raise errors.UsageError(
            f"{asked['tap']} is for recording and {asked['story']} for a story: give one or the other"
        )
    return next(iter(asked), "tap")


# The tap


def record(
    dsn: str | None,
    out: Path | None,
    *,
    interval: float,
    length: float | None,
    payloads: channels.PayloadVersion,
    overwrite: bool,
) -> int:
    """Record until Ctrl-C, and say what was recorded.

    Raises:
        UsageError: an argument is missing or cannot be meant.
        EnvironmentFailedError: the database cannot be read, or the file not be written.

    """
    if dsn is None or out is None:
        raise errors.UsageError(
            "name the database and the file: capture --dsn DSN --out history.jsonl. "
            "(Or a story: capture --story FILE --build ID HISTORY.)"
        )
    kept: list[recording.Recording] = []
    early: list[history.AnyRecord] = []

    def write(records: Any) -> None:
        if kept:
            kept[0].write(records)
        else:
            early.extend(records)

    with interruption.interruptions() as asked:
        listening = tap.Tap(dsn, write, ending.say, interval=interval, payloads=payloads)
        try:
            listening.open()
            header = _header(listening, out, payloads)
            with recording.Recording(out, header, overwrite=overwrite) as file:
                kept.append(file)
                begun = time.monotonic()
                file.write(early)
                ending.say(f"Recording {listening.database!r} into {out}. Ctrl-C ends it.")
                try:
                    listening.run(
                        lambda: asked() or (length is not None and time.monotonic() - begun >= length)
                    )
                    file.write([history.Closed(t=time.time())])
                finally:
                    ending.say(_recorded(file.counts, time.monotonic() - begun, out))
        finally:
            listening.close()
    return 0


def _header(listening: tap.Tap, out: Path, payloads: channels.PayloadVersion) -> history.Header:
    return history.Header(
        name=out.stem,
        scenario=f"What could be seen of the Hydra database {listening.database!r} from outside",
        dispatcher="unknown: a live Hydra",
        in_process=False,
        payloads=payloads,
        tap=True,
        versions={
            "hydra_notify_sim": __version__,
            "python": platform.python_version(),
            "postgresql": listening.server,
        },
    )


def _recorded(counts: Counter[str], seconds: float, out: Path) -> str:
    gaps = f", with {words.plural(counts['gap'], 'gap')}" if counts["gap"] else ""
    return (
        f"Recorded {words.plural(counts['heard'], 'notification')}, {words.plural(counts['seen'], 'change')} of builds and "
        f"{words.plural(counts['changed'], 'change')} of marks and tasks in {words.duration(seconds)}{gaps}: {out}"
    )


# The story


def tell(
    source: Path | None, build: int | None, story: Path | None, wishes: tales.Wishes, *, overwrite: bool
) -> int:
    """Write the story of one build.

    Raises:
        UsageError: an argument is missing or cannot be meant, or the build is not in the recording.
        EnvironmentFailedError: the file cannot be written.

    """
    if source is None or build is None or story is None:
        raise errors.UsageError(
            "name the recording, the build and the file: capture --story incident.yaml --build ID history.jsonl"
        )
    captured = tales.capture(history.SavedHistory(source), build, wishes)
    text = _head() + scenario.to_yaml(captured.scenario)
    files.write(story, text, overwrite=overwrite)
    for nickname, name in captured.plugins.items():
        if nickname != name:
            ending.say(f"In the story {nickname} is {name}.")
    for note in captured.notes:
        ending.say(note)
    places = len(scenario.open_places(captured.scenario))
    ending.say(
        f"{story} has {words.plural(places, 'open place')}. Strike out what cannot have happened there; then "
        f"`{' '.join([*ending.program(), 'explore', '--fill', str(story)])}` tries the rest."
    )
    return 0


def _head() -> str:
    lines = [
        f"Captured with hydra-notify-sim {__version__}.",
        "Nobody saw what the dispatcher met in the places marked unknown: strike out what cannot have been, then let",
        "`hydra-notify-sim explore --fill` with the dispatcher in question find what fits what was seen.",
    ]
    return "".join(f"# {line}\n" for line in lines)
