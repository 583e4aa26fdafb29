"""The error messages of commands that cannot run."""

import base64
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from nacl.public import PrivateKey

from tests.ports import closed_port

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


def test_command_without_database_prints_one_error_sentence() -> None:
    with closed_port() as port:
        env = {
            **os.environ,
            "DATABASE_URL": f"postgresql://user:s3cret@127.0.0.1:{port}/none",
            "REDIS_URL": f"redis://127.0.0.1:{port}",
        }
        done = subprocess.run(
            [sys.executable, "manage.py", "audit"],
            cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    database, error = done.stderr.splitlines()
    assert database.startswith("Database: ")
    assert error.startswith("The database does not answer: connection failed")
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("role", ["worker", "beat"])
def test_process_without_servers_exits_with_an_error(role: str) -> None:
    """An operator starts it by hand, for example for a MetaTrader 5 terminal."""
    without = {"DATABASE_URL", "REDIS_URL", "TEST_DATABASE_URL", "TEST_REDIS_URL"}
    env = {name: value for name, value in os.environ.items() if name not in without}
    env |= {"FILLCAST_ENV_FILE": os.devnull, "FILLCAST_DB_ROLE": "trade"}
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "config", role, *_OF_ROLE[role]],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("DATABASE_URL and REDIS_URL not set: this process has no database")
    assert "manage.py worker_settings" in error


_OF_ROLE = {"worker": ["-Q", "mt5.main", "-P", "threads"], "beat": []}


@pytest.mark.parametrize("name", ["production", "development"])
def test_worker_settings_print_no_key_in_production(name: str) -> None:
    pair = PrivateKey.generate()
    given = {
        "FILLCAST_ENV": name, "DATABASE_URL": "postgresql://owner@db/x",
        "FILLCAST_DATABASES": "trade=postgresql://trader@db/x", "REDIS_URL": "redis://r/0",
        "FILLCAST_SECRET_KEY": secrets.token_urlsafe(64), "FILLCAST_INSTALLATION_TAG": "abc",
        "FILLCAST_CREDENTIALS_PRIVATE_KEYS": base64.b64encode(bytes(pair)).decode(),
        "FILLCAST_CREDENTIALS_PUBLIC_KEY": base64.b64encode(bytes(pair.public_key)).decode(),
        "FILLCAST_PUBLIC_URL": "https://fillcast.example", "FILLCAST_DB_ROLE": "trade",
        "FILLCAST_ENV_FILE": os.devnull,
        "FILLCAST_SETTINGS_SOURCE": '{"execution": {"poll_seconds": 1}}',
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "manage.py", "worker_settings"],
        cwd=ROOT, env={**os.environ, **given}, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert f"FILLCAST_SETTINGS_SOURCE={given['FILLCAST_SETTINGS_SOURCE']}" in lines
    assert "DATABASE_URL=postgresql://trader@db/x" in lines
    if name == "production":
        output = done.stdout + done.stderr
        assert given["FILLCAST_SECRET_KEY"] not in output
        assert given["FILLCAST_CREDENTIALS_PRIVATE_KEYS"] not in output
        kept = [line for line in lines if line.startswith("# FILLCAST_CREDENTIALS_PRIVATE_KEYS:")]
        assert len(kept) == 1
        assert "FILLCAST_PUBLIC_URL=https://fillcast.example" in lines
        assert "env file or secret store" in kept[0]
    else:
        key = given["FILLCAST_CREDENTIALS_PRIVATE_KEYS"]
        assert f"FILLCAST_CREDENTIALS_PRIVATE_KEYS={key}" in lines


def test_worker_settings_name_the_pooler_and_the_way_past_it() -> None:
    given = {
        "DATABASE_URL": "postgresql://owner:o@db/x", "REDIS_URL": "redis://r/0",
        "FILLCAST_DATABASES": "trade=postgresql://trader:t@db/x pooler=pooler:6432",
        "FILLCAST_DB_ROLE": "trade",
        "FILLCAST_ENV_FILE": os.devnull,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "manage.py", "worker_settings"],
        cwd=ROOT, env={**os.environ, **given}, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "DATABASE_URL=postgresql://trader:t@db/x" in lines  # not the owner's password
    assert "FILLCAST_DATABASES=pooler=pooler:6432" in lines


def test_worker_settings_state_that_nothing_runs(tmp_path: Path) -> None:
    without = {"DATABASE_URL", "REDIS_URL"}
    env = {name: value for name, value in os.environ.items() if name not in without}
    env |= {"FILLCAST_ENV_FILE": os.devnull, "FILLCAST_VAR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "manage.py", "worker_settings"],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "Start `make up` first" in done.stderr
