"""`server.env`: what docker-compose.yml reads on a server. Read, checked, and written once.

Apart from `.env`, which development processes read: production values never steer `make up` of the
same clone, nor the other way round.
"""

import os
import re
import runpy
import stat
from pathlib import Path

from deploy.install import secret_names

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
FILE = ROOT / "server.env"
BESIDES = frozenset(
    {"COMPOSE_PROFILES", "FILLCAST_BACKUP_KEY"}
)  # read by deploy/compose, deploy/backup
END = "# --- end of server.env"  # the last line; without it the file is incomplete

_USED = re.compile(r"(?<!\$)\$\{([A-Z][A-Z0-9_]*)(:?[-?+])?")
_FOLDER = re.compile(r"FILLCAST_[A-Z]+_SECRETS")  # deploy/compose itself sets it
_PASSED_ON = re.compile(r"^  ([A-Z][A-Z0-9_]*):\s*(?:#.*)?$", re.MULTILINE)
_LINE = re.compile(r"([A-Z][A-Z0-9_]*)=(?:'([^']*)'|([^'\"\s#$]*))")
_PLAIN = re.compile(r"[^'\"\s#$\\]*")


class UnusableFileError(Exception):
    """The settings cannot be used; the text has one line for each reason."""


def names_in(compose: str) -> "tuple[set[str], set[str]]":
    """Return the names that are needed for a compose file, and those that are read besides.

    Secrets are among them, which containers read from files and the compose file does not name.
    """
    used = [(name, mark) for name, mark in _USED.findall(compose) if not _FOLDER.fullmatch(name)]
    needed = {name for name, mark in used if mark.endswith("?")} | secret_names.NEEDED
    others = {name for name, _ in used} | secret_names.OTHERS | set(_PASSED_ON.findall(compose))
    return needed, others - needed


def parse(text: str) -> "tuple[dict[str, str], list[str]]":
    """Return the values of a file, and what is wrong with its lines.

    Stricter than compose: its versions differ about `$`, blanks and quotes outside of '…'.
    """
    values: dict[str, str] = {}
    faults = []
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            faults.append(f"line {number} is not NAME=value or NAME='value'")
        elif match[1] in values:
            faults.append(f"line {number}: {match[1]} is there twice")
        else:
            values[match[1]] = match[2] if match[2] is not None else match[3]
    if END not in (line.strip() for line in lines):
        faults.append(f"it has no line '{END}': it was cut off while it was written or copied")
    return values, faults


def read(path: Path = FILE, compose: Path = COMPOSE) -> "dict[str, str]":
    """Return the values of a complete file with every name that compose needs.

    Raises UnusableFileError with everything that is wrong with it.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise UnusableFileError("it does not exist; deploy/setup writes it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableFileError(f"it cannot be read: {error}") from None
    values, faults = parse(text)
    needed, others = names_in(compose.read_text())
    faults += [f"{name} is missing" for name in sorted(needed) if not values.get(name)]
    describe = _old_names()
    faults += [
        describe.get(name, f"{name} is unknown: docker-compose.yml does not read it")
        for name in sorted(values.keys() - needed - others - BESIDES)
    ]
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        faults.append(f"other users may read it (mode {mode:04o}): chmod 600 {path.name}")
    if faults:
        raise UnusableFileError("\n".join(faults))
    return values


def _old_names() -> "dict[str, str]":
    """Return what to do with each name of an earlier version."""
    table = runpy.run_path(str(ROOT / "config" / "moved_settings.py"))
    return {name: table["describe_moved"](name) for name in table["OLD"]}


def line(name: str, value: str) -> str:
    """Return one line of the file. Raises ValueError if the value cannot be written in one."""
    if "'" in value or "\n" in value or "\\" in value:
        raise ValueError(f"{name} must not contain ' or \\ or a line break")
    return f"{name}={value}" if _PLAIN.fullmatch(value) else f"{name}='{value}'"


def write_new(path: Path, text: str) -> None:
    """Write a file that is there completely or not at all. Raises FileExistsError if it exists."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # fails if it exists, also if another setup was faster
    finally:
        temporary.unlink()
