"""A PgBouncer of the installed package, in transaction mode, with the settings of deploy/."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import dict_row

from ops.embedded.os_user import server_user
from ops.embedded.ports import HOST, free_port
from ops.embedded.processes import KILL, signal_group, spawn, wait_until

SETTINGS = Path(__file__).resolve().parents[2] / "deploy" / "pgbouncer.ini"
START_SECONDS = 20


def program() -> str | None:
    """Return the program of the package `pgbouncer`; None if it is not installed."""
    return shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


class PgBouncer:
    """Starts and kills one PgBouncer before one server."""

    def __init__(
        self, folder: Path, server: str, passwords: Mapping[str, str], *, size: int
    ) -> None:
        """server: PostgreSQL's URL. passwords: of the logins. size: sessions of each login."""
        self.folder, self.port = folder, free_port()
        self._server, self._passwords, self._size = server, passwords, size
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, login: str) -> str:
        """Return the URL at which a login reaches the database through it."""
        return f"postgresql://{login}:{self._passwords[login]}@{HOST}:{self.port}/fillcast"

    @property
    def log(self) -> str:
        """What it has written."""
        return (self.folder / "pgbouncer.log").read_text()

    @property
    def runs(self) -> bool:
        """Whether it was started and not killed since."""
        return self._process is not None

    def start(self, *, pool_size: int | None = None) -> None:
        """Start it, perhaps with another size, and wait until it accepts connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "pgbouncer.ini").write_text(self._settings(pool_size or self._size))
        users = [f'"{login}" "{password}"\n' for login, password in self._passwords.items()]
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
        with psycopg.connect(self._console, autocommit=True) as console:
            console.execute("RECONNECT")

    def clients(self, login: str) -> int:
        """Return how many clients of a login are connected to it."""
        with psycopg.connect(self._console, autocommit=True) as console:
            cursor = console.cursor(row_factory=dict_row)
            return sum(row["user"] == login for row in cursor.execute("SHOW CLIENTS"))

    @property
    def _console(self) -> str:
        return self.url(next(iter(self._passwords))).rpartition("/")[0] + "/pgbouncer"

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
        return f"{text}\nadmin_users = {next(iter(self._passwords))}\nunix_socket_dir =\n"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log[-2000:]
        try:
            psycopg.connect(self._console, autocommit=True, connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True
