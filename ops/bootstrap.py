"""Secrets and servers of a development installation, so that no setting is required."""

import base64
import contextlib
import json
import os
import secrets
import string
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from nacl.public import PrivateKey

from config import which_database
from config.env import Settings
from config.installation import is_production, read_env_file, var_folder
from events import push_keys
from ops.embedded.errors import EmbeddedError

START_TIMEOUT_SECONDS = 60
# These commands start the servers themselves or do not need them.
COMMANDS_WITHOUT_SERVERS = frozenset(
    [
        *("bench", "check", "collectstatic", "compilemessages", "demo", "diffsettings", "help"),
        *("makemessages", "settings_reference", "stack", "startapp", "version"),
        *("vapid_key", "worker_settings", "check_migrations"),
    ]
)


def development_secrets(given: Mapping[str, str]) -> dict[str, str]:
    """Return secrets for what `given` lacks, created once and stored in var/ for this user only.

    Return nothing in production. A web process gets no key that opens credentials.
    """
    if is_production(given):
        return {}
    stored = _stored_secrets(var_folder(given))
    private, public = "FILLCAST_CREDENTIALS_PRIVATE_KEYS", "FILLCAST_CREDENTIALS_PUBLIC_KEY"
    if given.get(private) or given.get(public) not in (None, "", stored[public]):
        del stored[private], stored[public]  # half of our pair does not match half of another
    elif given.get("FILLCAST_DB_ROLE") == "web":
        del stored[private]
    return {
        **{name: value for name, value in stored.items() if not given.get(name)},
        **_push_keys(given, stored["FILLCAST_SECRET_KEY"]),
    }


def _push_keys(given: Mapping[str, str], secret: str) -> dict[str, str]:
    """Return the pair for push messages of browsers, derived: an older file of secrets has none."""
    private, public = "FILLCAST_PUSH_PRIVATE_KEYS", "FILLCAST_PUSH_PUBLIC_KEY"
    key = push_keys.derived_private_key(secret)
    own = push_keys.encoded(push_keys.public_key_of(key))
    if given.get(private) or given.get(public) not in (None, "", own):
        return {}
    pair = {public: own, private: push_keys.encoded(key)}
    if given.get("FILLCAST_DB_ROLE") == "web":
        del pair[private]
    return pair


def _stored_secrets(folder: Path) -> dict[str, str]:
    """Return the secrets of the installation in `folder`."""
    path = folder / "secrets.json"
    with _folder_errors(folder):
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            fresh = folder / f"secrets.{os.getpid()}.new"
            fresh.touch(mode=0o600)
            fresh.write_text(json.dumps(_new_secrets(), indent=1))
            with contextlib.suppress(FileExistsError):  # another process was faster
                os.link(fresh, path)
            fresh.unlink()
        stored: dict[str, str] = json.loads(path.read_text())
    return stored


@contextlib.contextmanager
def _folder_errors(folder: Path) -> Iterator[None]:
    """Turn an OSError (full disk, read-only, no permission) into an EmbeddedError with a remedy."""
    try:
        yield
    except OSError as e:
        raise EmbeddedError(
            f"The folder {folder} cannot be used: {e.strerror}. Free disk space, or set"
            " FILLCAST_VAR to another folder."
        ) from e


def _new_secrets() -> dict[str, str]:
    pair = PrivateKey.generate()
    letters = string.ascii_lowercase + string.digits
    return {
        "FILLCAST_SECRET_KEY": secrets.token_urlsafe(48),
        "FILLCAST_INSTALLATION_TAG": "".join(secrets.choice(letters) for _ in range(3)),
        "FILLCAST_CREDENTIALS_PUBLIC_KEY": base64.b64encode(bytes(pair.public_key)).decode(),
        "FILLCAST_CREDENTIALS_PRIVATE_KEYS": base64.b64encode(bytes(pair)).decode(),
    }


@contextlib.contextmanager
def servers_for(arguments: list[str]) -> Iterator[None]:
    """Provide a database and Redis while a command runs.

    It uses the servers in the settings, those that already run for this installation, or embedded
    ones that stop with the command. Raises EmbeddedError.
    """
    read_env_file()
    os.environ.update(development_secrets(os.environ))
    names = ("DATABASE_URL", "REDIS_URL")
    command = arguments[1] if len(arguments) > 1 else "help"
    needs_none = command in COMMANDS_WITHOUT_SERVERS or command.startswith("-")
    if needs_none or {"-h", "--help"} & {*arguments}:
        yield
        return
    if os.environ.get("DATABASE_URL"):
        which_database.print_once(which_database.process_database(Settings.read(os.environ)))
    if is_production(os.environ) or all(os.environ.get(name) for name in names):
        yield
        return
    with _shared_servers(f"manage.py {command}"):
        yield


def _print_embedded(folder: Path, state: str) -> None:
    if not os.environ.get("DATABASE_URL"):
        which_database.print_once(which_database.embedded_sentence(folder, state))


@contextlib.contextmanager
def _shared_servers(what: str) -> Iterator[None]:
    """Start the servers, or share running ones; stop them when the last command has ended.

    what: names this command to others that find the folder locked. Raises EmbeddedError.
    """
    import fcntl  # fcntl is missing on Windows; install_lock imports it too

    from ops.embedded.install_lock import AlreadyRunningError, InstallLock
    from ops.embedded.servers import Servers, running_urls

    folder = var_folder(os.environ)
    with contextlib.ExitStack() as stack:
        with _folder_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            borrowers = stack.enter_context((folder / "borrowers").open("ab"))
        end = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            fcntl.flock(borrowers, fcntl.LOCK_SH)  # while we hold it, the servers keep running
            if urls := running_urls(folder):
                _print_embedded(folder, "running")
                os.environ.update({name: urls[name] for name in urls if not os.environ.get(name)})
                yield
                return
            fcntl.flock(borrowers, fcntl.LOCK_UN)
            try:
                lock = stack.enter_context(InstallLock(folder, what))
                break
            except AlreadyRunningError:  # its servers are starting or stopping now
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        is_new = not (folder / "postgres" / "password").exists()
        state = "new and empty" if is_new else "started for this command"
        _print_embedded(folder, state)
        servers = stack.enter_context(Servers(folder, os.environ))
        os.environ.update(servers.urls)
        lock.publish(**servers.urls)
        try:
            yield
        finally:
            fcntl.flock(borrowers, fcntl.LOCK_EX)
