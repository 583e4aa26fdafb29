"""The files that containers read their secrets from, written from server.env by `deploy/compose`.

A folder in `server.secrets` for each database role and server, mounted at /run/secrets/fillcast:
the web process never gets the keys that open credentials. A folder is named after what is in it.
So `deploy/compose up` replaces the containers whose secrets have changed, and one that restarts
before finds what it was started with. docker-compose.yml states who may read them, and why.
"""

import contextlib
import hashlib
import hmac
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from deploy.install.secret_files import LOGINS, secrets_of
from deploy.install.server_env import FILE

ROLE_PASSWORDS = tuple(f"FILLCAST_{role.upper()}_PASSWORD" for role in LOGINS)
KEPT = 5  # of each: containers that were not replaced yet restart with an older one


def write(values: "Mapping[str, str]", file: Path = FILE) -> "dict[str, str]":
    """Write the folders beside `file`, server.env, for its owner. Return compose's variables.

    values: those of `file`. Raises OSError.
    """
    folder = file.with_suffix(".secrets")
    _make(folder, 0o700, file)
    variables = {}
    for reader, files in contents(values).items():
        path = folder / f"{reader}-{_digest(files, values['FILLCAST_SECRET_KEY'])}"
        _make(path, 0o755, file)
        for name, text in files.items():
            _put(path / name, f"{text}\n", file)
        os.utime(path)
        _remove_old(folder, reader)
        variables[variable(reader)] = str(path)
    return variables


def variable(reader: str) -> str:
    """Return the name by which docker-compose.yml mounts a reader's folder."""
    return f"FILLCAST_{reader.upper()}_SECRETS"


def contents(values: "Mapping[str, str]") -> "dict[str, dict[str, str]]":
    """Return the files of each reader: the database roles, the servers, and deploy/backup."""
    redis = values["REDIS_PASSWORD"].replace("\\", "\\\\").replace('"', '\\"')
    servers = {
        "postgres": _given(values, "POSTGRES_PASSWORD", *ROLE_PASSWORDS),
        "redis": {**_given(values, "REDIS_PASSWORD"), "redis.conf": f'requirepass "{redis}"'},
        "gateway": {"TWS_PASSWORD": values.get("TWS_PASSWORD", "")},
        "backup": _given(values, "FILLCAST_BACKUP_KEY"),
    }
    url = f"redis://:{quote(values['REDIS_PASSWORD'], safe='')}@redis:6379/0"
    roles = {role: secrets_of(role, values, "postgres/fillcast", url) for role in LOGINS}
    return {**roles, **servers}


def _given(values: "Mapping[str, str]", *names: str) -> "dict[str, str]":
    return {name: values[name] for name in names if values.get(name)}


def _digest(files: "dict[str, str]", key: str) -> str:
    """Return a name for files. `docker inspect` shows it: without the key it proves no guess."""
    text = json.dumps(files, sort_keys=True)
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()[:16]


def _make(path: Path, mode: int, file: Path) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    path.chmod(mode)  # past the umask
    _give(path, file)


def _put(path: Path, text: str, file: Path) -> None:
    """Write a file that is there completely or not at all, also if two do so at once."""
    if path.exists() and path.read_text() == text:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")  # no process reads such a name
    try:
        temporary.write_text(text)
        temporary.chmod(0o444)
        _give(temporary, file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _give(path: Path, file: Path) -> None:
    """Let the owner of server.env have what root writes for them, as by cron's deploy/backup."""
    if os.geteuid() == 0:
        owner = file.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _remove_old(folder: Path, reader: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # another command removes the same
        found = sorted(folder.glob(f"{reader}-*"), key=lambda path: path.stat().st_mtime)
        for path in found[:-KEPT]:
            shutil.rmtree(path)
