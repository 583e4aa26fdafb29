"""manage.py worker_settings: print the settings for a worker that is started by hand."""

import os
import sys
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand

from common.operational.reading import parse
from common.operational.source import VARIABLE, is_json
from config.databases import with_login
from config.env_parts import read_databases
from config.installation import is_production, var_folder
from ops.bootstrap import development_secrets
from ops.embedded.servers import running_urls

SECRETS = (
    "FILLCAST_SECRET_KEY", "FILLCAST_INSTALLATION_TAG", "FILLCAST_CREDENTIALS_PUBLIC_KEY",
    "FILLCAST_CREDENTIALS_PRIVATE_KEYS", "FILLCAST_PUSH_PUBLIC_KEY", "FILLCAST_PUSH_PRIVATE_KEYS",
)  # fmt: skip
SHARED = ("FILLCAST_LEASE_SECONDS",)  # each process needs the same
# Not printed in production: terminals, their history and redirected files keep the output.
HIDDEN_IN_PRODUCTION = (
    "FILLCAST_SECRET_KEY", "FILLCAST_CREDENTIALS_PRIVATE_KEYS", "FILLCAST_PUSH_PRIVATE_KEYS",
)  # fmt: skip
HIDDEN_NOTE = (
    "# {name}: not printed in production. Copy it from your other workers' env file or secret"
    " store."
)
# Operational settings whose addresses have keys of other services.
SECRET_SETTINGS = ("watchdog.ping_url", "observe.sentry_dsn", "observe.otlp_url")
FILE_NOTE = (
    "# {name} is a file of this machine: {path}. On another machine copy it, and name the copy"
    " here. Once a version of the settings is stored, a worker needs none."
)


def source_line(source: str, *, in_production: bool) -> str:
    """Return the line for FILLCAST_SETTINGS_SOURCE: itself, or a note in place of a secret or path.

    source: a valid one, see `check_source`.
    """
    if not is_json(source) and "://" not in source:
        return FILE_NOTE.format(name=VARIABLE, path=source)
    if in_production and _has_secret(source):
        return HIDDEN_NOTE.format(name=VARIABLE)
    return f"{VARIABLE}={source}"


def _has_secret(source: str) -> bool:
    if is_json(source):
        groups = parse(source)
        named = (path.split(".") for path in SECRET_SETTINGS)
        return any(groups.get(group, {}).get(name) for group, name in named)
    parts = urlsplit(source)
    return bool(parts.username or parts.password or parts.query)


class Command(BaseCommand):
    """Print the settings of the installation that runs here, as lines of an env file."""

    help = (
        "Print the settings that a worker started by hand (MetaTrader 5) needs to work with the"
        " installation that runs here: `manage.py worker_settings > alpha.env`, then"
        " FILLCAST_ENV_FILE=alpha.env. They hold passwords and, outside of production, the key that"
        " opens credentials: keep the file private. In production the output states where to take"
        " the keys from. Embedded servers listen on this machine only."
    )
    requires_system_checks = ()

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Write the settings to standard output and notes about them to standard error."""
        known = {**os.environ, **development_secrets(os.environ)}
        urls = running_urls(var_folder(os.environ)) or {}
        names = ("DATABASE_URL", "REDIS_URL")
        servers = {name: os.environ.get(name) or urls.get(name, "") for name in names}
        logins = read_databases(os.environ.get("FILLCAST_DATABASES", ""))
        if logins.trade:  # not that of the tables' owner
            server = logins.pooler and servers["DATABASE_URL"]  # the login's may be the pooler's
            servers["DATABASE_URL"] = with_login(server, logins.trade) if server else logins.trade
        if lacking := [name for name in names if not servers[name]]:
            sys.exit(
                f"{' and '.join(lacking)}: Fillcast does not run here. Start `make up` first, in"
                " the same folder and with the same FILLCAST_VAR."
            )
        lines = {"FILLCAST_DB_ROLE": "trade", **servers}
        if logins.pooler:
            address = logins.pooler.removeprefix("postgresql://")
            lines["FILLCAST_DATABASES"] = f"pooler={address}"
        if queues := os.environ.get("FILLCAST_QUEUE_URL"):
            lines["FILLCAST_QUEUE_URL"] = queues
        lines |= {name: known[name] for name in (*SHARED, *SECRETS) if known.get(name)}
        in_production = is_production(os.environ)
        if in_production:
            address = os.environ.get("FILLCAST_PUBLIC_URL", "")
            lines = {"FILLCAST_ENV": "production", "FILLCAST_PUBLIC_URL": address, **lines}
        for name, value in lines.items():
            hidden = in_production and name in HIDDEN_IN_PRODUCTION
            self.stdout.write(HIDDEN_NOTE.format(name=name) if hidden else f"{name}={value}")
        if source := known.get(VARIABLE, "").strip():
            self.stdout.write(source_line(source, in_production=in_production))
        if urls:
            self.stderr.write(
                "These servers listen on this machine only and run as long as `make up` does. For a"
                " worker on another machine use a PostgreSQL and a Redis of your own."
            )
