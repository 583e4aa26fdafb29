"""Settings from the environment: all faults are reported together, each with its name."""

import base64
import datetime as dt
import re
from pathlib import Path

import pytest

from common.operational.reading import KEYS
from config.databases import database, databases, login, timeouts, with_login
from config.env import VARIABLES, Settings
from config.env_parts import read_databases
from config.env_variables import InvalidEnvironmentError
from config.installation import ROOT, read_env_file
from config.moved_settings import MOVED, OLD, RENAMED
from ops.stack.stack import web_process

MOST_VARIABLES = 25

KEY = base64.b64encode(b"k" * 32).decode()
PRODUCTION = {
    "FILLCAST_ENV": "production",
    "FILLCAST_SECRET_KEY": "s" * 40,
    "FILLCAST_PUBLIC_URL": "https://fillcast.example",
    "FILLCAST_INSTALLATION_TAG": "abc",
    "FILLCAST_CREDENTIALS_PUBLIC_KEY": KEY,
    "DATABASE_URL": "postgresql://owner:pw@db/fillcast",
    "REDIS_URL": "redis://redis",
}


def faults(environ: dict[str, str]) -> list[str]:
    with pytest.raises(InvalidEnvironmentError) as e:
        Settings.read(environ)
    return e.value.faults


def test_development_needs_no_settings() -> None:
    settings = Settings.read({})
    assert f"{settings.listen}" == "127.0.0.1:8012"
    assert settings.database_url is None
    assert settings.credentials_private_keys == ()


def test_production_reports_all_missing_settings() -> None:
    reported = faults({"FILLCAST_ENV": "production"})
    named = {sentence.split(" is not set")[0] for sentence in reported}
    assert named == set(PRODUCTION) - {"FILLCAST_ENV"}


def test_complete_production_settings_are_accepted() -> None:
    settings = Settings.read(PRODUCTION)
    assert settings.production
    assert settings.credentials_public_key == b"k" * 32


def test_all_malformed_settings_are_reported_together() -> None:
    reported = faults(
        {"FILLCAST_DB_ROLE": "a", "FILLCAST_LEASE_SECONDS": "11", "DATABASE_URL": "x"}
    )
    assert reported == [
        "DATABASE_URL is a text of 1 characters (not shown); expected a URL that begins with"
        " postgresql:// or postgres://, or nothing.",
        "FILLCAST_DB_ROLE is 'a'; expected one of owner, trade, web.",
        "FILLCAST_LEASE_SECONDS is '11'; expected a whole number from 2 to 10.",
    ]


def test_malformed_secret_is_not_displayed() -> None:
    (reported,) = faults({"FILLCAST_CREDENTIALS_PRIVATE_KEYS": "canary-canary"})
    assert "FILLCAST_CREDENTIALS_PRIVATE_KEYS" in reported
    assert "canary" not in reported


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FILLCAST_LISTEN", "0"),
        ("FILLCAST_LISTEN", "80a"),
        ("FILLCAST_LISTEN", "８０"),
        ("FILLCAST_LISTEN", "localhost:80"),
        ("FILLCAST_LISTEN", "127.0.0.1:65536"),
        ("FILLCAST_LEASE_SECONDS", "1_0"),
        ("FILLCAST_SETTINGS_SOURCE", "http://settings.example/fillcast.json"),
        ("FILLCAST_SETTINGS_SOURCE", '{"execution": {"poll_seconds": 9}}'),
        ("FILLCAST_SETTINGS_SOURCE", "https://settings.example/fillcast.json#ed25519=short"),
        ("FILLCAST_INSTALLATION_TAG", "ABC"),
        ("FILLCAST_INSTALLATION_TAG", "abcd"),
        ("FILLCAST_DB_ROLE", "admin"),
        ("FILLCAST_ENV", "prod"),
        ("FILLCAST_PUBLIC_URL", "fillcast.example"),
        ("FILLCAST_PUBLIC_URL", "https://fillcast.example, ftp://a.example"),
        ("FILLCAST_PUBLIC_URL", "https://fillcast.example@evil.example"),
        ("FILLCAST_PUBLIC_URL", "https://fill*cast.example"),
        ("FILLCAST_DATABASES", "postgresql://db/x"),
        ("FILLCAST_DATABASES", "owner=postgresql://db/x"),
        ("FILLCAST_DATABASES", "web=mysql://db/x"),
        ("FILLCAST_DATABASES", "web=postgresql://a/x web=postgresql://b/x"),
        ("FILLCAST_DATABASES", "pooler=user:password@bouncer:6432"),
        ("FILLCAST_EMAIL_URL", "smtp://mail.example?from="),
        ("FILLCAST_EMAIL_URL", "smtp://mail.example?from=desk"),
        ("FILLCAST_EMAIL_URL", "smtp://mail.example?from=a@b.example%0ABcc:%20c@d.example"),
        ("FILLCAST_EMAIL_URL", "http://mail.example"),
        ("FILLCAST_MT5_TERMINAL", "terminal64.exe"),
        ("FILLCAST_MT5_TERMINAL", "Alpha=C:\\mt5\\terminal64.exe"),
        ("FILLCAST_BUSES", "from+kafka://a"),
        ("FILLCAST_BUSES", "nats://a,http://b"),
        ("FILLCAST_TRUSTED_PROXIES", "10.0.0.0/8,proxy"),
        ("FILLCAST_SECRET_KEY", "short"),
        ("FILLCAST_REHEARSAL", "clock=2014-05-02T12:25:00@1x60"),
        ("FILLCAST_REHEARSAL", "clock=2014-05-02T12:25:00Z@1x0"),
        ("FILLCAST_REHEARSAL", "clock=2014-13-02T12:25:00Z@1x60"),
        ("FILLCAST_REHEARSAL", "failpoints=nowhere:kill"),
        ("FILLCAST_REHEARSAL", "claim.committed:kill"),
        ("FILLCAST_REHEARSAL", "failpoints= failpoints="),
        ("FILLCAST_CREDENTIALS_PUBLIC_KEY", base64.b64encode(b"short").decode()),
        ("DATABASE_URL", "mysql://db/fillcast"),
        ("REDIS_URL", "redis://redis:port"),
    ],
)
def test_malformed_value_is_rejected_with_what_is_expected(name: str, value: str) -> None:
    (reported,) = faults({name: value})
    assert reported.startswith(f"{name} is ")
    assert "; expected " in reported


def test_secrets_are_not_in_repr() -> None:
    settings = Settings.read({"FILLCAST_METRICS_TOKEN": "canary-canary-canary"})
    assert settings.metrics_token == "canary-canary-canary"
    assert "canary" not in repr(settings)


def test_every_variable_named_in_code_is_a_setting() -> None:
    """A test that sets an attribute with an old name would pass without testing anything."""
    known = {variable.name for variable in VARIABLES}
    internal = {  # between our own processes
        "FILLCAST_READY_FILE", "_FILLCAST_DATABASE_SHOWN", "_FILLCAST_DATABASE_IS_LOCAL",
    }  # fmt: skip
    internal |= {"FILLCAST_SECRETS_FOLDER"}  # config/secret_files.py
    internal |= {"FILLCAST_ETC", "FILLCAST_OUTSIDE"}  # of commands in deploy/
    internal |= {"FILLCAST_URL", "FILLCAST_KEY"}  # of a user's own program (docs/api-client.md)
    internal |= {"FILLCAST_COMPOSE", "FILLCAST_BACKUP_KEY"}  # of deploy/compose and deploy/backup
    internal |= set(OLD)  # refused, with what to use
    internal |= set(re.findall("FILLCAST_[A-Z0-9_]+", (ROOT / "server.env.example").read_text()))
    internal |= set(re.findall("FILLCAST_[A-Z0-9_]+", (ROOT / "docker-compose.yml").read_text()))
    pattern = re.compile(r"""["'](_?FILLCAST_[A-Z0-9_]+)["']|\bsettings\.(FILLCAST_[A-Z0-9_]+)""")
    named = {
        quoted or attribute
        for folder in ROOT.iterdir()
        if (folder / "__init__.py").exists()
        for path in folder.rglob("*.py")
        for quoted, attribute in pattern.findall(path.read_text())
    }
    assert {"FILLCAST_DB_ROLE", "FILLCAST_LEASE_SECONDS"} <= named
    assert named - known - internal == set()


def test_market_clock_is_read_with_start_anchor_and_speed() -> None:
    clock = "clock=2014-05-02T12:25:00Z@1767225600.5x60"
    text = f"failpoints=claim.committed:kill:2,enqueue.done:stop {clock}"
    rehearsal = Settings.read({"FILLCAST_REHEARSAL": text}).rehearsal
    assert [point.name for point in rehearsal.failpoints] == ["claim.committed", "enqueue.done"]
    found = rehearsal.clock
    assert found is not None
    assert found.start == dt.datetime(2014, 5, 2, 12, 25, tzinfo=dt.UTC)
    assert (found.anchor.timestamp(), found.speed) == (1767225600.5, 60)


def test_processes_need_few_variables() -> None:
    """What is operational changes while they run: common/operational."""
    assert len(VARIABLES) <= MOST_VARIABLES


def test_leftover_variable_names_the_operational_setting() -> None:
    reported = faults({"FILLCAST_POLL_SECONDS": "1", "FILLCAST_SIGN_UP": "off"})
    assert [sentence.partition(" now. ")[0] for sentence in reported] == [
        "FILLCAST_POLL_SECONDS is set, but it is the operational setting execution.poll_seconds",
        "FILLCAST_SIGN_UP is set, but it is the operational setting users.sign_up",
    ]
    assert set(MOVED.values()) <= set(KEYS)
    assert not set(MOVED) & {variable.name for variable in VARIABLES}


def test_renamed_variable_names_the_one_to_use() -> None:
    reported = faults({"FILLCAST_PORT": "8012", "FILLCAST_SINKS": "nats://a", "REDIS_URL": "x"})
    assert [sentence.split(" now")[0] for sentence in reported[:2]] == [
        "FILLCAST_PORT is set, but FILLCAST_LISTEN has the port",
        "FILLCAST_SINKS is set, but FILLCAST_BUSES names them",
    ]
    assert len(reported) == 3
    known = {variable.name for variable in VARIABLES}
    assert not known & OLD.keys()
    for sentence in RENAMED.values():
        assert set(re.findall("FILLCAST_[A-Z0-9_]+", sentence)) <= known, sentence


def test_process_listens_where_address_or_port_or_both_say() -> None:
    for text, expected in (
        ("8099", "127.0.0.1:8099"), ("0.0.0.0", "0.0.0.0:8012"), ("0.0.0.0:80", "0.0.0.0:80"),
        ("::1", "[::1]:8012"), ("[::]:80", "[::]:80"),
    ):  # fmt: skip
        assert f"{Settings.read({'FILLCAST_LISTEN': text}).listen}" == expected


def test_only_the_named_addresses_and_this_machine_are_answered() -> None:
    text = "https://fillcast.example/, https://*.desk.example:8443"
    settings = Settings.read({**PRODUCTION, "FILLCAST_PUBLIC_URL": text})
    assert settings.address == "https://fillcast.example"
    own = ["localhost", "127.0.0.1", "[::1]"]
    assert settings.hosts == ["fillcast.example", ".desk.example", *own]
    assert settings.origins == ["https://fillcast.example"]
    development = Settings.read({"FILLCAST_LISTEN": "8099"})
    assert (development.hosts, development.origins) == (own, ["http://localhost:8099"])


def test_sender_of_mail_is_named_or_of_the_public_address() -> None:
    assert Settings.read(PRODUCTION).sender == "fillcast@fillcast.example"
    text = "smtp+tls://me:p%40@mail.example:587?timeout=3&from=Fillcast%20<desk@a.example>"
    settings = Settings.read({**PRODUCTION, "FILLCAST_EMAIL_URL": text})
    assert settings.sender == "Fillcast <desk@a.example>"
    assert settings.email_url.server == "smtp+tls://me:p%40@mail.example:587?timeout=3"
    plus = {**PRODUCTION, "FILLCAST_EMAIL_URL": "smtp://m.example:25?from=desk+alerts@a.example"}
    assert Settings.read(plus).sender == "desk+alerts@a.example"


def test_buses_are_written_to_or_read() -> None:
    settings = Settings.read({"FILLCAST_BUSES": "nats://a, from+nats://b,from+clickhouse://c"})
    assert settings.sinks == ("nats://a",)
    assert settings.incoming_buses == ("nats://b", "clickhouse://c")


def test_terminal_has_name_and_program() -> None:
    for text, expected in (
        (
            "C:\\Program Files\\MT5\\terminal64.exe",
            ("main", "C:\\Program Files\\MT5\\terminal64.exe", False),
        ),
        ("alpha=C:\\a\\terminal64.exe /portable", ("alpha", "C:\\a\\terminal64.exe", True)),
        ("alpha=", ("alpha", "", False)),
    ):
        found = Settings.read({"FILLCAST_MT5_TERMINAL": text}).mt5_terminal
        assert found is not None
        assert (found.name, found.path, found.portable) == expected


def test_web_process_must_not_have_private_keys() -> None:
    (reported,) = faults({"FILLCAST_DB_ROLE": "web", "FILLCAST_CREDENTIALS_PRIVATE_KEYS": KEY})
    assert "the web process only encrypts" in reported


def test_conflicts_between_settings_are_reported_together() -> None:
    reported = faults(
        {
            **PRODUCTION,
            "FILLCAST_DB_ROLE": "trade",
            "FILLCAST_REHEARSAL": "clock=2014-05-02T12:25:00Z@1x60",
        }
    )
    assert [sentence.split(" is ")[0] for sentence in reported] == [
        "FILLCAST_CREDENTIALS_PRIVATE_KEYS", "FILLCAST_REHEARSAL",
    ]  # fmt: skip


def test_web_process_in_production_has_no_login_of_workers() -> None:
    logins = {"FILLCAST_DATABASES": "web=postgresql://w:p@db/x trade=postgresql://t:p@db/x"}
    (reported,) = faults({**PRODUCTION, **logins, "FILLCAST_DB_ROLE": "web"})
    assert reported.startswith("FILLCAST_DATABASES has trade= in a web process")


@pytest.mark.parametrize("place", ["environment", "file"])
def test_web_process_of_the_stack_starts_with_the_logins_of_all(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process reads `.env` itself: what the stack withholds must not come back by it."""
    ways = "pooler=pool:6432 replica=postgresql://r:p@standby/x"
    shared = {
        "FILLCAST_DATABASES": f"web=postgresql://w:p@db/x trade=postgresql://t:p@db/x {ways}",
        "FILLCAST_CREDENTIALS_PRIVATE_KEYS": KEY,
    }
    file = tmp_path / "server.env"
    lines = shared.items() if place == "file" else ()
    file.write_text("".join(f"{name}={value}\n" for name, value in lines))
    given = {**PRODUCTION, **shared, "FILLCAST_ENV_FILE": str(file)}
    environ = web_process(Settings.read(given)).environment(given)
    monkeypatch.setattr("os.environ", environ)
    monkeypatch.setattr("environ.Env.ENVIRON", environ)
    read_env_file()
    settings = Settings.read(environ)
    assert settings.databases == read_databases(f"web=postgresql://w:p@db/x {ways}")
    assert settings.credentials_private_keys == ()


def test_worker_in_production_needs_private_keys() -> None:
    (reported,) = faults({**PRODUCTION, "FILLCAST_DB_ROLE": "trade"})
    assert reported.startswith("FILLCAST_CREDENTIALS_PRIVATE_KEYS is not set")
    Settings.read(
        {**PRODUCTION, "FILLCAST_DB_ROLE": "trade", "FILLCAST_CREDENTIALS_PRIVATE_KEYS": KEY}
    )


@pytest.mark.parametrize("role", ["web", "trade"])
@pytest.mark.parametrize("lease", [2, 10])
def test_database_timeouts_are_shorter_than_the_lease(role: str, lease: int) -> None:
    assert all(0 < value < lease * 1000 for value in timeouts(role, lease).values())
    assert timeouts("trade", 10)["idle_in_transaction_session_timeout"] == 4000


def test_owner_login_takes_role_without_own_login() -> None:
    entry = database(Settings.read({**PRODUCTION, "FILLCAST_DB_ROLE": "web"}))
    assert "-c role=fillcast_web" in entry["OPTIONS"]["options"]
    assert (entry["USER"], entry["CONN_MAX_AGE"]) == ("owner", 0)
    assert entry["OPTIONS"]["pool"]["max_idle"] <= 60  # psycopg's own: 600 for each
    assert entry["ENGINE"] == "django.db.backends.postgresql"


def test_own_login_sets_no_role() -> None:
    own = {"FILLCAST_DB_ROLE": "trade", "FILLCAST_DATABASES": "trade=postgresql://t:p@db/x"}
    entry = database(Settings.read({**PRODUCTION, **own, "FILLCAST_CREDENTIALS_PRIVATE_KEYS": KEY}))
    assert "role=" not in entry["OPTIONS"]["options"]
    assert (entry["USER"], entry["CONN_MAX_AGE"]) == ("t", 600)
    assert "pool" not in entry["OPTIONS"]
    assert entry["ENGINE"] == "django.db.backends.postgresql"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://fillcast.example,https://*", "contains a URL of the host '*'"),
        ("http://fillcast.example", "begins with http://"),
        ("https://fillcast.example,http://localhost", "begins with http://"),
    ],
)
def test_production_rejects_unsafe_addresses(value: str, expected: str) -> None:
    (sentence,) = faults({**PRODUCTION, "FILLCAST_PUBLIC_URL": value})
    assert expected in sentence
    Settings.read({"FILLCAST_PUBLIC_URL": value})  # a development installation may


def test_address_in_links_is_no_pattern() -> None:
    (sentence,) = faults({"FILLCAST_PUBLIC_URL": "https://*.a.example,https://a.example"})
    assert "the address in links first" in sentence


@pytest.mark.parametrize(
    ("url", "is_trial"),
    [
        ("http://localhost:8012", True),
        ("http://127.0.0.1", True),
        ("https://localhost", False),
        ("https://fillcast.example", False),
    ],
)
def test_plain_http_is_for_trials_on_this_machine_only(url: str, is_trial: bool) -> None:
    assert Settings.read({**PRODUCTION, "FILLCAST_PUBLIC_URL": url}).is_trial is is_trial
    for other in ("http://localhost.example.com", "http://10.0.0.1", "http://localhost@x.example"):
        assert faults({**PRODUCTION, "FILLCAST_PUBLIC_URL": other})


POOLED = {
    **PRODUCTION,
    "FILLCAST_DB_ROLE": "web",
    "FILLCAST_DATABASES": "web=postgresql://w:p@db/fillcast pooler=pooler:6432 replica=",
}


def test_pooler_gets_no_startup_option_and_nothing_prepared() -> None:
    found = databases(Settings.read(POOLED))
    entry = found["default"]
    assert entry["ENGINE"] == "common.db.checked_sessions"
    assert (entry["HOST"], entry["DISABLE_SERVER_SIDE_CURSORS"]) == ("pooler", True)
    assert "options" not in entry["OPTIONS"]
    assert entry["OPTIONS"]["application_name"].startswith("fillcast-web process:")
    expected = entry["EXPECTED_SESSION"]
    assert expected["role"] == "fillcast_web"
    assert expected["parameters"] == {**timeouts("web", 10), "jit": "off"}
    past = found["direct"]
    assert (past["HOST"], past["ENGINE"]) == ("db", "django.db.backends.postgresql")
    assert "-c role=fillcast_web" in past["OPTIONS"]["options"]


def test_owner_is_never_pooled() -> None:
    found = databases(Settings.read({**POOLED, "FILLCAST_DB_ROLE": "owner"}))
    assert [*found] == ["default"]
    assert (found["default"]["HOST"], found["default"]["USER"]) == ("db", "owner")
    assert "statement_timeout=0" in found["default"]["OPTIONS"]["options"]


def test_own_login_of_the_process_leads_to_the_pooler() -> None:
    """As containers have it: DATABASE_URL is the login of the process itself."""
    own = "postgresql://w:p%40@db/fillcast?sslmode=require"
    given = {**POOLED, "DATABASE_URL": own, "FILLCAST_DATABASES": "pooler=b:6432"}
    assert login(Settings.read(given)) == (
        "DATABASE_URL", "postgresql://w:p%40@b:6432/fillcast?sslmode=require",
    )  # fmt: skip
    other = {**given, "FILLCAST_DATABASES": "pooler=b:6432?sslmode=disable"}
    assert login(Settings.read(other))[1].endswith("@b:6432/fillcast?sslmode=disable")
    past = databases(Settings.read(given))["direct"]
    assert (past["HOST"], past["USER"], past["OPTIONS"]["sslmode"]) == ("db", "w", "require")


def test_pooler_is_at_another_address_than_the_server() -> None:
    (reported,) = faults({**POOLED, "FILLCAST_DATABASES": "pooler=db"})
    assert "pooler= of FILLCAST_DATABASES name the same address" in reported


def test_server_with_another_login() -> None:
    merged = with_login("postgresql://o:x@db:5432/f?sslmode=require", "postgresql://w:p%40@b:1/f")
    assert merged == "postgresql://w:p%40@db:5432/f?sslmode=require"
