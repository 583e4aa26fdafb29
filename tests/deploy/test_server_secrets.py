"""PostgreSQL's and Redis's containers take their passwords from files: command lines show none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from config.secret_files import FOLDER
from deploy.install import container_secrets, secret_names
from deploy.install.container_secrets import variable, write
from deploy.install.server_env import COMPOSE
from tests.ports import free_port
from tests.until import until

ROOT = Path(__file__).parents[2]
INSIDE = "/run/secrets/fillcast"
PROGRAMS = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
REDIS = shutil.which("redis-server", path=PROGRAMS)
REDIS_CLI = shutil.which("redis-cli", path=PROGRAMS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "server.env"
    path.touch(mode=0o600)
    return path


@pytest.fixture
def values() -> dict[str, str]:
    return {name: f"canary-{name}" for name in secret_names.NEEDED}


@pytest.mark.skipif(REDIS is None or REDIS_CLI is None, reason="no redis-server is installed")
def test_redis_takes_its_password_from_the_file(
    values: dict[str, str], file: Path, tmp_path: Path
) -> None:
    """The service's own command and health check, with a password of signs."""
    given = {**values, "REDIS_PASSWORD": 'a"b c'}
    folder, port = write(given, file)[variable("redis")], free_port()
    service = yaml.safe_load(COMPOSE.read_text())["services"]["redis"]
    command = [word.replace(INSIDE, folder) for word in service["command"]]
    check = service["healthcheck"]["test"][-1].replace("$$", "$").replace(INSIDE, folder)
    check = check.replace("redis-cli", f"{REDIS_CLI} -p {port}")

    def is_well(check: str) -> bool:
        done = subprocess.run(["sh", "-c", check], capture_output=True, check=False)
        return done.returncode == 0

    server = subprocess.Popen(
        [str(REDIS), *command[1:], "--port", str(port), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd=tmp_path,
    )  # fmt: skip
    try:
        until(lambda: server.poll() is not None or is_well(check))
        assert is_well(check)
        assert not is_well(check.replace("REDIS_PASSWORD)", "redis.conf)"))
        shown = Path(f"/proc/{server.pid}/cmdline")
        assert not shown.exists() or b'a"b c' not in shown.read_bytes()
    finally:
        server.terminate()
        server.wait(60)


@pytest.mark.parametrize("place", ["files", "variables"])
def test_passwords_of_roles_are_in_the_environment_of_psql(
    values: dict[str, str], file: Path, tmp_path: Path, place: str
) -> None:
    """Containers have files, PostgreSQL's machine elsewhere variables; `ps` shows neither."""
    folder = write(values, file)[variable("postgres")]
    (tmp_path / "psql").write_text(
        '#!/bin/sh\necho "line: $*"; cat; env | grep _PASSWORD= | sort\n'
    )
    (tmp_path / "psql").chmod(0o755)
    passwords = {name: values[name] for name in container_secrets.ROLE_PASSWORDS}
    given = {FOLDER: folder} if place == "files" else passwords
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "POSTGRES_USER": "postgres", **given}

    def run() -> "subprocess.CompletedProcess[str]":
        line = ["sh", "deploy/roles.sh"]
        return subprocess.run(
            line, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )

    done = run()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert not [line for line in lines if line.startswith("line:") and "canary" in line]
    for name, password in passwords.items():
        assert f"{name}={password}" in lines
        assert sum(name in line for line in lines if line.startswith("\\getenv ")) == 1
    environ.pop("FILLCAST_WEB_PASSWORD", None)
    (Path(folder) / "FILLCAST_WEB_PASSWORD").unlink()
    assert run().returncode != 0
