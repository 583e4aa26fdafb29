"""Every setting of Fillcast: environment variables, read and checked once per process.

`manage.py settings_reference` writes docs/settings.md and .env.example from the class Settings.
To add a setting: a field here, a line in config/settings.py, then that command.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from config.env_types import (
    DAYS,
    ORDER_DAYS,
    BearerToken,
    Clock,
    Fault,
    HostName,
    IncomingBusUrl,
    Key,
    Network,
    NetworkOwner,
    PostgresUrl,
    PushPrivateKey,
    PushPublicKey,
    Quota,
    SinkUrl,
    TerminalName,
    TerminalPath,
    YesNo,
    number,
    text,
    url,
    whole_number,
)
from config.env_variables import InvalidEnvironmentError, Variable, setting


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
    staff_second_factor: YesNo | None = setting(
        None,
        "Whether staff must have a second factor. If empty: yes in production, no in development.",
    )
    sign_up: Literal["off", "invitation", "open"] = setting(
        "invitation",
        "Who may create a login without an administrator: no one, the holder of an invitation's"
        " link, or everybody with an e-mail address (needs FILLCAST_EMAIL_URL).",
    )
    api_read_rate: Annotated[int, whole_number(1, 1_000_000)] = setting(
        1200,
        "Requests a minute that only read, of one user over all keys.",
    )
    api_trade_rate: Annotated[int, whole_number(1, 1_000_000)] = setting(
        600,
        "Requests a minute about orders, positions and drift items, of one user.",
    )
    api_publish_rate: Annotated[int, whole_number(1, 1_000_000)] = setting(
        600,
        "Requests a minute about signals and feeds, of one user.",
    )
    api_operate_rate: Annotated[int, whole_number(1, 1_000_000)] = setting(
        300,
        "Requests a minute about accounts, subscriptions, presets, halts,"
        " notifications and keys, of one user.",
    )
    api_anonymous_rate: Annotated[int, whole_number(1, 1_000_000)] = setting(
        60,
        "Requests a minute from one address without a user, or with wrong keys and tokens.",
    )
    quotas: tuple[Quota, ...] = setting(
        (),
        "How many rows of a kind one owner may have, where it is not the number that docs/api.md"
        " states, such as presets=400,api-keys=500.",
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
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting(
        "INFO", "Least severe level that is logged."
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
    push_contact: Annotated[str, text("an e-mail address", r"[^@\s]+@[^@\s]+")] | None = setting(
        None,
        "E-mail address at which push services of browsers reach you; they receive it with each"
        " message. If empty, FILLCAST_EMAIL_FROM.",
    )

    # --- Execution
    poll_seconds: Annotated[int, whole_number(1, 5)] = setting(
        2, "How often each worker queries for due orders, with or without a message."
    )
    bundle_size: Annotated[int, whole_number(1, 5000)] = setting(
        500, "Most orders in one message and one transaction."
    )
    dispatch_slots: Annotated[int, whole_number(1, 10000)] = setting(
        600, "Most broker calls in flight in one process."
    )
    lease_seconds: Annotated[int, whole_number(2, 10)] = setting(
        10,
        "How long a process without contact counts as alive; the database time-outs depend on it.",
    )
    send_deadline_seconds: Annotated[int, whole_number(1, 9)] = setting(
        5, "Send deadline: an order that has not left so long after its claim is not sent."
    )
    call_timeout_seconds: Annotated[int, whole_number(1, 60)] = setting(
        5, "How long a broker may take to answer before the order becomes UNKNOWN."
    )
    market_entry_max_age_seconds: Annotated[int, whole_number(1, 86400)] = setting(
        60,
        "Maximum age of a signal (market clock) when its market entry is sent; a preset may allow"
        " less.",
    )
    absence_gap_seconds: Annotated[int, whole_number(4, 3600)] = setting(
        60, "Time between the two look-ups that confirm that an order never arrived."
    )
    lookup_max_interval_seconds: Annotated[int, whole_number(2, 600)] = setting(
        20, "Longest pause between two look-ups of an UNKNOWN order; the first pause is 2 s."
    )
    unknown_alert_seconds: Annotated[int, whole_number(10, 86400)] = setting(
        300, "An order that is UNKNOWN for longer raises an alert."
    )
    stuck_seconds: Annotated[int, whole_number(1, 86400)] = setting(
        30, "A market, IOC or FOK order that the broker has not ended by then is looked up."
    )
    stuck_answer_seconds: Annotated[int, whole_number(1, 3600)] = setting(
        10,
        "How long that look-up may take before the order is cancelled or raises an alert, as its"
        " preset states.",
    )
    update_interval_seconds: Annotated[Decimal, number("0.2", "3600")] = setting(
        Decimal(1), "How often working orders are polled at brokers that send no events."
    )
    session_lanes: Annotated[int, whole_number(1, 256)] = setting(
        8,
        "Lanes over which new connections with a broker session are spread; so many session workers"
        " can share them.",
    )
    session_idle_seconds: Annotated[int, whole_number(60, 31_536_000)] = setting(
        3600,
        "A broker session without orders and positions for so long is closed; it is opened every"
        " ten minutes to read and compare the account.",
    )
    slippage_alert_pips: Annotated[Decimal, number("0", "100000")] = setting(
        Decimal(5),
        "A fill of a currency pair or metal that is further from the expected price, worse or"
        " better, raises an alert. For accounts without a preset.",
    )
    slippage_alert_basis_points: Annotated[Decimal, number("0", "100000")] = setting(
        Decimal(10),
        "The same for everything without pips (coins, shares, indices), in basis points of the"
        " expected price: 10 is 0.1 %.",
    )

    # --- Brokers and outgoing connections
    broker_networks: tuple[Network, ...] = setting(
        (),
        "Private and loopback networks where users may connect accounts; public addresses are"
        " always allowed.",
    )
    gateway_owners: tuple[NetworkOwner, ...] = setting(
        (),
        "Gateways of one user each, such as 10.0.0.5=alice: other users cannot connect accounts"
        " there.",
    )
    outbound_networks: tuple[Network, ...] = setting(
        (),
        "Private networks that notifications and webhooks may be sent to; public addresses are"
        " always allowed.",
    )
    broker_maintenance_windows: YesNo = setting(
        True,
        "Whether to respect the maintenance windows that brokers publish. If no, only your own"
        " count (console: Maintenance).",
    )
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
    retention_log_days: Annotated[str, DAYS] = setting(
        "90", "How long lines of the execution log stay in the database."
    )
    retention_event_days: Annotated[str, DAYS] = setting(
        "90", "How long events stay that were routed and have no delivery left."
    )
    retention_delivery_days: Annotated[str, DAYS] = setting(
        "90", "How long deliveries to channels stay once they are sent or have failed."
    )
    retention_webhook_days: Annotated[str, DAYS] = setting(
        "30", "How long messages to webhooks and browsers stay, with their tries."
    )
    retention_audit_run_days: Annotated[str, DAYS] = setting(
        "180", "How long results of the hourly audit stay; the last one always does."
    )
    retention_order_days: Annotated[str, ORDER_DAYS] = setting(
        "never",
        "How long entries stay that ended without a fill. Exchanges list what they executed for up"
        " to two years: 800 is more than any of them.",
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
        faults: list[str] = []
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
        within, call = self.send_deadline_seconds, self.call_timeout_seconds
        if within >= self.lease_seconds:
            yield (
                f"FILLCAST_SEND_DEADLINE_SECONDS is {within}; expected less than"
                f" FILLCAST_LEASE_SECONDS ({self.lease_seconds}), or a worker that counts as dead"
                " could still send."
            )
        if self.absence_gap_seconds < within + call:
            yield (
                f"FILLCAST_ABSENCE_GAP_SECONDS is {self.absence_gap_seconds}; expected at least"
                " FILLCAST_SEND_DEADLINE_SECONDS + FILLCAST_CALL_TIMEOUT_SECONDS"
                f" ({within + call}), or an order still in flight could be declared absent."
            )
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
        contact = self.push_contact or self.email_from
        if "." not in contact.rpartition("@")[2]:
            yield (
                f"FILLCAST_PUSH_CONTACT is not set and FILLCAST_EMAIL_FROM is {contact}; expected"
                " an address on the internet, without which push services refuse messages."
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
    "poll_seconds": "Execution",
    "broker_networks": "Brokers and outgoing connections",
    "archive_folder": "Retention",
    "market_clock": "Replays and tests",
}
VARIABLES = [Variable(field) for field in fields(Settings)]
