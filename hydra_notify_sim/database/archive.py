"""A directory tree in two files: quick to write, quick to bring back, equal contents kept once."""

import hashlib
import json
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from hydra_notify_sim.database.accounts import Account

_INDEX = "index.json"
_CONTENT = "content"


def pack(tree: Path, archive: Path) -> None:
    """Make the directory `archive` of a tree's directories and regular files; modes and owners are not kept.

    The databases of a new server are nearly the same: 30 MB become 10. A thousand files become two, which
    matters on a disk: writing them one by one takes half a second.
    """
    archive.mkdir()
    directories: list[str] = []
    files: list[tuple[str, int, int]] = []
    known: dict[bytes, int] = {b"": 0}
    end = 0
    with (archive / _CONTENT).open("wb") as content:
        for path, is_directory in _below(str(tree), ""):
            if is_directory:
                directories.append(path)
                continue
            data = (tree / path).read_bytes()
            digest = hashlib.blake2b(data, digest_size=20).digest() if data else b""
            if digest not in known:
                known[digest] = end
                end += content.write(data)
            files.append((path, known[digest], len(data)))
    (archive / _INDEX).write_text(json.dumps({"directories": directories, "files": files}), encoding="utf-8")


def unpack(archive: Path, tree: Path, account: Account) -> None:
    """Bring a tree back as a new directory that belongs to the account alone (modes 0700 and 0600).

    Raises OSError or ValueError if the archive is damaged or the tree cannot be written.
    """
    index = json.loads((archive / _INDEX).read_bytes())
    own = (account.uid, account.gid) if account.change else None
    for path in ("", *index["directories"]):
        (tree / path).mkdir(mode=0o700)
        if own is not None:
            os.chown(tree / path, *own)
    root = str(tree)
    with (
        (archive / _CONTENT).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as content,
    ):
        for path, start, size in index["files"]:
            if start + size > len(content):
                raise ValueError(f"{archive} is cut short")
            to = os.open(f"{root}/{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                if own is not None:
                    os.fchown(to, *own)
                written = 0
                while written < size:
                    with content[start + written : start + size] as piece:
                        written += os.write(to, piece)
            finally:
                os.close(to)


def _below(root: str, path: str) -> Iterator[tuple[str, bool]]:
    """Yield the relative path of all in a tree, parents first, and whether it is a directory."""
    with os.scandir(f"{root}/{path}") as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            below = f"{path}/{entry.name}" if path else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield below, True
                yield from _below(root, below)
            elif entry.is_file(follow_symlinks=False):
                yield below, False
