"""Settings from the environment: every fault is reported, by name, all at once."""

import base64
import datetime as dt
import re
from decimal import Decimal

import pytest

from config.databases import database, timeouts
from config.env import VARIABLES, Settings
from config.env_variables import InvalidEnvironmentError
from config.installation import ROOT

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
        Settings.read(environ)
    return e.value.faults


def test_development_needs_nothing() -> None:
    settings = Settings.read({})
    assert settings.port == 8012
    assert settings.bundle_size == 500
    assert settings.database_url is None
    assert settings.credentials_private_keys == ()
    assert settings.slippage_alert_pips == Decimal(5)


def test_production_names_everything_that_is_missing() -> None:
    reported = faults({"FILLCAST_ENV": "production"})
    named = {sentence.split(" is not set")[0] for sentence in reported}
    assert named == set(PRODUCTION) - {"FILLCAST_ENV"}


def test_complete_production_starts() -> None:
    settings = Settings.read(PRODUCTION)
    assert settings.production
    assert settings.credentials_public_key == b"k" * 32


def test_several_malformed_ones_are_reported_together_with_what_was_read() -> None:
    reported = faults({"FILLCAST_PORT": "80a", "FILLCAST_LEASE_SECONDS": "11", "DATABASE_URL": "x"})
    assert reported == [
        "FILLCAST_PORT is '80a'; expected a whole number from 1 to 65535.",
        "DATABASE_URL is a text of 1 characters (not shown); expected a URL that begins with"
        " postgresql:// or postgres://, or nothing.",
        "FILLCAST_LEASE_SECONDS is '11'; expected a whole number from 2 to 10.",
    ]


def test_a_malformed_secret_is_not_shown() -> None:
    (reported,) = faults({"FILLCAST_CREDENTIALS_PRIVATE_KEYS": "canary-canary"})
    assert "FILLCAST_CREDENTIALS_PRIVATE_KEYS" in reported
    assert "canary" not in reported


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
        ("FILLCAST_BROKER_NETWORKS", "10.0.0.0/8,broker"),
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
    (reported,) = faults({name: value})
    assert reported.startswith(f"{name} is ")
    assert "; expected " in reported


def test_secrets_are_not_in_the_representation() -> None:
    settings = Settings.read({"FILLCAST_METRICS_TOKEN": "canary-canary-canary"})
    assert settings.metrics_token == "canary-canary-canary"
    assert "canary" not in repr(settings)


def test_each_variable_that_code_names_is_a_setting() -> None:
    """A test that sets an attribute of an old name would pass and test nothing."""
    known = {variable.name for variable in VARIABLES}
    internal = {"FILLCAST_READY_FILE", "_FILLCAST_DATABASE_SHOWN"}  # between our own processes
    pattern = re.compile(r"""["'](_?FILLCAST_[A-Z0-9_]+)["']|\bsettings\.(FILLCAST_[A-Z0-9_]+)""")
    named = {
        quoted or attribute
        for folder in ROOT.iterdir()
        if (folder / "__init__.py").exists()
        for path in folder.rglob("*.py")
        for quoted, attribute in pattern.findall(path.read_text())
    }
    assert {"FILLCAST_DB_ROLE", "FILLCAST_POLL_SECONDS"} <= named
    assert named - known - internal == set()


def test_market_clock() -> None:
    settings = Settings.read({"FILLCAST_MARKET_CLOCK": "2014-05-02T12:25:00Z@1767225600.5x60"})
    clock = settings.market_clock
    assert clock is not None
    assert clock.start == dt.datetime(2014, 5, 2, 12, 25, tzinfo=dt.UTC)
    assert (clock.anchor.timestamp(), clock.speed) == (1767225600.5, 60)


def test_times_that_would_let_a_dead_worker_send() -> None:
    (reported,) = faults({"FILLCAST_LEASE_SECONDS": "5", "FILLCAST_SEND_DEADLINE_SECONDS": "5"})
    assert reported.startswith("FILLCAST_SEND_DEADLINE_SECONDS is 5; expected less than")


def test_a_proof_that_comes_before_the_answer_could() -> None:
    (reported,) = faults({"FILLCAST_CALL_TIMEOUT_SECONDS": "60"})
    assert reported.startswith("FILLCAST_ABSENCE_GAP_SECONDS is 60; expected at least")


def test_a_web_process_must_not_have_private_keys() -> None:
    (reported,) = faults({"FILLCAST_DB_ROLE": "web", "FILLCAST_CREDENTIALS_PRIVATE_KEYS": KEY})
    assert "the web process only encrypts" in reported


def test_conflicts_between_settings_are_reported_together() -> None:
    reported = faults(
        {
            **PRODUCTION,
            "FILLCAST_SEND_DEADLINE_SECONDS": "9",
            "FILLCAST_LEASE_SECONDS": "9",
            "FILLCAST_DB_ROLE": "trade",
            "FILLCAST_DEBUG": "yes",
        }
    )
    assert [sentence.split(" is ")[0] for sentence in reported] == [
        "FILLCAST_SEND_DEADLINE_SECONDS", "FILLCAST_CREDENTIALS_PRIVATE_KEYS", "FILLCAST_DEBUG",
    ]  # fmt: skip


def test_a_worker_in_production_needs_them() -> None:
    (reported,) = faults({**PRODUCTION, "FILLCAST_DB_ROLE": "trade"})
    assert reported.startswith("FILLCAST_CREDENTIALS_PRIVATE_KEYS is not set")
    Settings.read(
        {**PRODUCTION, "FILLCAST_DB_ROLE": "trade", "FILLCAST_CREDENTIALS_PRIVATE_KEYS": KEY}
    )


@pytest.mark.parametrize("role", ["web", "trade"])
@pytest.mark.parametrize("lease", [2, 10])
def test_database_time_outs_lie_below_the_lease(role: str, lease: int) -> None:
    assert all(0 < value < lease * 1000 for value in timeouts(role, lease).values())
    assert timeouts("trade", 10)["idle_in_transaction_session_timeout"] == 4000


def test_a_role_without_a_login_of_its_own_is_taken_on_by_the_owner() -> None:
    entry = database(Settings.read({**PRODUCTION, "FILLCAST_DB_ROLE": "web"}))
    assert "-c role=fillcast_web" in entry["OPTIONS"]["options"]
    assert (entry["USER"], entry["CONN_MAX_AGE"]) == ("owner", 0)
    assert "pool" in entry["OPTIONS"]


def test_a_login_of_its_own_needs_no_role() -> None:
    own = {"FILLCAST_DB_ROLE": "trade", "FILLCAST_TRADE_DATABASE_URL": "postgresql://t:p@db/x"}
    entry = database(Settings.read({**PRODUCTION, **own, "FILLCAST_CREDENTIALS_PRIVATE_KEYS": KEY}))
    assert "role=" not in entry["OPTIONS"]["options"]
    assert (entry["USER"], entry["CONN_MAX_AGE"]) == ("t", None)
    assert "pool" not in entry["OPTIONS"]


@pytest.mark.parametrize(
    "said", ["10.0.0.5=alice   # hers", "10.0.0.5=", "10.0.0.5=al ice", "x=alice"]
)
def test_a_comment_is_no_part_of_a_name(said: str) -> None:
    """It would be, and nobody has that name: the gateway would be nobody's."""
    (fault,) = faults({"FILLCAST_GATEWAY_OWNERS": said})
    assert fault.startswith("FILLCAST_GATEWAY_OWNERS")
    assert "with no comment (#) or blank behind it" in fault
    (own,) = Settings.read({"FILLCAST_GATEWAY_OWNERS": " 10.0.0.5 = alice "}).gateway_owners
    assert own.username == "alice"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("FILLCAST_ALLOWED_HOSTS", "*", "FILLCAST_ALLOWED_HOSTS contains '*'"),
        ("FILLCAST_ALLOWED_HOSTS", "fillcast.example,*", "FILLCAST_ALLOWED_HOSTS contains '*'"),
        ("FILLCAST_PUBLIC_URL", "http://fillcast.example", "begins with http://"),
    ],
)
def test_production_refuses_open_doors(name: str, value: str, expected: str) -> None:
    (sentence,) = faults({**PRODUCTION, name: value})
    assert expected in sentence
    Settings.read({name: value})  # a development installation may
