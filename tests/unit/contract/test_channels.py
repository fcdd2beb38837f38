"""Payloads: what is written is read back, and what is malformed is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_notify_sim.contract import channels

TAB = "\t"
IDS = st.integers(min_value=0, max_value=channels.INT4_MAX)
TEXTS = st.text(st.characters(exclude_characters="\t\0", exclude_categories=["Cs"]), min_size=1, max_size=60)
TRACES = TEXTS
LOG_PATHS = st.none() | TEXTS.filter(lambda text: text != "-")
VERSIONS = st.sampled_from(channels.PAYLOAD_VERSIONS)

EXAMPLES = {
    "build_queued": ("17", channels.BuildQueued(17)),
    "build_started": ("17", channels.BuildStarted(17)),
    "step_finished": ("17\t3\t/logs/ab/c.drv", channels.StepFinished(17, 3, "/logs/ab/c.drv")),
    "build_finished": ("5\t5\t6", channels.BuildFinished(5, (5, 6))),
    "cached_build_finished": ("9\t17", channels.CachedBuildFinished(evaluation=9, build=17)),
    "cached_build_queued": ("9\t17", channels.CachedBuildQueued(evaluation=9, build=17)),
    "eval_started": ("1.5.42\t3", channels.EvalStarted("1.5.42", 3)),
    "eval_added": ("1.5.42\t3\t9", channels.EvalAdded("1.5.42", 3, 9)),
    "eval_cached": ("1.5.42\t3\t9", channels.EvalCached("1.5.42", 3, 9)),
    "eval_failed": ("1.5.42\t3", channels.EvalFailed("1.5.42", 3)),
}
FLAGGED = {
    "eval_added": ("1.5.42\t3\t9\t1", channels.EvalAdded("1.5.42", 3, 9, error_changed=1)),
    "eval_failed": ("1.5.42\t3\t0", channels.EvalFailed("1.5.42", 3, error_changed=0)),
}
ID_FIELDS = {
    "build_queued": (0,),
    "build_started": (0,),
    "step_finished": (0, 1),
    "build_finished": (0, 1, 2),
    "cached_build_finished": (0, 1),
    "cached_build_queued": (0, 1),
    "eval_started": (1,),
    "eval_added": (1, 2),
    "eval_cached": (1, 2),
    "eval_failed": (1,),
}
EVERY_ID = [(channel, place) for channel, places in ID_FIELDS.items() for place in places]


def with_field(channel: str, place: int, text: str) -> str:
    fields = EXAMPLES[channel][0].split(TAB)
    fields[place] = text
    return TAB.join(fields)


@st.composite
def events(draw: st.DrawFn, version: str) -> channels.Event:
    changed = st.none() if version == "2026-08" else st.integers(0, 1)
    return draw(
        st.one_of(
            st.builds(channels.BuildQueued, IDS),
            st.builds(channels.BuildStarted, IDS),
            st.builds(channels.StepFinished, IDS, IDS, LOG_PATHS),
            st.builds(channels.BuildFinished, IDS, st.lists(IDS, max_size=8).map(tuple)),
            st.builds(channels.CachedBuildFinished, IDS, IDS),
            st.builds(channels.CachedBuildQueued, IDS, IDS),
            st.builds(channels.EvalStarted, TRACES, IDS),
            st.builds(channels.EvalAdded, TRACES, IDS, IDS, changed),
            st.builds(channels.EvalCached, TRACES, IDS, IDS),
            st.builds(channels.EvalFailed, TRACES, IDS, changed),
        )
    )


@given(data=st.data(), version=VERSIONS)
def test_every_event_is_read_back_as_it_was_written(
    data: st.DataObject, version: channels.PayloadVersion
) -> None:
    event = data.draw(events(version))
    payload = channels.format_payload(event, version)
    assert channels.parse(event.channel, payload, version) == event


@given(
    channel=st.sampled_from((*channels.CHANNELS, channels.DUMP_METRICS, "nonsense", "")),
    payload=st.text(st.sampled_from("019\u0663\u00b2\t\n -a"), max_size=12) | st.text(max_size=30),
    version=VERSIONS,
)
def test_any_text_is_read_or_refused_and_what_is_read_can_be_written_again(
    channel: str, payload: str, version: channels.PayloadVersion
) -> None:
    try:
        event = channels.parse(channel, payload, version)
    except channels.MalformedPayloadError:
        return
    assert event.channel == channel
    again = channels.format_payload(event, version)
    assert channels.parse(channel, again, version) == event
    assert len(again.split(TAB)) == len(payload.split(TAB))


@pytest.mark.parametrize("channel", channels.CHANNELS)
def test_each_channel_has_the_fields_of_the_contract(channel: str) -> None:
    payload, event = EXAMPLES[channel]
    assert channels.parse(channel, payload) == event
    assert channels.format_payload(event) == payload


@pytest.mark.parametrize("channel", FLAGGED)
def test_payloads_of_september_2026_end_with_error_changed(channel: str) -> None:
    payload, event = FLAGGED[channel]
    assert channels.parse(channel, payload, "2026-09") == event
    assert channels.format_payload(event, "2026-09") == payload
    assert channels.format_payload(event, "2026-08") == EXAMPLES[channel][0]


@pytest.mark.parametrize("channel", FLAGGED)
def test_each_payload_version_refuses_the_other_ones_fields(channel: str) -> None:
    with pytest.raises(channels.MalformedPayloadError, match="fields expected"):
        channels.parse(channel, FLAGGED[channel][0], "2026-08")
    with pytest.raises(channels.MalformedPayloadError, match="fields expected"):
        channels.parse(channel, EXAMPLES[channel][0], "2026-09")


@pytest.mark.parametrize("channel", FLAGGED)
@pytest.mark.parametrize("flag", ["2", "00", "true", "\u0660", "0\n"])
def test_error_changed_is_nothing_but_0_or_1(channel: str, flag: str) -> None:
    with pytest.raises(channels.MalformedPayloadError, match="error_changed is 0 or 1"):
        channels.parse(channel, EXAMPLES[channel][0] + TAB + flag, "2026-09")


def test_an_unknown_error_changed_is_written_as_unchanged() -> None:
    payload = channels.format_payload(channels.EvalFailed("1.5.42", 3), "2026-09")
    assert payload == "1.5.42\t3\t0"


@pytest.mark.parametrize("channel", [name for name in channels.CHANNELS if name != "build_finished"])
@pytest.mark.parametrize("version", channels.PAYLOAD_VERSIONS)
def test_a_field_too_many_or_too_few_is_malformed(channel: str, version: channels.PayloadVersion) -> None:
    payload = (EXAMPLES | FLAGGED if version == "2026-09" else EXAMPLES)[channel][0]
    channels.parse(channel, payload, version)
    for wrong in (payload + TAB + "1", TAB.join(payload.split(TAB)[:-1])):
        with pytest.raises(channels.MalformedPayloadError):
            channels.parse(channel, wrong, version)


@pytest.mark.parametrize("channel", channels.CHANNELS)
def test_an_empty_field_is_malformed_wherever_it_stands(channel: str) -> None:
    fields = EXAMPLES[channel][0].split(TAB)
    for place in range(len(fields)):
        with pytest.raises(channels.MalformedPayloadError, match=f"field {place + 1} is empty"):
            channels.parse(channel, with_field(channel, place, ""))
    with pytest.raises(channels.MalformedPayloadError, match="field 1 is empty"):
        channels.parse(channel, "")
    with pytest.raises(channels.MalformedPayloadError, match="is empty"):
        channels.parse(channel, EXAMPLES[channel][0] + TAB)


@pytest.mark.parametrize(("channel", "place"), EVERY_ID)
@pytest.mark.parametrize(
    "wrong",
    ["-1", "+1", " 1", "1 ", "1\n", "\n1", "1.0", "1e3", "0x1", "1_0", "\u0663", "\u00b2", "\uff11", "a"],
)
def test_an_id_is_ascii_digits_and_nothing_else(channel: str, place: int, wrong: str) -> None:
    with pytest.raises(channels.MalformedPayloadError, match="decimal digits"):
        channels.parse(channel, with_field(channel, place, wrong))


@pytest.mark.parametrize(("channel", "place"), EVERY_ID)
def test_leading_zeros_are_taken(channel: str, place: int) -> None:
    plain = channels.parse(channel, with_field(channel, place, "7"))
    assert channels.parse(channel, with_field(channel, place, "0" * 5_000 + "7")) == plain


@pytest.mark.parametrize(("channel", "place"), EVERY_ID)
@pytest.mark.parametrize("digits", [19, 20, 4_300, 4_301, 7_000])
def test_an_id_of_any_length_is_read_and_names_no_row(channel: str, place: int, digits: int) -> None:
    event = channels.parse(channel, with_field(channel, place, "9" * digits))
    beyond = channels.parse(channel, with_field(channel, place, str(channels.BEYOND_ANY_ID)))
    assert event == beyond
    assert channels.BEYOND_ANY_ID > channels.INT4_MAX


@given(st.integers(min_value=0, max_value=10**18 - 1))
def test_an_id_of_up_to_18_digits_keeps_its_value(number: int) -> None:
    assert channels.parse("build_queued", str(number)) == channels.BuildQueued(number)


@pytest.mark.parametrize(
    "channel", ["", "buildFinished", "build_finished ", "step_started", channels.DUMP_METRICS]
)
def test_a_channel_without_a_hook_is_refused_by_name(channel: str) -> None:
    with pytest.raises(channels.MalformedPayloadError, match="unknown channel"):
        channels.parse(channel, "1")


def test_a_step_without_a_log_has_a_hyphen() -> None:
    event = channels.StepFinished(17, 3, None)
    assert channels.format_payload(event) == "17\t3\t-"
    assert channels.parse("step_finished", "17\t3\t-") == event
    assert channels.parse("step_finished", "17\t3\t--") == channels.StepFinished(17, 3, "--")


@pytest.mark.parametrize(
    "event",
    [
        channels.StepFinished(17, 3, ""),
        channels.StepFinished(17, 3, "-"),
        channels.StepFinished(17, 3, "/logs\t/a"),
        channels.StepFinished(17, -3, None),
        channels.EvalStarted("", 3),
        channels.EvalStarted("1\t2", 3),
        channels.BuildQueued(-1),
        channels.BuildFinished(1, (2, -3)),
        channels.CachedBuildQueued(-9, 1),
        channels.EvalAdded("1.5.42", 3, 9, error_changed=2),
        channels.EvalFailed("1.5.42", 3, error_changed=-1),
    ],
)
@pytest.mark.parametrize("version", channels.PAYLOAD_VERSIONS)
def test_an_event_that_could_not_be_read_back_is_not_written(
    event: channels.Event, version: channels.PayloadVersion
) -> None:
    with pytest.raises(channels.MalformedPayloadError, match=event.channel):
        channels.format_payload(event, version)


def test_every_channel_is_of_one_kind() -> None:
    kinds = [channels.CACHED_CHANNELS, channels.EPHEMERAL_CHANNELS, frozenset({"build_finished"})]
    assert sorted(name for kind in kinds for name in kind) == sorted(channels.CHANNELS)
    assert [len(kind) for kind in kinds] == [2, 7, 1]


def test_events_are_values() -> None:
    event = channels.BuildFinished(5, (6,))
    assert len({event, channels.BuildFinished(5, (6,)), channels.BuildFinished(5)}) == 2
    with pytest.raises(AttributeError):
        event.build = 6
