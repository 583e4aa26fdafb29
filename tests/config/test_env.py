"""Settings from the environment: every fault is told, by name, all at once."""

import base64
import datetime as dt
from decimal import Decimal

import pytest

from config import env as table
from config.databases import database, timeouts
from config.env import Env
from config.env_types import InvalidEnvironmentError

KEY = base64.b64encode(b"k" * 32).decode()
PRODUCTION = {
    "FILLCAST_ENV": "production",
    "FILLCAST_SECRET_KEY": "s" * 40,
    "FILLCAST_ALLOWED_HOSTS": "fillcast.example",
    "FILLCAST_INSTALLATION_TAG": "abc",
    "FILLCAST_CREDENTIALS_PUBLIC_KEY": KEY,
    "DATABASE_URL": "postgresql://owner:pw@db/fillcast",
    "REDIS_URL": "redis://redis",
}


def faults(environ: dict[str, str]) -> list[str]:
    with pytest.raises(InvalidEnvironmentError) as e:
        Env(environ)
    return e.value.faults


def test_development_needs_nothing() -> None:
    env = Env({})
    assert env(table.PORT) == 8012
    assert env(table.BUNDLE_SIZE) == 500
    assert env(table.DATABASE_URL) is None
    assert env(table.CREDENTIALS_PRIVATE_KEYS) == ()
    assert env(table.SLIPPAGE_ALERT_PIPS) == Decimal(5)


def test_production_names_everything_that_is_missing() -> None:
    told = faults({"FILLCAST_ENV": "production"})
    named = {sentence.split(" is not set")[0] for sentence in told}
    assert named == set(PRODUCTION) - {"FILLCAST_ENV"}


def test_complete_production_starts() -> None:
    env = Env(PRODUCTION)
    assert env.production
    assert env(table.CREDENTIALS_PUBLIC_KEY) == b"k" * 32


def test_several_malformed_ones_are_told_together_with_what_was_read() -> None:
    told = faults({"FILLCAST_PORT": "80a", "FILLCAST_LEASE_SECONDS": "11", "DATABASE_URL": "x"})
    assert told == [
        "FILLCAST_PORT is '80a'; expected a whole number from 1 to 65535.",
        "DATABASE_URL is a text of 1 characters (not shown); expected a URL that begins with"
        " postgresql:// or postgres://, or nothing.",
        "FILLCAST_LEASE_SECONDS is '11'; expected a whole number from 2 to 10.",
    ]


def test_a_malformed_secret_is_not_shown() -> None:
    (told,) = faults({"FILLCAST_CREDENTIALS_PRIVATE_KEYS": "canary-canary"})
    assert "FILLCAST_CREDENTIALS_PRIVATE_KEYS" in told
    assert "canary" not in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FILLCAST_PORT", "0"),
        ("FILLCAST_PORT", "８０"),
        ("FILLCAST_BUNDLE_SIZE", "1_000"),
        ("FILLCAST_SLIPPAGE_ALERT_PIPS", "NaN"),
        ("FILLCAST_SLIPPAGE_ALERT_PIPS", "1e3"),
        ("FILLCAST_INSTALLATION_TAG", "ABC"),
        ("FILLCAST_INSTALLATION_TAG", "abcd"),
        ("FILLCAST_DB_ROLE", "admin"),
        ("FILLCAST_ENV", "prod"),
        ("FILLCAST_DEBUG", "maybe"),
        ("FILLCAST_BROKER_HOSTS", "10.0.0.0/8,broker"),
        ("FILLCAST_SECRET_KEY", "short"),
        ("FILLCAST_MARKET_CLOCK", "2014-05-02T12:25:00@1x60"),
        ("FILLCAST_MARKET_CLOCK", "2014-05-02T12:25:00Z@1x0"),
        ("FILLCAST_MARKET_CLOCK", "2014-13-02T12:25:00Z@1x60"),
        ("FILLCAST_CREDENTIALS_PUBLIC_KEY", base64.b64encode(b"short").decode()),
        ("DATABASE_URL", "mysql://db/fillcast"),
        ("REDIS_URL", "redis://redis:port"),
    ],
)
def test_malformed(name: str, value: str) -> None:
    (told,) = faults({name: value})
    assert told.startswith(f"{name} is ")
    assert "; expected " in told


def test_market_clock() -> None:
    clock = Env({"FILLCAST_MARKET_CLOCK": "2014-05-02T12:25:00Z@1767225600.5x60"})(
        table.MARKET_CLOCK
    )
    assert clock is not None
    assert clock.start == dt.datetime(2014, 5, 2, 12, 25, tzinfo=dt.UTC)
    assert (clock.anchor, clock.speed) == (Decimal("1767225600.5"), Decimal(60))


def test_times_that_would_let_a_dead_worker_send() -> None:
    (told,) = faults({"FILLCAST_LEASE_SECONDS": "5", "FILLCAST_SEND_WITHIN_SECONDS": "5"})
    assert told.startswith("FILLCAST_SEND_WITHIN_SECONDS is 5; expected less than")


def test_a_proof_that_comes_before_the_answer_could() -> None:
    (told,) = faults({"FILLCAST_CALL_TIMEOUT_SECONDS": "60"})
    assert told.startswith("FILLCAST_ABSENCE_GAP_SECONDS is 60; expected at least")


def test_a_web_process_must_not_have_private_keys() -> None:
    (told,) = faults({"FILLCAST_DB_ROLE": "web", "FILLCAST_CREDENTIALS_PRIVATE_KEYS": KEY})
    assert "web only seals" in told


def test_a_worker_in_production_needs_them() -> None:
    (told,) = faults({**PRODUCTION, "FILLCAST_DB_ROLE": "trade"})
    assert told.startswith("FILLCAST_CREDENTIALS_PRIVATE_KEYS is not set")
    Env({**PRODUCTION, "FILLCAST_DB_ROLE": "trade", "FILLCAST_CREDENTIALS_PRIVATE_KEYS": KEY})


@pytest.mark.parametrize("role", ["web", "trade"])
@pytest.mark.parametrize("lease", [2, 10])
def test_database_time_outs_lie_below_the_lease(role: str, lease: int) -> None:
    assert all(0 < value < lease * 1000 for value in timeouts(role, lease).values())
    assert timeouts("trade", 10)["idle_in_transaction_session_timeout"] == 4000


def test_a_role_without_a_login_of_its_own_is_taken_on_by_the_owner() -> None:
    entry = database(Env({**PRODUCTION, "FILLCAST_DB_ROLE": "web"}))
    assert "-c role=fillcast_web" in entry["OPTIONS"]["options"]
    assert (entry["USER"], entry["CONN_MAX_AGE"]) == ("owner", 0)
    assert "pool" in entry["OPTIONS"]


def test_a_login_of_its_own_needs_no_role() -> None:
    own = {"FILLCAST_DB_ROLE": "trade", "FILLCAST_TRADE_DATABASE_URL": "postgresql://t:p@db/x"}
    entry = database(Env({**PRODUCTION, **own, "FILLCAST_CREDENTIALS_PRIVATE_KEYS": KEY}))
    assert "role=" not in entry["OPTIONS"]["options"]
    assert (entry["USER"], entry["CONN_MAX_AGE"]) == ("t", None)
    assert "pool" not in entry["OPTIONS"]


@pytest.mark.parametrize(
    "said", ["10.0.0.5=alice   # hers", "10.0.0.5=", "10.0.0.5=al ice", "x=alice"]
)
def test_a_comment_is_no_part_of_a_name(said: str) -> None:
    """It would be, and nobody has that name: the gateway would be nobody's."""
    (fault,) = faults({"FILLCAST_HOST_OWNERS": said})
    assert fault.startswith("FILLCAST_HOST_OWNERS")
    assert "with no comment (#) or blank behind it" in fault
    (own,) = Env({"FILLCAST_HOST_OWNERS": " 10.0.0.5 = alice "})(table.HOST_OWNERS)
    assert own.username == "alice"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("FILLCAST_ALLOWED_HOSTS", "*", "FILLCAST_ALLOWED_HOSTS holds '*'"),
        ("FILLCAST_ALLOWED_HOSTS", "fillcast.example,*", "FILLCAST_ALLOWED_HOSTS holds '*'"),
        ("FILLCAST_PUBLIC_URL", "http://fillcast.example", "begins with http://"),
    ],
)
def test_production_refuses_open_doors(name: str, value: str, expected: str) -> None:
    (sentence,) = faults({**PRODUCTION, name: value})
    assert expected in sentence
    Env({name: value})  # a development installation may
