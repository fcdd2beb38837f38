"""The one cache on disk: entries that appear whole or not at all, and are never missed if they cannot be kept."""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_NAME = "hydra-notify-sim"
_UNFINISHED = ".unfinished-"
_KEEP = 8
"""Entries of one kind (the key's first word) that are kept; the longest unused goes first."""
_ABANDONED = 3600.0
"""Seconds after which an unfinished entry has no writer any more."""


@dataclass(frozen=True, slots=True)
class CacheDirectory:
    """A directory of entries, each a directory named by a key such as `data-15.18-0123abcd`."""

    path: Path

    def entry(self, key: str) -> Path | None:
        """Return the entry's directory, marked as used now, or None if there is none."""
        path = self.path / key
        if not path.is_dir():
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return path

    def store(self, key: str, make: Callable[[Path], None]) -> None:
        """Add an entry by letting `make` fill a new directory; does nothing if that is not possible.

        Other processes see the entry whole or not at all; of two writers at once the first one stays.
        """
        unfinished = self.path / f"{_UNFINISHED}{key}-{secrets.token_hex(4)}"
        try:
            self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
            make(unfinished)
            unfinished.rename(self.path / key)
        except (OSError, shutil.Error):  # full, read-only, or someone was faster
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            self._prune(key)

    def remove(self, key: str) -> None:
        """Remove an entry that turned out to be of no use."""
        shutil.rmtree(self.path / key, ignore_errors=True)

    def _prune(self, key: str) -> None:
        kind = key.partition("-")[0]
        with contextlib.suppress(OSError):
            ages = {path: path.stat().st_mtime for path in self.path.iterdir()}
            kept = sorted((path for path in ages if path.name.startswith(f"{kind}-")), key=lambda p: -ages[p])
            abandoned = [
                path
                for path, changed in ages.items()
                if path.name.startswith(_UNFINISHED) and time.time() - changed > _ABANDONED
            ]
            for path in (*kept[_KEEP:], *abandoned):
                shutil.rmtree(path, ignore_errors=True)


def cache_directory() -> CacheDirectory | None:
    """Return the cache: below XDG_CACHE_HOME, for root /var/cache, else ~/.cache; None without a home.

    It need not exist, or be writable.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if named.startswith("/"):
        return CacheDirectory(Path(named, _NAME))
    if os.geteuid() == 0:
        return CacheDirectory(Path("/var/cache", _NAME))
    home = os.environ.get("HOME", "")
    return CacheDirectory(Path(home, ".cache", _NAME)) if home.startswith("/") else None
