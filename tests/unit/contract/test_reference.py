"""docs/reference says what the code says."""

import re
import typing
from pathlib import Path

import msgspec
import pytest

from hydra_notify_sim import history
from hydra_notify_sim.contract import channels, profiles, promises, quirks, transactions
from hydra_notify_sim.scenario import files, model, points, steps
from hydra_notify_sim.scenario.expect import Expect

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
KINDS = {record.__struct_config__.tag: record for record in typing.get_args(history.AnyRecord)}


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """Return the cells of every row of every table."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


def section(text: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one of its level or above."""
    level = heading.split(" ", 1)[0]
    assert f"\n{heading}\n" in text, f"no heading {heading!r}"
    return re.split(rf"\n#{{2,{len(level)}}} ", text.split(f"\n{heading}\n", 1)[1])[0]


def keys(text: str) -> set[str]:
    """Return what stands in backquotes in the first cells of tables."""
    return {name for row in rows(text) for name in re.findall(r"`([^`]+)`", row[0])}


def described(promise: promises.Promise) -> str:
    manual = f"- As the manual words it: {promise.manual_text}\n" if promise.manual_text else ""
    return f"\n{promise.text}\n\n- Source: {promise.source}\n{manual}- Why: {promise.why}\n"


@pytest.mark.parametrize("promise", promises.PROMISES, ids=lambda promise: promise.id)
def test_the_contract_page_has_each_promise_word_for_word(promise: promises.Promise) -> None:
    assert section(page("contract.md"), f"### {promise.id}") == described(promise)


def test_the_contract_page_has_the_promises_in_order_and_no_others() -> None:
    found = re.findall(r"^### (.+)$", page("contract.md"), re.MULTILINE)
    assert found == [promise.id for promise in promises.PROMISES]


def test_the_contract_page_explains_every_word_and_profile() -> None:
    words = rows(section(page("contract.md"), "## Words"))
    assert words[1:] == [[word, meaning] for word, meaning in promises.WORDS.items()]
    assert set(profiles.PROFILES) <= keys(section(page("contract.md"), "## Verdicts and profiles"))


def test_the_hydra_page_has_every_quirk_word_for_word() -> None:
    found = rows(section(page("hydra.md"), "## Quirks"))
    assert [row[:4] for row in found[1:]] == [
        [quirk.id, quirk.by, quirk.what, _broken(quirk)] for quirk in quirks.QUIRKS
    ]


def _broken(quirk: quirks.Quirk) -> str:
    now_and_then = f"; now and then {', '.join(quirk.may_break)}" if quirk.may_break else ""
    return (", ".join(quirk.breaks) or "none") + now_and_then


def test_the_hydra_page_cites_quirks_that_exist() -> None:
    cited = set(re.findall(r"`((?:qr|hn|web)-[a-z-]+)`", page("hydra.md")))
    assert cited
    assert cited <= {quirk.id for quirk in quirks.QUIRKS}


def test_the_hydra_page_has_every_channel_and_the_sections_that_docstrings_cite() -> None:
    text = page("hydra.md")
    listed = [row[0] for row in rows(section(text, "## 1. Channels"))[1:]]
    assert sorted(listed) == sorted([*channels.CHANNELS, channels.DUMP_METRICS])
    numbers = re.findall(r"^## (\d)\. ", text, re.MULTILINE)
    assert numbers == ["1", "2", "3", "4", "5", "6"]
    hooks = {
        hook for row in rows(section(text, "## 6. The arguments of a hook")) for hook in row[0].split(", ")
    }
    assert set(channels.CHANNELS) <= hooks


def test_the_history_page_has_a_row_for_every_kind_of_record() -> None:
    found = {
        row[0].strip("`"): row for row in rows(section(page("history.md"), "## The records")) if "`" in row[0]
    }
    assert set(found) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_history_page_has_every_field_of_a_record(kind: str) -> None:
    row = next(row for row in rows(page("history.md")) if row[0] == f"`{kind}`")
    fields = {field.name for field in msgspec.structs.fields(KINDS[kind])} - {"t"}
    assert set(re.findall(r"`([^`]+)`", row[1])) == fields


def test_the_history_page_has_every_field_of_the_header() -> None:
    assert keys(section(page("history.md"), "## The header")) == {
        field.name for field in msgspec.structs.fields(history.Header)
    }


def test_the_history_page_has_a_row_for_every_action() -> None:
    found = rows(section(page("history.md"), "## The actions"))
    assert found[1:] == [
        [f"`{one.action}`", ", ".join(sorted(one.actors)), one.summary] for one in transactions.TRANSACTIONS
    ]


def test_the_example_on_the_history_page_is_a_history() -> None:
    example = page("history.md").split("```json\n")[1].split("```")[0]
    decoder = msgspec.json.Decoder(history.AnyRecord)
    records = [decoder.decode(line) for line in example.splitlines()]
    commits = [number for number, record in enumerate(records) if isinstance(record, history.Commit)]
    assert commits == [record.commit for record in records if isinstance(record, history.Committed)]
    actions = {record.action for record in records if isinstance(record, history.Commit)}
    assert actions <= transactions.ACTIONS


def test_the_scenario_page_has_every_verb_point_and_key() -> None:
    text = page("scenarios.md")
    assert {key for key in keys(section(text, "## The story")) if key in steps.VERBS} == set(steps.VERBS)
    assert keys(section(text, "### at and do: in the middle of something")) == set(points.POINTS)
    assert keys(section(text, "### expect")) == set(Expect.keys())
    assert keys(section(text, "## The file")) >= set(model.Scenario.keys())
    given = keys(section(text, "### given"))
    assert given == {*model.Given.keys(), *model.GivenBuild.keys(), *model.GivenPlugin.keys()}


def test_the_examples_on_the_scenario_page_are_valid_scenarios() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", page("scenarios.md"), re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        assert files.load_text(example).story


PAGES = [*sorted(REFERENCE.parent.rglob("*.md")), REFERENCE.parents[1] / "CONTRIBUTING.md"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#][^)]*)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target.split("#")[0]).exists(), target
