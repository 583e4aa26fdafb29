"""Each process prints which database it uses, so that it never uses another one unnoticed."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.installation import ROOT
from config.which_database import PRINTED, database_sentence, embedded_sentence, redis_sentence
from tests.ports import closed_port, free_port
from tests.prepared_database import copy_to
from tests.until import until

# Each starts processes, some of them a database server, on a machine that does much else.


def test_named_database_is_printed_without_password() -> None:
    shown = database_sentence(
        "postgresql://fillcast:s3cret@db.example:6432/trading?sslmode=require"
    )
    assert shown == "Database: trading at db.example:6432 (DATABASE_URL)."


def test_named_redis_is_printed_without_password() -> None:
    shown = redis_sentence("rediss://:s3cret@redis.example/2?ssl_cert_reqs=none")
    assert shown == "Redis: database 2 at redis.example:6379 (REDIS_URL)."


def test_embedded_database_is_printed_with_its_folder() -> None:
    assert (
        embedded_sentence(Path("var/demo"), "running")
        == "Database: embedded, in var/demo (running)."
    )
    assert (
        embedded_sentence(Path("/srv/x"), "running") == "Database: embedded, in /srv/x (running)."
    )


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    left = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    line = [sys.executable, str(ROOT / "manage.py"), *arguments]
    return subprocess.run(
        line, env={**left, **environ}, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.processes
def test_commands_print_the_embedded_database_of_their_folder(tmp_path: Path) -> None:
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    copy_to(tmp_path / "there" / "postgres")
    first = run("showmigrations", "users", FILLCAST_VAR=here)
    assert f"Database: embedded, in {here} (new and empty)." in first.stderr
    again = run("showmigrations", "users", FILLCAST_VAR=here)
    assert f"Database: embedded, in {here} (started for this command)." in again.stderr
    other = run("showmigrations", "users", FILLCAST_VAR=there)
    assert f"Database: embedded, in {there} (started for this command)." in other.stderr
    assert all(done.returncode == 0 for done in (first, again, other))
    assert all("Database:" not in done.stdout for done in (first, again, other))


def test_command_prints_the_database_that_was_set_for_it() -> None:
    done = run("showmigrations", DATABASE_URL="postgresql://me:secret@127.0.0.1:9/nowhere",
               REDIS_URL="redis://127.0.0.1:9")  # fmt: skip
    assert "Database: nowhere at 127.0.0.1:9 (DATABASE_URL)." in done.stderr
    assert "secret" not in done.stderr
    assert done.returncode != 0


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address at which no server answers, whatever other processes start meanwhile."""
    with closed_port() as port:
        yield f"127.0.0.1:{port}"


def closed_servers(nowhere: str, **environ: str) -> dict[str, str]:
    """Return settings with unreachable servers, with which a process starts all the same."""
    return {
        **os.environ, "FILLCAST_ENV_FILE": os.devnull, "FILLCAST_SECRET_KEY": "k" * 40,
        "DATABASE_URL": f"postgresql://me:s3cret@{nowhere}/trading",
        "REDIS_URL": f"redis://:s3cret@{nowhere}/3", **environ,
    }  # fmt: skip


def output_until(text: str, line: list[str], log: Path, **environ: str) -> str:
    """Start a process and return its output as soon as that contains `text`."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *line], env=environ, cwd=ROOT, stdout=subprocess.DEVNULL,
            stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        until(
            lambda: process.poll() is not None or text in log.read_text(),
            f"{text!r} is not logged", seconds=240, seen=log.read_text,
        )  # fmt: skip
        output = log.read_text()
        assert text in output
        return output
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


PREFORK = ["celery", "-A", "config", "worker", "-P", "prefork", "-c", "2", "-Q", "nothing"]
BEAT = ["celery", "-A", "config", "beat", "-s", os.devnull]
WEB = ["config.web_server"]


@pytest.mark.processes
@pytest.mark.parametrize("name", ["worker", "web"])
def test_process_started_by_hand_prints_its_servers_once(
    tmp_path: Path, nowhere: str, name: str
) -> None:
    role = "web" if name == "web" else "trade"
    environ = closed_servers(nowhere, FILLCAST_DB_ROLE=role, FILLCAST_LISTEN=str(free_port()))
    line, text = {  # the text that is printed after a worker has started its children
        "worker": (PREFORK, "Cannot connect to redis"), "web": (WEB, "Uvicorn running"),
    }[name]  # fmt: skip
    output = output_until(text, line, tmp_path / "log", **environ)
    assert output.count("Database:") == 1
    assert f"Database: trading at {nowhere} (DATABASE_URL).\n" in output
    assert output.count("Redis:") == 1
    assert f"Redis: database 3 at {nowhere} (REDIS_URL).\n" in output
    assert "s3cret" not in output


@pytest.mark.processes
def test_beat_with_own_login_prints_its_setting_once(tmp_path: Path, nowhere: str) -> None:
    own = f"postgresql://trader:s3cret@{nowhere}/elsewhere"
    environ = closed_servers(nowhere, FILLCAST_DB_ROLE="trade", FILLCAST_DATABASES=f"trade={own}")
    output = output_until("OperationalError", BEAT, tmp_path / "log", **environ)
    assert output.count("Database:") == 1
    assert f"Database: elsewhere at {nowhere} (FILLCAST_DATABASES).\n" in output
    assert output.count("Redis:") == 1
    assert f"Redis: database 3 at {nowhere} (REDIS_URL).\n" in output
    assert "s3cret" not in output
    child = output_until("OperationalError", BEAT, tmp_path / "log", **environ, **{PRINTED: "1"})
    assert "Database:" not in child  # its parent has printed it


@pytest.mark.processes
def test_web_process_without_servers_exits_with_an_error(nowhere: str) -> None:
    given = closed_servers(nowhere, FILLCAST_LISTEN=str(free_port()))
    environ = {k: v for k, v in given.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    done = subprocess.run(
        [sys.executable, "-m", *WEB], env=environ, cwd=ROOT,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert "DATABASE_URL and REDIS_URL not set: this process has no database" in done.stderr


@pytest.mark.processes
def test_help_neither_starts_nor_prints_a_database(tmp_path: Path) -> None:
    done = run("audit", "--help", FILLCAST_VAR=str(tmp_path / "none"))
    assert "Database:" not in done.stderr


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgres://u:p@h1:5432,h2:5433/db", "Database: db at h1:5432,h2:5433 (DATABASE_URL)."),
        ("postgres://u:p@[::1]/db", "Database: db at [::1]:5432 (DATABASE_URL)."),
        ("postgres://u:p@@h/db", "Database: db at h:5432 (DATABASE_URL)."),
    ],
)
def test_hosts_are_printed_as_in_the_url(url: str, sentence: str) -> None:
    assert database_sentence(url) == sentence


@pytest.mark.parametrize("sign", "/?#")
def test_part_of_a_password_is_never_printed_as_host(sign: str) -> None:
    for host in ("h", "h:1"):
        url = f"postgres://u:k1{sign}k2@{host}/db"
        for sentence in (database_sentence(url), redis_sentence(url)):
            assert "cannot be read" in sentence
            assert "k1" not in sentence
            assert "k2" not in sentence
