"""``--known FILE``: reads a maintainer's baseline of known deviations; what is wrong is told with its line."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from hydra_notify_sim.contract import promises
from hydra_notify_sim.contract.deviations import Deviation
from hydra_notify_sim.scenario import document as documents
from hydra_notify_sim.scenario.base import as_text
from hydra_notify_sim.scenario.document import Document, DocumentError
from hydra_notify_sim.scenario.files import text_of
from hydra_notify_sim.scenario.problems import Problem, ScenarioFileError, hint_for, key_text

Text = Annotated[str, Field(strict=True, min_length=1, max_length=2_000), BeforeValidator(as_text)]


class Entry(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    promise: Text
    reason: Text
    scenario: Text | None = None
    id: Text | None = None
    timing: bool = Field(default=False, strict=True)


_ENTRIES = TypeAdapter(list[Entry])
_WORDS = {
    "extra_forbidden": "there is no such key",
    "missing": "this key is missing",
    "list_type": "a file of known deviations is a list, each entry with promise and reason",
}


def read(file: Path, *, lenient: bool = False) -> tuple[Deviation, ...]:
    """Read known deviations; ``lenient`` takes all of them for a matter of timing.

    Raises:
        ScenarioFileError: the file cannot be read or is wrong; with all that is wrong.

    """
    try:
        document = documents.read(text_of(file))
    except DocumentError as error:
        raise ScenarioFileError([Problem(file, *error.place, "", error.message, error.hint)]) from None
    try:
        entries = _ENTRIES.validate_python(document.value if document.value is not None else [])
    except ValidationError as error:
        raise ScenarioFileError(_problem(file, document, one) for one in error.errors()) from None
    known = [promise.id for promise in promises.PROMISES]
    wrong = [
        Problem(
            file,
            *document.place((position, "promise")),
            key_text((position, "promise")),
            f"the contract has no promise {entry.promise!r}",
            hint_for(entry.promise, known),
        )
        for position, entry in enumerate(entries)
        if entry.promise not in known
    ]
    if wrong:
        raise ScenarioFileError(wrong)
    return tuple(
        Deviation(
            entry.id or f"{file.stem}-{position}",
            entry.promise,
            entry.reason,
            entry.scenario or "",
            entry.timing or lenient,
        )
        for position, entry in enumerate(entries, 1)
    )


def _problem(file: Path, document: Document, error: Any) -> Problem:
    path = tuple(error["loc"])
    at_key = error["type"] == "extra_forbidden"
    message = _WORDS.get(error["type"], error["msg"])
    hint = hint_for(str(path[-1]), list(Entry.model_fields)) if at_key else ""
    place = document.place(path[:-1] if error["type"] == "missing" else path, at_key=at_key)
    return Problem(file, *place, key_text(path), message, hint)
