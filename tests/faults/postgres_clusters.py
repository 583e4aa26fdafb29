"""PostgreSQL servers to back up, restore and promote; Django can be connected to any of them."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from django.db import connection
from psycopg.sql import SQL, Identifier

from common.db.sql import rows, run
from ops.embedded.os_user import server_user
from ops.embedded.postgres import PostgresServer

ROLES = "CREATE ROLE fillcast_trade NOLOGIN; CREATE ROLE fillcast_web NOLOGIN"


def programs_of(server: str) -> Path:
    """Return the folder of the PostgreSQL programs with the version of a server."""
    with psycopg.connect(server) as session:
        major = session.info.server_version // 10_000
    for candidate in PostgresServer(Path("/nowhere"))._candidates():
        completed = subprocess.run(
            [candidate / "postgres", "--version"], capture_output=True, text=True, check=False
        )
        if f" {major}." in completed.stdout or completed.stdout.strip().endswith(f" {major}"):
            return candidate
    raise AssertionError(f"no programs of PostgreSQL {major}")


def url() -> str:
    """Return the URL of the database that Django is connected to."""
    s = connection.settings_dict
    return f"postgresql://{s['USER']}:{s['PASSWORD']}@{s['HOST']}:{s['PORT']}/{s['NAME']}"


def dump(to: Path, of: str = "") -> Path:
    """Back up a database by pg_dump; by default the one that Django is connected to."""
    of = of or url()
    command = [f"{programs_of(of)}/pg_dump", "--format=custom", f"--file={to}", of]
    subprocess.run(command, check=True, capture_output=True)
    return to


def restore(backup: Path, into: str) -> None:
    """Restore a dump into a new database that replaces the old one.

    Not into the old one (`--clean`): recreated tables would get default rights, and the log could
    be rewritten.
    """
    connection.close()
    base, _, name = into.rpartition("/")
    with psycopg.connect(f"{base}/postgres", autocommit=True) as server:
        for statement in ("DROP DATABASE IF EXISTS {} WITH (FORCE)", "CREATE DATABASE {}"):
            server.execute(SQL(statement).format(Identifier(name)))
    command = [f"{programs_of(into)}/pg_restore", "--exit-on-error", f"--dbname={into}"]
    subprocess.run([*command, str(backup)], check=True, capture_output=True)


class Clusters:
    """Servers in a temporary folder; `stop` ends and removes them."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fillcast-clusters-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self._servers: list[PostgresServer] = []
        self._programs = programs_of(url())

    def new(self, name: str) -> PostgresServer:
        """Start an empty server with full durability."""
        return self._start(PostgresServer(self.folder / name, programs=self._programs))

    def filled(self, name: str, backup: Path) -> PostgresServer:
        """Start a server with the contents of a dump."""
        server = self.new(name)
        psql = [f"{self._programs}/psql", server.url, "--quiet", "-c", ROLES]
        subprocess.run(psql, check=True, capture_output=True)
        restore(backup, server.url)
        return server

    def copy(self, of: PostgresServer, name: str) -> PostgresServer:
        """Copy a stopped server's folder; the copy is not started."""
        assert not of.alive
        shutil.copytree(of.folder, self.folder / name, copy_function=_with_owner)
        for folder, _, _ in os.walk(of.folder):
            copied = self.folder / name / Path(folder).relative_to(of.folder)
            os.chown(copied, os.stat(folder).st_uid, os.stat(folder).st_gid)
            copied.chmod(os.stat(folder).st_mode & 0o777)
        server = PostgresServer(self.folder / name, programs=self._programs)
        self._servers.append(server)
        return server

    def standby(self, of: PostgresServer, name: str) -> PostgresServer:
        """Start a standby that follows `of`."""
        folder = self.folder / name
        folder.mkdir()
        folder.chmod(0o755)
        data = folder / "data"
        data.mkdir(mode=0o700)
        server_user().own(data)
        server_user().own(folder)
        base = of.url.rpartition("/")[0] + "/postgres"
        command = [f"{self._programs}/pg_basebackup", "-R", "-X", "stream", "-c", "fast"]
        subprocess.run([*command, "-D", str(data), "-d", base], check=True, capture_output=True,
                       cwd="/", **server_user().popen())  # fmt: skip
        shutil.copy2(of.folder / "password", folder / "password")
        return self._start(PostgresServer(folder, programs=self._programs))

    def _start(self, server: PostgresServer) -> PostgresServer:
        self._servers.append(server)
        return server.start()

    def stop(self) -> None:
        for server in self._servers:
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _with_owner(source: str, target: str) -> str:
    shutil.copy2(source, target)
    status = os.stat(source)
    os.chown(target, status.st_uid, status.st_gid)
    return target


@contextmanager
def at(server_url: str) -> Iterator[None]:
    """Connect Django to another server inside this block."""
    parts = urlsplit(server_url)
    settings = connection.settings_dict
    before = {name: settings[name] for name in ("HOST", "PORT", "NAME", "USER", "PASSWORD")}
    connection.close()
    settings.update(
        HOST=parts.hostname, PORT=parts.port, NAME=parts.path[1:], USER=parts.username,
        PASSWORD=parts.password,
    )  # fmt: skip
    try:
        yield
    finally:
        connection.close()
        settings.update(before)


def promote() -> None:
    """Promote the standby that Django is connected to."""
    assert rows("SELECT pg_promote(true, 60) AS done")[0].done
    run("CHECKPOINT")
