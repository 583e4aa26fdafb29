"""`deploy/backup` and `deploy/restore`: an encrypted dump of the database, and back.

A backup counts only once it was read back. A restore replaces no database: the present one is kept
under another name. docs/install.md has the steps.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.install import compose, container_secrets
from deploy.install.server_env import FILE, ROOT, UnusableFileError, read

PREFIX, SUFFIX = "fillcast-", ".backup"
NAME = "fillcast"
KEY_FOLDER = "/run/secrets/backup"
TRADING = ["web", "exits", "execution", "maintenance", "sessions", "beat", "prices"]


class BackupError(Exception):
    """A backup or restore failed; the text states what to do."""


@dataclass(frozen=True)
class Commands:
    """What a backup runs; each reads standard input or writes standard output, or both.

    dump, check, load: pg_dump, pg_restore --list, pg_restore. seal, unseal: ops.sealed_stream.
    sql: psql on the maintenance database, which takes a statement from standard input.
    """

    dump: "Sequence[str]"
    check: "Sequence[str]"
    load: "Sequence[str]"
    seal: "Sequence[str]"
    unseal: "Sequence[str]"
    sql: "Sequence[str]"


def back_up(commands: Commands, folder: Path, *, keep: int) -> Path:
    """Write one backup, read it back, remove all but the newest `keep`. Raises BackupError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path, unfinished = folder / f"{PREFIX}{name}{SUFFIX}", folder / f"{PREFIX}{name}.unfinished"
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _pipe([commands.dump, commands.seal], target=file)
            os.fsync(file.fileno())
        verify(commands, unfinished)
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)
    for old in sorted(folder.glob(f"{PREFIX}*{SUFFIX}"))[:-keep]:
        old.unlink()
    return path


def verify(commands: Commands, path: Path) -> None:
    """Read all of a backup, and its table of contents. Raises BackupError."""
    with path.open("rb") as file:
        _pipe([commands.unseal], source=file)
    with path.open("rb") as file:
        _pipe([commands.unseal, commands.check], source=file, may_end_early=True)


def restore(commands: Commands, path: Path, *, kept_as: str, name: str = NAME) -> None:
    """Load a backup into a new database; the present one is renamed. Raises BackupError.

    If loading fails, what was loaded is removed and the present database has its name again.
    """
    verify(commands, path)
    _sql(commands, _end_sessions(name))
    had_one = bool(_sql(commands, f"SELECT 1 FROM pg_database WHERE datname = '{name}'").strip())
    if had_one:
        _sql(commands, f'ALTER DATABASE "{name}" RENAME TO "{kept_as}"')
    try:
        with path.open("rb") as file:
            _pipe([commands.unseal, commands.load], source=file)
    except BackupError:
        _sql(commands, f'DROP DATABASE IF EXISTS "{name}"')
        if had_one:
            _sql(commands, f'ALTER DATABASE "{kept_as}" RENAME TO "{name}"')
        raise


def _end_sessions(name: str) -> str:
    return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"


def _sql(commands: Commands, statement: str) -> str:
    result = subprocess.run(
        commands.sql, input=statement, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise BackupError(result.stderr.strip())
    return result.stdout


def _pipe(
    steps: "Iterable[Sequence[str]]", *, source: object = subprocess.DEVNULL,
    target: object = subprocess.DEVNULL, may_end_early: bool = False,
) -> None:  # fmt: skip
    """Run commands as a shell's pipe does; raise BackupError if any of them fails.

    may_end_early: the last one need not read everything, which the others see as a broken pipe.
    """
    steps = list(steps)
    running: list[subprocess.Popen[bytes]] = []
    given = source
    for number, command in enumerate(steps):
        is_last = number == len(steps) - 1
        process = subprocess.Popen(
            command, stdin=given, stdout=target if is_last else subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # type: ignore[call-overload]  # fmt: skip
        if running and running[-1].stdout is not None:
            running[-1].stdout.close()  # so that an end of this one reaches the one before
        given = process.stdout
        running.append(process)
    texts = [process.communicate()[1].decode(errors="replace").strip() for process in running[::-1]]
    failed = [process for process in running if process.returncode]
    if may_end_early and running[-1].returncode == 0:
        return
    if failed:
        raise BackupError("\n".join(filter(None, texts[::-1])) or f"{failed[0].args!r} failed")


def compose_commands(values: "dict[str, str]", key_folder: str) -> Commands:
    """Return the commands in the containers. key_folder: has a file FILLCAST_BACKUP_KEY.

    `ps` shows a command line to every user, so that the key is a file there.
    """
    run = [*compose.program(os.environ), "--env-file", str(FILE), *compose.files(values)]
    postgres = [*run, "exec", "-T", "postgres"]
    mount = f"{key_folder}:{KEY_FOLDER}:ro"
    sealing = [*run, "run", "--rm", "--no-deps", "-T", "-v", mount, "migrate", "python", "-m"]
    key = f"{KEY_FOLDER}/FILLCAST_BACKUP_KEY"
    user = ["--username", "postgres"]
    return Commands(
        dump=[*postgres, "pg_dump", *user, "--format=custom", NAME],
        check=[*postgres, "pg_restore", "--list"],
        load=[*postgres, "pg_restore", *user, "--create", "--exit-on-error", "--dbname=postgres"],
        seal=[*sealing, "ops.sealed_stream", "seal", key],
        unseal=[*sealing, "ops.sealed_stream", "open", key],
        sql=[*postgres, "psql", *user, "--dbname=postgres", "-qAtX", "--set=ON_ERROR_STOP=1"],
    )


def main(arguments: "list[str]") -> None:
    """Back up, or restore the file that is named."""
    parser = argparse.ArgumentParser(prog="deploy/backup, deploy/restore")
    parser.add_argument("--folder", type=Path, default=ROOT / "backups")
    parser.add_argument("--keep", type=int, default=14, help="so many of the newest (%(default)s)")
    parser.add_argument("--restore", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if options.keep < 1:
        sys.exit("--keep must be 1 or more.")
    try:
        values = read()
        if not values.get("FILLCAST_BACKUP_KEY"):
            raise UnusableFileError("FILLCAST_BACKUP_KEY is missing: 32 random letters or digits")
        os.environ.update(compose.environment(os.environ, values))
        for name in set(os.environ) & set(values) - {"COMPOSE_PROFILES"}:
            del os.environ[name]
        folders = compose.write_secrets(values)
        os.environ.update(folders)
        commands = compose_commands(values, folders[container_secrets.variable("backup")])
        if options.restore:
            _restore_in_containers(commands, options.restore)
        else:
            path = back_up(commands, options.folder, keep=options.keep)
            print(f"{path}: {path.stat().st_size:,} bytes, read back. Copy it to another machine.")
    except (UnusableFileError, BackupError) as error:
        sys.exit(f"FAILED: {error}")


def _restore_in_containers(commands: Commands, path: Path) -> None:
    if not path.exists():
        raise BackupError(f"{path} does not exist")
    run = list(commands.sql[: commands.sql.index("exec")])
    subprocess.run([*run, "stop", *TRADING], check=True)
    kept_as = time.strftime("before_%Y%m%d_%H%M%S", time.gmtime())
    restore(commands, path, kept_as=kept_as)
    migrate = [*run, "run", "--rm", "-T", "migrate"]
    subprocess.run(migrate, check=True)
    note = f"backup {path.name} restored"
    subprocess.run([*migrate, "python", "manage.py", "new_epoch", "--note", note], check=True)
    print(
        f"Restored. What was there, if anything, is kept as {kept_as}. Entries are halted.\n"
        "Next: deploy/compose up --detach, then deploy/manage new_epoch --status"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
