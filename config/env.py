"""What a process needs to start: environment variables, read and checked once per process.

All else is an operational setting, which changes while processes run (common/operational).

`manage.py settings_reference` writes docs/settings.md and .env.example from the class Settings.
To add a setting: a field here, a line in config/settings.py, then that command.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from config.env_types import (
    BearerToken,
    Clock,
    Fault,
    HostName,
    IncomingBusUrl,
    Key,
    Network,
    PostgresUrl,
    PushPrivateKey,
    PushPublicKey,
    SettingsSource,
    SinkUrl,
    TerminalName,
    TerminalPath,
    YesNo,
    text,
    url,
    whole_number,
)
from config.env_variables import InvalidEnvironmentError, Variable, setting
from config.moved_settings import MOVED, describe_moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of this process.

    A field's variable is FILLCAST_ and its name in capitals; DATABASE_URL and REDIS_URL are
    written without the prefix, as other programs write them.
    """

    # --- Installation
    env: Literal["development", "production"] = setting(
        "development",
        "In production Fillcast invents nothing: every setting marked as needed must be set.",
    )
    env_file: Annotated[str, text("a file", ".+")] = setting(
        ".env", "A file with more settings, read at start. The environment has priority."
    )
    var: Annotated[str, text("a folder", ".+")] = setting(
        "var",
        "Folder for the embedded servers, logs and the secrets of a development installation.",
    )
    send_journal_folder: Annotated[str, text("a folder", ".+")] | None = setting(
        None,
        "Folder in which workers record what they send, so that one that is killed leaves nothing"
        " in doubt; in memory (tmpfs), and the same for all workers of a machine. A relative one is"
        " below FILLCAST_VAR. If empty: in /dev/shm or XDG_RUNTIME_DIR, else sends/ in"
        " FILLCAST_VAR.",
    )
    installation_tag: Annotated[str, text("3 characters a-z or 0-9", "[a-z0-9]{3}")] = setting(
        "dev",
        "Starts every client order id, so that orders at a broker can be traced to this"
        " installation. Never change it.",
        required=True,
    )
    settings_source: SettingsSource | None = setting(
        None,
        "Where operational settings come from besides the console: a JSON file, an https:// URL or"
        " the JSON itself. It holds until a version is stored; a file or URL is followed, and each"
        " change of it becomes a version (docs/operational-settings.md).",
    )

    # --- Web
    secret_key: Annotated[str, text("at least 32 characters", ".{32,}")] | None = setting(
        None,
        "Signs sessions and tokens. If empty, each process generates its own at start.",
        required=True,
        secret=True,
    )
    allowed_hosts: tuple[HostName, ...] = setting(
        ("localhost", "127.0.0.1", "[::1]"),
        "Host names that the web process answers to.",
        required=True,
    )
    public_url: Annotated[str, url("https", "http")] | None = setting(
        None,
        "Address at which users reach this installation; used in links and as a trusted origin of"
        " forms. If empty, http://localhost and the port.",
    )
    bind: Annotated[str, text("an IP address of this machine", r"[0-9A-Fa-f.:]+")] = setting(
        "127.0.0.1", "Address that the web process listens on; 0.0.0.0 is every network."
    )
    port: Annotated[int, whole_number(1, 65535)] = setting(8012, "Port of the web process.")
    trusted_proxies: tuple[Network, ...] = setting(
        (),
        "Addresses of your own proxies. X-Forwarded-For and X-Forwarded-Proto are used only if they"
        " come from one of these.",
    )
    metrics_token: BearerToken | None = setting(
        None, "Bearer token for /metrics. If empty, the endpoint returns 404.", secret=True
    )
    debug: YesNo = setting(
        False,
        "Show tracebacks in the browser and keep every query in memory; never in production.",
    )

    # --- Databases
    database_url: PostgresUrl | None = setting(
        None,
        "PostgreSQL 15 to 18, as the owner of the tables. If empty, an embedded server is started.",
        required=True,
        secret=True,
    )
    web_database_url: PostgresUrl | None = setting(
        None,
        "Login of the web process. If empty, it uses DATABASE_URL and takes the role fillcast_web.",
        secret=True,
    )
    trade_database_url: PostgresUrl | None = setting(
        None,
        "Login of the workers. If empty, they use DATABASE_URL and take the role fillcast_trade.",
        secret=True,
    )
    db_role: Literal["owner", "trade", "web"] = setting(
        "owner",
        "Database role of this process: owner for migrations, trade for workers, web for the web"
        " process.",
    )
    db_pooler: Literal["none", "transaction"] = setting(
        "none",
        "transaction: the logins of the web process and of the workers lead to PgBouncer in"
        " transaction mode, DATABASE_URL to PostgreSQL itself (docs/operations.md). The same for"
        " every process.",
    )
    replica_database_url: PostgresUrl | None = setting(
        None,
        "A streaming replica that answers what pages and exports of results read, and the searches"
        " of the daily computation, as long as it has all that the primary has. The login must be a"
        " member of fillcast_web or fillcast_trade, as the process is.",
        secret=True,
    )
    redis_url: Annotated[str, url("redis", "rediss")] | None = setting(
        None,
        "Redis 6.2 or newer, or Valkey. If empty, an embedded server is started.",
        required=True,
        secret=True,
    )

    queue_url: Annotated[str, url("amqp", "amqps")] | None = setting(
        None,
        "RabbitMQ 3.10 or newer for the queues of Celery. If empty, they are in Redis, which is"
        " needed in any case.",
        secret=True,
    )

    # --- Logs and e-mail
    log_format: Literal["console", "json"] = setting(
        "console", "Format of the logs on standard error: for people, or one JSON object per line."
    )
    email_url: Annotated[
        str, url("consolemail", "smtp", "smtp+tls", "smtp+ssl", "memorymail", "dummymail")
    ] = setting(
        "consolemail://localhost",
        "Mail server, for example smtp+tls://user:password@host:587.",
        secret=True,
    )
    email_from: Annotated[str, text("an e-mail address", r"[^@\s]+@[^@\s]+")] = setting(
        "fillcast@localhost", "Sender address of e-mail."
    )

    # --- Credentials of broker accounts
    credentials_public_key: Key | None = setting(
        None,
        "Encrypts credentials; every process has it. It cannot decrypt them.",
        required=True,
    )
    credentials_private_keys: tuple[Key, ...] = setting(
        (),
        "Decrypt credentials, newest first; keep older keys until key rotation is complete. For"
        " workers only.",
        secret=True,
    )

    # --- Push messages of browsers
    push_public_key: PushPublicKey | None = setting(
        None,
        "Browsers subscribe to push messages with it; every process has it. Make a pair with"
        " `manage.py vapid_key`. If empty, push messages of browsers are off.",
    )
    push_private_keys: tuple[PushPrivateKey, ...] = setting(
        (),
        "Sign push messages, newest first; keep an older key until the browsers have subscribed"
        " again. For workers only.",
        secret=True,
    )

    # --- Processes
    lease_seconds: Annotated[int, whole_number(2, 10)] = setting(
        10,
        "How long a process without contact counts as alive; the database time-outs depend on it.",
    )

    # --- MetaTrader
    mt4_root: Annotated[str, text("a folder", "/.+|[A-Za-z]:.+")] | None = setting(
        None, "Folder that contains every MT4 connection's bridge folder. If empty, MT4 is off."
    )
    mt5_terminal: TerminalPath | None = setting(
        None, "The MetaTrader 5 terminal of this worker; it touches no other on this machine."
    )
    mt5_portable: YesNo = setting(
        False, "That terminal keeps its data beside its program (it is started with /portable)."
    )
    mt5_name: TerminalName | None = setting(
        None, "Name of that terminal in connections; its worker serves the queue mt5.NAME."
    )

    # --- Buses
    sinks: tuple[SinkUrl, ...] = setting(
        (),
        "Buses that receive what happens, by URL, such as redis+stream://127.0.0.1/fillcast; see"
        " docs/buses.md. A comma within a URL is written %2C.",
        secret=True,
    )
    incoming_buses: tuple[IncomingBusUrl, ...] = setting(
        (),
        "Buses from which approved signals and fills come in, by URL, such as nats://127.0.0.1:4222;"
        " only by subjects that operators let in: docs/bus-types.md.",
        secret=True,
    )

    # --- Retention
    archive_folder: Annotated[str, text("a folder", ".+")] | None = setting(
        None,
        "Folder of the Parquet files that old rows are moved to, on a disk that is backed up. If"
        " empty: archive/ in FILLCAST_VAR in development; in production nothing is archived.",
    )

    # --- Replays and tests
    market_clock: Clock | None = setting(
        None,
        "Starts market time elsewhere and runs it faster, for replays. Leases never follow it.",
    )
    failpoints: tuple[Fault, ...] = setting(
        (),
        "For tests of failures: points at which this process dies or stops. Refused in production.",
    )

    @property
    def production(self) -> bool:
        """Whether this is a production installation."""
        return self.env == "production"

    @property
    def is_trial(self) -> bool:
        """Whether it is reached without TLS, from this machine only."""
        parts = urlsplit(self.public_url or "")
        return parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Return valid settings. Raises InvalidEnvironmentError, which lists every fault."""
        values: dict[str, Any] = {}
        faults = [describe_moved(name) for name in MOVED if environ.get(name, "").strip()]
        in_production = environ.get("FILLCAST_ENV", "").strip() == "production"
        for variable in VARIABLES:
            given = environ.get(variable.name, "").strip()
            try:
                if given:
                    values[variable.field_name] = variable.reader.read(given)
                elif variable.required and in_production:
                    faults.append(variable.describe_missing())
            except ValueError:
                faults.append(variable.describe_malformed(given))
        if faults:
            raise InvalidEnvironmentError(faults)
        settings = cls(**values)
        if faults := [*settings._conflicts()]:
            raise InvalidEnvironmentError(faults)
        return settings

    def _conflicts(self) -> Iterator[str]:
        """Yield a sentence for each contradiction between settings that are well-formed."""
        if self.db_role == "web" and self.credentials_private_keys:
            yield (
                "FILLCAST_CREDENTIALS_PRIVATE_KEYS is set in a web process; expected nothing there,"
                " since the web process only encrypts."
            )
        if self.db_role == "web" and self.push_private_keys:
            yield (
                "FILLCAST_PUSH_PRIVATE_KEYS is set in a web process; expected nothing there, since"
                " only workers send push messages."
            )
        yield from self._pooler_conflicts()
        if not self.production:
            return
        yield from self._push_conflicts()
        if self.db_role == "trade" and not self.credentials_private_keys:
            yield (
                "FILLCAST_CREDENTIALS_PRIVATE_KEYS is not set; a worker in production needs it to"
                " decrypt credentials."
            )
        if any("*" in host for host in self.allowed_hosts):
            yield (
                "FILLCAST_ALLOWED_HOSTS contains '*'; expected the names that people use, because"
                " links in messages contain the host name of a request."
            )
        if self.public_url and self.public_url.startswith("http://") and not self.is_trial:
            yield (
                "FILLCAST_PUBLIC_URL begins with http://; expected https:// in production, because"
                " passwords and keys are sent to this address. Only for a trial on this machine it"
                " may be http://localhost."
            )
        if self.debug:
            yield "FILLCAST_DEBUG is 'yes'; expected no in production, where it exposes secrets."
        if self.failpoints:
            yield "FILLCAST_FAILPOINTS is set; expected nothing in production: it ends processes."

    def _pooler_conflicts(self) -> Iterator[str]:
        """A pooler has logins of its own; what needs a session of its own goes past it."""
        if self.db_pooler == "none" or self.db_role == "owner":
            return
        own = self.web_database_url if self.db_role == "web" else self.trade_database_url
        name = f"FILLCAST_{self.db_role.upper()}_DATABASE_URL"
        if own is None:
            yield (
                f"{name} is not set; expected the login that PgBouncer accepts, because"
                " FILLCAST_DB_POOLER is transaction."
            )
        elif self.database_url and _address(own) == _address(self.database_url):
            yield (
                f"DATABASE_URL and {name} name the same address; expected PostgreSQL's in the first"
                " one and PgBouncer's in the second one, because FILLCAST_DB_POOLER is transaction."
            )

    def _push_conflicts(self) -> Iterator[str]:
        if self.push_public_key is None:
            return
        if self.db_role == "trade" and not self.push_private_keys:
            yield (
                "FILLCAST_PUSH_PRIVATE_KEYS is not set; a worker needs it, because"
                " FILLCAST_PUSH_PUBLIC_KEY offers push messages."
            )


def _address(database: str) -> str:
    """Return the part of a database's URL that names its servers."""
    return urlsplit(database).netloc.rpartition("@")[2]


SECTIONS = {  # the first field of each: its title in the docs
    "env": "Installation",
    "secret_key": "Web",
    "database_url": "Databases",
    "log_format": "Logs and e-mail",
    "credentials_public_key": "Credentials of broker accounts",
    "push_public_key": "Push messages of browsers",
    "lease_seconds": "Processes",
    "mt4_root": "MetaTrader",
    "archive_folder": "Retention",
    "market_clock": "Replays and tests",
}
VARIABLES = [Variable(field) for field in fields(Settings)]
