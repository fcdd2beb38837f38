"""Made-up names: shaped like Hydra's, and the same for the same seed."""

import re

import faker
import pytest

from hydra_notify_sim.simulator.names import Names, log_path
from hydra_notify_sim.simulator.provider import HydraProvider

HASH = r"[0-9abcdfghijklmnpqrsvwxyz]{32}"


@pytest.fixture
def fake() -> faker.Faker:
    made = faker.Faker()
    made.add_provider(HydraProvider)
    made.seed_instance(4711)
    return made


@pytest.mark.parametrize(
    ("method", "pattern"),
    [
        ("nix_hash", HASH),
        ("store_path", rf"/nix/store/{HASH}-[a-z0-9.-]+"),
        ("drv_path", rf"/nix/store/{HASH}-[a-z0-9.-]+\.drv"),
        ("hydra_job", r"[a-z0-9-]+\.(x86_64|aarch64|i686)-(linux|darwin)"),
        ("nix_system", r"(x86_64|aarch64|i686)-(linux|darwin)"),
        ("hydra_project", r"[a-z-]+"),
        ("hydra_jobset", r"[a-z0-9.-]+"),
        ("machine_name", r"[a-z]+\d\d\.example\.org"),
        ("revision", r"[0-9a-f]{40}"),
        ("sha256", r"[0-9a-f]{64}"),
        ("log_path", r"/var/lib/hydra//build-logs/[0-9a-z]{2}/[0-9a-z]{30}-[a-z0-9.-]+\.drv"),
        ("nix_name", r"[a-z0-9-]+-[0-9][0-9.-]*"),
    ],
)
def test_any_faker_can_use_the_provider(fake: faker.Faker, method: str, pattern: str) -> None:
    for _ in range(50):
        made = getattr(fake, method)()
        assert re.fullmatch(pattern, made), made


def test_a_seeded_faker_repeats_itself(fake: faker.Faker) -> None:
    first = [fake.drv_path() for _ in range(5)]
    fake.seed_instance(4711)
    assert [fake.drv_path() for _ in range(5)] == first


def test_names_depend_on_seed_and_number_alone() -> None:
    first, again, other = Names(1), Names(1), Names(2)
    assert [first.package(n) for n in (1, 2, 3)] == [again.package(n) for n in (3, 2, 1)][::-1]
    assert first.package(1) != other.package(1)
    assert first.trace(4) == again.trace(4)
    assert first.dependency(1, 2) == again.dependency(1, 2) != first.dependency(2, 1)


def test_names_do_not_collide() -> None:
    names = Names(3)
    paths = {names.package(n).drv_path for n in range(5000)} | {
        names.dependency(n, step) for n in range(100) for step in range(20)
    }
    assert len(paths) == 7000


def test_kinds_of_names_are_independent() -> None:
    names = Names(5)
    assert len({names.revision(n) for n in range(100)} | {names.sha256(n)[:40] for n in range(100)}) == 200


def test_a_given_name_stands_in_the_derivation() -> None:
    package = Names(0).package(1, "hello-2.12.1")
    assert package.nix_name == "hello-2.12.1"
    assert package.drv_path.endswith("-hello-2.12.1.drv")


def test_a_log_lies_under_two_characters_of_the_derivation() -> None:
    assert log_path("/nix/store/abcd-hello.drv") == "/var/lib/hydra//build-logs/ab/cd-hello.drv"
