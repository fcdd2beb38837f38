"""How long a statement may take, and what is added to a DSN."""

import time

import pytest
from psycopg import conninfo

from hydra_notify_sim.dispatcher import connecting


def test_a_statement_has_less_time_once_the_dispatcher_is_asked_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    patience = connecting.Patience()
    assert patience.left(now) == connecting.STATEMENT_SECONDS
    with patience.within(3.0):
        assert patience.left(now) == 3.0
    patience.stop()
    assert patience.left(now) == connecting.STOP_SECONDS
    now += 600.0
    # One that began back then is over; one that stores what a plugin did meanwhile is not.
    assert patience.left(1000.0) < 0
    assert patience.left(now) == connecting.LEAST_SECONDS


def test_waits_end_unless_the_dsn_has_its_own_ends() -> None:
    given = conninfo.conninfo_to_dict(connecting.parameters("host=a tcp_user_timeout=5 dbname=hydra"))
    assert given["tcp_user_timeout"] == "5"
    assert given["keepalives"] == "1"
    assert "target_session_attrs" not in given


@pytest.mark.parametrize(
    ("dsn", "wish"),
    [
        ("host=a,b", "read-write"),
        ("postgresql://a:1,b:2/hydra", "read-write"),
        ("host=a,b target_session_attrs=any", "any"),
    ],
)
def test_of_several_hosts_the_one_that_is_writable_is_wanted(dsn: str, wish: str) -> None:
    assert conninfo.conninfo_to_dict(connecting.parameters(dsn))["target_session_attrs"] == wish
