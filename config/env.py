"""Every setting of Fillcast, in one table: name, kind, default, whether production needs it.

docs/settings.md and .env.example are written from it (`manage.py settings_reference`).
To add one: an entry here, a line in config/settings.py, then that command.
"""

from collections.abc import Mapping

from config.env_types import (
    ENV_NAME,
    InvalidEnvironmentError,
    Setting,
    T,
    Table,
    choice,
    comma_list,
    decimal,
    failpoint,
    key32,
    market_clock,
    network,
    optional,
    owned_network,
    text,
    url,
    whole_number,
    yes_or_no,
)

TABLE = Table()

installation = TABLE.section("The installation")
ENV = installation(
    ENV_NAME,
    choice("development", "production"),
    "development",
    "In production nothing is made up: what is marked as needed must be set.",
)
DEBUG = installation(
    "FILLCAST_DEBUG",
    yes_or_no(),
    "no",
    "Show tracebacks in the browser and keep every query in memory; never in production.",
)
SECRET_KEY = installation(
    "FILLCAST_SECRET_KEY",
    text("at least 32 characters, or nothing in development", "|.{32,}"),
    "",
    "Signs sessions and tokens. Without one, each process makes its own until it ends.",
    required=True,
    secret=True,
)
ALLOWED_HOSTS = installation(
    "FILLCAST_ALLOWED_HOSTS",
    comma_list(text("a host name", r"[A-Za-z0-9.:\[\]*_-]+")),
    "localhost,127.0.0.1,[::1]",
    "Host names that the web process answers to.",
    required=True,
)
PUBLIC_URL = installation(
    "FILLCAST_PUBLIC_URL",
    optional(url("https", "http")),
    "",
    "Where people reach this installation; used in links, and trusted as an origin of forms.",
)
BIND = installation(
    "FILLCAST_BIND",
    text("an address of this machine", r"[0-9A-Fa-f.:]+"),
    "127.0.0.1",
    "The address that the web process listens on; 0.0.0.0 is every network this machine is in.",
)
PORT = installation("FILLCAST_PORT", whole_number(1, 65535), "8012", "The web process's port.")
INSTALLATION_TAG = installation(
    "FILLCAST_INSTALLATION_TAG",
    text("3 characters a-z or 0-9", "[a-z0-9]{3}"),
    "dev",
    "Begins every client order id, so that a broker's orders tell whose they are. Never change it.",
    required=True,
)
VAR = installation(
    "FILLCAST_VAR",
    text("a folder", ".+"),
    "var",
    "Where the embedded servers, logs and the secrets of a development installation are kept.",
)

ENV_FILE = installation(
    "FILLCAST_ENV_FILE",
    text("a file"),
    ".env",
    "A file with more settings, read at start; what the environment says comes first.",
)
FAILPOINTS = installation(
    "FILLCAST_FAILPOINTS",
    comma_list(failpoint()),
    "",
    "For tests of failures: points at which this process dies or stops. Refused in production.",
)

TRUSTED_PROXIES = installation(
    "FILLCAST_TRUSTED_PROXIES",
    comma_list(network()),
    "",
    "Addresses of our own proxies. What these say of a caller's address and of TLS is believed;"
    " from anybody else X-Forwarded-For and X-Forwarded-Proto are ignored.",
)
STAFF_SECOND_FACTOR = installation(
    "FILLCAST_STAFF_SECOND_FACTOR",
    optional(yes_or_no()),
    "",
    "Whether staff must have a second factor. Not set: yes in production, no in development.",
)
METRICS_TOKEN = installation(
    "FILLCAST_METRICS_TOKEN",
    optional(text("16 or more characters without spaces", r"\S+", least=16)),
    "",
    "What a scraper of /metrics shows as its bearer token. Without it there is no such address.",
    secret=True,
)

servers = TABLE.section("Servers")
DATABASE_URL = servers(
    "DATABASE_URL",
    optional(url("postgresql", "postgres")),
    "",
    "PostgreSQL 15 to 18, as the owner of the tables. Without it, an embedded one is started.",
    required=True,
    secret=True,
)
WEB_DATABASE_URL = servers(
    "FILLCAST_WEB_DATABASE_URL",
    optional(url("postgresql", "postgres")),
    "",
    "The web process's own login. Without it, DATABASE_URL's login takes the role fillcast_web.",
    secret=True,
)
TRADE_DATABASE_URL = servers(
    "FILLCAST_TRADE_DATABASE_URL",
    optional(url("postgresql", "postgres")),
    "",
    "The workers' own login. Without it, DATABASE_URL's login takes the role fillcast_trade.",
    secret=True,
)
DB_ROLE = servers(
    "FILLCAST_DB_ROLE",
    choice("owner", "trade", "web"),
    "owner",
    "As whom this process works: owner for migrations, trade for workers, web for the web process.",
)
REDIS_URL = servers(
    "REDIS_URL",
    optional(url("redis", "rediss")),
    "",
    "Redis 6.2 or newer, or Valkey. Without it, an embedded one is started.",
    required=True,
    secret=True,
)
LOG_FORMAT = servers(
    "FILLCAST_LOG_FORMAT",
    choice("console", "json"),
    "console",
    "How logs are written (to standard error): for people, or a JSON object on each line.",
)
LOG_LEVEL = servers(
    "FILLCAST_LOG_LEVEL",
    choice("DEBUG", "INFO", "WARNING", "ERROR"),
    "INFO",
    "The least grave kind of message that is logged.",
)
EMAIL_URL = servers(
    "FILLCAST_EMAIL_URL",
    url("consolemail", "smtp", "smtp+tls", "smtp+ssl", "memorymail", "dummymail"),
    "consolemail://localhost",
    "Where e-mail is handed over, for example smtp+tls://user:password@host:587.",
    secret=True,
)
EMAIL_FROM = servers(
    "FILLCAST_EMAIL_FROM",
    text("an e-mail address", r"[^@\s]+@[^@\s]+"),
    "fillcast@localhost",
    "The sender of e-mail.",
)

secrets = TABLE.section("Credentials of broker accounts")
CREDENTIALS_PUBLIC_KEY = secrets(
    "FILLCAST_CREDENTIALS_PUBLIC_KEY",
    optional(key32()),
    "",
    "Seals credentials; every process has it. It cannot open them.",
    required=True,
)
CREDENTIALS_PRIVATE_KEYS = secrets(
    "FILLCAST_CREDENTIALS_PRIVATE_KEYS",
    comma_list(key32()),
    "",
    "Open credentials, newest first; older ones stay until rotation is through. Only in workers.",
    secret=True,
)

execution = TABLE.section("Execution")
BUNDLE_SIZE = execution(
    "FILLCAST_BUNDLE_SIZE",
    whole_number(1, 5000),
    "500",
    "Most orders in one message and one transaction.",
)
LEASE_SECONDS = execution(
    "FILLCAST_LEASE_SECONDS",
    whole_number(2, 10),
    "10",
    "How long a silent process is believed to be alive; the database's time-outs follow from it.",
)
SEND_WITHIN_SECONDS = execution(
    "FILLCAST_SEND_WITHIN_SECONDS",
    whole_number(1, 9),
    "5",
    "An order that is not on the wire so long after its claim is not sent any more.",
)
CALL_TIMEOUT_SECONDS = execution(
    "FILLCAST_CALL_TIMEOUT_SECONDS",
    whole_number(1, 60),
    "5",
    "How long a broker may take to answer before an order is UNKNOWN.",
)
MARKET_ENTRY_SECONDS = execution(
    "FILLCAST_MARKET_ENTRY_SECONDS",
    whole_number(1, 86400),
    "60",
    "How old a signal may be (market clock) when its market entry leaves; a preset may allow less.",
)
ABSENCE_GAP_SECONDS = execution(
    "FILLCAST_ABSENCE_GAP_SECONDS",
    whole_number(4, 3600),
    "60",
    "Time between the two looks that prove an order never arrived.",
)
LOOKUP_LONGEST_SECONDS = execution(
    "FILLCAST_LOOKUP_LONGEST_SECONDS",
    whole_number(2, 600),
    "20",
    "Longest pause between two looks for an order whose outcome is unknown; they begin at 2 s.",
)
UNKNOWN_ALERT_SECONDS = execution(
    "FILLCAST_UNKNOWN_ALERT_SECONDS",
    whole_number(10, 86400),
    "300",
    "An order that is UNKNOWN for longer is an alarm.",
)
STUCK_SECONDS = execution(
    "FILLCAST_STUCK_SECONDS",
    whole_number(1, 86400),
    "30",
    "A market, IOC or FOK order that the broker has not ended by then is asked about.",
)
STUCK_ANSWER_SECONDS = execution(
    "FILLCAST_STUCK_ANSWER_SECONDS",
    whole_number(1, 3600),
    "10",
    "Time to hear of a stuck order before it is cancelled or told, as its preset says.",
)
POLL_SECONDS = execution(
    "FILLCAST_POLL_SECONDS",
    whole_number(1, 5),
    "2",
    "How often each worker looks for due orders by itself, rung or not.",
)
UPDATE_INTERVAL_SECONDS = execution(
    "FILLCAST_UPDATE_INTERVAL_SECONDS",
    decimal("0.2", "3600"),
    "1",
    "How often working orders are polled at brokers that tell nothing by themselves.",
)
DISPATCH_SLOTS = execution(
    "FILLCAST_DISPATCH_SLOTS",
    whole_number(1, 10000),
    "600",
    "Most broker calls in flight in one process.",
)
SESSION_LANES = execution(
    "FILLCAST_SESSION_LANES",
    whole_number(1, 256),
    "8",
    "Over how many lanes new connections with a broker's session are spread: as many session"
    " workers can share them.",
)
SESSION_IDLE_SECONDS = execution(
    "FILLCAST_SESSION_IDLE_SECONDS",
    whole_number(60, 31_536_000),
    "3600",
    "A broker's session without orders and positions for so long is closed; every ten minutes it"
    " is opened to be read and compared.",
)
SLIPPAGE_ALERT_PIPS = execution(
    "FILLCAST_SLIPPAGE_ALERT_PIPS",
    decimal("0", "100000"),
    "5",
    "A fill of a currency pair or metal further than so many pips from the expected price, worse or"
    " better, raises an alert, where its account has no preset.",
)
SLIPPAGE_ALERT_BASIS_POINTS = execution(
    "FILLCAST_SLIPPAGE_ALERT_BASIS_POINTS",
    decimal("0", "100000"),
    "10",
    "The same of all that has no pips (coins, shares, indices), in basis points of the expected"
    " price: 10 is 0.1 %.",
)

prices = TABLE.section("Prices and time")
MARKET_CLOCK = prices(
    "FILLCAST_MARKET_CLOCK",
    optional(market_clock()),
    "",
    "Lets market time start elsewhere and run faster, for replays. Leases never follow it.",
)

outside = TABLE.section("The world outside")
BROKER_HOSTS = outside(
    "FILLCAST_BROKER_HOSTS",
    comma_list(network()),
    "",
    "Private and loopback networks where a typed address may lie; public ones always may.",
)
HOST_OWNERS = outside(
    "FILLCAST_HOST_OWNERS",
    comma_list(owned_network()),
    "",
    "Gateways of one user each, such as 10.0.0.5=alice: nobody else's accounts may be there.",
)
OUTBOUND_HOSTS = outside(
    "FILLCAST_OUTBOUND_HOSTS",
    comma_list(network()),
    "",
    "Private networks that notifications and webhooks may be sent to; public ones always may.",
)
PUBLISHED_WINDOWS = outside(
    "FILLCAST_PUBLISHED_WINDOWS",
    yes_or_no(),
    "yes",
    "Whether the maintenance windows that brokers publish count. No: only your own (console:"
    " Maintenance).",
)
MT4_ROOT = outside(
    "FILLCAST_MT4_ROOT",
    optional(text("a folder", "/.+|[A-Za-z]:.+")),
    "",
    "Folder that every MT4 connection's bridge folder must lie in. Without it, MT4 is off.",
)
MT5_TERMINAL = outside(
    "FILLCAST_MT5_TERMINAL",
    optional(text("a path of terminal64.exe", r"[A-Za-z]:.+|/.+")),
    "",
    "The MetaTrader 5 terminal of this worker; another one that is found is left alone.",
)
MT5_PORTABLE = outside(
    "FILLCAST_MT5_PORTABLE",
    yes_or_no(),
    "no",
    "That terminal keeps its data beside its program (it is started with /portable).",
)
MT5_NAME = outside(
    "FILLCAST_MT5_NAME",
    optional(text("a-z, 0-9, _ or -, at most 32 characters", "[a-z0-9][a-z0-9_-]{0,31}")),
    "",
    "What connections call that terminal; its worker serves the queue mt5.NAME.",
)


class Env:
    """Values of all settings, each well-formed and at peace with the others."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read the whole table. Raises InvalidEnvironmentError that lists every fault at once."""
        self._values = TABLE.read(environ)
        if faults := [*self._quarrels_of_time(), *self._misplaced_keys()]:
            raise InvalidEnvironmentError(faults)

    def __call__(self, setting: Setting[T]) -> T:
        """Return a setting's value."""
        value: T = self._values[setting.name]
        return value

    @property
    def production(self) -> bool:
        """Whether this is the real thing."""
        return self(ENV) == "production"

    def _quarrels_of_time(self) -> list[str]:
        within, call = self(SEND_WITHIN_SECONDS), self(CALL_TIMEOUT_SECONDS)
        faults = []
        if within >= self(LEASE_SECONDS):
            faults.append(
                f"{SEND_WITHIN_SECONDS.name} is {within}; expected less than {LEASE_SECONDS.name}"
                f" ({self(LEASE_SECONDS)}), or a worker that is believed dead could still send."
            )
        if self(ABSENCE_GAP_SECONDS) < within + call:
            faults.append(
                f"{ABSENCE_GAP_SECONDS.name} is {self(ABSENCE_GAP_SECONDS)}; expected at least"
                f" {SEND_WITHIN_SECONDS.name} + {CALL_TIMEOUT_SECONDS.name} ({within + call}),"
                " or an order still under way could be called absent."
            )
        return faults

    def _check_exposure(self) -> list[str]:
        faults = []
        if any("*" in host for host in self(ALLOWED_HOSTS)):
            faults.append(
                f"{ALLOWED_HOSTS.name} holds '*'; expected the names that people use, since a link"
                " in a message is made of the name that a request asks for."
            )
        if (self(PUBLIC_URL) or "").startswith("http://"):
            faults.append(
                f"{PUBLIC_URL.name} begins with http://; expected https:// in production, where"
                " passwords and keys go over this address."
            )
        return faults

    def _misplaced_keys(self) -> list[str]:
        name, role, keys = (
            CREDENTIALS_PRIVATE_KEYS.name,
            self(DB_ROLE),
            self(CREDENTIALS_PRIVATE_KEYS),
        )
        if role == "web" and keys:
            return [
                f"{name} is set in a web process; expected nothing there, since web only seals."
            ]
        if role == "trade" and self.production and not keys:
            return [f"{name} is not set; a worker in production needs it to open credentials."]
        if self.production and (faults := self._check_exposure()):
            return faults
        if self.production and self(DEBUG):
            return [f"{DEBUG.name} is 'yes'; expected no in production, where it shows secrets."]
        if self.production and self(FAILPOINTS):
            return [f"{FAILPOINTS.name} is set; expected nothing in production: it ends processes."]
        return []
