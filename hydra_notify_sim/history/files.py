"""Histories in files: JSON Lines in and out."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from hydra_notify_sim import errors
from hydra_notify_sim.history.records import READABLE, AnyRecord, Header, History


class HistoryFileError(errors.UsageError):
    """A saved history cannot be read: it was cut off, or is not one."""


class SavedHistory:
    """A history in a file, read anew at each iteration and never whole in memory."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            HistoryFileError: the file is missing, empty, or does not begin with a header of this version.

        """
        self.path = path
        try:
            with path.open("rb") as file:
                first = file.readline()
        except OSError as error:
            raise HistoryFileError(f"{path}: cannot be read: {error.strerror}") from error
        try:
            self.header = msgspec.json.decode(first, type=Header)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise HistoryFileError(
                f"{path}: line 1 is not the header of a history ({error}). "
                "A history is the history.jsonl that `replay --out DIR` or `capture` writes."
            ) from error
        if self.header.version not in READABLE:
            raise HistoryFileError(
                f"{path}: a history of version {self.header.version}; this program reads versions "
                f"{' and '.join(map(str, READABLE))}."
            )

    def __iter__(self) -> Iterator[AnyRecord]:
        """Yield the records.

        Raises:
            HistoryFileError: a line is not a record, the last one was cut off, or some are missing. A tap may
                have been killed: of its history the last line may be cut off, and is left out.

        """
        decoder: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)
        with self.path.open("rb") as file:
            file.readline()
            number = 1
            for number, line in enumerate(file, start=2):
                if not line.endswith(b"\n"):
                    if self.header.tap:
                        return  # killed in the middle of a line; each line before it stands for itself
                    raise HistoryFileError(
                        f"{self.path}: line {number} was cut off: the history is not whole, so no verdict can be given. "
                        "Play the scenario again."
                    )
                try:
                    yield decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise HistoryFileError(f"{self.path}: line {number} is not a record: {error}") from error
        if self.header.records is not None and self.header.records != number - 1:
            raise HistoryFileError(
                f"{self.path}: {self.header.records} records were saved and {number - 1} are here: the history is not whole, "
                "so no verdict can be given. Play the scenario again."
            )


def load(path: Path) -> History:
    """Read a saved history whole.

    Raises:
        HistoryFileError: see `SavedHistory`.

    """
    saved = SavedHistory(path)
    return History(saved.header, saved)


Source = History | SavedHistory
"""What the checks read: a header, and records that can be iterated more than once."""


def save(source: Source, path: Path) -> None:
    """Write a history as JSON Lines."""
    encoder = msgspec.json.Encoder()
    header = source.header
    if isinstance(source, History):
        header = msgspec.structs.replace(header, records=len(source))
    with path.open("wb") as file:
        file.write(encoder.encode(header) + b"\n")
        file.writelines(encoder.encode(record) + b"\n" for record in source)
