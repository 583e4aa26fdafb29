"""How this process talks to PostgreSQL: login, role, time-outs, pool."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import environ

from config.env import Settings

# As parts of the lease in thousandths. A stopped process keeps its row locks until the server ends
# its transaction, which has to happen before others take its work over.
IDLE_IN_TRANSACTION, STATEMENT, LOCK = 400, 600, 200
OWNER_TIMEOUTS = {  # migrations build indexes and may wait for themselves, but never hold others up
    "lock_timeout": 10_000,
    "statement_timeout": 0,
    "idle_in_transaction_session_timeout": 60_000,
}
# A host name that tells what is wrong, in the driver's own error message.
UNSET = "postgresql://DATABASE_URL-is-not-set.invalid/fillcast"


def timeouts(role: str, lease_seconds: int) -> dict[str, int]:
    """Return the session's time-outs in ms; for web and trade all lie below the lease."""
    if role == "owner":
        return OWNER_TIMEOUTS
    return {
        "lock_timeout": LOCK * lease_seconds,
        "statement_timeout": STATEMENT * lease_seconds,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION * lease_seconds,
    }


def startup_options(settings: Settings) -> str:
    """Return what is told to PostgreSQL when a connection is opened."""
    role = settings.db_role
    values: dict[str, int | str] = dict(timeouts(role, settings.lease_seconds))
    values["jit"] = "off"  # costs more than it gives in every query that we have
    values["fillcast.program"] = program(sys.argv, role)  # for the audit trail
    if role != "owner" and login(settings)[0] == "DATABASE_URL":
        values["role"] = f"fillcast_{role}"
    return " ".join(f"-c {name}={value}" for name, value in values.items())


def program(argv: Sequence[str], role: str) -> str:
    """Return what the audit trail says of a change that no request stands behind: command:NAME,
    task:NAME for a worker or beat, otherwise process:NAME."""
    name = Path(argv[0]).name if argv and argv[0] else "python"
    if name == "manage.py":
        kind, name = "command", argv[1] if len(argv) > 1 else "help"
    elif role == "trade":
        kind, name = "task", next((word for word in argv[1:] if word in ("beat", "worker")), name)
    else:
        kind = "process"
    return f"{kind}:{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:60]}"


def login(settings: Settings) -> tuple[str, str]:
    """Return the variable whose URL this process uses (its role's own if there is one) and it."""
    if settings.db_role == "web" and settings.web_database_url:
        return "FILLCAST_WEB_DATABASE_URL", settings.web_database_url
    if settings.db_role == "trade" and settings.trade_database_url:
        return "FILLCAST_TRADE_DATABASE_URL", settings.trade_database_url
    return "DATABASE_URL", settings.database_url or ""


def database(settings: Settings) -> dict[str, Any]:
    """Return the entry of DATABASES for this process's role."""
    parsed: dict[str, Any] = dict(environ.Env.db_url_config(login(settings)[1] or UNSET))
    options: dict[str, Any] = {
        **parsed.get("OPTIONS", {}),
        "options": startup_options(settings),
        "connect_timeout": 5,
        "application_name": f"fillcast-{settings.db_role}",
    }
    if settings.db_role == "web":  # requests come on many threads, each would keep its own
        options["pool"] = {"min_size": 1, "max_size": 16, "timeout": 5}
    return {
        **parsed,
        "ENGINE": "django.db.backends.postgresql",
        "OPTIONS": options,
        "CONN_MAX_AGE": 0 if "pool" in options else None,
        "CONN_HEALTH_CHECKS": True,
    }
