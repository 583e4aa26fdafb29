"""What a development installation makes for itself, so that nothing has to be set."""

import base64
import contextlib
import json
import os
import secrets
import string
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import environ
from nacl.public import PrivateKey

from common.embedded.errors import EmbeddedError
from config import env as table
from config import which_database

ROOT = Path(__file__).resolve().parent.parent
STARTING_SECONDS = 60
# These start the servers themselves, or do not need them.
WITHOUT_SERVERS = frozenset(
    [
        *("bench", "check", "collectstatic", "compilemessages", "demo", "diffsettings", "help"),
        *("makemessages", "settings_reference", "stack", "startapp", "version"),
        "worker_settings",
    ]
)


def read_env_file() -> None:
    """Add what `.env` says to the environment; what is there already stays."""
    environ.Env.read_env(ROOT / os.environ.get(table.ENV_FILE.name, ".env"))


def is_production(given: Mapping[str, str]) -> bool:
    """Tell whether nothing may be made up."""
    return given.get(table.ENV.name, "").strip() == "production"


def var_folder(given: Mapping[str, str]) -> Path:
    """Return the folder that FILLCAST_VAR names."""
    return ROOT / (given.get(table.VAR.name, "").strip() or table.VAR.default)


def made_up_secrets(given: Mapping[str, str]) -> dict[str, str]:
    """Return secrets for what `given` lacks; they are made once and kept in var/, for us only.

    In production there are none. A web process gets no key that opens credentials.
    """
    if is_production(given):
        return {}
    kept = _kept_secrets(var_folder(given))
    private, public = table.CREDENTIALS_PRIVATE_KEYS.name, table.CREDENTIALS_PUBLIC_KEY.name
    if given.get(private) or given.get(public) not in (None, "", kept[public]):
        del kept[private], kept[public]  # half of our pair would not fit half of theirs
    elif given.get(table.DB_ROLE.name) == "web":
        del kept[private]
    return {name: value for name, value in kept.items() if not given.get(name)}


def _kept_secrets(folder: Path) -> dict[str, str]:
    """Return the secrets of the installation in `folder`."""
    path = folder / "secrets.json"
    with _usable(folder):
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            fresh = folder / f"secrets.{os.getpid()}.new"
            fresh.touch(mode=0o600)
            fresh.write_text(json.dumps(_fresh_secrets(), indent=1))
            with contextlib.suppress(FileExistsError):  # another process was faster: its count
                os.link(fresh, path)
            fresh.unlink()
        kept: dict[str, str] = json.loads(path.read_text())
    return kept


@contextlib.contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Say in a sentence that the disk is full, read-only, or not ours."""
    try:
        yield
    except OSError as e:
        raise EmbeddedError(
            f"The folder {folder} cannot be used: {e.strerror}. Make room, or let"
            f" {table.VAR.name} name another one."
        ) from e


def _fresh_secrets() -> dict[str, str]:
    pair = PrivateKey.generate()
    letters = string.ascii_lowercase + string.digits
    return {
        table.SECRET_KEY.name: secrets.token_urlsafe(48),
        table.INSTALLATION_TAG.name: "".join(secrets.choice(letters) for _ in range(3)),
        table.CREDENTIALS_PUBLIC_KEY.name: base64.b64encode(bytes(pair.public_key)).decode(),
        table.CREDENTIALS_PRIVATE_KEYS.name: base64.b64encode(bytes(pair)).decode(),
    }


@contextlib.contextmanager
def servers_for(arguments: list[str]) -> Iterator[None]:
    """Let a command have a database and Redis while it runs.

    They are those that are set, those that already run for this installation, or embedded ones
    that end with the command. Raises EmbeddedError.
    """
    read_env_file()
    os.environ.update(made_up_secrets(os.environ))
    names = (table.DATABASE_URL.name, table.REDIS_URL.name)
    command = arguments[1] if len(arguments) > 1 else "help"
    needs_none = command in WITHOUT_SERVERS or command.startswith("-")
    if needs_none or {"-h", "--help"} & {*arguments}:
        yield
        return
    if os.environ.get(table.DATABASE_URL.name):
        which_database.show(which_database.of_process(table.Env(os.environ)))
    if is_production(os.environ) or all(os.environ.get(name) for name in names):
        yield
        return
    with _borrowed_or_own(f"manage.py {command}"):
        yield


def _show_embedded(folder: Path, state: str) -> None:
    if not os.environ.get(table.DATABASE_URL.name):
        which_database.show(which_database.embedded(folder, state))


@contextlib.contextmanager
def _borrowed_or_own(what: str) -> Iterator[None]:
    """Whoever comes first starts the servers, and ends them when the last borrower is done."""
    import fcntl  # neither is there on Windows

    from common.embedded.holding import AlreadyHeldError, Holding
    from common.embedded.servers import Servers, running_urls

    folder = var_folder(os.environ)
    with contextlib.ExitStack() as stack:
        with _usable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            borrowers = stack.enter_context((folder / "borrowers").open("ab"))
        end = time.monotonic() + STARTING_SECONDS
        while True:
            fcntl.flock(borrowers, fcntl.LOCK_SH)  # while we have it, the servers stay
            if urls := running_urls(folder):
                _show_embedded(folder, "running")
                os.environ.update({name: urls[name] for name in urls if not os.environ.get(name)})
                yield
                return
            fcntl.flock(borrowers, fcntl.LOCK_UN)
            try:
                holding = stack.enter_context(Holding(folder, what))
                break
            except AlreadyHeldError:  # its servers are just starting, or just ending
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        is_new = not (folder / "postgres" / "password").exists()
        state = "new and empty" if is_new else "started for this command"
        _show_embedded(folder, state)
        servers = stack.enter_context(Servers(folder, os.environ))
        os.environ.update(servers.urls)
        holding.tell(**servers.urls)
        try:
            yield
        finally:
            fcntl.flock(borrowers, fcntl.LOCK_EX)
