import pytest

from hydra_notify_sim.reports import safe, words


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://ci:geheim@db.example/hydra", "postgresql://ci:***@db.example/hydra"),
        ("postgres://ci:ge:h@eim@db/hydra?x=1", "postgres://ci:***@db/hydra?x=1"),
        ("postgres://:geheim@/hydra", "postgres://:***@/hydra"),
        ("host=db password=geheim dbname=x", "host=db password=*** dbname=x"),
        ("host=db password='ge \\'heim' dbname=x", "host=db password=*** dbname=x"),
        ("PASSWORD = geheim", "PASSWORD = ***"),
        ("postgres://db/x?password=geheim&sslmode=disable", "postgres://db/x?password=***&sslmode=disable"),
        ("postgres://db:5432/hydra", "postgres://db:5432/hydra"),
        ("scenario: a password is nowhere", "scenario: a password is nowhere"),
        ("a https://example.org:80/x and user@host", "a https://example.org:80/x and user@host"),
    ],
)
def test_passwords_are_hidden_and_nothing_else(text: str, masked: str) -> None:
    assert safe.mask(text) == masked
    assert safe.has_password(text) is (text != masked)


def test_control_characters_are_written_as_escapes() -> None:
    assert safe.clean("a\tb\nc\r\x1b[0m\x00\x9b\u202e\ud800é") == (
        "a\tb\nc\\r\\x1b[0m\\x00\\x9b\\u202e\\ud800é"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.04, "0 s"), (1.25, "1.2 s"), (6, "6 s"), (60, "1 min"), (90, "90 s"), (150, "2.5 min"),
        (3600, "1 h"), (95400, "26.5 h"), (-2, "-2 s"),
    ],
)  # fmt: skip
def test_spans_of_time_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_nicknames_are_added_to_ids() -> None:
    names = words.Names({1: "kernel", 12: "iso"})
    assert names.explain("build 12 and builds 1, 3 and 12; build 1 (kernel), rebuild 1") == (
        "build 12 (iso) and builds 1 (kernel), 3 and 12 (iso); build 1 (kernel), rebuild 1"
    )


def test_a_long_list_is_counted() -> None:
    assert words.listed([]) == ""
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.listed(list("abcdefgh")) == "a, b, c, d, e and 3 more"


def test_a_long_line_is_shortened_in_the_middle() -> None:
    assert words.one_line("x" * 100, 10) == "xxxxxx…xxx"
    assert len(words.one_line("abc\r\ndef\t", 0)) == len("abc def\\t")


@pytest.mark.parametrize(
    ("channel", "payload", "text"),
    [
        ("build_finished", "1\t12\t9", "build_finished kernel with iso and build 9"),
        ("step_finished", "1\t2\t/log", "step_finished kernel, step 2"),
        ("cached_build_queued", "5\t1", "cached_build_queued kernel (e1)"),
        ("eval_added", "tr\t1\t5", "eval_added e1 (trace tr)"),
        ("eval_failed", "tr\t3", "eval_failed jobset 3 (trace tr)"),
        ("build_queued", "", "build_queued '' (malformed)"),
        ("step_started", "1\t2", "step_started 1\\t2"),
        ("builds_added", "", "builds_added"),
    ],
)
def test_emissions_are_said_with_nicknames(channel: str, payload: str, text: str) -> None:
    assert words.Names({1: "kernel", 12: "iso"}, {5: "e1"}).event(channel, payload, "2026-08") == text


def test_arguments_are_said_with_nicknames_and_statuses() -> None:
    names = words.Names({1: "kernel"}, {5: "e1"})
    failed = {"id": 1, "finished": 1, "buildstatus": 1}
    unfinished = {"id": 2, "finished": 0, "buildstatus": None}
    assert names.arguments({"build": failed, "dependents": [unfinished]}) == (
        "kernel (failed) with build 2 (unfinished)"
    )
    assert names.arguments({"step": {"build": 1, "stepnr": 2}, "log_path": None}) == "kernel, step 2"
    assert (
        names.arguments({"trace_id": "t", "jobset": {"project": "nixos", "name": "release"}})
        == "nixos:release"
    )
    assert (
        names.arguments({"evaluation": {"id": 5}, "build": "odd", "error_changed": 1})
        == "e1 'odd' error changed"
    )
