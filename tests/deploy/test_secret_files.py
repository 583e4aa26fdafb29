"""deploy/secret-files: the secrets of server.env as files, one folder for each database role."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from config.env import VARIABLES, Settings
from config.secret_files import FOLDER as VARIABLE
from config.secret_files import read_secret_files
from deploy.install import secret_files, server_env, setup

ROOT = Path(__file__).parents[2]
DATABASE, REDIS = "db.internal:5432/fillcast?sslmode=verify-full", "rediss://:pw@redis:6379/0"


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    path = tmp_path / "server.env"
    url = "smtp+tls://u:p@mail.example.com:587"
    setup.main(["trade.example.com", "--email-url", url, "--memory", "8192"], path)
    monkeypatch.setattr(secret_files, "read", lambda: server_env.read(path))
    return server_env.read(path)


def write(folder: Path, *more: str) -> None:
    secret_files.main([str(folder), "--database", DATABASE, "--redis", REDIS, *more])


def settings_env(folder: Path) -> dict[str, str]:
    lines = (folder / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("role", ["owner", "trade", "web"])
def test_each_role_can_start_with_its_folder(
    values: dict[str, str], tmp_path: Path, role: str
) -> None:
    """What a process reads is complete and valid in production, as it would start with it."""
    write(tmp_path / "out")
    environ = {
        **settings_env(tmp_path / "out"),
        VARIABLE: str(tmp_path / "out/secrets" / role),
        "FILLCAST_ENV": "production",
        "FILLCAST_DB_ROLE": role,
    }
    read_secret_files(environ)
    settings = Settings.read(environ)
    password = values[f"FILLCAST_{role.upper()}_PASSWORD"]
    login = {"owner": "fillcast_owner"}.get(role, role)
    assert settings.database_url == f"postgresql://{login}:{password}@{DATABASE}"
    assert settings.redis_url == REDIS
    assert bool(settings.credentials_private_keys) == (role == "trade")
    assert settings.email_url.server == values["FILLCAST_EMAIL_URL"]


def test_settings_hold_no_secret_and_nothing_of_compose(
    values: dict[str, str], tmp_path: Path
) -> None:
    write(tmp_path / "out")
    found = settings_env(tmp_path / "out")
    assert found.keys() == {
        "FILLCAST_CREDENTIALS_PUBLIC_KEY", "FILLCAST_INSTALLATION_TAG", "FILLCAST_PUBLIC_URL",
    }  # fmt: skip
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


def test_every_secret_setting_is_a_file_and_no_line(
    values: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL with a password belongs in no file of settings."""
    whole = {
        **values,
        **{one.name: f"a secret of {one.name}" for one in VARIABLES if one.secret},
        "FILLCAST_SETTINGS_SOURCE": "a secret of the source",
        "FILLCAST_POOLER_ADDRESS": "pooler:6432",
        "FILLCAST_WEB_REPLICA_URL": "postgresql://web:a-secret@replica/fillcast",
    }
    monkeypatch.setattr(secret_files, "read", lambda: whole)
    write(tmp_path / "out")
    assert "secret" not in (tmp_path / "out/settings.env").read_text()
    folders = {role: tmp_path / "out/secrets" / role for role in ("owner", "trade", "web")}
    files = {role: {path.name for path in folder.iterdir()} for role, folder in folders.items()}
    everywhere = {"DATABASE_URL", "REDIS_URL", "FILLCAST_QUEUE_URL", "FILLCAST_SETTINGS_SOURCE"}
    assert files["owner"] & files["trade"] & files["web"] >= everywhere
    assert {one.name for one in VARIABLES if one.secret} <= set().union(*files.values())
    ways = "pooler=pooler:6432 replica=postgresql://web:a-secret@replica/fillcast\n"
    assert (folders["web"] / "FILLCAST_DATABASES").read_text() == ways
    assert "FILLCAST_DATABASES" not in files["owner"]


def test_password_of_redis_need_not_be_on_the_command_line(
    values: dict[str, str], tmp_path: Path
) -> None:
    arguments = ["--database", DATABASE, "--redis", "rediss://:PASSWORD@redis:6379/0"]
    secret_files.main([str(tmp_path / "out"), *arguments])
    written = (tmp_path / "out/secrets/web/REDIS_URL").read_text()
    assert written == f"rediss://:{values['REDIS_PASSWORD']}@redis:6379/0\n"


def test_wrong_options_are_all_named_and_nothing_is_written(
    values: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=r"exists(.|\n)*--database(.|\n)*--redis"):
        secret_files.main([str(tmp_path), "--database", "postgresql://u:p@db/x", "--redis", "x"])
    assert not (tmp_path / "secrets").exists()


def test_incomplete_server_env_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_files, "read", lambda: server_env.read(tmp_path / "none"))
    with pytest.raises(SystemExit, match=r"server\.env cannot be used"):
        write(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command_of_the_host_runs_with_the_owners_folder(
    values: dict[str, str], tmp_path: Path
) -> None:
    """`check` reads all settings as production needs them, and connects to nothing."""
    write(tmp_path / "out")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FILLCAST_")}
    for name in ("DATABASE_URL", "REDIS_URL"):
        clean.pop(name, None)
    done = subprocess.run(
        ["deploy/manage-host", "check"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**clean, "FILLCAST_ETC": str(tmp_path / "out"), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, "no issues" in done.stdout) == (0, True), done.stderr
    assert not list(tmp_path.glob("tmp.*"))  # nothing that root owns stays
