"""Properties that hold for any history, however nonsensical: the checks never stumble, and read a file as they read memory."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hydra_notify_sim import checks, history
from hydra_notify_sim.checks.so_far import SoFar
from hydra_notify_sim.contract import channels
from hydra_notify_sim.contract.promises import PROMISES

SMALL = st.integers(0, 6)
IDS = SMALL | st.sampled_from([2**31, 10**20, -1])
TEXT = st.sampled_from(["", "5", "x", "-", "5\t5", "é", "\u0665", "9" * 30, "\t", "5\n"])
CHANNEL = st.sampled_from([*channels.CHANNELS, "builds_added", ""])
PLUGIN = st.sampled_from(["github", "chat", "gone"])
PLUGINS = st.dictionaries(PLUGIN, st.lists(CHANNEL, max_size=4).map(tuple), max_size=3)
PAYLOAD = TEXT | st.lists(IDS, min_size=1, max_size=3).map(lambda ids: "\t".join(map(str, ids)))
TABLE = st.sampled_from(["builds", "taskretries", "buildsteps", "jobsetevals", "nonsense"])
TIME = st.integers(0, 10_000).map(float)
ROW = st.fixed_dictionaries(
    {"id": IDS},
    optional={
        "finished": st.sampled_from([0, 1, None]),
        "buildstatus": st.none() | SMALL | TEXT,
        "starttime": st.none() | SMALL,
        "stoptime": st.none() | SMALL,
        "build": IDS,
        "stepnr": SMALL,
    },
)
VALUE = ROW | st.lists(ROW, max_size=3) | TEXT | st.none() | SMALL | st.lists(SMALL, max_size=2)
ARGS = st.dictionaries(
    st.sampled_from(
        ["build", "dependents", "step", "log_path", "evaluation", "trace_id", "jobset", "error_changed"]
    ),
    VALUE,
) | st.fixed_dictionaries({"build": ROW, "dependents": st.lists(ROW, max_size=3)})

NOTIFICATION = st.builds(
    history.Notification, CHANNEL, PAYLOAD, st.booleans(), st.lists(TEXT, max_size=2).map(tuple)
)
OUTCOME = st.builds(history.Outcome, SMALL, SMALL, SMALL, SMALL, st.booleans())
CHANGE = st.builds(
    history.RowChange,
    st.sampled_from(["inserted", "deleted", "updated"]),
    TABLE,
    SMALL.map(str) | TEXT,
    nickname=TEXT,
    columns=st.lists(st.sampled_from(["finished", "isCachedBuild", "job"]), max_size=2).map(tuple),
)
TASK = st.builds(history.Task, SMALL, CHANNEL, PLUGIN, PAYLOAD, st.integers(-1, 103), TIME)

BUILD_ROW = st.builds(
    history.BuildRow,
    TEXT,
    TEXT,
    TEXT,
    st.booleans(),
    st.none() | SMALL,
    st.none() | SMALL,
    st.none() | SMALL,
    st.none() | SMALL,
    st.booleans(),
)


def _a(kind: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, t=TIME, **fields)


def _some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=3).map(tuple)


RECORD = st.one_of(
    _a(
        history.Commit,
        actor=st.sampled_from(["queue_runner", "evaluator", "person", "harness"]),
        action=st.sampled_from(
            ["mark_finished", "announce_finished", "evaluation", "restarted", "substituted", ""]
        ),
        about=TEXT,
        notifications=_some(NOTIFICATION),
        outcomes=_some(OUTCOME),
        restarted=_some(SMALL),
        rows=_some(CHANGE),
        fault=TEXT,
        busy=st.booleans(),
    ),
    _a(history.Committed, commit=st.integers(-1, 30), ok=st.booleans()),
    _a(history.Starting, life=SMALL, plugins=PLUGINS),
    _a(history.Up, life=SMALL),
    _a(history.Crashed, life=SMALL),
    _a(history.Stopping, life=SMALL, busy=st.booleans()),
    _a(history.Stopped, life=SMALL, exit_status=SMALL, in_time=st.booleans()),
    _a(history.Ended, life=SMALL, exit_status=st.none() | SMALL, message=TEXT),
    _a(
        history.Disconnected,
        life=SMALL,
        by=st.sampled_from(["scenario", "dispatcher"]),
        server_closed=st.booleans(),
    ),
    _a(history.ServerOpened),
    _a(history.Called, call=SMALL, life=SMALL, plugin=PLUGIN, hook=CHANNEL, args=ARGS),
    _a(
        history.Called,
        call=SMALL,
        life=SMALL,
        plugin=PLUGIN,
        hook=st.just("build_finished"),
        args=st.fixed_dictionaries({"build": ROW, "dependents": st.lists(ROW, max_size=3)}),
    ),
    _a(history.Returned, call=SMALL),
    _a(history.Raised, call=SMALL, message=TEXT),
    _a(history.CutOff, call=SMALL),
    _a(history.Fault, fault=TEXT, detail=TEXT),
    _a(history.PointReached, point=TEXT),
    _a(history.PointMissed, point=TEXT, reason=TEXT),
    _a(history.TimeMoved, seconds=TIME),
    _a(history.Settled),
    _a(history.NotSettled, reason=TEXT, busy=st.booleans()),
    _a(history.Kicked),
    _a(history.Observed, marks=st.dictionaries(SMALL, SMALL, max_size=4), tasks=_some(TASK)),
    _a(
        history.Counted,
        counters=st.dictionaries(st.sampled_from(["malformed", "dropped", "x"]), TIME, max_size=2),
    ),
    _a(history.Heard, since=TIME, channel=CHANNEL, payload=PAYLOAD, backend=SMALL),
    _a(history.Seen, since=TIME, build=SMALL, row=st.none() | BUILD_ROW),
    _a(
        history.Changed,
        since=TIME,
        marked=st.dictionaries(SMALL, SMALL, max_size=4),
        cleared=_some(SMALL),
        stored=_some(TASK),
        gone=_some(SMALL),
    ),
    _a(history.Gap, since=TIME, reason=TEXT),
    _a(history.Closed),
)
HISTORY = st.builds(
    history.History,
    st.builds(
        history.Header,
        name=TEXT,
        plugins=PLUGINS,
        in_process=st.booleans(),
        tap=st.booleans(),
        profile=st.sampled_from(["strict", "manual", "upstream"]),
        payloads=st.sampled_from(channels.PAYLOAD_VERSIONS),
        known=st.just({}) | st.just({"hn-stale-clear": ("B-clear-own",)}),
    ),
    st.lists(RECORD, max_size=40),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(HISTORY)
def test_every_history_gets_one_verdict_for_every_promise(written: history.History) -> None:
    judgements = checks.judge(written)
    assert [verdict.promise for verdict in judgements.verdicts] == [promise.id for promise in PROMISES]
    for verdict in judgements.verdicts:
        assert verdict.explanation
        assert (verdict.verdict == "not_exercised") is (not verdict.records), verdict
        assert set(verdict.records) <= set(range(len(written)))


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(HISTORY)
def test_a_saved_history_is_judged_as_it_was(written: history.History) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "history.jsonl"
        history.save(written, path)
        judgements = checks.judge(written)
        assert checks.judge(history.SavedHistory(path)) == judgements
        assert checks.judge(history.load(path)) == judgements


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(HISTORY, st.data())
def test_a_history_can_be_judged_from_any_record_on_and_up_to_any(
    written: history.History, data: st.DataObject
) -> None:
    begin = data.draw(st.integers(0, len(written)))
    end = data.draw(st.integers(begin, len(written)))
    checks.judge(history.History(written.header, written.records[begin:end]))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(HISTORY, st.lists(st.integers(1, 10)))
def test_judged_while_it_is_written_it_is_judged_as_at_its_end(
    written: history.History, pieces: list[int]
) -> None:
    assume(not written.header.tap)  # what a tap records is judged when it is over
    growing = history.History(written.header)
    so_far = SoFar(growing)
    rest = list(written)
    for piece in pieces:
        growing.records += rest[:piece]
        del rest[:piece]
        so_far.read()
        now = {one.promise for one in checks.judge(growing).verdicts if one.verdict == "violated"}
        # A commit whose answer is not there yet counts at the end, and is held back before.
        if not any(isinstance(record, history.Commit) for record in growing):
            assert not now or so_far.suspicious
    growing.records += rest
    assert so_far.judgements() == checks.judge(written)
