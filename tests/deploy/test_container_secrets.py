"""Secrets of containers are files: of its own role for each, and in no environment or command."""

import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.env import VARIABLES, Settings
from config.env_parts import DatabaseUrls, read_databases
from config.secret_files import FOLDER, read_secret_files
from deploy.install import compose, container_secrets, secret_names
from deploy.install.container_secrets import contents, variable, write
from deploy.install.server_env import BESIDES, COMPOSE, names_in

ROOT = Path(__file__).parents[2]
TEXT = COMPOSE.read_text()
OVERRIDE = (ROOT / "deploy/outside.yml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
INSIDE = "/run/secrets/fillcast"
ROLES = ("owner", "trade", "web")
PRIVATE = {"FILLCAST_CREDENTIALS_PRIVATE_KEYS", "FILLCAST_PUSH_PRIVATE_KEYS", "FILLCAST_BUSES"}
READERS = {
    "postgres": "postgres", "redis": "redis", "migrate": "owner", "web": "web", "exits": "trade",
    "execution": "trade", "maintenance": "trade", "sessions": "trade", "beat": "trade",
    "prices": "trade", "buses": "trade", "receiver": "trade", "ib-gateway": "gateway",
    "caddy": "",
}  # fmt: skip


@pytest.fixture
def values() -> dict[str, str]:
    """A server.env with every name."""
    names = set().union(*names_in(TEXT), BESIDES)
    return {name: f"canary{number}x" for number, name in enumerate(sorted(names))}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "server.env"
    path.touch(mode=0o600)
    return path


def secrets_of(values: dict[str, str]) -> dict[str, str]:
    names = secret_names.NEEDED | secret_names.OTHERS | {"FILLCAST_BACKUP_KEY"}
    return {name: values[name] for name in names}


def test_no_secret_is_in_what_compose_reads(values: dict[str, str], file: Path) -> None:
    """As `docker compose config` prints it: every name is replaced, and nothing of a secret is."""
    given = {**values, **write(values, file)}

    def value(match: "re.Match[str]") -> str:
        return given.get(match[1], "") or match[2] or ""

    for text in (TEXT, OVERRIDE):
        shown = re.sub(r"(?<!\$)\$\{(\w+)(?::?[-?+]([^}]*))?\}", value, text)
        shown = re.sub(r"^  ([A-Z][A-Z0-9_]*):\s*$", lambda m: f"{m[0]} {given[m[1]]}", shown,
                       flags=re.MULTILINE)  # fmt: skip
        services = yaml.safe_load(shown)["services"]
        for name, service in services.items():
            found = [n for n, secret in secrets_of(values).items() if secret in str(service)]
            assert found == [], name
    assert str(values["FILLCAST_PUBLIC_URL"]) in re.sub(r"\$\{(\w+)[^}]*\}", value, TEXT)


def test_every_secret_setting_is_known_as_one() -> None:
    """A new secret setting fails here until its name is one of those that become files."""
    computed = {"DATABASE_URL", "REDIS_URL", "FILLCAST_DATABASES"}
    marked = {variable.name for variable in VARIABLES if variable.secret}
    assert marked - computed <= secret_names.NEEDED | secret_names.OTHERS
    assert not computed & set().union(*names_in(TEXT))
    for service in SERVICES.values():
        assert not marked & service.get("environment", {}).keys()


def test_every_secret_reaches_a_reader(values: dict[str, str]) -> None:
    written = str(contents(values))
    assert [name for name, value in secrets_of(values).items() if value not in written] == []


def mounts(service: dict[str, Any]) -> list[dict[str, Any]]:
    return [volume for volume in service.get("volumes", ()) if isinstance(volume, dict)]


def test_each_service_has_the_folder_of_its_role_only() -> None:
    assert READERS.keys() == SERVICES.keys()
    for name, service in SERVICES.items():
        wanted = [variable(READERS[name])] if READERS[name] else []
        found = [mount["source"].removeprefix("${").partition(":")[0] for mount in mounts(service)]
        assert found == wanted, name
        for mount in mounts(service):
            assert mount["type"] == "bind"
            assert mount["target"] == INSIDE
            assert mount["read_only"] is True
            assert mount["bind"] == {"create_host_path": False}
        role = service.get("environment", {}).get("FILLCAST_DB_ROLE")
        assert role in (None, READERS[name])
        if role:
            assert service["environment"][FOLDER] == INSIDE
    assert "_SECRETS" not in OVERRIDE  # what docker-compose.yml mounts stays mounted
    assert "backup" not in READERS.values()  # for deploy/backup only


def test_role_gets_its_own_secrets_only(values: dict[str, str]) -> None:
    found = contents(values)
    assert not PRIVATE & (found["web"].keys() | found["owner"].keys())
    assert found["trade"].keys() > PRIVATE
    assert "FILLCAST_METRICS_TOKEN" in found["web"]
    passwords = {role: values[f"FILLCAST_{role.upper()}_PASSWORD"] for role in ROLES}
    for reader, files in found.items():
        text = str(files)
        having = {role for role, password in passwords.items() if password in text}
        assert having == (set(ROLES) if reader == "postgres" else {reader} & set(ROLES)), reader
        assert (values["POSTGRES_PASSWORD"] in text) == (reader == "postgres")
        assert (values["FILLCAST_BACKUP_KEY"] in text) == (reader == "backup")
        assert (values["TWS_PASSWORD"] in text) == (reader == "gateway")


@pytest.mark.parametrize("role", ROLES)
def test_process_starts_with_its_folder(
    values: dict[str, str], role: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the processes read themselves: complete and valid in production."""
    key = "A" * 43 + "="
    given = {name: values[name] for name in secret_names.NEEDED} | {
        "FILLCAST_SECRET_KEY": "k" * 40, "FILLCAST_CREDENTIALS_PRIVATE_KEYS": key,
        "REDIS_PASSWORD": "p/w#1", "FILLCAST_QUEUE_URL": "amqp://u:p@queue/",
        "FILLCAST_POOLER_ADDRESS": "pool:6432", "FILLCAST_WEB_REPLICA_URL": "postgresql://w@b/x",
    }  # fmt: skip
    environ = {
        FOLDER: write(given, file)[variable(role)], "FILLCAST_ENV": "production",
        "FILLCAST_DB_ROLE": role, "FILLCAST_PUBLIC_URL": "https://trade.example.com",
        "FILLCAST_INSTALLATION_TAG": "abc", "FILLCAST_CREDENTIALS_PUBLIC_KEY": key,
    }  # fmt: skip
    read_secret_files(environ)
    settings = Settings.read(environ)
    login = {"owner": "fillcast_owner"}.get(role, role)
    password = values[f"FILLCAST_{role.upper()}_PASSWORD"]
    assert settings.database_url == f"postgresql://{login}:{password}@postgres/fillcast"
    assert settings.redis_url == "redis://:p%2Fw%231@redis:6379/0"
    assert settings.queue_url == "amqp://u:p@queue/"
    ways = {"owner": "", "trade": "pooler=pool:6432",
            "web": "pooler=pool:6432 replica=postgresql://w@b/x"}[role]  # fmt: skip
    assert settings.databases == (read_databases(ways) if ways else DatabaseUrls())


def test_only_the_owner_enters_and_every_container_reads(
    values: dict[str, str], file: Path
) -> None:
    old = os.umask(0o077)
    try:
        folders = write(values, file)
    finally:
        os.umask(old)
    assert stat.S_IMODE(file.with_suffix(".secrets").stat().st_mode) == 0o700
    for folder in map(Path, folders.values()):
        assert folder.parent == file.with_suffix(".secrets")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
        modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        assert modes == {0o444}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes for another user")
def test_what_root_writes_belongs_to_the_owner_of_server_env(
    values: dict[str, str], file: Path
) -> None:
    os.chown(file, 4321, 4322)
    write(values, file)
    made = [file.with_suffix(".secrets"), *file.with_suffix(".secrets").rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(4321, 4322)}


def test_changed_secret_replaces_the_containers_that_read_it_and_no_other(
    values: dict[str, str], file: Path
) -> None:
    """Compose replaces a container whose mount has another path."""
    before = write(values, file)
    assert write(values, file) == before
    changes = {
        "FILLCAST_WEB_PASSWORD": {"web", "postgres"},
        "REDIS_PASSWORD": {*ROLES, "redis"},
        "FILLCAST_EMAIL_URL": {*ROLES},
        "FILLCAST_METRICS_TOKEN": {"web"},
        "FILLCAST_BUSES": {"trade"},
        "FILLCAST_TRADE_REPLICA_URL": {"trade"},
        "TWS_PASSWORD": {"gateway"},
        "FILLCAST_PUBLIC_URL": set(),
    }
    for name, readers in changes.items():
        after = write({**values, name: "changed"}, file)
        assert {n for n in before if after[n] != before[n]} == set(map(variable, readers)), name
    assert write(values, file) == before
    for folder in before.values():
        assert Path(folder).is_dir()  # a container that restarts still finds its own


def test_old_folders_are_removed_and_a_damaged_file_is_mended(
    values: dict[str, str], file: Path
) -> None:
    for number in range(container_secrets.KEPT + 3):
        last = write({**values, "FILLCAST_BUSES": str(number)}, file)
        for age, path in enumerate(sorted(file.with_suffix(".secrets").glob("trade-*"))):
            if str(path) != last[variable("trade")]:
                os.utime(path, (number, number + age / 100))
    found = [*file.with_suffix(".secrets").glob("trade-*")]
    assert len(found) == container_secrets.KEPT
    folder = Path(last[variable("trade")])
    assert folder in found
    (folder / "FILLCAST_BUSES").unlink()
    (folder / "FILLCAST_BUSES").write_text("half")
    assert write({**values, "FILLCAST_BUSES": str(number)}, file) == last
    assert (folder / "FILLCAST_BUSES").read_text() == f"{number}\n"
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_path_proves_no_guess_of_a_weak_password(values: dict[str, str], file: Path) -> None:
    """`docker inspect` shows the path: who guesses a password cannot check it without the key."""
    first = write({**values, "REDIS_PASSWORD": "weak"}, file)[variable("redis")]
    other = {**values, "REDIS_PASSWORD": "weak", "FILLCAST_SECRET_KEY": "another"}
    assert write(other, file)[variable("redis")] != first


def test_command_hands_folders_to_compose(
    values: dict[str, str], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the shell has of these names; nothing of server.env is on the command line."""
    started: list[Any] = []
    monkeypatch.setattr(compose, "read", lambda: {**values, "COMPOSE_PROFILES": "tls"})
    monkeypatch.setattr(container_secrets.write, "__defaults__", (file,))
    monkeypatch.setattr("os.chdir", lambda _: None)
    monkeypatch.setattr("os.execvpe", lambda *given: started.extend(given))
    monkeypatch.setenv("FILLCAST_COMPOSE", "compose")
    monkeypatch.setenv("FILLCAST_WEB_SECRETS", "/of/the/shell")
    monkeypatch.setenv("FILLCAST_SECRET_KEY", "of the shell")
    compose.main(["up", "--detach"])
    _, command, environ = started
    assert command[-2:] == ["up", "--detach"]
    for name, folder in write(values, file).items():
        assert environ[name] == folder
    assert not [v for v in secrets_of(values).values() if v in f"{command} {environ}"]
    assert "FILLCAST_SECRET_KEY" not in environ
    file.with_suffix(".secrets").rename(file.parent / "gone")
    file.with_suffix(".secrets").touch()
    with pytest.raises(SystemExit, match="cannot be written for the containers"):
        compose.main(["up"])
