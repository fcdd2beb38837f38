from pathlib import Path

import pytest

from hydra_notify_sim.contract.statuses import Status
from hydra_notify_sim.scenario import (
    Call,
    CallCount,
    Dispatcher,
    Finish,
    Point,
    ScenarioFileError,
    Settle,
    load,
    load_all,
    load_text,
    to_yaml,
)


def test_the_examples_are_read_and_written_back_unchanged(example: str) -> None:
    scenario = load_text(example)
    assert load_text(to_yaml(scenario)) == scenario


def test_steps_know_their_lines_and_equality_does_not(example: str) -> None:
    scenario = load_text(example)
    moved = load_text("# a comment\n\n" + example)
    assert [step.line + 2 for step in scenario.story] == [step.line for step in moved.story]
    assert scenario == moved


def test_what_a_step_says_is_there(examples: dict[str, str]) -> None:
    scenario = load_text(examples["crash between plugins"])
    finish = scenario.story[4]
    assert isinstance(finish, Finish)
    assert (finish.finish, finish.status, finish.line) == (("iso",), Status.succeeded, 18)
    assert finish.at == Point(name="after_call", which=1)
    assert finish.do == (Dispatcher(dispatcher="crash"),)
    assert finish.do[0].line == 20
    assert isinstance(scenario.story[6], Settle)
    calls = scenario.story[7].expect.calls
    assert calls["github.build_finished"] == CallCount(build="iso", status=Status.succeeded, at_least=1)
    assert calls["declarative.build_finished"].bounds == (1, None)
    assert scenario.dependents_of("kernel") == ("iso",)


def test_words_durations_and_defaults(examples: dict[str, str]) -> None:
    scenario = load_text(examples["cached while nobody listens"])
    last = scenario.story[-1].expect
    assert last.calls["github.cached_build_finished"] == (
        Call(ended="raised"),
        Call(ended="raised"),
        Call(ended="returned"),
    )
    assert last.retries == ()
    assert last.marks is None
    assert scenario.story[-2].advance == 6.0
    assert scenario.story[6].expect.retries[0].due_in == 2.0
    assert (scenario.given.payloads, scenario.given.version) == (None, "2026-08")
    assert scenario.given.dispatcher == "in process"


def test_copies_are_single_builds(head: str) -> None:
    scenario = load_text(head + "  - build: many\n  - restart: many.2\n")
    assert scenario.singles(("kernel", "many")) == ("kernel", "many.1", "many.2", "many.3")
    assert set(scenario.builds) == {"iso", "kernel", "later", "many.1", "many.2", "many.3", "old"}


def test_directories_are_searched_in_order_and_files_come_once(tmp_path: Path, example: str) -> None:
    (tmp_path / "b").mkdir()
    for name in ("z.yaml", "b/a.yaml", "notes.txt"):
        (tmp_path / name).write_text(example)
    found = load_all([tmp_path, tmp_path / "z.yaml"])
    assert [path.relative_to(tmp_path).as_posix() for path, _, _ in found] == ["b/a.yaml", "z.yaml"]
    assert found[0][1:] == (load(tmp_path / "z.yaml"), example)


def test_all_problems_of_all_files_come_at_once(tmp_path: Path, example: str) -> None:
    (tmp_path / "a.yaml").write_text(example.replace("scenario:", "scenaro:", 1))
    (tmp_path / "b.yaml").write_text(example.replace("- settle", "- setle", 1))
    (tmp_path / "c.yaml").write_text(example)
    with pytest.raises(ScenarioFileError) as caught:
        load_all([tmp_path, tmp_path / "nowhere"])
    text = str(caught.value)
    assert caught.value.exit_code == 2
    assert (
        f"{tmp_path / 'a.yaml'}:1:1: scenaro: unknown key 'scenaro'. Did you mean 'scenario'? Valid: scenario, why,"
        in text
    )
    assert "b.yaml:" in text
    assert "Did you mean 'settle'?" in text
    assert f"{tmp_path / 'nowhere'}: there is no such file or directory." in text
    assert "c.yaml" not in text


def test_a_directory_without_scenarios_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ScenarioFileError, match="no scenario"):
        load_all([tmp_path])
