"""An environment whose processes reach our database through PgBouncer."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from config.databases import with_login
from ops.embedded.postgres import NAME
from tests.faults.environment import FaultEnvironment
from tests.faults.pgbouncer import LOGINS, PgBouncer
from tests.faults.servers import Servers, manage


class PooledEnvironment(FaultEnvironment):
    """Use it in a `with` statement, as every environment."""

    def __init__(self, servers: Servers, folder: Path, bouncer: PgBouncer) -> None:
        self.bouncer = bouncer
        super().__init__(servers, folder, {"FILLCAST_DATABASES": self.databases(servers)})

    def databases(self, servers: Servers, trade: str = "trade") -> str:
        """Return the value of FILLCAST_DATABASES. trade: login of the workers."""
        logins = {"trade": trade, "web": "web"}
        urls = {n: with_login(servers.ours.url, self.bouncer.url(of)) for n, of in logins.items()}
        pooler = urlsplit(self.bouncer.url("web")).netloc.rpartition("@")[2]
        return f"trade={urls['trade']} web={urls['web']} pooler={pooler}"

    def __enter__(self) -> Self:
        super().__enter__()
        self.prepare_logins()  # their parameters belong to the database, which is new
        return self

    def prepare_logins(self) -> None:
        """Give both logins their parameters."""
        for login in LOGINS:
            done = self.command(login, "pooled_login")
            assert f"The login {login} has its parameters" in done, done

    def environ_of(self, role: str) -> dict[str, str]:
        """Return the environment of a process of a role."""
        environ = {**self.fleet.environ, "FILLCAST_DB_ROLE": role}
        if role == "web":
            del environ["FILLCAST_CREDENTIALS_PRIVATE_KEYS"]
        return environ

    def command(self, role: str, *arguments: str, **env: str) -> str:
        """Run a management command of a role; return its output, also the errors."""
        done = manage({**self.environ_of(role), **env}, arguments)
        return done.stdout + done.stderr

    def script(self, role: str, text: str) -> Any:
        """Run a script of a role, which prints JSON; return that."""
        done = manage(self.environ_of(role), ["shell", "--no-imports", "-c", text])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def sessions(self) -> Mapping[str, int]:
        """Return how many server sessions each login has, by the server's own list."""
        found = self.ours.rows(
            "SELECT usename FROM pg_stat_activity"
            " WHERE datname = %s AND backend_type = 'client backend'",
            NAME,
        )
        return Counter(row.usename for row in found)
