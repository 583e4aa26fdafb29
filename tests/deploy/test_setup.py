"""deploy/setup and deploy/compose: a settings file with every secret, apart from `.env`."""

import base64
import io
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from common.sealing import new_private_key, public_key_of
from config.env import Settings
from config.env_parts import read_mail
from deploy.install import compose, keys, memory, server_env, setup
from tests.certificates import self_signed

ROOT = Path(__file__).parents[2]
NEEDED, OTHERS = server_env.names_in((ROOT / "docker-compose.yml").read_text())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.env"


def written(path: Path, *arguments: str) -> dict[str, str]:
    setup.main([*(arguments or ("trade.example.com",)), "--memory", "8192"], path)
    return server_env.read(path)


def test_public_key_is_that_of_the_private_key() -> None:
    for _ in range(5):
        private = new_private_key()
        assert keys.public_key_of(private) == public_key_of(private)


def test_setup_writes_what_compose_needs_for_the_owner_only(path: Path) -> None:
    values = written(path)
    assert values.keys() >= NEEDED
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert values["COMPOSE_PROFILES"] == "tls"
    private = base64.b64decode(values["FILLCAST_CREDENTIALS_PRIVATE_KEYS"])
    public = base64.b64decode(values["FILLCAST_CREDENTIALS_PUBLIC_KEY"])
    assert public_key_of(private) == public
    passwords = [value for name, value in values.items() if name.endswith("PASSWORD")]
    assert len(set(passwords)) == len(passwords) == 5
    assert all(re.fullmatch(r"[0-9a-f]{48}", password) for password in passwords)


@pytest.mark.parametrize("arguments", [("trade.example.com",), ("--trial", "--port", "8099")])
def test_processes_accept_what_setup_writes(path: Path, arguments: tuple[str, ...]) -> None:
    values = written(path, *arguments)
    given = {name: value for name, value in values.items() if name.startswith("FILLCAST_")}
    settings = Settings.read(
        {
            **given,
            "FILLCAST_ENV": "production",
            "FILLCAST_DB_ROLE": "trade",
            "DATABASE_URL": f"postgresql://trade:{values['FILLCAST_TRADE_PASSWORD']}@postgres/f",
            "REDIS_URL": f"redis://:{values['REDIS_PASSWORD']}@redis:6379/0",
        }
    )
    assert settings.is_trial == (arguments[0] == "--trial")


def test_setup_never_overwrites_a_file(path: Path) -> None:
    written(path)
    before = path.read_text()
    with pytest.raises(SystemExit, match="not overwritten"):
        setup.main(["trade.example.com"], path)
    with pytest.raises(FileExistsError):
        server_env.write_new(path, "x")
    assert path.read_text() == before
    assert list(path.parent.iterdir()) == [path]


def test_setup_states_what_to_back_up(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = written(path)
    printed = capsys.readouterr().out
    assert "KEEP A COPY AWAY FROM THIS SERVER" in printed
    assert "https://trade.example.com/admin/" in printed
    assert "no e-mail is sent" in printed
    assert not any(values[name] in printed for name in NEEDED if "URL" not in name
                   and "HOSTS" not in name and "TAG" not in name)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "Give the server's host name, or --trial"),
        (["trade.example.com", "--trial"], "Give the server's host name, or --trial"),
        (["Trade.Example.com"], "not a host name"),
        (["10.0.0.1"], "not a host name"),
        (["localhost; rm -r /"], "not a host name"),
        (["trade.example.com", "--email-url", "mail.example.com"], "smtp+tls://"),
        (["trade.example.com", "--email-url", "smtp://u:it's@h:25"], "%27"),
        (["trade.example.com", "--memory", "100"], "1024 MB"),
        (["trade.example.com", "--certificate-folder", "x"], "absolute"),
        (["--trial", "--own-proxy"], "no TLS"),
    ],
)
def test_setup_refuses_unusable_options(path: Path, arguments: list[str], expected: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(expected)):
        setup.main(arguments, path)
    assert not path.exists()


def certificate(folder: Path, *, days: int, name: str = "certificate.pem") -> None:
    signed, key = self_signed("trade.example.com", ends_in_days=days)
    (folder / name).write_bytes(signed)
    (folder / "key.pem").write_bytes(key)


def test_own_certificate_is_used_while_it_is_valid(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    folder.mkdir()
    certificate(folder, days=30)
    arguments = ["trade.example.com", "--certificate-folder", str(folder)]
    values = written(path, *arguments)
    assert values["FILLCAST_CERTIFICATE"] == "own"
    assert values["FILLCAST_CERTIFICATE_FOLDER"] == str(folder)
    path.unlink()
    certificate(folder, days=-1)
    with pytest.raises(SystemExit, match="ended at"):
        setup.main(arguments, path)
    certificate(folder, days=30, name="other.pem")  # another key
    with pytest.raises(SystemExit, match="cannot be used together"):
        setup.main(arguments, path)


def test_every_fault_of_a_file_is_reported_at_once(path: Path) -> None:
    written(path)
    lines = path.read_text().splitlines()
    kept = [line for line in lines if "PASSWORD" not in line and "---" not in line]
    path.write_text("\n".join([*kept, "FILLCAST_SIGNUP=off", "REDIS_IMAGE=a b"]))
    path.chmod(0o644)
    with pytest.raises(server_env.UnusableFileError) as raised:
        server_env.read(path)
    text = str(raised.value)
    for expected in (
        "cut off", "POSTGRES_PASSWORD is missing", "REDIS_PASSWORD is missing",
        "FILLCAST_TRADE_PASSWORD is missing", "FILLCAST_SIGNUP is unknown", "NAME='value'",
        "mode 0644",
    ):  # fmt: skip
        assert expected in text, expected


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.99])
def test_half_written_file_is_noticed(path: Path, cut: float) -> None:
    written(path)
    text = path.read_text()
    path.write_text(text[: int(len(text) * cut)])
    with pytest.raises(server_env.UnusableFileError, match="cut off"):
        server_env.read(path)


def test_value_with_signs_is_read_as_it_was_written(path: Path) -> None:
    url = "smtp+tls://olga:a$b#c%27@mail.example.com:587"
    values = written(path, "trade.example.com", "--email-url", url)
    assert values["FILLCAST_EMAIL_URL"] == url


def test_mail_server_may_come_by_standard_input(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "smtp+tls://olga:secret@mail.example.com:587"
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{url}\n"))
    assert written(path, "trade.example.com", "--email-url", "-")["FILLCAST_EMAIL_URL"] == url


@pytest.mark.parametrize("server", ["smtp://mail.example.com", "smtp+tls://m.example?timeout=5"])
def test_sender_becomes_a_part_of_the_mail_server(path: Path, server: str) -> None:
    sender = "Fillcast <desk+alerts@trade.example.com>"
    mail = ("--email-url", server, "--email-from", sender)
    values = written(path, "trade.example.com", *mail)
    assert read_mail(values["FILLCAST_EMAIL_URL"]).sender == sender
    path.unlink()
    for wrong in (("--email-from", sender), (*mail[:3], "desk")):
        with pytest.raises(SystemExit, match="--email-from"):
            setup.main(["trade.example.com", *wrong], path)
    assert not path.exists()


def test_name_of_an_earlier_version_is_reported_with_the_new_one(path: Path) -> None:
    written(path, "trade.example.com")
    path.write_text(path.read_text().replace("REDIS_P", "FILLCAST_SINKS=nats://a\nREDIS_P", 1))
    with pytest.raises(server_env.UnusableFileError, match="FILLCAST_BUSES names them now"):
        server_env.read(path)


def test_shell_variables_do_not_overrule_the_file() -> None:
    shell = {"PATH": "/bin", "FILLCAST_SECRET_KEY": "x", "FILLCAST_POOLER_ADDRESS": "x"}
    child = compose.environment(shell, {"COMPOSE_PROFILES": "tls"})
    assert child.pop("SOURCE_DATE_EPOCH") == compose.commit_time()
    assert child == {"PATH": "/bin", "COMPOSE_PROFILES": "tls"}


def test_development_never_reads_the_file_of_a_server() -> None:
    """`make up` reads `.env`; compose would too, so that it is run with another file."""
    assert server_env.FILE.name == "server.env"
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {".env", "server.env", "server.secrets/"} <= set(ignored)
    assert {"server.env", "server.secrets"} <= set((ROOT / ".dockerignore").read_text().split())


def test_compose_command_reports_an_unusable_file(tmp_path: Path) -> None:
    for name in ("deploy", "docker-compose.yml"):
        (tmp_path / name).symlink_to(ROOT / name)
    script = "import sys; from pathlib import Path; from deploy.install import compose, server_env"
    script += "; compose.read = lambda: server_env.read(Path('server.env')); compose.main(['up'])"
    result = subprocess.run(
        ["python3", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert result.returncode == 1
    assert (
        "server.env cannot be used:\n  it does not exist; deploy/setup writes it" in result.stderr
    )


def test_example_lists_exactly_what_compose_reads() -> None:
    listed = re.findall(
        r"^#?([A-Z][A-Z0-9_]*)=", (ROOT / "server.env.example").read_text(), re.MULTILINE
    )
    assert len(listed) == len(set(listed))
    assert set(listed) == NEEDED | OTHERS | server_env.BESIDES


@pytest.mark.parametrize(
    ("machine", "limit", "buffers"), [(1024, "512m", "128MB"), (8192, "3276m", "819MB")]
)
def test_postgres_is_sized_by_memory(machine: int, limit: str, buffers: str) -> None:
    found = memory.postgres_settings(machine)
    assert (found["POSTGRES_MEMORY"], found["POSTGRES_SHARED_BUFFERS"]) == (limit, buffers)
