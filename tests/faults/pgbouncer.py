"""A PgBouncer of the installed package, in transaction mode, with the settings of deploy/."""

import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import dict_row

from ops.embedded.os_user import server_user
from ops.embedded.ports import HOST
from ops.embedded.processes import KILL, signal_group, spawn, wait_until
from tests.ports import free_port

SETTINGS = Path(__file__).resolve().parents[2] / "deploy" / "pgbouncer.ini"
START_SECONDS = 20
POOL_SIZE = 2
LOGINS = {"trade": "fillcast_trade", "web": "fillcast_web"}
PASSWORD = "pooled"
ADMIN = "trade"  # may use the console


def program() -> str | None:
    """Return the program of the package `pgbouncer`; None if it is not installed."""
    return shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


class PgBouncer:
    """Starts and kills one PgBouncer before one server."""

    def __init__(self, folder: Path, server: str) -> None:
        """server: PostgreSQL's URL, as the owner, who creates the logins."""
        self.folder, self.port, self._server = folder, free_port(), server
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, login: str) -> str:
        """Return the URL at which a login reaches the database through it."""
        return f"postgresql://{login}:{PASSWORD}@{HOST}:{self.port}/fillcast"

    @property
    def log(self) -> str:
        """What it has written."""
        return (self.folder / "pgbouncer.log").read_text()

    @property
    def runs(self) -> bool:
        """Whether it was started and not killed since."""
        return self._process is not None

    def create_logins(self) -> None:
        """Create a login for each role."""
        with psycopg.connect(self._server, autocommit=True) as owner:
            for login, role in LOGINS.items():
                made = f"CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}' IN ROLE {role}"
                owner.execute(made.encode())

    def start(self, *, pool_size: int = POOL_SIZE) -> None:
        """Start it and wait until it accepts connections. pool_size: sessions of each login."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "pgbouncer.ini").write_text(self._settings(pool_size))
        users = [f'"{login}" "{PASSWORD}"\n' for login in LOGINS]
        (self.folder / "userlist.txt").write_text("".join(users))
        found = program()
        assert found is not None
        with (self.folder / "pgbouncer.log").open("ab") as log:
            self._process = spawn(
                [found, str(self.folder / "pgbouncer.ini")], output=log, folder=self.folder,
                identity=server_user(), at_death=KILL,
            )  # fmt: skip
        assert wait_until(self._answers, START_SECONDS), self.log[-2000:]

    def kill(self) -> None:
        """Kill it, with the sessions of all its clients."""
        if self._process is not None:
            signal_group(self._process.pid, KILL)
            self._process.wait()
            self._process = None

    def reconnect(self) -> None:
        """Let it open new server sessions, which have the logins' present parameters."""
        self._order("RECONNECT")

    def switch_to(self, database: str) -> None:
        """Lead all clients to another database, as at a failover: they keep their connections."""
        settings = self.folder / "pgbouncer.ini"
        self._order("PAUSE")
        settings.write_text(re.sub(r"(?m)(^fillcast = .* dbname=).*$", rf"\g<1>{database}",
                                   settings.read_text()))  # fmt: skip
        self._order("RELOAD", "RESUME")

    def _order(self, *commands: str) -> None:
        with psycopg.connect(self._console, autocommit=True) as console:
            for command in commands:
                console.execute(command.encode())

    def clients(self, login: str) -> list[str]:
        """Return the names of the programs that are connected as a login, one a connection."""
        with psycopg.connect(self._console, autocommit=True) as console:
            cursor = console.cursor(row_factory=dict_row)
            listed = cursor.execute("SHOW CLIENTS").fetchall()
        return [row["application_name"] for row in listed if row["user"] == login]

    @property
    def _console(self) -> str:
        return self.url(ADMIN).rpartition("/")[0] + "/pgbouncer"

    def _settings(self, size: int) -> str:
        """Return the settings of deploy/, with the addresses and the size of this test."""
        server = urlsplit(self._server)
        replaced = {
            "fillcast": f"host={server.hostname} port={server.port} dbname=fillcast",
            "listen_addr": HOST,
            "listen_port": self.port,
            "auth_file": self.folder / "userlist.txt",
            "default_pool_size": size,
        }
        text = SETTINGS.read_text()
        for name, value in replaced.items():
            text, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
            assert count == 1, f"{SETTINGS.name} has no line {name}"
        # The console is for `reconnect`; no socket in a common folder.
        return f"{text}\nadmin_users = {ADMIN}\nunix_socket_dir =\n"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log[-2000:]
        try:
            psycopg.connect(self._console, autocommit=True, connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True
