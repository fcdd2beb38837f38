"""Connection strings: what is wrong with one is said without a piece of it, for the piece may be of the password."""

import pytest

from hydra_notify_sim import errors
from hydra_notify_sim.database import connections

UNENCODED = [
    "postgresql://hydra:p@ss@db.example/hydra",
    "postgresql://hydra:p@ss:w/rd@db.example/hydra",
    "postgresql://hydra:12/ss@db.example/hydra",
    "postgresql://hydra:12/ss@db.example:5432/hydra?sslmode=disable",
    "postgres://hydra:pa/ss@db.example/hydra",
    "postgresql://hydra:pa%ss@db.example/hydra",
    "postgresql://hydra:12/a?ss@db.example/hydra",
    "postgresql://hydra:pa ss@[db.example/hydra",
    "host=db.example password=hunter ss",
    "host=db.example password=hunter ss=1",
    "host=db.example password='hunter",
]


@pytest.mark.parametrize("dsn", UNENCODED)
def test_a_password_that_is_not_encoded_is_refused_and_not_repeated(dsn: str) -> None:
    with pytest.raises(errors.UsageError) as caught:
        connections.check_dsn(dsn)
    said = str(caught.value)
    assert "percent-encode" in said
    for piece in ("ss", "hunter", "db.example", "12"):
        assert piece not in said.replace("password", "")


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        (
            "postgresql://hydra:p%40ss@db.example:5433/hydra?sslpassword=s",
            "user=hydra dbname=hydra host=db.example port=5433",
        ),
        ("postgresql://hydra:p?ss@db.example/hydra", "user=hydra dbname=hydra host=db.example"),
        ("postgresql://%2Frun%2Fpostgresql/hydra", "dbname=hydra host=/run/postgresql"),
        ("postgresql:///hydra?user=hydra@REALM", "user=hydra@REALM dbname=hydra"),
        ("postgresql://a,b:5433/hydra", "dbname=hydra host=a,b port=,5433"),
        ("host=/run/postgresql password='it is' dbname=hydra", "dbname=hydra host=/run/postgresql"),
        ("", "the default database"),
    ],
)
def test_what_is_shown_of_a_good_one_holds_no_password(dsn: str, shown: str) -> None:
    assert connections.without_passwords(dsn) == shown
