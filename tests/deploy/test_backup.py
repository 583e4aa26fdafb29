"""deploy/backup and deploy/restore: the pipes, with the real programs of PostgreSQL."""

import io
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from django.core.cache import cache
from psycopg.sql import SQL, Identifier

from connections.models import Epoch, ExecutionConnection
from deploy.install import backup, container_secrets, secret_names
from deploy.install.backup import BackupError, Commands
from execution.audit.counters import audit
from execution.disaster_recovery.restore_detector import RestoreDetector
from execution.models import Order
from execution.runtime import trading_runtime
from execution.services import close_position
from ops import sealed_stream
from ops.sealed_stream import CHUNK, CannotOpenError
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.conftest import (  # noqa: F401
    _alice,
    alice,
    broker,
    captured_enqueues,
    feed,
    runtime,
)
from tests.execution.fake_broker import FakeBroker
from tests.faults import postgres_clusters
from tests.faults.postgres_clusters import at, programs_of

KEY = "k" * 48
ROOT = Path(__file__).parents[2]


def sealed(plain: bytes, key: str = KEY) -> bytes:
    target = io.BytesIO()
    sealed_stream.seal(io.BytesIO(plain), target, key)
    return target.getvalue()


def opened(text: bytes, key: str = KEY) -> bytes:
    target = io.BytesIO()
    sealed_stream.open_sealed(io.BytesIO(text), target, key)
    return target.getvalue()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_sealed_stream_opens_to_what_was_sealed(size: int) -> None:
    plain = os.urandom(size)
    text = sealed(plain)
    assert opened(text) == plain
    assert size < 100 or plain[:100] not in text
    with pytest.raises(CannotOpenError):
        opened(text, "x" * 48)


def test_changed_sealed_stream_does_not_open() -> None:
    text = sealed(os.urandom(2 * CHUNK + 10))
    header = len(sealed_stream.MAGIC) + sealed_stream.SALT
    chunk = CHUNK + sealed_stream.TAG
    first, second = text[header : header + chunk], text[header + chunk : header + 2 * chunk]
    broken = [
        text[:-1], text[: header + chunk], text[:header], text[:10], b"", text + b"x",
        text[:header] + second + first + text[header + 2 * chunk :],
        text[: header + 5] + bytes([text[header + 5] ^ 1]) + text[header + 6 :],
    ]  # fmt: skip
    for case in broken:
        with pytest.raises(CannotOpenError):
            opened(case)


def server(database: str) -> str:
    return f"{postgres_clusters.url().rpartition('/')[0]}/{database}"


def commands(database: str, folder: Path) -> Commands:
    """The containers' commands, with the test's own server in their place."""
    programs = programs_of(postgres_clusters.url())
    sealing = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "ops.sealed_stream"]
    (folder / "key").write_text(f"{KEY}\n")
    to = f"--dbname={server('postgres')}"
    return Commands(
        dump=[f"{programs}/pg_dump", "--format=custom", server(database)],
        check=[f"{programs}/pg_restore", "--list"],
        load=[f"{programs}/pg_restore", "--create", "--exit-on-error", to],
        seal=[*sealing, "seal", f"{folder}/key"],
        unseal=[*sealing, "open", f"{folder}/key"],
        sql=[f"{programs}/psql", server("postgres"), "-qAtX", "--set=ON_ERROR_STOP=1"],
    )


SIGNALS = 5
ORDERS = SIGNALS + 1  # an exit
DRILL, KEPT = "fillcast_drill", "fillcast_drill_before"


def execute(*statements: str) -> None:
    with psycopg.connect(server("postgres"), autocommit=True) as session:
        for statement in statements:
            names = [Identifier(name) for name in (DRILL, KEPT)]
            session.execute(SQL(statement).format(*names))


REMOVED = ("DROP DATABASE IF EXISTS {0} WITH (FORCE)", "DROP DATABASE IF EXISTS {1} WITH (FORCE)")


@pytest.fixture
def drill(
    tmp_path: Path, settings: object, alice: ExecutionConnection, feed: Feed,  # noqa: F811
    broker: FakeBroker, runtime: trading_runtime.TradingRuntime,  # noqa: F811
) -> Iterator[Commands]:  # fmt: skip
    """An installation of its own, a copy of the test's database, with open and closed trades."""
    settings.FILLCAST_VAR = tmp_path / "var"  # type: ignore[attr-defined]
    (tmp_path / "var").mkdir()
    cache.clear()
    for _ in range(SIGNALS):
        factories.signal(feed)
    factories.fill_all()
    close_position(ExecutionPosition.objects.earliest("pk").pk)
    factories.fill_all()
    copied = postgres_clusters.dump(tmp_path / "rows")
    execute(*REMOVED)
    postgres_clusters.restore(copied, server(DRILL))
    yield commands(DRILL, tmp_path)
    execute(*REMOVED)
    cache.clear()


def wrong() -> dict[str, int]:
    return {name: count for name, count in audit().counters.items() if count}


@pytest.mark.django_db(transaction=True)
def test_backup_is_restored_and_the_audit_holds(drill: Commands, tmp_path: Path) -> None:
    """Trades, backup, everything lost, restore: nothing is missing, and it is noticed."""
    with at(server(DRILL)):
        RestoreDetector().check()
        assert (wrong(), Order.objects.filter(status="FILLED").count()) == ({}, ORDERS)
        path = backup.back_up(drill, tmp_path / "backups", keep=3)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert b"PGDMP" not in path.read_bytes()
        for _ in range(20):
            RestoreDetector().check()  # trading went on after the backup
    execute("DROP DATABASE {0} WITH (FORCE)")
    backup.restore(drill, path, kept_as=KEPT, name=DRILL)
    with at(server(DRILL)):
        assert (wrong(), Order.objects.filter(status="FILLED").count()) == ({}, ORDERS)
        epoch = RestoreDetector().check()  # it would be noticed without the command, too
        assert epoch is not None
        assert epoch.cause == Epoch.Cause.BEHIND


@pytest.mark.django_db(transaction=True)
def test_failed_restore_leaves_the_present_database(drill: Commands, tmp_path: Path) -> None:
    path = backup.back_up(drill, tmp_path / "backups", keep=3)
    other = tmp_path / "cut.backup"
    other.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BackupError, match="cut off"):
        backup.restore(drill, other, kept_as=KEPT, name=DRILL)
    broken = replace(drill, load=[*drill.load[:-1], "--dbname=postgresql://127.0.0.1:1/none"])
    with pytest.raises(BackupError):
        backup.restore(broken, path, kept_as=KEPT, name=DRILL)
    with at(server(DRILL)):
        assert Order.objects.count() == ORDERS
    backup.restore(drill, path, kept_as=KEPT, name=DRILL)  # the present one is kept
    with at(server(KEPT)):
        assert Order.objects.count() == ORDERS


FAILING = ["sh", "-c", "printf half; exit 3"]
COPYING = ["cat"]
PLAIN = Commands(["printf", "rows"], ["cat"], COPYING, COPYING, COPYING, COPYING)


@pytest.mark.parametrize("part", ["dump", "seal", "unseal", "check"])
def test_backup_that_fails_leaves_no_file(tmp_path: Path, part: str) -> None:
    for _ in range(2):
        with pytest.raises(BackupError):
            backup.back_up(replace(PLAIN, **{part: FAILING}), tmp_path, keep=1)
    assert list(tmp_path.iterdir()) == []


def test_only_the_newest_backups_are_kept(tmp_path: Path) -> None:
    for day in range(1, 6):
        (tmp_path / f"fillcast-2026010{day}T000000Z.backup").touch()
    (tmp_path / "notes.txt").touch()
    made = backup.back_up(PLAIN, tmp_path, keep=3)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["fillcast-20260104T000000Z.backup", "fillcast-20260105T000000Z.backup",
                     made.name, "notes.txt"]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"), [("short\n", b"needs 32 characters"), ("", b"needs 32"), (None, b"read")]
)
def test_key_that_is_missing_is_refused(tmp_path: Path, text: str | None, expected: bytes) -> None:
    if text is not None:
        (tmp_path / "key").write_text(text)
    result = subprocess.run(
        [sys.executable, "-m", "ops.sealed_stream", "seal", tmp_path / "key"], cwd=ROOT, input=b"x",
        capture_output=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert b"FILLCAST_BACKUP_KEY" in result.stderr
    assert expected in result.stderr


def test_no_secret_is_on_a_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ps` shows them to every user; the folder with the key is mounted."""
    monkeypatch.setenv("FILLCAST_COMPOSE", "compose")
    values = {name: f"canary-{name}" for name in {*secret_names.NEEDED, "FILLCAST_BACKUP_KEY"}}
    (tmp_path / "server.env").touch()
    folders = container_secrets.write(values, tmp_path / "server.env")
    folder = folders[container_secrets.variable("backup")]
    made = backup.compose_commands(values, folder)
    lines = [word for name in vars(made) for word in getattr(made, name)]
    assert not [word for word in lines if "canary" in word]
    for command in (made.seal, made.unseal):
        [mount] = [word for word in command if word.startswith(f"{folder}:")]
        inside = Path(command[-1]).parent
        assert mount == f"{folder}:{inside}:ro"
        assert (Path(folder) / Path(command[-1]).name).read_text() == "canary-FILLCAST_BACKUP_KEY\n"
