"""How this process connects to PostgreSQL: login, role, time-outs, pool."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ

from common.db import replica_sessions
from common.db.direct_sessions import DIRECT, REPLICA
from config.env import Settings
from config.env_parts import through

# In thousandths of the lease. A stopped process keeps its row locks until the server ends its
# transaction, and that has to happen before another worker takes over its work.
IDLE_IN_TRANSACTION, STATEMENT, LOCK = 400, 600, 200
# A replica whose host vanishes is given up after some seconds instead of minutes. A standby that is
# stopped still acknowledges: its sessions limit each answer (`common/db/replica_sessions.py`).
REPLICA_NETWORK = {
    "keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 2,
    "tcp_user_timeout": 3_000,
}  # fmt: skip
OWNER_TIMEOUTS = {  # a migration may build an index for long, but must not block other processes
    "lock_timeout": 10_000,
    "statement_timeout": 0,
    "idle_in_transaction_session_timeout": 60_000,
}
MAX_AGE_SECONDS = 600  # of a thread's session, whose plans and caches grow
ENGINE = "django.db.backends.postgresql"
# A host name that states the problem in the driver's own error message.
UNSET = "postgresql://DATABASE_URL-is-not-set.invalid/fillcast"


def timeouts(role: str, lease_seconds: int) -> dict[str, int]:
    """Return the session's time-outs in ms. Those of web and trade are shorter than the lease."""
    if role == "owner":
        return dict(OWNER_TIMEOUTS)
    return {
        "lock_timeout": LOCK * lease_seconds,
        "statement_timeout": STATEMENT * lease_seconds,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION * lease_seconds,
    }


def is_pooled(settings: Settings) -> bool:
    """Return whether this process reaches PostgreSQL through a transaction pooler."""
    return bool(settings.databases.pooler) and settings.db_role != "owner"


def session_parameters(settings: Settings) -> dict[str, int | str]:
    """Return the parameters that each session of this process has, time-outs in ms."""
    # JIT costs more than it saves in each of our queries.
    return {**timeouts(settings.db_role, settings.lease_seconds), "jit": "off"}


def startup_options(settings: Settings, alias: str = "default") -> str:
    """Return the startup options that set a new PostgreSQL session's parameters."""
    role = settings.db_role
    values = session_parameters(settings)
    values["fillcast.program"] = program(sys.argv, role)  # for the audit trail
    if alias == REPLICA:  # a transaction of the primary may wait for the answer
        values["statement_timeout"] = replica_sessions.STATEMENT * settings.lease_seconds
    is_own_login = alias == "default" and login(settings)[0] != "DATABASE_URL"
    if role != "owner" and not is_own_login:
        values["role"] = f"fillcast_{role}"
    return " ".join(f"-c {name}={value}" for name, value in values.items())


def name_sessions(options: dict[str, Any], settings: Settings, alias: str = "default") -> None:
    """Let the sessions with these options name this process, for the audit trail.

    A pooler passes on no startup option, but the application's name, which it gives to each
    server session before a statement of ours (`common/db/audit_trail_sql.py` reads both).
    """
    options["application_name"] = f"fillcast-{settings.db_role}"
    if is_pooled(settings) and alias == "default":
        options["application_name"] += f" {program(sys.argv, settings.db_role)}"
    else:
        options["options"] = startup_options(settings, alias)


def program(argv: Sequence[str], role: str) -> str:
    """Return the audit trail's actor for a change without a request.

    command:NAME for `manage.py NAME`, task:NAME for a worker or beat, otherwise process:NAME.
    """
    name = Path(argv[0]).name if argv and argv[0] else "python"
    if name == "manage.py":
        prefix, name = "command", argv[1] if len(argv) > 1 else "help"
    elif role == "trade":
        prefix, name = "task", next((part for part in argv[1:] if part in ("beat", "worker")), name)
    else:
        prefix = "process"
    return f"{prefix}:{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:60]}"


def login(settings: Settings) -> tuple[str, str]:
    """Return the setting with this process's login, its role's own if that is set, and the URL.

    With a pooler the URL leads there.
    """
    urls = settings.databases
    own = {"web": urls.web, "trade": urls.trade}.get(settings.db_role)
    name, url = (
        ("FILLCAST_DATABASES", own) if own else ("DATABASE_URL", settings.database_url or "")
    )
    return name, through(urls.pooler, url) if is_pooled(settings) else url


def with_login(server: str, login_url: str) -> str:
    """Return the URL of a server with the user and password of another URL."""
    who, at, _ = urlsplit(login_url).netloc.rpartition("@")
    parts = urlsplit(server)
    return parts._replace(netloc=who + at + parts.netloc.rpartition("@")[2]).geturl()


def databases(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the DATABASES of this process: also the way past a pooler, and a replica."""
    found = {"default": database(settings)}
    if is_pooled(settings):
        found[DIRECT] = _direct(settings)
    if settings.databases.replica and settings.db_role != "owner":
        found[REPLICA] = _replica(settings.databases.replica, settings)
    return found


def database(settings: Settings) -> dict[str, Any]:
    """Return the DATABASES entry for the role of this process."""
    parsed: dict[str, Any] = dict(environ.Env.db_url_config(login(settings)[1] or UNSET))
    options: dict[str, Any] = {**parsed.get("OPTIONS", {}), "connect_timeout": 5}
    name_sessions(options, settings)
    if settings.db_role == "web":  # requests run on many threads; each would keep a connection
        options["pool"] = {"min_size": 1, "max_size": 16, "timeout": 5, "max_idle": 60}
    return {
        **parsed,
        "ENGINE": "common.db.checked_sessions" if is_pooled(settings) else ENGINE,
        "OPTIONS": options,
        "CONN_MAX_AGE": 0 if "pool" in options else MAX_AGE_SECONDS,
        "CONN_HEALTH_CHECKS": True,
        **(_pooled(settings) if is_pooled(settings) else {}),
    }


def _pooled(settings: Settings) -> dict[str, Any]:
    """Return what a DATABASES entry has besides if it leads to a transaction pooler."""
    return {
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "EXPECTED_SESSION": {
            "role": f"fillcast_{settings.db_role}",
            "setting": login(settings)[0],
            "parameters": session_parameters(settings),
        },
    }


def _direct(settings: Settings) -> dict[str, Any]:
    """Return the DATABASES entry of the few sessions that need one of their own."""
    return _plain(settings.database_url or UNSET, settings, DIRECT)


def _replica(url: str, settings: Settings) -> dict[str, Any]:
    """Return the DATABASES entry of a streaming replica."""
    entry = _plain(url, settings, REPLICA)
    entry["OPTIONS"] = {
        **REPLICA_NETWORK,
        **entry["OPTIONS"],
        "connect_timeout": 2,  # libpq's least; a read waits for it no longer than the pool's
        "pool": {
            "connection_class": replica_sessions.ReplicaSession,
            "min_size": 0,
            "max_size": 8,
            "timeout": replica_sessions.READY * settings.lease_seconds / 1000,
            "max_idle": 60,
        },
    }
    entry["CONN_MAX_AGE"] = 0
    return entry


def _plain(url: str, settings: Settings, alias: str) -> dict[str, Any]:
    parsed: dict[str, Any] = dict(environ.Env.db_url_config(url))
    options: dict[str, Any] = {**parsed.get("OPTIONS", {}), "connect_timeout": 5}
    name_sessions(options, settings, alias)
    return {
        **parsed,
        "ENGINE": ENGINE,
        "OPTIONS": options,
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
    }
