"""What a process needs to start: environment variables, read and checked once per process.

All else is an operational setting, which changes while processes run (common/operational).

`manage.py settings_reference` writes docs/settings.md and .env.example from the class Settings.
To add a setting: a field here, a line in config/settings.py, then that command.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from config.env_parts import (
    LOOPBACK,
    Databases,
    DatabaseUrls,
    Listen,
    ListenAddress,
    Mail,
    MailServer,
    Mt5Terminal,
    Rehearsal,
    RehearsalParts,
    WebAddress,
    host_pattern,
    origin,
)
from config.env_types import (
    FROM,
    BearerToken,
    BusUrl,
    Key,
    Network,
    PostgresUrl,
    PushPrivateKey,
    PushPublicKey,
    SettingsSource,
    text,
    url,
    whole_number,
)
from config.env_variables import InvalidEnvironmentError, Variable, setting
from config.moved_settings import OLD, describe_moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of this process.

    A field's variable is FILLCAST_ and its name in capitals; DATABASE_URL and REDIS_URL are
    written without the prefix, as other programs write them.
    """

    # --- Installation
    env: Literal["development", "debug", "production"] = setting(
        "development",
        "In production Fillcast invents nothing: every setting marked as needed must be set, and"
        " logs are one JSON object per line, except on a terminal. debug: development with"
        " tracebacks in the browser; it keeps every query in memory.",
    )
    env_file: Annotated[str, text("a file", ".+")] = setting(
        ".env", "A file with more settings, read at start. The environment has priority."
    )
    var: Annotated[str, text("a folder", ".+")] = setting(
        "var",
        "Folder for the embedded servers, logs and the secrets of a development installation. What"
        " workers record of each send is in sends/ of it if that is there (mount a tmpfs, the same"
        " for all workers of a machine), else in memory: RuntimeDirectory=fillcast of systemd,"
        " /dev/shm or XDG_RUNTIME_DIR.",
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
        " the JSON itself. It holds until a version is stored. A file or URL is followed: each"
        " change of it becomes a version. So does JSON in production, at a start with another text"
        " (docs/operational-settings.md).",
    )

    # --- Web
    secret_key: Annotated[str, text("at least 32 characters", ".{32,}")] | None = setting(
        None,
        "Signs sessions and tokens. If empty, each process generates its own at start.",
        required=True,
        secret=True,
    )
    public_url: tuple[WebAddress, ...] = setting(
        (),
        "Addresses at which users reach this installation. The first is used in links. The web"
        " process answers to the host names of all, to this machine's own, and to no other;"
        " https://*.fillcast.example is any name below. If empty, http://localhost and the port.",
        required=True,
    )
    listen: ListenAddress = setting(
        Listen(), "Where the web process listens; the address 0.0.0.0 is every network."
    )
    trusted_proxies: tuple[Network, ...] = setting(
        (),
        "Addresses of your own proxies. X-Forwarded-For and X-Forwarded-Proto are used only if they"
        " come from one of these.",
    )
    metrics_token: BearerToken | None = setting(
        None, "Bearer token for /metrics. If empty, the endpoint returns 404.", secret=True
    )

    # --- Databases
    database_url: PostgresUrl | None = setting(
        None,
        "PostgreSQL 15 to 18, as the owner of the tables. If empty, an embedded server is started.",
        required=True,
        secret=True,
    )
    databases: Databases = setting(
        DatabaseUrls(),
        "More ways to that database. web, trade: the logins of the web process and of the workers;"
        " without one they use DATABASE_URL and take the role fillcast_web or fillcast_trade."
        " pooler: PgBouncer in transaction mode, to which those logins lead, while DATABASE_URL"
        " leads past it (docs/deployment.md); the same for every process. replica: a streaming"
        " replica that answers what pages and exports of results read, and the searches of the"
        " daily computation, as long as it has all that the primary has; its login must be a member"
        " of fillcast_web or fillcast_trade, as the process is.",
        secret=True,
    )
    db_role: Literal["owner", "trade", "web"] = setting(
        "owner",
        "Database role of this process: owner for migrations, trade for workers, web for the web"
        " process.",
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

    # --- E-mail
    email_url: MailServer = setting(
        Mail(),
        "Mail server, for example smtp+tls://user:password@host:587?from=fillcast@your.example. If"
        " it names no sender, that is fillcast@ and the host of FILLCAST_PUBLIC_URL.",
        secret=True,
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
    mt5_terminal: Mt5Terminal | None = setting(
        None,
        "The MetaTrader 5 terminal of this worker; it touches no other on this machine. NAME is its"
        " name in connections (main if it is left out), and its worker serves the queue mt5.NAME."
        " With /portable the terminal keeps its data beside its program.",
    )

    # --- Buses
    buses: tuple[BusUrl, ...] = setting(
        (),
        "Buses that receive what happens, such as redis+stream://127.0.0.1/fillcast; see"
        " docs/buses.md. With from+ before its URL, such as from+nats://127.0.0.1:4222, approved"
        " signals and fills come in from a bus, only by subjects that operators let in:"
        " docs/bus-types.md. A comma within a URL is written %2C.",
        secret=True,
    )

    # --- Replays and tests
    rehearsal: RehearsalParts = setting(
        Rehearsal(),
        "Refused in production. clock: starts market time elsewhere and runs it faster, for"
        " replays; leases never follow it. failpoints: where this process dies or stops.",
    )

    @property
    def address(self) -> str:
        """The address in links, without a slash at its end."""
        if not self.public_url:
            return f"http://localhost:{self.listen.port}"
        return self.public_url[0].rstrip("/")

    @property
    def hosts(self) -> list[str]:
        """The host names that the web process answers to."""
        return [*dict.fromkeys([*map(host_pattern, self.public_url), *LOOPBACK])]

    @property
    def origins(self) -> list[str]:
        """The addresses whose forms are trusted; none of a whole domain, on which other sites may
        be. A page trusts the address that it was opened with in any case."""
        return [origin(one) for one in self.public_url or (self.address,) if "*" not in one]

    @property
    def sender(self) -> str:
        """The sender of e-mail."""
        return self.email_url.sender or f"fillcast@{urlsplit(self.address).hostname}"

    @property
    def sinks(self) -> tuple[str, ...]:
        """The URLs of the buses that receive what happens."""
        return tuple(one for one in self.buses if not one.startswith(FROM))

    @property
    def incoming_buses(self) -> tuple[str, ...]:
        """The URLs of the buses that are read."""
        return tuple(one.removeprefix(FROM) for one in self.buses if one.startswith(FROM))

    @property
    def production(self) -> bool:
        """Whether this is a production installation."""
        return self.env == "production"

    @property
    def is_trial(self) -> bool:
        """Whether it is reached without TLS, from this machine only."""
        return bool(self.public_url) and all(map(_is_trial, self.public_url))

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Return valid settings. Raises InvalidEnvironmentError, which lists every fault."""
        values: dict[str, Any] = {}
        faults = [describe_moved(name) for name in OLD if environ.get(name, "").strip()]
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
        if self.public_url and "*" in self.public_url[0]:
            yield (
                f"FILLCAST_PUBLIC_URL begins with {self.public_url[0]}; expected the address in"
                " links first, and others after it."
            )
        yield from self._pooler_conflicts()
        if not self.production:
            return
        yield from self._push_conflicts()
        if self.db_role == "web" and self.databases.trade:
            yield (
                "FILLCAST_DATABASES has trade= in a web process; expected it in workers only, since"
                " row security limits what the web process may read."
            )
        if self.db_role == "trade" and not self.credentials_private_keys:
            yield (
                "FILLCAST_CREDENTIALS_PRIVATE_KEYS is not set; a worker in production needs it to"
                " decrypt credentials."
            )
        yield from self._address_conflicts()
        if self.rehearsal != Rehearsal():
            yield (
                "FILLCAST_REHEARSAL is set; expected nothing in production: it changes market time,"
                " or ends processes."
            )

    def _address_conflicts(self) -> Iterator[str]:
        if any(urlsplit(one).hostname == "*" for one in self.public_url):
            yield (
                "FILLCAST_PUBLIC_URL contains a URL of the host '*'; expected the names that people"
                " use, because links in messages contain the host name of a request."
            )
        if any(one.startswith("http://") for one in self.public_url) and not self.is_trial:
            yield (
                "FILLCAST_PUBLIC_URL begins with http://; expected https:// in production, because"
                " passwords and keys are sent to this address. Only for a trial on this machine it"
                " may be http://localhost."
            )

    def _pooler_conflicts(self) -> Iterator[str]:
        """A pooler has logins of its own; what needs a session of its own goes past it."""
        pooler = self.databases.pooler
        if pooler and self.database_url and _address(pooler) == _address(self.database_url):
            yield (
                "DATABASE_URL and pooler= of FILLCAST_DATABASES name the same address; expected"
                " PostgreSQL's in the first one and PgBouncer's in the second one."
            )

    def _push_conflicts(self) -> Iterator[str]:
        if self.push_public_key is None:
            return
        if self.db_role == "trade" and not self.push_private_keys:
            yield (
                "FILLCAST_PUSH_PRIVATE_KEYS is not set; a worker needs it, because"
                " FILLCAST_PUSH_PUBLIC_KEY offers push messages."
            )


def _is_trial(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")


def _address(database: str) -> str:
    """Return the part of a database's URL that names its servers."""
    return urlsplit(database).netloc.rpartition("@")[2]


SECTIONS = {  # the first field of each: its title in the docs
    "env": "Installation",
    "secret_key": "Web",
    "database_url": "Databases",
    "email_url": "E-mail",
    "credentials_public_key": "Credentials of broker accounts",
    "push_public_key": "Push messages of browsers",
    "lease_seconds": "Processes",
    "mt4_root": "MetaTrader",
    "buses": "Buses",
    "rehearsal": "Replays and tests",
}
VARIABLES = [Variable(field) for field in fields(Settings)]
