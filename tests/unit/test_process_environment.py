"""The environment that a dispatcher's process is started in."""

from pathlib import Path

import pytest

from hydra_notify_sim.targets import process_environment


def made(tmp_path: Path, seed: int) -> dict[str, str]:
    return process_environment.make("dbname=hydra", tmp_path / "socket", ["chat"], tmp_path, seed)


def test_perl_keeps_its_hashes_in_an_order_that_the_seed_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PERL_HASH_SEED", raising=False)
    monkeypatch.delenv("PERL_PERTURB_KEYS", raising=False)
    assert [made(tmp_path, seed)["PERL_HASH_SEED"] for seed in (0, 26, -1)] == ["0", "1a", "ffffffff"]
    assert made(tmp_path, 26)["PERL_PERTURB_KEYS"] == "0"


def test_what_a_person_has_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERL_HASH_SEED", "5")
    assert made(tmp_path, 26)["PERL_HASH_SEED"] == "5"


def test_temporary_files_lie_in_the_directory_of_the_run(tmp_path: Path) -> None:
    temporary = Path(made(tmp_path, 0)["TMPDIR"])
    assert temporary.is_dir()
    assert temporary.is_relative_to(tmp_path)
