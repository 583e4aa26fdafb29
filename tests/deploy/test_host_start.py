"""docs/systemd.md from an empty PostgreSQL to pages and a worker, with what the units start."""

import http.client
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from deploy.install import secret_files, server_env, setup
from ops import health
from ops.embedded.postgres import NAME, PostgresServer
from ops.embedded.redis import RedisServer
from tests.ports import free_port
from tests.server_folders import server_folder
from tests.until import until

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(shutil.which("psql") is None, reason="roles.sh needs psql"),
]


class Machine:
    """Runs units as systemd would, with a folder in place of its root."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.running: list[subprocess.Popen[bytes]] = []

    def environment(self, unit: str) -> dict[str, str]:
        """Return what systemd gives to a unit: its variables, those of all, its credentials."""
        credentials = self.folder / "credentials" / unit
        credentials.mkdir(parents=True)
        text = (UNITS / unit).read_text()
        for name, path in re.findall(r"^LoadCredential=(\w+):(\S+)$", text, re.MULTILINE):
            shutil.copy(str(self.folder) + path, credentials / name)
        common = (UNITS / "fillcast-server-.service.d/10-common.conf").read_text()
        lines = re.findall(r"^Environment=(.*)$", common + "\n" + text, re.MULTILINE)
        found = dict(word.split("=", 1) for line in lines for word in shlex.split(line))
        settings = (self.folder / "etc/fillcast/settings.env").read_text().splitlines()
        places = {"/var/lib/fillcast": "state", "%d": str(credentials)}
        for inside, here in places.items():
            (self.folder / here).mkdir(exist_ok=True, mode=0o700)
            found = {n: v.replace(inside, str(self.folder / here)) for n, v in found.items()}
        sends = self.folder / "run/fillcast"  # as systemd names what RuntimeDirectory= has made
        sends.mkdir(mode=0o700, parents=True, exist_ok=True)
        assert "RuntimeDirectory=fillcast" in common
        clean = {
            "PATH": os.environ["PATH"], "FILLCAST_LISTEN": str(self.port),
            "RUNTIME_DIRECTORY": str(sends),
        }  # fmt: skip
        return {**clean, **dict(line.split("=", 1) for line in settings), **found}

    def start(self, unit: str) -> dict[str, str]:
        """Start a unit's commands, the last one in the background; return its environment."""
        environ = self.environment(unit)
        lines = re.findall(
            r"^ExecStart(?:Pre)?=\S+ (.*)$", (UNITS / unit).read_text(), re.MULTILINE
        )
        log = (self.folder / f"{unit}.log").open("wb")
        for number, line in enumerate(lines, 1):
            words = [sys.executable, *shlex.split(line.replace("%H", "host"))]
            process = subprocess.Popen(words, cwd=ROOT, env=environ, stdout=log, stderr=log)
            self.running.append(process)
            if number < len(lines) or "Type=oneshot" in (UNITS / unit).read_text():
                assert process.wait(300) == 0, self.log(unit)
        return environ

    def log(self, unit: str) -> str:
        return (self.folder / f"{unit}.log").read_text()[-3000:]

    def end(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.terminate()
                assert process.wait(60) in (0, -signal.SIGTERM)  # both are clean to systemd


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine with an empty PostgreSQL and a Redis, and the files of steps 2 and 3."""
    with server_folder("fillcast-host-") as folder:
        postgres = PostgresServer(folder / "postgres", fast=True).start()
        redis = RedisServer(folder / "redis").start()
        machine = Machine(folder)
        try:
            setup.main(["trade.example.com", "--own-proxy"], folder / "server.env")
            values = server_env.read(folder / "server.env")
            address = urlsplit(postgres.url)
            url = postgres.url.removesuffix(NAME) + "postgres"
            with psycopg.connect(url, autocommit=True) as admin:
                admin.execute(f"DROP DATABASE {NAME} WITH (FORCE)".encode())
            environ = {
                **os.environ, **values, "POSTGRES_USER": str(address.username),
                "PGHOST": str(address.hostname), "PGPORT": str(address.port),
                "PGPASSWORD": str(address.password),
            }  # fmt: skip
            roles = ["sh", "deploy/roles.sh"]
            subprocess.run(roles, cwd=ROOT, env=environ, check=True, capture_output=True)
            monkeypatch.setattr(secret_files, "read", lambda: values)
            where = f"{address.hostname}:{address.port}/{NAME}"
            etc = str(folder / "etc/fillcast")
            secret_files.main([etc, "--database", where, "--redis", redis.url])
            with (folder / "etc/fillcast/settings.env").open("a") as settings:
                settings.write("FILLCAST_TRUSTED_PROXIES=127.0.0.1\n")
            yield machine
        finally:
            try:
                machine.end()
            finally:
                redis.stop()
                postgres.stop()


def test_units_start_an_installation_from_files(machine: Machine) -> None:
    """The owner's login makes the tables, pages and a worker run with their own; both drain."""
    machine.start("fillcast-server-migrate.service")
    web = machine.start("fillcast-server-web.service")
    worker = machine.start("fillcast-server-exits.service")
    checks = {"FILLCAST_LISTEN": str(machine.port)}
    for name, check, environ in (("web", "web", checks), ("exits", "lease", worker)):
        until(
            partial(is_well, check, environ),
            seen=partial(machine.log, f"fillcast-server-{name}.service"),
        )
    assert health.main(["web", "live"], {**checks}) == 0
    assert [*(machine.folder / "run/fillcast").glob("*/*.sends")]  # what the worker sends
    assert page(machine, {}) == (301, "https://trade.example.com/admin/login/")
    assert page(machine, {"X-Forwarded-Proto": "https"}) == (200, "")  # as the proxy of step 5
    # Secrets are in files, not in what the process was started with.
    for environ in (web, worker):
        assert not {"DATABASE_URL", "REDIS_URL", "FILLCAST_SECRET_KEY"} & environ.keys()


def is_well(check: str, environ: dict[str, str]) -> bool:
    return health.main([check], {**environ}) == 0


def page(machine: Machine, headers: dict[str, str]) -> tuple[int, str]:
    """Return the status of the page for signing in, and where it leads."""
    connection = http.client.HTTPConnection("127.0.0.1", machine.port, timeout=60)
    named = {"Host": "trade.example.com", **headers}
    try:
        connection.request("GET", "/admin/login/", headers=named)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Location", "")
    finally:
        connection.close()
