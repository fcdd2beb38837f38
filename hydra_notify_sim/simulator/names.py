"""Names and paths that look like Hydra's, as a pure function of seed and number; `provider` has them for Faker.

Faker's random generator is replaced by one that costs nothing to seed: a scenario needs a name or two for each build,
and a hundred scenarios a second are played.
"""

import functools
import random
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

NIX_BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"
"""The digits of Nix's base 32: no e, o, t, u."""

LOG_DIRECTORY = "/var/lib/hydra//build-logs"
"""As where ``HYDRA_DATA`` ends with a slash: another text once a path was normalised."""

_MASK = 2**64 - 1

_PACKAGES = (
    ("hello", "2.12.1"),
    ("curl", "8.17.0"),
    ("openssl", "3.6.0"),
    ("linux", "6.12.58"),
    ("firefox", "145.0.1"),
    ("python3", "3.13.9"),
    ("postgresql", "17.7"),
    ("nix", "2.31.2"),
    ("gcc", "14.3.0"),
    ("glibc", "2.40-66"),
    ("ripgrep", "15.1.0"),
    ("qemu", "10.1.2"),
    ("ffmpeg", "8.0"),
    ("texlive", "2025"),
    ("ghc", "9.10.3"),
    ("rustc", "1.91.1"),
    ("systemd", "258.2"),
    ("git", "2.51.2"),
    ("coreutils", "9.8"),
    ("nixos-manual", "25.11"),
    ("libreoffice", "25.8.3.2"),
    ("mesa", "25.2.6"),
    ("chromium", "142.0.7444.175"),
    ("emacs", "30.2"),
    ("perl", "5.42.0"),
    ("imagemagick", "7.1.2-8"),
)
_SYSTEMS = ("x86_64-linux", "aarch64-linux", "x86_64-darwin", "aarch64-darwin", "i686-linux")
_PROJECTS = ("nixpkgs", "nixos", "hydra", "nix", "home-manager", "sops-nix", "patchelf")
_JOBSETS = ("trunk", "master", "staging-next", "release-25.11", "unstable-small", "haskell-updates")
_MACHINES = ("build", "builder", "eris", "hopper", "turing", "lovelace", "kazan", "sofia")
_DESCRIPTIONS = (
    "Program that produces a familiar, friendly greeting",
    "Command line tool for transferring files with URL syntax",
    "Cryptographic library that implements the SSL and TLS protocols",
    "Powerful, open source object-relational database system",
    "Utility that combines the usability of a search tool with raw speed",
    "Complete, cross-platform solution to record, convert and stream",
)
_LICENCES = ("GPL-3.0-or-later", "MIT", "Apache-2.0", "BSD-3-Clause", "LGPL-2.1-plus", "curl")


class CheapRandom(random.Random):
    """SplitMix64 behind Python's interface: seeding is one assignment."""

    def __init__(self, state: int = 0) -> None:
        super().__init__(0)
        self.state = state & _MASK

    def restart(self, state: int) -> None:
        """Begin again from a state of 64 bits."""
        self.state = state & _MASK

    def getrandbits(self, k: int, /) -> int:
        """Return an integer of k random bits."""
        bits = 0
        for shift in range(0, k, 64):
            self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
            z = self.state
            z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
            bits |= (z ^ (z >> 31)) << shift
        return bits & ((1 << k) - 1)

    def random(self) -> float:
        """Return a float in [0, 1)."""
        return self.getrandbits(53) / 2**53


class HydraNames:
    """Plausible data of a Hydra, from whatever random generator stands behind it.

    Apart from `hydra_notify_sim.simulator.provider`, for importing Faker takes longer than playing a few scenarios.
    """

    generator: Any
    """What Faker gives its providers: an object whose ``random`` is a `random.Random`."""

    def _pick(self, values: tuple[str, ...]) -> str:
        bits: int = self.generator.random.getrandbits(32)
        return values[bits % len(values)]

    def nix_hash(self) -> str:
        """Return a hash as it stands in store paths: 32 digits of Nix's base 32."""
        bits: int = self.generator.random.getrandbits(160)
        return "".join([NIX_BASE32[(bits >> shift) & 31] for shift in range(0, 160, 5)])

    def nix_package(self) -> tuple[str, str]:
        """Return the name and the version of a package."""
        bits: int = self.generator.random.getrandbits(32)
        return _PACKAGES[bits % len(_PACKAGES)]

    def nix_name(self) -> str:
        """Return what Hydra's column ``nixname`` holds: ``hello-2.12.1``."""
        return "-".join(self.nix_package())

    def store_path(self, name: str = "") -> str:
        """Return a path in the Nix store."""
        return f"/nix/store/{self.nix_hash()}-{name or self.nix_name()}"

    def drv_path(self, name: str = "") -> str:
        """Return the path of a derivation."""
        return f"{self.store_path(name)}.drv"

    def nix_system(self) -> str:
        """Return a platform, as Nix calls it."""
        return self._pick(_SYSTEMS)

    def hydra_job(self, system: str = "") -> str:
        """Return the name of a job: ``hello.x86_64-linux``."""
        return f"{self.nix_package()[0]}.{system or self.nix_system()}"

    def hydra_project(self) -> str:
        """Return the name of a project."""
        return self._pick(_PROJECTS)

    def hydra_jobset(self) -> str:
        """Return the name of a jobset."""
        return self._pick(_JOBSETS)

    def machine_name(self) -> str:
        """Return the host name of a build machine."""
        bits: int = self.generator.random.getrandbits(32)
        return f"{_MACHINES[bits % len(_MACHINES)]}{1 + (bits >> 8) % 12:02}.example.org"

    def revision(self) -> str:
        """Return a Git revision: 40 hexadecimal digits."""
        return f"{self.generator.random.getrandbits(160):040x}"

    def sha256(self) -> str:
        """Return 64 hexadecimal digits."""
        return f"{self.generator.random.getrandbits(256):064x}"

    def log_path(self, drv_path: str = "") -> str:
        """Return where Hydra keeps the log of a derivation."""
        return log_path(drv_path or self.drv_path())

    def nix_description(self) -> str:
        """Return a package's one-line description."""
        return self._pick(_DESCRIPTIONS)

    def nix_licence(self) -> str:
        """Return the name of a licence."""
        return self._pick(_LICENCES)


def log_path(drv_path: str) -> str:
    """Return the log's path: the log directory, two characters of the derivation's base name, the rest."""
    base = drv_path.rpartition("/")[2]
    return f"{LOG_DIRECTORY}/{base[:2]}/{base[2:]}"


@functools.cache
def _hydra() -> tuple[HydraNames, CheapRandom]:
    """Return the process's one maker of names and the random generator behind it."""
    cheap = CheapRandom()
    names = HydraNames()
    names.generator = SimpleNamespace(random=cheap)
    return names, cheap


@dataclass(frozen=True, slots=True)
class Package:
    """What is made up about one build."""

    attribute: str
    """The job's name without its system."""
    nix_name: str
    description: str
    licence: str
    drv_path: str
    output_hash: str
    size: int
    """Bytes of the outputs."""
    closure_size: int
    """Bytes of the outputs and all they refer to."""


class Names:
    """Names for one run: each a pure function of the seed and a number, however often it is asked for."""

    def __init__(self, seed: int, *, any_text: bool = True) -> None:
        """``any_text``: whether a text may hold what is not ASCII."""
        self._any_text = any_text
        self._base = (seed * 0xD1342543DE82EF95 + 0x632BE59BD9B4E019) & _MASK

    def at(self, number: int, kind: int = 0) -> HydraNames:
        """Return the provider, seeded for one thing; valid until the next call."""
        provider, cheap = _hydra()
        cheap.restart(self._base + number * 0xA0761D6478BD642F + kind * 0xE7037ED1A0B428DB)
        return provider

    def package(self, number: int, name: str = "") -> Package:
        """Return what there is to know of the n-th build; ``name`` is its ``nixname`` where that is given."""
        provider = self.at(number)
        attribute, version = provider.nix_package()
        nix_name = name or f"{attribute}-{version}"
        hashes = provider.nix_hash(), provider.nix_hash()
        size = 4096 + provider.generator.random.getrandbits(26)
        return Package(
            attribute=attribute,
            nix_name=nix_name,
            description=provider.nix_description(),
            licence=provider.nix_licence(),
            drv_path=f"/nix/store/{hashes[0]}-{nix_name}.drv",
            output_hash=hashes[1],
            size=size,
            closure_size=size * 3 + provider.generator.random.getrandbits(28),
        )

    def machine(self, number: int) -> str:
        """Return the machine that takes the n-th step."""
        return self.at(number, 1).machine_name()

    def dependency(self, number: int, step: int) -> str:
        """Return the derivation that is built as a step on the way to the n-th build."""
        return self.at(number * 1009 + step, 2).drv_path()

    def trace(self, number: int) -> str:
        """Return the trace id of the evaluator's n-th run.

        Hydra's is the seconds since its machine booted, a dot, and its pid. For whoever hands it on it is any text
        (P-format), so all but every fourth are texts that something else comes of if they are parsed and printed
        again, stripped, or normalised.
        """
        bits = self.at(0, 5).generator.random.getrandbits(64)
        later = self.at(number, 5).generator.random.getrandbits(16)
        boot = 10_000 + bits % 900_000 + number * 60
        seconds, pid = f"{boot}.{later % 1000:03}", 1000 + (bits >> 32) % 30_000
        if number % 4 == 0:
            return f"{seconds}.{pid}"
        accent = "\N{COMBINING ACUTE ACCENT}" if self._any_text else ""
        unlike = (
            f"00{boot}.{later % 10}0",
            f" {seconds} {pid} ",
            f"{boot}e{1 + later % 9}",
            f"{seconds}.e{accent}{pid}",
            f"0x{boot:X}",
        )
        return unlike[(number - number // 4 + bits) % len(unlike)]

    def revision(self, number: int) -> str:
        """Return the revision that the n-th evaluation looks at."""
        return self.at(number, 3).revision()

    def sha256(self, number: int) -> str:
        """Return the n-th SHA-256 checksum."""
        return self.at(number, 4).sha256()
