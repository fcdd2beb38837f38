"""What is written is read as the same; the schema accepts it too."""

import string
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_notify_sim.contract import channels, promises
from hydra_notify_sim.scenario import Scenario, document, json_schema, load_text, steps, to_yaml
from hydra_notify_sim.scenario.parts import FINISH_STATUSES, STEP_STATUSES
from hydra_notify_sim.scenario.points import CALL_POINTS, LONE_POINTS, MARK_POINTS, NUMBERED_POINTS
from hydra_notify_sim.scenario.steps import UNKNOWN

VALIDATOR = jsonschema.Draft202012Validator(json_schema())

texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
) | st.sampled_from(
    [
        "null",
        "true",
        "12",
        "1e3",
        "0x1f",
        "2026-08",
        "a: b",
        "a #b",
        "- a",
        "",
        " x",
        "x ",
        "a\nb",
        "'",
        '"',
        "{a}",
        "*x",
        "~",
        "é",
        "😀",
    ]
).filter(bool)
nicknames = st.text(string.ascii_letters, min_size=1, max_size=6)
names = nicknames | st.lists(nicknames, min_size=1, max_size=3, unique=True)
few = st.lists(nicknames, max_size=3, unique=True)
counts = st.integers(1, 100)
hooks = st.sampled_from(channels.CHANNELS)
promise_ids = st.sampled_from([promise.id for promise in promises.PROMISES])
durations = st.integers(0, 10**6) | st.floats(0, 10**6) | st.sampled_from(["6s", "2m", "26.5h", "3d", "0.1s"])
booleans = st.booleans()
payloads = texts | st.lists(st.integers(-10, 10**9) | nicknames, min_size=1, max_size=3)
finish_statuses = st.sampled_from([status.name for status in FINISH_STATUSES])


def some(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


points = (
    st.sampled_from([*CALL_POINTS, *LONE_POINTS])
    | st.tuples(st.sampled_from(CALL_POINTS), counts | nicknames).map(lambda pair: dict([pair]))
    | st.tuples(st.sampled_from(NUMBERED_POINTS), counts).map(lambda pair: dict([pair]))
    | st.tuples(st.sampled_from(["before_store", "after_store"]), hooks).map(
        lambda pair: {pair[0]: None, "hook": pair[1]}
    )
    | st.sampled_from(MARK_POINTS[:2]).map(lambda name: {name: None, "hook": "build_finished"})
)
ended = st.sampled_from(["returned", "raised", "cut off"])
a_call = {
    "build": nicknames,
    "status": st.sampled_from(["succeeded", "failed"]),
    "dependents": few,
    "hook": hooks,
    "ended": ended,
}
calls = ended | some({}, **a_call)
allowances = st.tuples(hooks, nicknames, promise_ids).map(lambda it: {it[0]: it[1], "allowed_by": it[2]})
expectations = some(
    {"marks": few},
    calls=st.dictionaries(
        nicknames, st.lists(calls, max_size=3) | some({}, **a_call, at_least=counts), max_size=2
    ),
    last=st.dictionaries(nicknames, calls, max_size=2),
    retries=st.lists(
        some({"plugin": texts}, attempts=counts, due_in=durations, hook=hooks, build=nicknames), max_size=2
    ),
    lost=st.lists(allowances, max_size=2),
    repeated=st.lists(allowances, max_size=2),
    violated=st.lists(promise_ids, max_size=2, unique=True),
    log=st.sampled_from(["retry", "a.*b", "[0-9]+: x"]),
)
channel_names = hooks | st.sampled_from(["elsewhere", "hydra_notify_dump_metrics"])
simple_steps = st.one_of(
    st.just("settle"),
    some({"dispatcher": st.sampled_from(["start", "restart"])}, plugins=few),
    some({"dispatcher": st.sampled_from(["stop", "crash"])}),
    some(
        {
            "evaluate": some({}, name=nicknames, new=few, error_changed=booleans)
            | some({"fails": texts | st.just(True)})
        }
    ),
    *(some({verb: names}) for verb in ("start", "abort", "cancel", "restart", "bump")),
    *(
        some({verb: names}, status=finish_statuses, same_second=booleans, log=booleans)
        for verb in ("finish", "build")
    ),
    some({"mark_only": names}, status=finish_statuses, same_second=booleans),
    some({"substitute": names}, already_valid=booleans, same_second=booleans),
    some({"step": names}, status=st.sampled_from([status.name for status in STEP_STATUSES]), log=booleans),
    some(
        {
            "notify": some(
                {"channel": channel_names, "payload": payloads},
                **{"times": counts, "in": st.sampled_from(["same transaction", "separate", "rolled back"])},
            )
        }
    ),
    some(
        {
            "delete": st.one_of(
                some({"build": nicknames}),
                some({"step": some({"build": nicknames}, number=counts)}),
                some({"task": some({}, plugin=texts, payload=payloads)}),
            )
        }
    ),
    some(
        {
            "insert": some(
                {
                    "task": some(
                        {"plugin": texts, "channel": texts, "payload": payloads},
                        attempts=counts,
                        due_in=durations,
                    )
                }
            )
        }
    ),
    some({"connection": st.just("lost")}, reply_lost=booleans),
    st.just({"postgres": "restart"}),
    some({"release": nicknames}),
    some({"advance": durations | st.just("until due")}),
    some({"expect": expectations}),
    some({"unknown": st.sampled_from(UNKNOWN) | st.lists(st.sampled_from(UNKNOWN), min_size=1, unique=True)}),
)


def with_points(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, min_size=1, max_size=2)
    held = st.tuples(
        simple_steps.filter(lambda step: step != "settle" and "unknown" not in step), points, lists
    )
    return held.map(lambda it: {**it[0], "at": it[1], "do": it[2]}) | some(
        {"repeat": some({"times": counts, "steps": lists})}
    )


builds = some(
    {},
    job=texts, name=texts, system=texts, needs=few, steps=counts, outputs=few, products=counts,
    metrics=st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=2), copies=counts,
)  # fmt: skip
raises = st.just("always") | some({"first": counts}, message=texts) | some({"for": names}, first=counts)
plugins = some(
    {}, hooks=st.just("all") | st.lists(hooks, unique=True), raises=raises, takes=durations, holds=booleans
)
scenarios = some(
    {
        "scenario": st.sampled_from(["Something happens", "yes: it #does", "12", "- 'this'"]),
        "why": texts,
        "exercises": st.lists(promise_ids, min_size=1, max_size=3, unique=True),
        "story": st.lists(st.recursive(simple_steps, with_points, max_leaves=4), min_size=1, max_size=5),
    },
    known=some({}, **{"hn-stale-clear": st.lists(promise_ids, max_size=2, unique=True)}),
    given=some(
        {},
        jobset=st.just("nixos:release"),
        builds=st.dictionaries(nicknames, builds, max_size=3),
        plugins=st.dictionaries(nicknames, plugins, max_size=3),
        dispatcher=st.just("process"),
        payloads=st.just("2026-09"),
    ),
)


@given(scenarios)
def test_what_is_written_is_read_as_the_same(data: dict[str, Any]) -> None:
    scenario = Scenario.model_validate(data)
    text = to_yaml(scenario)
    read = document.read(document.decode(text.encode())).value
    assert Scenario.model_validate(read) == scenario
    VALIDATOR.validate(read)
    VALIDATOR.validate(data)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(str.strip))
def test_any_text_can_be_a_reason(why: str) -> None:
    scenario = Scenario.model_validate(
        {"scenario": "x", "why": why, "exercises": ["P-format"], "story": [{"advance": 1}]}
    )
    assert load_text(to_yaml(scenario)) == scenario


def test_it_reads_as_a_person_would_write_it(examples: dict[str, str]) -> None:
    example = examples["crash between plugins"]
    assert to_yaml(load_text(example)) == example.replace(
        "do: [dispatcher: crash]", "do:\n      - dispatcher: crash"
    )


def test_the_schema_is_one_and_accepts_the_examples(example: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    VALIDATOR.validate(document.read(example).value)


@pytest.mark.parametrize(
    "step",
    [
        "biuld: iso",
        "{build: iso, finish: iso}",
        "{build: iso, status: faild}",
        "{build: iso, at: before_clear}",
        "{build: iso, do: [settle]}",
        "{build: iso, at: point, do: [settle]}",
        "{build: iso, at: {after_call: 1, before_call: 1}, do: [settle]}",
        "build: []",
        "advance: -1",
        "advance: 5 weeks",
        "settle: false",
        "setle",
        "expect: {}",
        "expect: {lost: [{build_finished: iso}]}",
        "expect: {violated: [B-cler]}",
        "expect: {retries: [{plugin: x, atempts: 1}]}",
        "delete: {build: iso, evaluation: e1}",
        "repeat: {times: 2, steps: []}",
        "repeat: {times: 2, steps: [{line: 3}]}",
        "notify: {channel: a b, payload: x}",
        "{build: iso, line: 3}",
    ],
)
def test_the_schema_and_the_loader_refuse_the_same(head: str, step: str, complaints: Any) -> None:
    text = f"{head}  - {step}\n"
    assert not VALIDATOR.is_valid(document.read(text).value)
    assert complaints(text)


def test_every_key_of_the_schema_is_described() -> None:
    schema = json_schema()
    for part in (schema, *schema["$defs"].values()):
        for form in (part, *part.get("anyOf", ())):
            for key, value in form.get("properties", {}).items():
                assert value.get("description"), key
    (step,) = [form for form in schema["$defs"]["step"]["anyOf"] if "oneOf" in form]
    assert {reference["$ref"].split("/")[-1] for reference in step["oneOf"]} == {
        cls.__name__ for cls in steps.VERBS.values()
    }


def test_checking_steps_inside_steps_takes_no_longer_than_as_many_in_a_row(head: str) -> None:
    deep = "{build: iso, at: before_clear, do: [" * 12 + "settle" + "]}" * 12
    assert VALIDATOR.is_valid(document.read(f"{head}  - {deep}\n").value)
    wrong = deep.replace("settle", "setle")
    assert not VALIDATOR.is_valid(document.read(f"{head}  - {wrong}\n").value)
