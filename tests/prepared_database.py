"""A PostgreSQL with all migrations applied, made once and copied for each process with a server.

Applying the migrations takes some seconds of processor time, copying the result a fraction of one.
The result is kept with other temporary files, under a name that depends on the migrations, so that
the next run can use it.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from ops.embedded.os_user import server_user
from ops.embedded.paths import reachable_folder
from ops.embedded.postgres import NAME, PostgresServer
from tests.until import until

ROOT = Path(__file__).resolve().parents[1]
TEST_NAME = f"test_{NAME}"  # Django's name for the database of a test run
MIGRATIONS_IMPORT = ("common", "connections.models.accounts", "signals.records.sql")
"""Stable code: the helpers of common, the expression of one column, and the functions of records,
whose hashed form never changes."""
KEPT_SECONDS = 7 * 24 * 3600
BYTECODE = "bytecode"


def copy_to(folder: Path) -> Path:
    """Copy the prepared data to where a PostgresServer will look for its own.

    Prepares them if they are missing: two equal databases, `fillcast` and that of a test run.
    Returns the folder of the data, which is elsewhere if the server's user cannot reach `folder`.
    """
    prepared = _prepared()
    data = reachable_folder(folder, server_user()) / "data"
    for name, copy in (("data", data), ("password", folder / "password")):
        subprocess.run(["cp", "-a", str(prepared / name), str(copy)], check=True)
    return data


def kept_folder() -> Path:
    """Return the folder in which test runs keep files for later runs.

    Raises RuntimeError if it belongs to another user.
    """
    base = Path(tempfile.gettempdir()) / f"fillcast-prepared-{os.geteuid()}"
    base.mkdir(mode=0o755, exist_ok=True)
    if base.stat().st_uid != os.geteuid() or base.is_symlink():
        raise RuntimeError(f"{base} is not ours: remove it, or set TMPDIR to another folder.")
    return base


def _prepared() -> Path:
    base = kept_folder()
    folder = base / _key()
    with (base / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _remove_old(base)
            _make(folder)
        os.utime(folder)
    return folder


def _key() -> str:
    """Return a hash of the migrations and of all code that they import."""
    digest = hashlib.sha256()
    sources = [
        *ROOT.glob("*/migrations/**/*.py"),
        *ROOT.glob("*/migrations/**/*.sql"),
        *ROOT.glob("brokers/*/migrations/**/*.py"),
        *ROOT.glob("brokers/*/migrations/**/*.sql"),
        *(path for name in MIGRATIONS_IMPORT for path in _sources_of(name)),
        ROOT / "requirements.txt",
    ]
    for source in sorted(sources):
        digest.update(f"{source.relative_to(ROOT)}\0".encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def _sources_of(module: str) -> list[Path]:
    path = ROOT / module.replace(".", "/")
    return [*path.rglob("*.py")] if path.is_dir() else [path.with_suffix(".py")]


def _make(folder: Path) -> None:
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    unfinished.chmod(0o755)  # PostgreSQL runs as another user when we are root
    ours = {name: value for name, value in os.environ.items() if "FILLCAST" not in name}
    with PostgresServer(unfinished, fast=True) as server:
        environ = {
            **ours,
            "DATABASE_URL": server.url,
            "REDIS_URL": "redis://127.0.0.1:1",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "FILLCAST_ENV_FILE": os.devnull,
            "FILLCAST_VAR": str(unfinished),
        }
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        result = subprocess.run(
            migrate, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            raise RuntimeError(f"The migrations failed:\n{result.stdout}{result.stderr}")
        postgres = f"{server.url.removesuffix(NAME)}postgres"
        with psycopg.connect(postgres, autocommit=True) as session:
            copy_database(session, NAME, TEST_NAME)
    unfinished.rename(folder)


def copy_database(session: psycopg.Connection[Any], name: str, copy: str) -> None:
    """Copy a database that no process uses any more. session: of another database.

    PostgreSQL itself waits five seconds for the sessions of processes that have just ended.
    """
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    until(lambda: not session.execute(ended, [name]).fetchall())
    statement = SQL("CREATE DATABASE {} TEMPLATE {}")
    session.execute(statement.format(Identifier(copy), Identifier(name)))


def _remove_old(base: Path) -> None:
    for other in base.iterdir():
        if (
            other.name != BYTECODE
            and other.is_dir()
            and time.time() - other.stat().st_mtime > KEPT_SECONDS
        ):
            shutil.rmtree(other, ignore_errors=True)
