"""Writes a file that a person asked for by name; what stands there already is not lost by mistake."""

from pathlib import Path

from hydra_notify_sim import errors


def write(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a text whole.

    Raises:
        UsageError: the file exists, and may not be replaced.
        EnvironmentFailedError: it cannot be written.

    """
    try:
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise errors.UsageError(
            f"{path} exists, and was left as it is. Name another file, or say --overwrite."
        ) from None
    except OSError as error:
        raise errors.EnvironmentFailedError(f"{path} cannot be written: {error.strerror}.") from error
