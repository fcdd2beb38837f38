"""A recording in the making: records go to the file as they come, and nothing of it stays in memory."""

import errno
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from hydra_notify_sim import errors, history


class NotWrittenError(errors.EnvironmentFailedError):
    """The file cannot be written (any more): what stands in it is what was recorded until then."""


class Recording:
    """A history's file that grows; a context manager that closes it."""

    def __init__(self, path: Path, header: history.Header, *, overwrite: bool) -> None:
        """Begin the file.

        Raises:
            UsageError: it exists, and may not be overwritten.
            NotWrittenError: it cannot be written.

        """
        self.path = path
        self.counts: Counter[str] = Counter()
        """Kind of record to how many were written."""
        self._encoder = msgspec.json.Encoder()
        try:
            self._file: BinaryIO = path.open("wb" if overwrite else "xb")
        except FileExistsError:
            raise errors.UsageError(
                f"{path} exists, and a recording cannot be made again: it was left as it is. Name another file, or say "
                "--overwrite."
            ) from None
        except OSError as error:
            raise self._failed(error) from error
        try:
            self._put(self._encoder.encode(header) + b"\n")
        except NotWrittenError:
            self.close()
            raise

    def write(self, records: Sequence[history.AnyRecord]) -> None:
        """Append records and hand them to the system, so that not even a kill takes them away.

        Raises:
            NotWrittenError: the disk is full, or the file is gone.

        """
        self._put(b"".join([self._encoder.encode(record) + b"\n" for record in records]))
        self.counts.update(str(record.__struct_config__.tag) for record in records)

    def _put(self, lines: bytes) -> None:
        try:
            self._file.write(lines)
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> NotWrittenError:
        kept = sum(self.counts.values())
        after = f" after {kept} records, which are in it" if kept else ""
        hint = "Make room, or name" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "Name"
        return NotWrittenError(
            f"{self.path} cannot be written{after}: {error.strerror}. {hint} another place."
        )

    def close(self) -> None:
        """Close the file; what could not be written was told before."""
        try:
            self._file.close()
        except OSError:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
